// Package osquery reads results of osquery on Windows: the tables os_version, patches,
// programs and system_info, as osqueryi prints them, as the daemon logs them, and as
// fleetctl gives them.
package osquery

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "osquery"

// Reader reads results of osquery.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `Results of osquery's tables os_version, patches, programs and system_info as JSON: what osqueryi --json prints, also several
results pasted together, the daemon's log of results (snapshots and differences), and fleetctl query.
Obtain it with: osqueryi --json "select * from os_version" > osquery.json; osqueryi --json "select * from patches" >> osquery.json
os_version proves product, version and architecture. patches is Win32_QuickFixEngineering: with every column, as a
result or a snapshot, it proves which CBS packages are installed and that no other is. A selection of columns, or a
log of differences, proves what it names and nothing missing. A query with a condition looks like a whole list:
do not bring one.`,
	Sniff: sniff,
	Read:  read,
}

// tables are the columns by which each table is known:
// https://osquery.io/schema, tables os_version, patches, programs and system_info.
var tables = []struct {
	name    string
	columns []string
}{
	{"patches", []string{"hotfix_id"}},
	{"os_version", []string{"platform", "build", "version"}},
	{"os_version", []string{"codename", "major", "minor", "version"}},
	{"programs", []string{"name", "version", "publisher"}},
	{"programs", []string{"name", "version", "install_source"}},
	{"programs", []string{"name", "version", "identifying_number"}},
	{"programs", []string{"name", "version", "uninstall_string"}},
	{"system_info", []string{"computer_name", "hostname"}},
	{"system_info", []string{"cpu_brand", "hostname"}},
}

func tableOf(has func(...string) bool) string {
	for _, t := range tables {
		if has(t.columns...) {
			return t.name
		}
	}
	return ""
}

// Names of values that flatten gives each row, which nested inputs keep.
const (
	rowHost   = "@host"
	rowAction = "@action" // added or removed, for the row of a log of differences
	rowTaken  = "@taken"  // RFC 3339
)

func sniff(p evidence.Probe) bool {
	if !inventory.LooksJSON(p.Text) || inventory.HasKey(p.Text, "affected_items") || inventory.HasKey(p.Text, "os_version") {
		return false
	}
	has := func(names ...string) bool { return inventory.HasKey(p.Text, names...) }
	t := tableOf(has)
	return has("hostIdentifier") || t != "" && (t != "system_info" || has("cpu_type")) && (t != "programs" || has("install_source") || has("uninstall_string") || has("identifying_number"))
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	found, cut := inventory.JSON(text)
	rows := flatten(found)
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no row of os_version, patches, programs or system_info: %s", in.Name, strings.TrimSpace("nothing of them was read; "+cut))
	}
	nested, err := inventory.Split(in, rows, cut != "", func(r inventory.Record) string { return r.First(rowHost, "csname") })
	if nested != nil || err != nil {
		return nested, err
	}
	x := reading{in: in, h: h, cut: cut}
	for _, r := range rows {
		x.row(r)
	}
	return nil, x.finish()
}

// flatten takes the rows out of what the daemon and fleetctl wrap them in:
// https://osquery.readthedocs.io/en/stable/deployment/logging/ (event, batch and snapshot
// format) and the lines of fleetctl query, {"host": …, "rows": […]}.
func flatten(found []inventory.Record) (rows []inventory.Record) {
	add := func(outer inventory.Record, action string, list ...inventory.Record) {
		name := outer.Sub("decorations").First("computer_name", "hostname")
		if name == "" {
			name = outer.First("hostIdentifier", "host")
		}
		taken := ""
		if n, ok := outer.Int("unixTime"); ok && n > 0 {
			taken = time.Unix(int64(n), 0).UTC().Format(time.RFC3339)
		}
		for _, r := range list {
			if tableOf(r.Has) == "" {
				continue
			}
			for _, v := range []struct{ name, value string }{{rowHost, name}, {rowAction, action}, {rowTaken, taken}} {
				if v.value != "" {
					r.Set(v.name, v.value)
				}
			}
			rows = append(rows, r)
		}
	}
	for _, r := range found {
		snapshot, isSnapshot := r.List("snapshot")
		list, isList := r.List("rows")
		diff := r.Sub("diffResults")
		switch {
		case isSnapshot:
			add(r, "", snapshot...)
		case isList:
			add(r, "", list...)
		case r.Has("columns"):
			add(r, r.First("action", "name"), r.Sub("columns"))
		case !diff.Empty():
			removed, _ := diff.List("removed")
			added, _ := diff.List("added")
			add(r, "removed", removed...)
			add(r, "added", added...)
		case tableOf(r.Has) != "":
			rows = append(rows, r)
		}
	}
	return rows
}

type reading struct {
	in  evidence.Input
	h   *host.Host
	cut string

	host     string // as osquery calls it, for where no table does
	patches  []evidence.UpdateRow
	ended    map[string]int // the place in patches, by id, in a log of differences
	partly   string         // why the list is not whole
	listed   bool
	programs []program
}

type program struct {
	inventory.Record
	gone bool
}

func (x *reading) row(r inventory.Record) {
	from := x.from(r)
	if name := r.Str(rowHost); x.host == "" && !isUUID(name) {
		x.host = inventory.Name(name)
	}
	action := r.Str(rowAction)
	switch tableOf(r.Has) {
	case "patches":
		x.patch(r, action)
	case "os_version":
		if p := r.Str("platform"); action == "removed" || p != "" && p != "windows" {
			return
		}
		inventory.Machine{
			Product: r.Str("name"), Version: r.Str("version"), Revision: r.Str("revision"), Arch: r.Str("arch"),
			Installed: r.Time("install_date").Wall,
		}.Say(x.h, x.in.Rank, from)
	case "system_info":
		inventory.Machine{Name: r.First("computer_name", "hostname"), Arch: r.Str("cpu_type")}.Say(x.h, x.in.Rank, from)
	case "programs":
		x.programs = append(x.programs, program{r, action == "removed"})
	}
}

func (x *reading) from(r inventory.Record) host.Source {
	return host.Source{Reader: readerName, Input: x.in.Name, At: r.At, Taken: r.Time(rowTaken).Instant}
}

// patch keeps a row of the list of updates. A log of differences takes back what it named.
func (x *reading) patch(r inventory.Record, action string) {
	x.listed = true
	row := evidence.UpdateRow{ID: r.Str("hotfix_id"), On: r.Str("installed_on"), At: r.At}
	row.Set(evidence.ColumnMachine, inventory.Name(r.Str("csname")))
	switch {
	case action != "":
		x.partly = "it is a log of differences"
		if x.ended == nil {
			x.ended = map[string]int{}
		}
		if i, ok := x.ended[row.ID]; ok {
			x.patches[i] = evidence.UpdateRow{}
		}
		if action == "removed" {
			return
		}
		x.ended[row.ID] = len(x.patches)
	case !r.Has("csname", "caption", "description", "installed_by"): // not select *
		x.partly = "the query chose columns, and perhaps rows"
	}
	x.patches = append(x.patches, row)
}

func (x *reading) finish() error {
	gone := map[[2]string]int{}
	for i, p := range x.programs {
		if p.gone {
			gone[[2]string{p.Str("name"), p.Str("version")}] = i
		}
	}
	for i, p := range x.programs {
		if at, ok := gone[[2]string{p.Str("name"), p.Str("version")}]; !p.gone && (!ok || i > at) {
			inventory.SayProgram(x.h, p.Str("name"), p.Str("version"), p.Str("publisher"), x.from(p.Record))
		}
	}
	for i, row := range x.patches {
		if row.Machine != "" && (i == 0 || x.patches[i-1].Machine != row.Machine) {
			x.h.Name.Say(row.Machine, x.in.Rank, host.Source{Reader: readerName, Input: x.in.Name, At: "csname"})
		}
	}
	if !x.h.Name.Known() {
		x.h.Name.Say(x.host, x.in.Rank, host.Source{Reader: readerName, Input: x.in.Name, At: "hostIdentifier"})
	}
	if !x.listed {
		return nil
	}
	l := evidence.UpdateList{Node: "Source", Usual: evidence.MonthFirst, Cut: x.cut}
	if l.Cut == "" {
		l.Cut = x.partly
	}
	for _, row := range x.patches {
		if row.ID != "" {
			row.Machine = "" // said above: a row without it is about the same machine
			l.Rows = append(l.Rows, row)
		}
	}
	_, err := l.Say(x.h, x.in, readerName)
	return err
}

// isUUID knows what --host_identifier=uuid gives, which is no name of a machine.
func isUUID(s string) bool {
	if len(s) != 36 || strings.Count(s, "-") != 4 {
		return false
	}
	for part := range strings.SplitSeq(s, "-") {
		if _, err := strconv.ParseUint(part, 16, 64); err != nil {
			return false
		}
	}
	return true
}
