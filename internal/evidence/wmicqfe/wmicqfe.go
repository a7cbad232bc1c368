// Package wmicqfe reads what wmic prints about its alias qfe, the class
// Win32_QuickFixEngineering: as a table, as a list and as CSV. The names of properties are
// the same in every language.
package wmicqfe

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "wmicqfe"

// Reader reads the output of wmic qfe.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The list of updates that wmic qfe prints, as a table, as a list (/format:list) or CSV (/format:csv).
Obtain it with: wmic qfe list /format:csv > qfe.csv
It proves which CBS packages are installed (rollups, security-only updates, servicing stacks, IE on old systems), and
that no other is; and when each was installed. It knows no version of Windows.`,
	Sniff: func(p evidence.Probe) bool {
		lines := evidence.Lines(p.Text)
		f, _ := formOf(lines)
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
	empty
)

// properties are the columns of the class, as a header of the table shows them.
var properties = map[string]bool{
	"Caption": true, "CSName": true, "Description": true, "FixComments": true, "HotFixID": true, "InstallDate": true, "InstalledBy": true,
	"InstalledOn": true, "Name": true, "Node": true, "ServicePackInEffect": true, "Status": true,
}

// formOf finds the line where the list begins. Get-HotFix prints the same names, but rules
// off its table and names other columns first in its CSV.
func formOf(lines []string) (form, int) {
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "No Instance(s) Available"):
			return empty, i
		case !strings.Contains(line, "HotFixID"):
			continue
		case strings.HasPrefix(strings.TrimSpace(line), "HotFixID="):
			return list, i
		case strings.HasPrefix(line, "Node,"):
			if evidence.CSVSeparator(line) != 0 {
				return csv, i
			}
		case len(headerOf(line)) > 0 && (i+1 == len(lines) || !strings.HasPrefix(strings.TrimSpace(lines[i+1]), "--")):
			return table, i
		}
	}
	return none, 0
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
	l := evidence.UpdateList{Node: "Node", Usual: evidence.MonthFirst} // as the class has it in every language
	f, at := formOf(lines)
	switch f {
	case table:
		l.Rows = readTable(lines, at)
	case list:
		l.Rows = readList(lines)
	case csv:
		l.Rows = evidence.ReadUpdateCSV(lines, at)
	case empty:
	case none:
		return nil, fmt.Errorf("%s has no column or property HotFixID as wmic prints it", in.Name)
	}
	if !evidence.Ended(text) {
		l.CutWithin(lines[len(lines)-1])
	}
	return l.Say(h, in, readerName)
}

type column struct {
	name  string
	start int // in characters
}

// headerOf takes the header of a table apart; it has nothing but names of properties.
// Where wmic installed itself first, its message stands before them on the same line.
func headerOf(line string) []column {
	first := len(line)
	for name := range properties {
		if i := strings.Index(line, name); i >= 0 {
			first = min(first, i)
		}
	}
	if first > 0 && strings.TrimSpace(line[:first]) == "" {
		first = 0 // indented, like the rows
	}
	var columns []column
	rest := line[first:]
	pos := 0
	for rest != "" {
		trimmed := strings.TrimLeft(rest, " ")
		pos += len(rest) - len(trimmed)
		name, _, _ := strings.Cut(trimmed, " ")
		if name == "" {
			break
		}
		if !properties[name] || len(columns) == evidence.MaxColumns {
			return nil
		}
		columns = append(columns, column{name, pos})
		pos += len(name)
		rest = trimmed[len(name):]
	}
	return columns
}

func readTable(lines []string, header int) (rows []evidence.UpdateRow) {
	columns := headerOf(lines[header])
	for i := header + 1; i < len(lines); i++ {
		line := lines[i]
		if strings.TrimSpace(line) == "" || line == lines[header] {
			continue
		}
		if _, prompt := evidence.Prompt(line); prompt {
			break
		}
		row := evidence.UpdateRow{At: "line " + strconv.Itoa(i+1)}
		starts := offsets(line, columns)
		aligned := true
		for j, c := range columns {
			end := len(line)
			if j+1 < len(columns) {
				end = starts[j+1]
			}
			start := starts[j]
			aligned = aligned && (start == 0 || start == len(line) || line[start-1] == ' ')
			row.Set(c.name, line[start:end])
		}
		if !aligned { // characters of double width, or edited
			row = evidence.UpdateRow{At: row.At, ID: evidence.FindKB(line)}
		}
		if row.ID == "" && row.Pack == "" {
			continue
		}
		rows = append(rows, row)
	}
	return rows
}

// offsets turns the columns' places in characters into places in bytes.
func offsets(line string, columns []column) []int {
	starts := make([]int, len(columns))
	at, n := 0, 0
	for j, c := range columns {
		for n < c.start && at < len(line) {
			_, size := utf8.DecodeRuneInString(line[at:])
			at += size
			n++
		}
		starts[j] = at
	}
	return starts
}

// readList reads Property=Value; a property that comes again begins the next entry.
func readList(lines []string) (rows []evidence.UpdateRow) {
	var row evidence.UpdateRow
	seen := map[string]bool{}
	flush := func() {
		if row.ID != "" || row.Pack != "" {
			rows = append(rows, row)
		}
		row = evidence.UpdateRow{}
		clear(seen)
	}
	for i, line := range lines {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !properties[name] {
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
