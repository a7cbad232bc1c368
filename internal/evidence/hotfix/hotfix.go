// Package hotfix reads what PowerShell's Get-HotFix prints, and other cmdlets over the same
// class: as a table, as a list, as CSV and as JSON. The names of properties are the same
// in every language; dates are in the user's.
package hotfix

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "hotfix"

// Reader reads the output of Get-HotFix.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The list of updates that PowerShell's Get-HotFix prints, as text, or through Format-List, Export-Csv or ConvertTo-Json.
Obtain it with: Get-HotFix | Export-Csv hotfix.csv
It proves which CBS packages are installed (rollups, security-only updates, servicing stacks, IE on old systems), and
that no other is; and when each was installed. It knows no version of Windows.`,
	Sniff: func(p evidence.Probe) bool {
		f, _ := formOf(p.Text, evidence.Lines(p.Text))
		return f != none
	},
	Read: read,
}

type form uint8

const (
	none form = iota
	table
	list
	csv
	inJSON
)

func formOf(text string, lines []string) (form, int) {
	if t := strings.TrimLeft(text, " \t\r\n"); t != "" && (t[0] == '[' || t[0] == '{') && strings.Contains(text, `"HotFixID"`) {
		return inJSON, 0
	}
	for i, line := range lines {
		switch {
		case !strings.Contains(line, "HotFixID"):
		case isProperty(line, evidence.ColumnID):
			return list, i
		case i+1 < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[i+1]), "--"):
			return table, i
		case evidence.CSVSeparator(line) != 0:
			return csv, i
		}
	}
	return none, 0
}

func isProperty(line, name string) bool {
	got, _, ok := strings.Cut(line, ":")
	return ok && strings.TrimSpace(got) == name
}

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	lines := evidence.Lines(text)
	l := evidence.UpdateList{Node: "Source"}
	f, at := formOf(text, lines)
	switch f {
	case inJSON:
		l.Rows, l.Cut = readJSON(text)
		return l.Say(h, in, readerName)
	case table:
		l.Rows = readTable(lines, at)
	case list:
		l.Rows = readList(lines)
	case csv:
		l.Rows = evidence.ReadUpdateCSV(lines, at)
	case none:
		return nil, fmt.Errorf("%s has no column or property HotFixID as Get-HotFix prints it", in.Name)
	}
	for _, r := range l.Rows {
		if evidence.TwelveHours(r.On) {
			l.Usual = evidence.MonthFirst
			break
		}
	}
	if !evidence.Ended(text) {
		l.CutWithin(lines[len(lines)-1])
	}
	return l.Say(h, in, readerName)
}

// readTable reads Format-Table; the rule below the header tells where columns begin.
func readTable(lines []string, header int) (rows []evidence.UpdateRow) {
	rule := lines[header+1]
	var names []string
	var starts []int
	for i := range len(rule) {
		if len(names) < evidence.MaxColumns && rule[i] == '-' && (i == 0 || rule[i-1] != '-') {
			name, _, _ := strings.Cut(strings.TrimLeft(lines[header][min(i, len(lines[header])):], " "), " ")
			names, starts = append(names, name), append(starts, i)
		}
	}
	for i := header + 2; i < len(lines); i++ {
		line := lines[i]
		if strings.TrimSpace(line) == "" || line == lines[header] || line == rule {
			continue
		}
		if _, prompt := evidence.Prompt(line); prompt {
			break
		}
		row := evidence.UpdateRow{At: "line " + strconv.Itoa(i+1)}
		for j, name := range names {
			end := utf8.RuneCountInString(line)
			if j+1 < len(starts) {
				end = starts[j+1]
			}
			row.Set(name, cut(line, starts[j], end))
		}
		if _, ok := evidence.UpdateID(row.ID); !ok {
			if kb := evidence.FindKB(line); kb != "" { // columns are out of line
				row.ID = kb
			}
		}
		if row.ID != "" {
			rows = append(rows, row)
		}
	}
	return rows
}

// cut gives the characters from start to end, as far as the line goes.
func cut(line string, start, end int) string {
	from, n := len(line), 0
	for i := range line {
		if n == start {
			from = i
		}
		if n == end {
			return line[min(from, i):i]
		}
		n++
	}
	return line[from:]
}

// readList reads Format-List; a property that comes again begins the next entry.
func readList(lines []string) (rows []evidence.UpdateRow) {
	var row evidence.UpdateRow
	seen := map[string]bool{}
	flush := func() {
		if row.ID != "" {
			rows = append(rows, row)
		}
		row = evidence.UpdateRow{}
		clear(seen)
	}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "" || len(name) > 32 || strings.ContainsAny(name, " \\") {
			continue
		}
		if seen[name] {
			flush()
		}
		seen[name] = true
		row.Set(name, value)
		if name == evidence.ColumnID {
			row.At = "line " + strconv.Itoa(i+1)
		}
	}
	flush()
	return rows
}

// entry is what ConvertTo-Json makes of an update. Properties are of several types in
// several versions of PowerShell.
type entry struct {
	CSName, PSComputerName, Source json.RawMessage
	Server                         json.RawMessage `json:"__SERVER"`
	HotFixID, ServicePackInEffect  json.RawMessage
	InstalledOn                    json.RawMessage
}

func readJSON(text string) (rows []evidence.UpdateRow, cut string) {
	dec := json.NewDecoder(strings.NewReader(text))
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "[") {
		if _, err := dec.Token(); err != nil {
			return nil, "the JSON is not well-formed: " + err.Error()
		}
	}
	for n := 1; dec.More(); n++ {
		var e entry
		if err := dec.Decode(&e); err != nil {
			return rows, "the JSON is cut or not well-formed: " + err.Error()
		}
		row := evidence.UpdateRow{At: "entry " + strconv.Itoa(n)}
		for _, p := range []struct {
			name  string
			value json.RawMessage
		}{
			{"CSName", e.CSName},
			{"Source", e.Source},
			{"PSComputerName", e.PSComputerName},
			{"__SERVER", e.Server},
			{"HotFixID", e.HotFixID},
			{"ServicePackInEffect", e.ServicePackInEffect},
		} {
			var s string
			if json.Unmarshal(p.value, &s) == nil {
				row.Set(p.name, s)
			}
		}
		row.On = dateOf(e.InstalledOn)
		if row.ID != "" {
			rows = append(rows, row)
		}
	}
	if _, err := dec.Token(); err != nil && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "[") {
		return rows, "the JSON ends before its list does"
	}
	return rows, ""
}

// dateOf gives the date as YYYYMMDD: of "/Date(1583103600000)/", which is midnight on the
// machine as an instant, of ISO 8601, or of an object that holds either; a string in
// another form as it is.
func dateOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		var object struct{ Value, DateTime json.RawMessage }
		if json.Unmarshal(raw, &object) != nil || json.Unmarshal(object.Value, &s) != nil {
			return ""
		}
	}
	if ms, ok := strings.CutPrefix(s, "/Date("); ok {
		ms, _, _ = strings.Cut(ms, ")")
		n, err := strconv.ParseInt(ms, 10, 64)
		if err != nil {
			return ""
		}
		// The zone is not said; the nearest midnight is the day meant.
		return time.UnixMilli(n).UTC().Add(12 * time.Hour).Format("20060102")
	}
	if t, err := time.Parse("2006-01-02", s[:min(len(s), 10)]); err == nil {
		return t.Format("20060102")
	}
	return s
}
