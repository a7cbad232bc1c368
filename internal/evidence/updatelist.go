package evidence

import (
	"encoding/csv"
	"fmt"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
)

// UpdateList is a list of updates as WMI's class Win32_QuickFixEngineering gives it,
// whatever program printed it.
type UpdateList struct {
	Rows []UpdateRow
	// Cut says why the list is not the whole one; empty if it is.
	Cut string
	// Node is the column that names the machine in the CSV that Say makes of a list about
	// several machines, by which the reader knows its own kind.
	Node string
	// Usual is the order of dates where none of them shows it.
	Usual DateOrder
}

// UpdateRow is one entry of the list, with the values as printed.
type UpdateRow struct {
	Machine string // CSName, or what else names the machine; may be empty
	ID      string // HotFixID
	Pack    string // ServicePackInEffect; in XP the update that an entry "File 1" belongs to
	On      string // InstalledOn
	At      string // place in the input
}

// Columns that UpdateList.Say writes for nested inputs, and that its readers therefore
// read in CSV: one for the place where the entry stood in the outer input.
const (
	ColumnMachine = "CSName"
	ColumnID      = "HotFixID"
	ColumnPack    = "ServicePackInEffect"
	ColumnOn      = "InstalledOn"
	ColumnAt      = "Place"
)

// Say says to h what the list says, in the name of the reader. A list about several
// machines says nothing: it gives one CSV input for each.
func (l UpdateList) Say(h *host.Host, in Input, reader string) (nested []Input, err error) {
	machines := map[string][]UpdateRow{}
	var names []string
	for _, r := range l.Rows {
		name := strings.ToLower(r.Machine)
		if machines[name] == nil {
			names = append(names, name)
		}
		machines[name] = append(machines[name], r)
	}
	if len(names) > 1 {
		for _, name := range names {
			text, err := l.csv(machines[name])
			if err != nil {
				return nil, fmt.Errorf("split %s by machine: %w", in.Name, err)
			}
			nested = append(nested, TextInput(in.Name+"#"+machines[name][0].Machine, text))
		}
		return nested, nil
	}
	l.say(h, in, reader)
	return nil, nil
}

func (l UpdateList) say(h *host.Host, in Input, reader string) {
	dates := make([]string, len(l.Rows))
	for i, r := range l.Rows {
		dates[i] = r.On
	}
	order := OrderOf(dates...)
	if order == OrderUnknown {
		order = l.Usual
	}
	var odd Oddities
	for _, r := range l.Rows {
		from := host.Source{Reader: reader, Input: in.Name, At: r.At}
		h.Name.Say(r.Machine, in.Rank, host.Source{Reader: reader, Input: in.Name, At: ColumnMachine})
		kb, ok := UpdateID(r.ID)
		if !ok {
			kb, ok = UpdateID(r.Pack)
		}
		if !ok {
			odd.Add(r.ID)
			continue
		}
		h.Updates.Add(kb, from)
		if on, ok := InstallDate(r.On, order); ok {
			h.SetInstalledOn(kb, on)
		}
	}
	list := host.Listing{
		From: host.Source{Reader: reader, Input: in.Name}, Scope: ScopeCBS,
		Announced: -1, Printed: len(l.Rows),
	}
	switch {
	case l.Cut != "":
		list.Why = l.Cut + odd.String()
		Cut(h, list)
		return
	case len(l.Rows) == 0:
		list.Why = "the list is there and empty"
	default:
		list.Why = "lists " + Count(len(l.Rows), "package", "packages") + odd.String()
	}
	list.Whole = true
	h.Updates.List(list)
}

// csv writes rows in the form that both readers understand. If the list was cut, none of
// its machines has a whole one.
func (l UpdateList) csv(rows []UpdateRow) (string, error) {
	var out strings.Builder
	w := csv.NewWriter(&out)
	records := [][]string{{l.Node, ColumnID, ColumnPack, ColumnOn, ColumnAt}}
	for _, r := range rows {
		records = append(records, []string{r.Machine, r.ID, r.Pack, r.On, r.At})
	}
	if err := w.WriteAll(records); err != nil {
		return "", err
	}
	if l.Cut != "" {
		return strings.TrimSuffix(out.String(), "\n"), nil
	}
	return out.String(), nil
}

// ReadUpdateCSV reads CSV lines from a header on, which has a column HotFixID, to the
// first line that is a prompt. wmic quotes nothing, so a comma in a description shifts
// what follows; then only the KB number is found.
func ReadUpdateCSV(lines []string, header int) []UpdateRow {
	sep := CSVSeparator(lines[header])
	names := cells(lines[header], sep)
	var rows []UpdateRow
	for i := header + 1; i < len(lines); i++ {
		line := lines[i]
		if strings.TrimSpace(line) == "" || line == lines[header] {
			continue
		}
		if _, prompt := Prompt(line); prompt {
			break
		}
		values := cells(line, sep)
		row := UpdateRow{At: "line " + itoa(i+1)}
		for j, name := range names {
			if len(values) != len(names) && (j > 0 || name != "Node") {
				continue
			}
			row.Set(name, values[j])
		}
		if len(values) != len(names) {
			row.ID = FindKB(line)
			if row.ID == "" {
				continue
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// CutWithin records that the text ends within its last line. What that line says last may
// be half of it: an entry is not kept if nothing stands behind its number there, or if it
// is about another machine than the one before.
func (l *UpdateList) CutWithin(line string) {
	l.Cut = "the file ends within a line, so updates may be cut off"
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t,;=:\"", r) })
	n := len(l.Rows)
	if n > 0 && len(words) > 0 && l.Rows[n-1].ID == words[len(words)-1] ||
		n > 1 && !strings.EqualFold(l.Rows[n-1].Machine, l.Rows[n-2].Machine) {
		l.Rows = l.Rows[:n-1]
	}
}

// Set gives the row the value of the property.
func (r *UpdateRow) Set(property, value string) {
	value = strings.TrimSpace(value)
	switch property {
	case ColumnID:
		r.ID = value
	case ColumnPack:
		r.Pack = value
	case ColumnOn:
		r.On = value
	case ColumnAt:
		r.At = value
	case ColumnMachine:
		if value != "" {
			r.Machine = value
		}
	case "Node", "Source", "PSComputerName", "__SERVER", "SystemName": // others name the machine too, CSName best
		if r.Machine == "" && !strings.HasSuffix(value, "...") && !strings.HasSuffix(value, "…") && !strings.EqualFold(value, "localhost") {
			r.Machine = value
		}
	}
}

// MaxColumns bounds the columns of a list of updates; the class has fewer than 40.
const MaxColumns = 200

// CSVSeparator gives the separator of a CSV header that has a column HotFixID, or zero.
func CSVSeparator(header string) byte {
	if !strings.Contains(header, ColumnID) {
		return 0
	}
	for _, sep := range []byte{',', ';', '\t'} {
		names := cells(header, sep)
		if len(names) > MaxColumns {
			continue
		}
		for _, c := range names {
			if c == ColumnID && strings.IndexByte(header, sep) >= 0 {
				return sep
			}
		}
	}
	return 0
}

func cells(line string, sep byte) []string {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, string(sep))
	}
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = rune(sep), true, -1
	values, err := r.Read()
	if err != nil {
		return nil
	}
	return values
}

// FindKB finds the first KB number with its letters that stands alone in a line.
func FindKB(line string) string {
	for f := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(" \t,;\"", r) }) {
		if len(f) > 2 && strings.EqualFold(f[:2], "KB") {
			if _, ok := UpdateID(f); ok {
				return f
			}
		}
	}
	return ""
}
