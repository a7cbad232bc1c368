// Package dism reads what dism prints about packages: the list, the table and the details of
// one, in any language, and what PowerShell's Get-WindowsPackage prints.
package dism

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/cbs"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

const readerName = "dism"

// Reader reads the output of dism /get-packages.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The packages that dism /online /get-packages lists, as a list or a table, also dism /get-packageinfo and PowerShell's
Get-WindowsPackage. Windows Vista and Server 2008 have no dism /online: export the registry there, see regexport.
Obtain it with: dism /english /online /get-packages /format:table > packages.txt
It proves which CBS packages are in effect, which wait for a restart, and that no other is there. States in a language
that is not known are said to be so; /english avoids that. Rollups of Windows 7 and later name no KB number: of them it
tells the revision. Its first version number is that of dism, the second one that of Windows.`,
	Sniff: func(p evidence.Probe) bool {
		for line := range strings.Lines(p.Text) {
			if _, _, ok := identity(line); ok {
				return true
			}
		}
		return false
	},
	Read: read,
}

// identity finds the package that a line is about: "label : identity", or the first cell of
// a table, whose other cells it gives.
func identity(line string) (name string, cells []string, ok bool) {
	line = strings.TrimSpace(line)
	if len(line) > 1000 || !strings.Contains(line, "~") {
		return "", nil, false
	}
	if strings.Contains(line, "|") {
		cells = strings.Split(line, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		name, cells = cells[0], cells[1:]
	} else {
		label, value, _ := strings.Cut(line, " :")
		if name = strings.TrimSpace(value); strings.ContainsAny(label, "[]{}\"\\") {
			return "", nil, false
		}
	}
	_, ok = cbs.Parse(name)
	return name, cells, ok
}

// version reads the value of a line "label: 6.1.7601.18489".
func version(line string) (winver.Build, bool) {
	_, value, ok := strings.Cut(line, ":")
	if !ok {
		return winver.Build{}, false
	}
	value = strings.TrimSpace(value)
	if strings.Trim(value, "0123456789.") != "" || strings.Count(value, ".") != 3 {
		return winver.Build{}, false
	}
	v, err := winver.Parse(value)
	return v.Build, err == nil && v.Build.HasRevision
}

// maxFields bounds what is read of one package; get-packageinfo prints about 20 lines
// before the list of its features.
const (
	maxFields = 40
	inList    = 3 // state, type and time
)

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	lines := evidence.Lines(text)
	if !evidence.Ended(text) && len(lines) > 0 {
		lines = lines[:len(lines)-1]
	}
	from := host.Source{Reader: readerName, Input: in.Name}
	l := cbs.List{From: from, Rank: in.Rank, Hint: "run: dism /english /online /get-packages /format:table"}
	var versions []winver.Build
	var dates, below []string // for each package: its date, and what stands in the line below its name
	trailer, fields := false, maxFields
	for i, line := range lines {
		name, cells, ok := identity(line)
		_, prompt := evidence.Prompt(line)
		last := len(l.Packages) - 1
		switch {
		case ok && last >= 0 && l.Packages[last].Name == name:
			fields = maxFields // the details name the package again before its features
		case ok:
			id, _ := cbs.Parse(name)
			p := host.Package{Name: name, KB: id.KB, From: from}
			p.From.At = "line " + strconv.Itoa(i+1)
			l.Packages, dates, fields, trailer = append(l.Packages, p), append(dates, ""), 0, false
			below = append(below, "")
			last++
			if len(cells) > 0 {
				l.Packages[last].State, below[last] = cbs.StateWord(cells[0]), cells[0]
				dates[last] = cells[len(cells)-1]
				fields = maxFields
			}
		case strings.TrimSpace(line) == "":
			fields = maxFields // what follows is no longer about this package
		case prompt:
		case last < 0:
			if b, ok := version(line); ok {
				versions = append(versions, b)
			}
		case fields < maxFields:
			fields++
			field(&l.Packages[last], &dates[last], &below[last], line, fields)
		case !strings.Contains(line, " : ") && !strings.Contains(line, "|"):
			trailer = true // "The operation completed successfully."
		}
	}
	if len(l.Packages) == 0 {
		return nil, fmt.Errorf("%s names no package as dism does", in.Name)
	}
	order := evidence.OrderOf(dates...)
	for i := range l.Packages {
		l.Packages[i].Installed, _ = evidence.Date(dates[i], order)
	}
	if len(versions) >= 2 {
		b := versions[len(versions)-1]
		if b.Major < 10 {
			b = b.Base() // of the image's files, not of its rollup
		}
		l.Build = b.Base()
		h.Build.Say(b, in.Rank, from)
	}
	switch {
	case len(versions) < 2:
		l.Cut = "without the head that dism prints, so it may be a part of the list"
	case len(l.Packages) == 1:
		l.Cut = "shows one package only"
	case !trailer:
		l.Cut = "without the sentence that dism ends with, so packages may be cut off"
	}
	for i, p := range l.Packages {
		if p.State == host.PackageUnknown && below[i] != "" {
			l.Cut = strings.TrimPrefix(l.Cut+"; states in a language that is not known, such as "+strconv.Quote(shorten(below[i])), "; ")
			break
		}
	}
	l.Say(h)
	return nil, nil
}

// field reads a line "label : value" of a package. Below its name the list has the state,
// the type and the time; the details have more, and those are found by their values.
func field(p *host.Package, date, below *string, line string, n int) {
	label, value, ok := strings.Cut(line, " :")
	if !ok {
		return
	}
	label, value = strings.TrimSpace(label), strings.TrimSpace(value)
	if *below == "" {
		*below = value
	}
	if p.State == host.PackageUnknown {
		p.State = cbs.StateWord(value)
	}
	if n <= inList || label == "Install Time" { // details have other dates too
		_, day := evidence.Date(value, evidence.DayFirst)
		_, month := evidence.Date(value, evidence.MonthFirst)
		if day || month {
			*date = value
		}
	}
	if label == "Install Client" {
		p.Client = shorten(value)
	}
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60])
	}
	return s
}
