package report

import (
	"cmp"
	"encoding/json"
	"io"

	"github.com/oldguard/oldguard/internal/assess"
)

// jsonWriter writes documents, alone or as a list in an outer document.
type jsonWriter struct {
	w       io.Writer
	prepare func(*assess.Assessment) ([]byte, error)
	// head and foot enclose many documents, which sep separates.
	head, sep, foot string
	begun           bool
}

func openJSON(w io.Writer, o Options) Writer {
	f, layout := cmp.Or(o.Findings, All), "\n"
	if o.Many {
		layout = ""
	}
	return enclose(w, o, schemaAssessments, "assessments", func(a *assess.Assessment) ([]byte, error) { return appendDocument(a, f, layout) })
}

func openJSONLines(w io.Writer, o Options) Writer {
	f := cmp.Or(o.Findings, Open)
	return &jsonWriter{w: w, prepare: func(a *assess.Assessment) ([]byte, error) { return appendDocument(a, f, "") }}
}

func openInspectionJSON(w io.Writer, o Options) Writer {
	return enclose(w, o, schemaInspections, "inspections", func(a *assess.Assessment) ([]byte, error) {
		if o.Many {
			return json.Marshal(inspection(a))
		}
		return json.MarshalIndent(inspection(a), "", "  ")
	})
}

// enclose writes one document as it is, and many as a list in an outer one, a line each.
func enclose(w io.Writer, o Options, schema, list string, prepare func(*assess.Assessment) ([]byte, error)) Writer {
	if !o.Many {
		return &jsonWriter{w: w, prepare: prepare}
	}
	return &jsonWriter{
		w: w, prepare: prepare,
		head: `{"schema":"` + schema + `","` + list + `":[` + "\n", sep: ",", foot: "]}\n",
	}
}

// Prepare encodes one document with a line end.
func (j *jsonWriter) Prepare(a *assess.Assessment) (Part, error) {
	b, err := j.prepare(a)
	return Part{Body: append(b, '\n'), Level: a.Level(), Unread: Unread(a)}, err
}

// Write writes one document.
func (j *jsonWriter) Write(p Part) error {
	before := j.sep
	if !j.begun {
		before, j.begun = j.head, true
	}
	if _, err := io.WriteString(j.w, before); err != nil {
		return err
	}
	_, err := j.w.Write(p.Body)
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
