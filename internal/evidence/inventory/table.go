package inventory

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
)

// Header finds the header of a CSV text, the first line that has at least two names and
// pleases is, and its separator. It looks at the first lines only: wmic begins with an
// empty one, Export-Csv with one that says #TYPE.
func Header(lines []string, is func(names []string) bool) (line int, sep byte, ok bool) {
	for i, l := range lines[:min(len(lines), 8)] {
		for _, sep := range []byte{',', ';', '\t'} {
			names := splitHeader(l, sep)
			if len(names) >= 2 && len(names) <= evidence.MaxColumns && is(names) {
				return i, sep, true
			}
		}
	}
	return 0, 0, false
}

func splitHeader(line string, sep byte) []string {
	if strings.IndexByte(line, sep) < 0 {
		return nil
	}
	names := strings.Split(line, string(sep))
	for i, n := range names {
		names[i] = strings.Trim(strings.TrimSpace(n), `"`)
	}
	return names
}

// CSV reads the records of a CSV text whose header pleases is. bad is the number of lines
// that have more or fewer values than the header, whose values are not known: wmic quotes
// nothing, so that a comma in a name shifts what follows. cut says whether the text ends
// within a line; the last record may then be half of one and is left out.
func CSV(text string, is func(names []string) bool) (records []Record, bad int, cut bool) {
	lines := evidence.Lines(text)
	at, sep, ok := Header(lines, is)
	if !ok {
		return nil, 0, false
	}
	names := splitHeader(lines[at], sep)
	cut = !evidence.Ended(text)
	keep := func(line int, values []string) {
		if len(values) == 1 && strings.TrimSpace(values[0]) == "" {
			return
		}
		if len(values) != len(names) {
			bad++
			return
		}
		r := Record{At: "line " + strconv.Itoa(line)}
		for i, v := range values {
			if v = strings.TrimSpace(v); v != "" {
				r.Set(names[i], v)
			}
		}
		if !r.Empty() {
			records = append(records, r)
		}
	}
	last := 0
	if names[0] == "Node" || !strings.Contains(text, `"`) {
		for i := at + 1; i < len(lines); i++ {
			if _, prompt := evidence.Prompt(lines[i]); prompt {
				break
			}
			if lines[i] == lines[at] {
				continue
			}
			last = len(records)
			keep(i+1, strings.Split(lines[i], string(sep)))
		}
	} else {
		r := csv.NewReader(strings.NewReader(strings.Join(lines[at+1:], "\n")))
		r.Comma, r.LazyQuotes, r.FieldsPerRecord, r.ReuseRecord = rune(sep), true, -1, true
		for {
			values, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				bad++
				break // a quote that is never closed takes the rest with it
			}
			line, _ := r.FieldPos(0)
			last = len(records)
			keep(at+1+line, values)
		}
	}
	if cut && last < len(records) {
		records = records[:last]
	}
	return records, bad, cut
}

// maxProperties bounds the properties of one entry of a list; Get-ComputerInfo has 180.
const maxProperties = 1000

// Properties reads lists of properties, "Name=Value" as wmic writes them or "Name : Value"
// as Format-List does: a name that comes again begins the next record. A line that begins
// with blanks continues the value before, where sep is ':'.
func Properties(text string, sep byte) (records []Record) {
	var r Record
	lastName, more := "", []string(nil)
	join := func() { // what continues a value, once it is known to be all of it
		if len(more) > 0 {
			r.Set(lastName, r.Str(lastName)+" "+strings.Join(more, " "))
			more = nil
		}
	}
	flush := func() {
		join()
		if !r.Empty() {
			records = append(records, r)
		}
		r, lastName = Record{}, ""
	}
	for i, line := range evidence.Lines(text) {
		name, value, ok := strings.Cut(line, string(sep))
		trimmed := strings.TrimSpace(name)
		if !ok || !isName(trimmed) || strings.HasPrefix(name, "  ") {
			if sep == ':' && lastName != "" && strings.HasPrefix(line, "  ") {
				more = append(more, strings.TrimSpace(line))
			}
			continue
		}
		join()
		if r.Has(trimmed) || len(r.values) >= maxProperties {
			flush()
		}
		if r.Empty() {
			r.At = "line " + strconv.Itoa(i+1)
		}
		r.Set(trimmed, strings.TrimSpace(value))
		lastName = trimmed
	}
	flush()
	return records
}

func isName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}

// Named reports whether all of want are among names.
func Named(names []string, want ...string) bool {
	for _, w := range want {
		if !slices.Contains(names, w) {
			return false
		}
	}
	return true
}
