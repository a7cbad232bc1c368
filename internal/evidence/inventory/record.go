// Package inventory holds what the readers of inventories share: records with named
// values, from JSON, CSV and lists of properties, and what the values that WMI gives, by
// whatever program, say about a machine. It is for readers; it recognises no file.
package inventory

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
)

// Record is one thing with named values, such as one row of a table.
type Record struct {
	At     string // place in the input: "entry 3", "line 12"
	values map[string]any
}

// place is the name under which Text keeps a record's place in the outer input.
const place = "@place"

// Str gives a value as text without the white space around it: a string as it is, a
// number or a truth value in JSON's writing; empty for what is absent, null or composed.
func (r Record) Str(name string) string {
	switch v := r.values[name].(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// First gives the first of the named values that is not empty.
func (r Record) First(names ...string) string {
	for _, n := range names {
		if s := r.Str(n); s != "" {
			return s
		}
	}
	return ""
}

// Int gives a value that is a number, also one written as a string.
func (r Record) Int(name string) (int, bool) {
	n, err := strconv.ParseInt(r.Str(name), 10, 32)
	return int(n), err == nil
}

// Has reports whether the record has every one of the names, null or not.
func (r Record) Has(names ...string) bool {
	for _, n := range names {
		if _, ok := r.values[n]; !ok {
			return false
		}
	}
	return true
}

// Set gives the record a value more.
func (r *Record) Set(name, value string) {
	if r.values == nil {
		r.values = map[string]any{}
	}
	r.values[name] = value
}

// Pick gives the record with the named values alone.
func (r Record) Pick(names ...string) Record {
	p := Record{At: r.At, values: map[string]any{}}
	for _, n := range names {
		if v, ok := r.values[n]; ok {
			p.values[n] = v
		}
	}
	return p
}

// Time reads a moment, also out of the object that PowerShell 5 makes of one.
func (r Record) Time(name string) Time {
	if s := r.Str(name); s != "" {
		return ReadTime(s)
	}
	return ReadTime(r.Sub(name).First("value", "Value"))
}

// Sub gives a value that is an object; a record without values for any other.
func (r Record) Sub(name string) Record {
	v, _ := r.values[name].(map[string]any)
	return Record{At: r.At, values: v}
}

// List gives the objects of a value that is a list, or the one object that PowerShell
// writes for a list of one. There is one if the value is either, even if empty.
func (r Record) List(name string) (records []Record, there bool) {
	switch v := r.values[name].(type) {
	case []any:
		return objects(v, func(i int) string { return r.At + ", " + name + " " + strconv.Itoa(i+1) }), true
	case map[string]any:
		return []Record{{At: r.At + ", " + name, values: v}}, true
	}
	return nil, false
}

// Empty reports whether the record has no value.
func (r Record) Empty() bool { return len(r.values) == 0 }

func objects(list []any, at func(int) string) (records []Record) {
	for i, e := range list {
		if m, ok := e.(map[string]any); ok {
			records = append(records, Record{At: at(i), values: m})
		}
	}
	return records
}

// JSON reads objects: one, several behind each other, or lists of them, also pasted from
// a console together with the commands. What cannot be read ends the reading, and cut
// says so; what was read before it stays.
func JSON(text string) (records []Record, cut string) {
	text = withoutPrompts(text)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	n := 0
	keep := func(v map[string]any) {
		n++
		r := Record{At: "entry " + strconv.Itoa(n), values: v}
		if at, ok := v[place].(string); ok && len(at) < 80 {
			r.At = at
			delete(v, place)
		}
		records = append(records, r)
	}
	for depth := 0; ; {
		if depth == 1 && dec.More() {
			var v any
			if err := dec.Decode(&v); err != nil {
				return records, broken(err)
			}
			if m, ok := v.(map[string]any); ok {
				keep(m)
			}
			continue
		}
		if depth == 0 && nextIsObject(text, dec.InputOffset()) {
			var m map[string]any
			if err := dec.Decode(&m); err != nil {
				return records, broken(err)
			}
			keep(m)
			continue
		}
		t, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && depth == 0:
			return records, ""
		case err != nil:
			return records, broken(err)
		case t == json.Delim('['):
			depth++
		case t == json.Delim(']'):
			depth--
		}
	}
}

func nextIsObject(text string, at int64) bool {
	rest := strings.TrimLeft(text[at:], " \t\r\n")
	return rest != "" && rest[0] == '{'
}

func broken(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the JSON ends before its end"
	}
	return "the JSON is cut or not well-formed: " + err.Error()
}

// withoutPrompts drops the lines of a console that are no output.
func withoutPrompts(text string) string {
	if !strings.Contains(text, ">") {
		return text
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		if _, prompt := evidence.Prompt(line); !prompt {
			out.WriteString(line)
		}
	}
	return out.String()
}

// LooksJSON reports whether a text begins like JSON, perhaps behind a prompt.
func LooksJSON(text string) bool {
	for range 5 { // blank lines and prompts in front
		text = strings.TrimLeft(text, " \t\r\n")
		if text == "" {
			return false
		}
		if text[0] == '{' || text[0] == '[' {
			rest := strings.TrimLeft(text[1:], " \t\r\n")
			return rest == "" || strings.IndexByte(`{["]}`, rest[0]) >= 0
		}
		line, rest, _ := strings.Cut(text, "\n")
		if _, prompt := evidence.Prompt(line); !prompt {
			return false
		}
		text = rest
	}
	return false
}

// HasKey reports whether a JSON text, or the beginning of one, has every one of the names
// as the name of a value.
func HasKey(text string, names ...string) bool {
	for _, n := range names {
		if !hasKey(text, `"`+n+`"`) {
			return false
		}
	}
	return true
}

func hasKey(text, quoted string) bool {
	for {
		i := strings.Index(text, quoted)
		if i < 0 {
			return false
		}
		text = text[i+len(quoted):]
		if rest := strings.TrimLeft(text, " \t\r\n"); rest != "" && rest[0] == ':' {
			return true
		}
	}
}

// Text writes records so that JSON reads them again, places included: the nested input
// for one of several machines. If the list was cut, the text is cut as well.
func Text(records []Record, cut bool) (string, error) {
	var out strings.Builder
	out.WriteString("[")
	for i, r := range records {
		if i > 0 {
			out.WriteString(",\n")
		}
		v := maps.Clone(r.values)
		if v == nil {
			v = map[string]any{}
		}
		v[place] = r.At
		b, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		out.Write(b)
	}
	if !cut {
		out.WriteString("]\n")
	}
	return out.String(), nil
}

// Split gives the records of each machine as a nested input, in the order in which the
// machines first occur; nothing if there is one machine or none. Names of machines count
// without regard to case, and records without one go to the only machine or to a nested
// input of their own.
func Split(in evidence.Input, records []Record, cut bool, machine func(Record) string) (nested []evidence.Input, err error) {
	return SplitAs(in, records, cut, machine, "")
}

// SplitAs is Split with a text in front of each nested input, by which its reader knows it.
func SplitAs(in evidence.Input, records []Record, cut bool, machine func(Record) string, front string) (nested []evidence.Input, err error) {
	byName := map[string][]Record{}
	var names []string
	for _, r := range records {
		name := strings.ToLower(machine(r))
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], r)
	}
	if len(names) < 2 || len(names) == 2 && slices.Contains(names, "") {
		return nil, nil
	}
	for _, name := range names {
		text, err := Text(byName[name], cut)
		if err != nil {
			return nil, err
		}
		nested = append(nested, evidence.TextInput(in.Name+"#"+machine(byName[name][0]), front+text))
	}
	return nested, nil
}
