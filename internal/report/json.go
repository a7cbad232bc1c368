package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"

	"github.com/oldguard/oldguard/internal/assess"
)

// jsonWriter writes documents, alone or as a list in an outer document.
type jsonWriter struct {
	w    io.Writer
	make func(*assess.Assessment) any
	// head and foot enclose many documents, which sep separates.
	head, sep, foot string
	indent          bool
	begun           bool
	buf             bytes.Buffer
}

func openJSON(w io.Writer, o Options) Writer {
	return enclose(w, o, schemaAssessments, "assessments", documents(o, All))
}

func openJSONLines(w io.Writer, o Options) Writer {
	return &jsonWriter{w: w, make: documents(o, Open)}
}

func documents(o Options, usual Findings) func(*assess.Assessment) any {
	f := cmp.Or(o.Findings, usual)
	return func(a *assess.Assessment) any { return New(a, f) }
}

// enclose writes one document indented, and many as a list in an outer one, a line each.
func enclose(w io.Writer, o Options, schema, list string, document func(*assess.Assessment) any) Writer {
	if !o.Many {
		return &jsonWriter{w: w, make: document, indent: true}
	}
	return &jsonWriter{
		w: w, make: document,
		head: `{"schema":"` + schema + `","` + list + `":[` + "\n", sep: ",", foot: "]}\n",
	}
}

// Write writes one document and a line end.
func (j *jsonWriter) Write(a *assess.Assessment) error {
	j.buf.Reset()
	j.begin()
	enc := json.NewEncoder(&j.buf) // escapes what HTML would take for markup
	if j.indent {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(j.make(a)); err != nil {
		return err
	}
	_, err := j.w.Write(j.buf.Bytes())
	return err
}

func (j *jsonWriter) begin() {
	if j.begun {
		j.buf.WriteString(j.sep)
	} else {
		j.buf.WriteString(j.head)
	}
	j.begun = true
}

// Close ends the document.
func (j *jsonWriter) Close() error {
	if !j.begun && j.head != "" {
		j.foot = j.head + j.foot
	}
	_, err := io.WriteString(j.w, j.foot)
	return err
}
