// Package lansweeper reads reports of Lansweeper as CSV.
package lansweeper

import (
	"context"
	"fmt"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/inventory"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "lansweeper"

// Reader reads reports of Lansweeper.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `A report of Lansweeper exported as CSV, with a column AssetName and as many of these as the report has: Domain, OS, OScode,
Version, BuildNumber, Build, SP, Caption, HotFixID, InstalledOn, softwareName, softwareVersion, SoftwarePublisher.
Obtain it with: Lansweeper, Reports, a report such as "Windows: All updates", Export to CSV.
It proves version and revision, and names updates and programs, as of each asset's last scan. A report has the rows
that its query chose, so it proves nothing missing.`,
	Sniff: func(p evidence.Probe) bool {
		_, _, ok := inventory.Header(evidence.Lines(p.Text), isReport)
		return ok
	},
	Read: read,
}

// asset is the column that every built-in report has. Column names are those of the
// tables tblAssets, tsysOS, tblOperatingsystem, tblQuickFixEngineering(Uni) and
// tblSoftware(Uni), as published reports select them, OScode + '.' + BuildNumber as Build
// among them: https://www.lansweeper.com/report/ and queries in public repositories, read
// 2026-11-22.
const asset = "AssetName"

// front begins a nested input, one asset out of a report about several: a header and no rows.
const front = asset + ",@records\n"

func isReport(names []string) bool { return inventory.Named(names, asset) }

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	var records []inventory.Record
	bad, cut := 0, false
	if rest, ok := strings.CutPrefix(text, front); ok {
		records, _ = inventory.JSON(rest)
	} else {
		records, bad, cut = inventory.CSV(text, isReport)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("%s has no row with a column %s", in.Name, asset)
	}
	if bad > 0 || cut {
		why := "the file ends within a line"
		if bad > 0 {
			why = evidence.Count(bad, "line has", "lines have") + " more or fewer values than the header"
		}
		h.Gap(host.Gap{What: "rows", From: host.Source{Reader: readerName, Input: in.Name}, Why: why})
	}
	nested, err := inventory.SplitAs(in, records, false, func(r inventory.Record) string { return r.Str(asset) }, front)
	if nested != nil || err != nil {
		return nested, err
	}
	updates := evidence.UpdateList{Node: asset, Cut: "a report of Lansweeper has the rows that its query chose"}
	listed := false
	for i, r := range records {
		from := host.Source{Reader: readerName, Input: in.Name, At: r.At}
		if i == 0 {
			say(in, h, r, from)
		}
		if id := r.Str(evidence.ColumnID); id != "" {
			listed = true
			updates.Rows = append(updates.Rows, evidence.UpdateRow{ID: id, On: r.Str(evidence.ColumnOn), At: r.At})
		}
		inventory.SayProgram(h, r.First("softwareName", "SoftwareName", "Software"), r.First("softwareVersion", "SoftwareVersion"),
			r.First("SoftwarePublisher", "softwarePublisher", "Publisher"), from)
	}
	if listed {
		_, err = updates.Say(h, in, readerName)
	}
	return nil, err
}

func say(in evidence.Input, h *host.Host, r inventory.Record, from host.Source) {
	m := inventory.Machine{Name: r.Str(asset), Domain: r.Str("Domain"), Arch: r.First("SystemType", "OSArchitecture")}
	// OSname is a short form of Lansweeper's own, "Win 2008 R2", and no product name.
	for _, c := range []string{"Caption", "OS", "OSname", "Operating System"} {
		if m.Product == "" {
			m.Product = inventory.Product(r.Str(c))
		}
	}
	// OScode is the version, BuildNumber its revision, Version the name of a release
	// ("22H2") in tblAssets, and the version in tblOperatingsystem.
	for _, c := range []string{"Build", "OScode", "Version", "OSVersion"} {
		if v := r.Str(c); m.Version == "" && strings.Count(v, ".") >= 2 {
			m.Version = v
		}
	}
	if b := r.Str("BuildNumber"); !strings.HasSuffix(m.Version, "."+b) {
		m.Revision = b
	}
	if sp := r.Str("SP"); len(sp) == 1 && sp != "0" {
		m.ServicePack = "Service Pack " + sp
	}
	m.Say(h, in.Rank, from)
}
