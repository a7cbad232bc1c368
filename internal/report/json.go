package report

import (
	"cmp"
	"encoding/json"
	"io"
	"sync"

	"github.com/oldguard/oldguard/internal/assess"
)

// jsonWriter writes documents, alone or as a list in an outer document.
type jsonWriter struct {
	w       io.Writer
	prepare func(b []byte, a *assess.Assessment) ([]byte, error) // appends to b
	spare   sync.Pool                                            // of *[]byte: a document has megabytes
	// head and foot enclose many documents, which sep separates.
	head, sep, foot string
	begun           bool
}

func openJSON(w io.Writer, o Options) Writer {
	f, layout := cmp.Or(o.Findings, All), "\n"
	if o.Many {
		f, layout = cmp.Or(o.Findings, Affected), ""
	}
	return enclose(w, o, schemaAssessments, "assessments", func(b []byte, a *assess.Assessment) ([]byte, error) { return appendDocument(b, a, f, layout) })
}

func openJSONLines(w io.Writer, o Options) Writer {
	f := cmp.Or(o.Findings, Affected)
	return &jsonWriter{w: w, prepare: func(b []byte, a *assess.Assessment) ([]byte, error) { return appendDocument(b, a, f, "") }}
}

func openInspectionJSON(w io.Writer, o Options) Writer {
	return enclose(w, o, schemaInspections, "inspections", func(b []byte, a *assess.Assessment) ([]byte, error) { return marshal(b, inspection(a), !o.Many) })
}

// enclose writes one document as it is, and many as a list in an outer one, a line each.
func enclose(w io.Writer, o Options, schema, list string, prepare func([]byte, *assess.Assessment) ([]byte, error)) *jsonWriter {
	if !o.Many {
		return &jsonWriter{w: w, prepare: prepare}
	}
	return &jsonWriter{
		w: w, prepare: prepare,
		head: `{"schema":"` + schema + `","` + list + `":[` + "\n", sep: ",", foot: "]}\n",
	}
}

// marshal appends v as encoding/json writes it.
func marshal(b []byte, v any, indent bool) ([]byte, error) {
	encode := json.Marshal
	if indent {
		encode = func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
	}
	text, err := encode(v)
	return append(b, text...), err
}

// Prepare encodes one document with a line end.
func (j *jsonWriter) Prepare(a *assess.Assessment) (Part, error) {
	spare, ok := j.spare.Get().(*[]byte)
	if !ok {
		spare = new([]byte)
	}
	b, err := j.prepare((*spare)[:0], a)
	return Part{Body: append(b, '\n'), Level: a.Level(), Unread: Unread(a)}, err
}

// Write writes one document; its part is used up.
func (j *jsonWriter) Write(p Part) error {
	before := j.sep
	if !j.begun {
		before, j.begun = j.head, true
	}
	if _, err := io.WriteString(j.w, before); err != nil {
		return err
	}
	_, err := j.w.Write(p.Body)
	j.spare.Put(&p.Body)
	return err
}

// Close ends the document.
func (j *jsonWriter) Close() error {
	foot := j.foot
	if !j.begun {
		foot = j.head + foot
	}
	_, err := io.WriteString(j.w, foot)
	return err
}
