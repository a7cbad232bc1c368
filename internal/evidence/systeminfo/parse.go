package systeminfo

import (
	"encoding/csv"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/oldguard/oldguard/internal/evidence"
)

// record is what systeminfo printed about one machine.
type record struct {
	fields  []field
	version int    // place of the version in fields
	whole   bool   // the text ends where the program ended its last line
	raw     string // the lines it was made from; set only if there are several records
}

// field is one field with its value and, for a list, its members.
type field struct {
	value string
	line  int
	kids  []kid
}

// kid is a line below a field. Those with a number are members of its list; others go on
// with what stands above, or are what is left of a member.
type kid struct {
	text     string
	line     int
	numbered bool
}

// maxQuote bounds the marks of quoting in front of a line.
const maxQuote = 32

// maxFields and maxKids bound what is kept of one record; systeminfo prints some 35 fields,
// and the longest list of updates known has 273 members.
const (
	maxFields = 200
	maxKids   = 20_000
)

// parse finds the records in text, whatever their form. Each has its version in place.
func parse(text string) []record {
	records := slices.DeleteFunc(parseForm(text), func(r record) bool {
		if r.version < 0 || r.version >= len(r.fields) {
			return true
		}
		_, ok := versionLen(r.fields[r.version].value)
		return !ok
	})
	if len(records) == 1 {
		records[0].raw = "" // only for several machines in one file
	}
	return records
}

func parseForm(text string) []record {
	lines := evidence.Lines(text)
	whole := evidence.Ended(text)
	for i, line := range lines {
		start, _, ok := findVersion(line)
		switch {
		case !ok:
		case start > 0 && line[start-1] == '"':
			return parseCSV(lines, whole)
		case i > 0 && isRule(lines[i-1]):
			return parseTable(lines, i-1, whole)
		default:
			return parseList(lines, i, whole)
		}
	}
	return nil
}

