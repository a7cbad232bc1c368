package explain

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	plainWidth = 100 // where there is no terminal to ask
	maxLabel   = 24  // a longer one pushes its own text aside
)

// WriteText writes the answer for people, in lines of the width (0 is 100 columns). What
// is not plain text comes out as an escape, wherever it came from. The error is that of w.
func (a *Answer) WriteText(w io.Writer, width int) error {
	if width == 0 {
		width = plainWidth
	}
	t := text{width: max(width, 40)}
	t.para("", a.Title)
	var notes []string
	note := func(source string) string {
		if source == "" {
			return ""
		}
		for i, n := range notes {
			if n == source {
				return fmt.Sprintf(" [%d]", i+1)
			}
		}
		notes = append(notes, source)
		return fmt.Sprintf(" [%d]", len(notes))
	}
	for _, s := range a.Sections {
		t.para("", "")
		t.para("", s.Heading)
		column := 0
		for _, l := range s.Lines {
			column = max(column, min(utf8.RuneCountInString(l.Label), maxLabel))
		}
		last := ""
		for _, l := range s.Lines {
			label := l.Label
			if label == last {
				label = ""
			}
			last = l.Label
			said := l.Text
			if l.Conflict {
				said = "CONFLICT: " + said
			}
			if l.Confidence != "" && l.Confidence != "documented" {
				said += " (" + flat.Replace(l.Confidence) + ")"
			}
			lead := "  - "
			if column > 0 {
				lead = "  " + label + strings.Repeat(" ", max(0, column-utf8.RuneCountInString(label))+2)
			}
			t.para(lead, said+note(l.Source))
		}
	}
	if len(a.Near) > 0 {
		t.para("", "")
		t.para("See also: ", strings.Join(a.Near, ", "))
	}
	if len(notes) > 0 {
		t.para("", "")
		t.para("", "Sources")
		for i, n := range notes {
			t.para(fmt.Sprintf("  [%d] ", i+1), n)
		}
	}
	if len(a.Sources) > 0 {
		t.para("", "")
		t.para("", "Known until")
		for _, s := range a.Sources {
			t.para(fmt.Sprintf("  %-10s  ", s.Last), s.Name)
		}
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

// flat takes the brackets out of what will stand in brackets.
var flat = strings.NewReplacer(" (", ", ", ")", "")

// text is text in lines.
type text struct {
	b     strings.Builder
	width int
}

// para writes s in lines of the width, the first behind lead, the others as deep.
func (t *text) para(lead, s string) {
	lead = clean(lead)
	depth := utf8.RuneCountInString(lead)
	line, n := lead, depth
	for word := range strings.FieldsSeq(clean(s)) {
		size := utf8.RuneCountInString(word)
		if n > depth && n+1+size > t.width {
			t.b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, n = strings.Repeat(" ", depth), depth
		}
		if n > depth {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+size
	}
	t.b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// clean shows what could move a cursor or turn the direction of writing as an escape.
func clean(s string) string {
	q := fmt.Sprintf("%q", s)
	q = q[1 : len(q)-1]
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q)
}
