package report

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
)

// A machine that tens of thousands talk to has a document of a hundred megabytes, which
// encoding/json would build in memory before it writes the first byte. So these structures are
// taken apart, and what is in them is encoded piece by piece, lists item by item. A test holds that the
// result is the encoding of the document.
var streamed = map[reflect.Type]bool{
	reflect.TypeFor[IsolationDocument]():   true,
	reflect.TypeFor[IsolationHost]():       true,
	reflect.TypeFor[IsolationDependency](): true,
}

func isolationJSON(w io.Writer, s Isolations, _ Options) error {
	d := NewIsolation(s)
	j := jsonStream{w: w}
	j.value(reflect.ValueOf(d).Elem(), "\n")
	j.raw("\n")
	return j.err
}

// jsonStream writes values as encoding/json does with an indent of two blanks and < > & as they
// are. After an error it writes no more.
type jsonStream struct {
	w   io.Writer
	buf bytes.Buffer
	err error
}

func (j *jsonStream) raw(s string) {
	if j.err == nil {
		_, j.err = io.WriteString(j.w, s)
	}
}

// value writes v; line is the end of a line with the indent of the line in which v begins.
func (j *jsonStream) value(v reflect.Value, line string) {
	inner := line + "  "
	switch {
	case streamed[v.Type()]:
		sep := "{"
		for f, field := range v.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			j.raw(sep + inner + `"` + name + `": `)
			j.value(field, inner)
			sep = ","
		}
		j.raw(line + "}")
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct:
		sep := "["
		for i := range v.Len() {
			j.raw(sep + inner)
			j.value(v.Index(i), inner)
			sep = ","
		}
		j.raw(line + "]")
	default:
		j.buf.Reset()
		e := json.NewEncoder(&j.buf)
		e.SetEscapeHTML(false)
		e.SetIndent(line[1:], "  ")
		if err := e.Encode(v.Addr().Interface()); err != nil && j.err == nil {
			j.err = err
		}
		j.raw(strings.TrimSuffix(j.buf.String(), "\n"))
	}
}