// findVersion finds a version in a line of any form and gives its extent.
func findVersion(line string) (start, end int, ok bool) {
	for at := 0; at < len(line); {
		dot := strings.IndexByte(line[at:], '.')
		if dot < 0 {
			return 0, 0, false
		}
		dot += at
		at = dot + 1
		start = dot
		for start > 0 && dot-start < 2 && isDigit(line[start-1]) {
			start--
		}
		if start == dot || start > 0 && line[start-1] != ' ' && line[start-1] != '"' && line[start-1] != ':' && line[start-1] != '\t' {
			continue
		}
		if n, ok := versionLen(line[start:]); ok {
			return start, start + n, true
		}
	}
	return 0, 0, false
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func digits(s string) (n int) {
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// versionLen is the length of the version at the beginning of s: "6.0.6002 Service Pack 2
// Build 6002" in any language. The build number at both ends makes it one.
func versionLen(s string) (int, bool) {
	major := digits(s)
	if major == 0 || major > 2 || len(s) < major+2 || s[major] != '.' {
		return 0, false
	}
	minor := digits(s[major+1:])
	build := major + 1 + minor + 1
	if minor == 0 || minor > 2 || len(s) < build+3 || s[build-1] != '.' {
		return 0, false
	}
	n := digits(s[build:])
	if n < 3 || n > 5 {
		return 0, false
	}
	number := s[build : build+n]
	rest := s[build+n : min(len(s), build+n+100)]
	if rest == "" || rest[0] != ' ' {
		return 0, false
	}
	i := strings.LastIndex(rest, number)
	for i > 0 { // the last one that stands alone
		end := i + len(number)
		if !isDigit(rest[i-1]) && rest[i-1] != '.' && (end == len(rest) || !isDigit(rest[end]) && rest[end] != '.') {
			return build + n + end, true
		}
		i = strings.LastIndex(rest[:i], number)
	}
	return 0, false
}

// atoi reads the digits at the beginning of s, at most nine.
func atoi(s string) (n int) {
	for i := range min(len(s), 9) {
		if !isDigit(s[i]) {
			break
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// parseList reads the list form; first is the line of the first version. Quoting and
// indentation are what stands before that line's label, and the column of its value is
// that of every value.
func parseList(lines []string, first int, whole bool) []record {
	p := listForm{lines: lines}
	var versions []int
	for i := first; i < len(lines); i++ {
		if start, end, ok := findVersion(lines[i]); ok && strings.Trim(lines[i][end:], " ") == "" && start > 0 {
			versions = append(versions, i)
		}
	}
	var records []record
	for k, v := range versions {
		p.measure(lines[v])
		begin := p.begin(v)
		end := len(lines)
		if k+1 < len(versions) {
			end = p.begin(versions[k+1])
		}
		r := p.record(begin, v, end)
		r.whole = whole || end < len(lines)
		if len(versions) > 1 {
			r.raw = strings.Join(lines[begin:end], "\n") + "\n"
			if !r.whole {
				r.raw = r.raw[:len(r.raw)-1]
			}
		}
		records = append(records, r)
	}
	return records
}

type listForm struct {
	lines  []string
	quote  string // "> ", "| "
	indent int    // of labels, behind the quote
	column int    // of values, in characters behind the quote
}

// measure takes the layout from a version line.
func (p *listForm) measure(line string) {
	n := 0
	for n < min(len(line), maxQuote) && strings.IndexByte("> |\t", line[n]) >= 0 {
		n++
	}
	mark := strings.LastIndexAny(line[:n], ">|") + 1
	p.quote = strings.TrimSpace(line[:mark])
	rest := line[mark:]
	p.indent = n - mark
	start, _, _ := findVersion(rest)
	p.column = utf8.RuneCountInString(rest[:start])
}

// strip takes the quoting off; ok is false where it is absent, so the line is of no record.
func (p *listForm) strip(line string) string {
	if p.quote == "" {
		return line
	}
	line = strings.TrimLeft(line, " ")
	for _, c := range []byte(p.quote) {
		line = strings.TrimPrefix(line, string(c))
		if c != ' ' {
			line = strings.TrimPrefix(line, " ")
		}
	}
	return " " + line
}

// begin goes back from the version to the two fields before it.
func (p *listForm) begin(v int) int {
	for range 2 {
		if v == 0 {
			break
		}
		line := p.strip(p.lines[v-1])
		if _, prompt := evidence.Prompt(line); prompt {
			break
		}
		if _, ok := p.value(line); !ok {
			break
		}
		v--
	}
	return v
}

// value splits a label off. Labels are not indented more than that of the version, and
// end with a colon before the column of the values, or at least before white space.
func (p *listForm) value(line string) (string, bool) {
	trimmed := strings.TrimLeftFunc(line, unicode.IsSpace)
	if trimmed == "" || trimmed[0] == '[' || len(line)-len(trimmed) > p.indent+2 {
		return "", false
	}
	at, n := len(line), 0
	for i := range line {
		if n == p.column {
			at = i
			break
		}
		n++
	}
	if label := strings.TrimRight(line[:at], " "); strings.HasSuffix(label, ":") || strings.HasSuffix(label, "：") {
		return strings.TrimSpace(line[at:]), true
	}
	for i := 0; i < len(trimmed); i++ { // another column: characters of double width, or edited
		if trimmed[i] == ':' && (i+1 == len(trimmed) || trimmed[i+1] == ' ' || trimmed[i+1] == '\t') {
			return strings.TrimSpace(trimmed[i+1:]), true
		}
	}
	return "", false
}

// record makes the fields from the lines from begin to end.
func (p *listForm) record(begin, v, end int) record {
	var r record
	kids := 0
	for i := begin; i < end; i++ {
		line := p.strip(p.lines[i])
		if strings.TrimSpace(line) == "" {
			continue
		}
		if _, prompt := evidence.Prompt(line); prompt {
			if i > v {
				break // the next command
			}
			continue
		}
		if i == v {
			r.version = len(r.fields)
		}
		if value, ok := p.value(line); ok {
			if len(r.fields) == maxFields {
				break
			}
			r.fields = append(r.fields, field{value: value, line: i + 1})
			continue
		}
		if len(r.fields) == 0 || kids == maxKids {
			continue
		}
		kids++
		f := &r.fields[len(r.fields)-1]
		text, numbered := member(strings.TrimSpace(line))
		f.kids = append(f.kids, kid{text: text, line: i + 1, numbered: numbered})
	}
	return r
}

// member takes "[01]: " off. French has a space before the colon.
func member(s string) (string, bool) {
	if s == "" || s[0] != '[' {
		return s, false
	}
	n := digits(s[1:])
	rest, ok := strings.CutPrefix(s[1+n:], "]")
	if n == 0 || !ok {
		return s, false
	}
	rest = strings.TrimLeft(rest, " \u00a0")
	rest, ok = strings.CutPrefix(rest, ":")
	if !ok {
		return s, false
	}
	return strings.TrimSpace(rest), true
}

// parseCSV reads /FO CSV, with or without its header: each row that holds a version.
func parseCSV(lines []string, whole bool) []record {
	var records []record
	for i, line := range lines {
		if _, _, ok := findVersion(line); !ok {
			continue
		}
		rd := csv.NewReader(strings.NewReader(line))
		rd.LazyQuotes, rd.FieldsPerRecord = true, -1
		cells, err := rd.Read()
		if err != nil {
			continue
		}
		// A row that was cut ends in the middle of a cell, without the quotation mark.
		done := whole || i+1 < len(lines) || strings.HasSuffix(line, `"`)
		records = append(records, fromCells(cells, i+1, done, line))
	}
	return records
}

// isRule knows the line of ==== under the header of /FO TABLE.
func isRule(line string) bool {
	return strings.Count(line, "= =") >= 8 && strings.Trim(line, "= ") == ""
}

// parseTable reads /FO TABLE; the runs of the rule tell where the columns are.
func parseTable(lines []string, rule int, whole bool) []record {
	var records []record
	for i := rule + 1; i < len(lines); i++ {
		if _, _, ok := findVersion(lines[i]); !ok {
			continue
		}
		cells := columns(lines[rule], lines[i], func(rune) int { return 1 })
		if len(cells) > 2 {
			if _, ok := versionLen(cells[2]); !ok { // padded by the width on the screen
				cells = columns(lines[rule], lines[i], width)
			}
		}
		raw := `"` + strings.Join(cells, `","`) + `"` // as CSV, which needs no rule
		records = append(records, fromCells(cells, i+1, whole || i+1 < len(lines), raw))
	}
	return records
}

// width is the number of columns that a character takes on an East Asian console.
func width(r rune) int {
	if r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xff00 && r <= 0xff60) {
		return 2
	}
	return 1
}

func columns(rule, line string, width func(rune) int) []string {
	var cells []string
	var cell strings.Builder
	pos, next := 0, 0
	for _, r := range line {
		if pos >= next {
			if next > 0 {
				cells = append(cells, strings.TrimSpace(cell.String()))
				cell.Reset()
			}
			if gap := strings.IndexByte(rule[min(next, len(rule)):], ' '); gap >= 0 {
				next += gap + 1
			} else {
				next = 1 << 30
			}
		}
		cell.WriteRune(r)
		pos += width(r)
	}
	return append(cells, strings.TrimSpace(cell.String()))
}

// fromCells makes a record of a row. A list is in one cell: "2 Hotfix(s) Installed.,[01]:
// KB2506146,[02]: KB2999226".
func fromCells(cells []string, line int, whole bool, raw string) record {
	r := record{version: -1, whole: whole, raw: raw}
	if whole {
		r.raw += "\n"
	}
	for i, cell := range cells[:min(len(cells), maxFields)] {
		if _, ok := versionLen(strings.TrimSpace(cell)); ok && r.version < 0 {
			r.version = i
		}
		f := field{line: line}
		head, rest, _ := strings.Cut(cell, ",[")
		f.value = strings.TrimSpace(head)
		for rest != "" && len(f.kids) < maxKids {
			head, rest, _ = strings.Cut(rest, ",[")
			text, numbered := member("[" + strings.TrimSpace(head))
			f.kids = append(f.kids, kid{text: text, line: line, numbered: numbered})
		}
		r.fields = append(r.fields, f)
	}
	return r
}
