package report

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// style is how a piece of text stands out on a terminal that shows colours.
type style string

// The styles, as SGR parameters. Nothing is said by colour alone.
const (
	plain style = ""
	bold  style = "1"
	faint style = "2"
	red   style = "1;31"
	amber style = "33"
	green style = "32"
)

// plainWidth is the width where there is no terminal to ask.
const plainWidth = 100

// printer writes lines of text. Everything that goes through it is cleaned, so that nothing
// in evidence can move the cursor, change the terminal or turn the direction of writing.
type printer struct {
	b     bytes.Buffer
	width int
	color bool
}

func newPrinter(o Options) *printer {
	p := &printer{width: o.Width, color: o.Color}
	if p.width == 0 {
		p.width = plainWidth
	}
	p.width = max(p.width, 40)
	return p
}

func (p *printer) bytes() []byte { return p.b.Bytes() }

// styled gives text cleaned, and in colour if there is any.
func (p *printer) styled(s style, text string) string {
	text = clean(text)
	if !p.color || s == plain {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// line prints pieces that are clean already.
func (p *printer) line(pieces ...string) {
	p.b.WriteString(strings.TrimRight(strings.Join(pieces, ""), " ") + "\n")
}

// title starts a section.
func (p *printer) title(format string, args ...any) {
	p.line()
	p.line(p.styled(bold, fmt.Sprintf(format, args...)))
}

// para prints text in lines of the width, the first behind lead, the others as deep.
func (p *printer) para(s style, lead, text string) {
	depth := utf8.RuneCountInString(lead)
	indent := strings.Repeat(" ", depth)
	var row strings.Builder
	n := 0
	end := func() {
		p.line(clean(lead), p.styled(s, row.String()))
		lead, n = indent, 0
		row.Reset()
	}
	for word := range strings.FieldsSeq(clean(text)) {
		w := utf8.RuneCountInString(word)
		if n > 0 && depth+n+1+w > p.width {
			end()
		}
		if n > 0 {
			row.WriteByte(' ')
			n++
		}
		row.WriteString(word)
		n += w
	}
	end()
}

// maxText bounds one piece of text; the longest of ours has some hundred characters.
const maxText = 2000

// clean shows what is not plain text as an escape: control characters, and those marks of
// Unicode that are not seen but change what is.
func clean(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	if strings.IndexFunc(s, unsafe) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unsafe(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}
