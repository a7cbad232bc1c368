package report

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// CSV is for spreadsheets, and for scripts that read one: RFC 4180, in UTF-8 with its mark,
// since Excel and Windows PowerShell take a file without the mark for another encoding.
// What is not known is an empty cell.
//
// A spreadsheet runs a cell that begins like a formula, and what stands in a cell may come
// from an attacker: such a cell begins with an apostrophe here.

// column is one column of a table: its head, and the cell it takes of a row, which is text
// or a number.
type column[T any] struct {
	head  string
	width float64 // in a sheet, in characters
	cell  func(*T) any
}

// number gives n, nothing where it is negative: not known.
func number(n int) any {
	if n < 0 {
		return ""
	}
	return n
}

// hostColumns is one row for each machine. Columns are added at the end.
func hostColumns() []column[assess.Assessment] {
	return []column[assess.Assessment]{
		{"name", 22, nameOf},
		{"domain", 20, func(a *assess.Assessment) any { return a.Host.Domain.Or("") }},
		{"role", 16, func(a *assess.Assessment) any { return string(a.Host.Role.Or("")) }},
		{"release", 26, func(a *assess.Assessment) any {
			if r := a.Identity.Release; r != nil {
				return r.Name
			}
			return ""
		}},
		{"product", 34, func(a *assess.Assessment) any { return a.Host.Product.Or("") }},
		{"edition", 14, func(a *assess.Assessment) any { return a.Host.Edition.Or("") }},
		{"architecture", 12, func(a *assess.Assessment) any {
			if v, ok := a.Host.Arch.Value(); ok {
				return v.String()
			}
			return ""
		}},
		{"build", 18, func(a *assess.Assessment) any {
			if a.Build.Known() {
				return a.Build.String()
			}
			return ""
		}},
		{"revision_inferred", 8, func(a *assess.Assessment) any { return yes(a.BuildInferred) }},
		{"level", 11, func(a *assess.Assessment) any { return levels[a.Level()] }},
		{"headline", 60, func(a *assess.Assessment) any { return a.Summary.Headline }},
		{"support", 20, func(a *assess.Assessment) any { return string(a.Support.State) }},
		{"support_ends", 12, func(a *assess.Assessment) any { return a.Support.Ends.String() }},
		{"exploited", 9, func(a *assess.Assessment) any { return a.Summary.Exploited }},
		{"ransomware", 10, func(a *assess.Assessment) any { return a.Summary.Ransomware }},
		{"critical", 8, func(a *assess.Assessment) any { return a.Summary.CriticalAffected }},
		{"affected", 8, func(a *assess.Assessment) any { return a.Summary.Affected }},
		{"unfixable", 9, func(a *assess.Assessment) any { return a.Summary.Unfixable }},
		{"unknown", 9, func(a *assess.Assessment) any { return a.Summary.Unknown }},
		{"fixed", 8, func(a *assess.Assessment) any { return a.Summary.Fixed }},
		{"not_affected", 11, func(a *assess.Assessment) any { return a.Summary.NotAffected }},
		{"missing", 30, func(a *assess.Assessment) any {
			return strings.Join(each(a.Updates.Missing, func(it assess.Item) string { return it.KB.String() }), " ")
		}},
		{"undecided_updates", 10, func(a *assess.Assessment) any { return len(a.Updates.Undecided) }},
		{"newest", 12, func(a *assess.Assessment) any { return kbOrNone(a.Updates.Newest) }},
		{"newest_released", 12, func(a *assess.Assessment) any { return a.Updates.NewestReleased.String() }},
		{"latest", 12, func(a *assess.Assessment) any { return kbOrNone(a.Updates.Latest) }},
		{"latest_released", 12, func(a *assess.Assessment) any { return a.Updates.LatestReleased.String() }},
		{"months_behind", 9, func(a *assess.Assessment) any { return number(a.Updates.MonthsBehind) }},
		{"gaps", 6, func(a *assess.Assessment) any { return len(a.Gaps) }},
		{"evidence", 40, func(a *assess.Assessment) any { return strings.Join(inputs(a.Host), ", ") }},
		{"as_of", 11, func(a *assess.Assessment) any { return a.AsOf.String() }},
		{"not_known_after", 40, func(a *assess.Assessment) any {
			var out []string
			for _, s := range a.Sources {
				if s.Stale {
					out = append(out, s.ID+" "+s.Last.String())
				}
			}
			return strings.Join(out, ", ")
		}},
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func kbOrNone(kb winver.KB) string {
	if kb == 0 {
		return ""
	}
	return kb.String()
}

func joined(list []string) string { return strings.Join(list, "; ") }

func because(list []host.Reason) string {
	return joined(each(list, func(r host.Reason) string { return r.Text }))
}

func nameOf(a *assess.Assessment) any { return a.Host.Name.Or("") }

// found is a finding with its machine.
type found struct {
	*assess.Finding
	on *assess.Assessment
}

// findingColumns is one row for each finding.
func findingColumns() []column[found] {
	return []column[found]{
		{"name", 22, func(f *found) any { return nameOf(f.on) }},
		{"cve", 16, func(f *found) any { return f.CVE }},
		{"verdict", 12, func(f *found) any { return f.Verdict.String() }},
		{"severity", 11, func(f *found) any { return f.Severity.String() }},
		{"cvss", 6, func(f *found) any {
			if f.Score == 0 {
				return ""
			}
			return f.Score
		}},
		{"exploited", 11, func(f *found) any { return f.KEV.String() }},
		{"exploited_since", 12, func(f *found) any { return f.KEVSince.String() }},
		{"ransomware", 10, func(f *found) any { return yes(f.Ransomware) }},
		{"impact", 24, func(f *found) any { return f.Impact.String() }},
		{"component", 34, func(f *found) any { return f.Component }},
		{"first_fixed", 12, func(f *found) any { return f.First.String() }},
		{"fixes", 34, func(f *found) any { return strings.Join(each(f.Fixes, winver.KB.String), " ") }},
		{"needs", 40, func(f *found) any { return joined(needTexts(f.Needs)) }},
		{"because", 60, func(f *found) any {
			return because(f.Because)
		}},
		{"source", 40, func(f *found) any {
			var out []string
			for _, r := range reasons(f.Because) {
				out = append(out, each(r.Told(), where)...)
			}
			return joined(out)
		}},
		{"as_of", 11, func(f *found) any { return f.on.AsOf.String() }},
	}
}

func openCSV(w io.Writer, _ Options) Writer {
	return &table[assess.Assessment]{w: w, columns: hostColumns(), rows: func(a *assess.Assessment, row func(*assess.Assessment)) {
		if !Unread(a) {
			row(a)
		}
	}}
}

func openFindingsCSV(w io.Writer, o Options) Writer {
	choice := cmp.Or(o.Findings, Open)
	return &table[found]{w: w, columns: findingColumns(), rows: func(a *assess.Assessment, row func(*found)) {
		list := choice.of(a)
		for i := range list {
			row(&found{&list[i], a})
		}
	}}
}

// table writes the heads once, then the rows of each machine.
type table[T any] struct {
	w       io.Writer
	columns []column[T]
	rows    func(*assess.Assessment, func(*T))
	begun   bool
}

// Prepare makes the rows of one machine.
func (t *table[T]) Prepare(a *assess.Assessment) (Part, error) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	out.UseCRLF = true
	cells := make([]string, len(t.columns))
	t.rows(a, func(v *T) {
		for i, c := range t.columns {
			cells[i] = cellText(c.cell(v))
		}
		_ = out.Write(cells) // Error tells below
	})
	out.Flush()
	return Part{Body: b.Bytes(), Level: a.Level(), Unread: Unread(a)}, out.Error()
}

// Write writes the rows of one machine.
func (t *table[T]) Write(p Part) error {
	if err := t.head(); err != nil {
		return err
	}
	_, err := t.w.Write(p.Body)
	return err
}

// Close writes the heads if nothing was written.
func (t *table[T]) Close() error { return t.head() }

func (t *table[T]) head() error {
	if t.begun {
		return nil
	}
	t.begun = true
	heads := each(t.columns, func(c column[T]) string { return c.head })
	_, err := io.WriteString(t.w, "\uFEFF"+strings.Join(heads, ",")+"\r\n") // plain words
	return err
}

func cellText(v any) string {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case string:
		return harmless(v)
	}
	return ""
}

// harmless gives text for a cell: as clean does, and never the start of a formula. The
// last four are the wide forms that spreadsheets of East Asia take for the same.
func harmless(s string) string {
	s = clean(s)
	if strings.IndexAny(s, "=+-@\t\r\n＝＋－＠") == 0 {
		return "'" + s
	}
	return s
}
