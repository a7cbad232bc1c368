// Package report writes assessments: for people as text, for programs as JSON. It decides
// nothing; what it prints is in the assessment.
//
// Whatever comes out of evidence is hostile: text shows control characters and
// direction marks as escapes, JSON escapes what HTML would take for markup.
package report

import (
	"io"
	"slices"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
)

// Format is one way to write assessments: code and its documentation together.
type Format struct {
	Name, Ext, MIME, Doc string
	// Findings is what is listed unless the user chooses; OfMany is that of several
	// machines, where it is another.
	Findings, OfMany Findings
	// Open starts a document on w. Nothing may be written before, and nothing need be.
	Open func(w io.Writer, o Options) Writer
}

// Writer makes a document of assessments given one at a time. It keeps none of them, so
// that memory does not grow with their number.
type Writer interface {
	// Prepare does what can be done for one assessment alone, which is most of the work.
	// It may be called for several at the same time.
	Prepare(a *assess.Assessment) (Part, error)
	// Write adds what Prepare gave. It and Close are for one goroutine, and give the
	// errors of the io.Writer behind.
	Write(p Part) error
	// Close ends the document. It closes nothing.
	Close() error
}

// Part is what a Writer prepared.
type Part struct {
	Body   []byte
	Level  assess.Level
	Unread bool

	more any // what the format keeps beside Body, if anything
}

// Write prepares and writes one assessment.
func Write(w Writer, a *assess.Assessment) error {
	p, err := w.Prepare(a)
	if err != nil {
		return err
	}
	return w.Write(p)
}

// Options of a document. The zero value is plain, for one machine, with the findings that
// are usual for the format.
type Options struct {
	Findings Findings
	// Many is true if there may be any number of assessments, false if there is one.
	Many bool
	// Verbose writes of each of many machines what is written of a single one.
	Verbose bool
	// Width is the number of columns of a terminal; 0 is where there is none.
	Width int
	Color bool
	// Since is what Changes compare with.
	Since *Earlier
	// Catalog lets the page of a machine show the ways from where it is: the plans back to
	// patched and off its release. Without it the page has none.
	Catalog *catalog.Catalog
}

// Findings chooses the findings to list. The counts are of all, whatever is listed.
type Findings string

// The choices.
const (
	Top      Findings = "top"      // the most urgent open ones
	Affected Findings = "affected" // affected and unfixable
	Open     Findings = "open"     // affected, unfixable and unknown
	All      Findings = "all"
	None     Findings = "none"
)

// Choices are the findings one may ask for.
func Choices() []Findings { return []Findings{Top, Affected, Open, All, None} }

// topFindings is how many findings Top lists.
const topFindings = 15

// of gives those findings of a that f lists. Affected ones stand first, then what is not
// known.
func (f Findings) of(a *assess.Assessment) []assess.Finding {
	upTo := func(last ...assess.Verdict) []assess.Finding {
		for i := range a.Findings {
			if slices.Contains(last, a.Findings[i].Verdict) {
				return a.Findings[:i]
			}
		}
		return a.Findings
	}
	switch f {
	case None:
		return nil
	case Affected:
		return upTo(assess.Unknown, assess.Fixed, assess.NotAffected)
	case Top:
		list := Open.of(a)
		return list[:min(topFindings, len(list))]
	case Open:
		return upTo(assess.Fixed, assess.NotAffected)
	case All:
	}
	return a.Findings
}

// Listed is what is listed unless the user chooses.
func (f Format) Listed(many bool) Findings {
	if many && f.OfMany != "" {
		return f.OfMany
	}
	return f.Findings
}

// Formats lists the formats of an assessment, the default first.
func Formats() []Format {
	return []Format{
		{
			Name: "text", Ext: ".txt", MIME: "text/plain; charset=utf-8", Findings: Top, Open: openText,
			Doc: "for people; of several machines a short block each, or with --verbose all of it",
		},
		{
			Name: "json", Ext: ".json", MIME: "application/json", Findings: All, OfMany: Affected, Open: openJSON,
			Doc: `one document "` + schemaAssessment + `", or of several machines "` + schemaAssessments + `" with a list of them`,
		},
		{
			Name: "jsonl", Ext: ".jsonl", MIME: "application/jsonl", Findings: Affected, Open: openJSONLines,
			Doc: `one document "` + schemaAssessment + `" a line, for any number of machines`,
		},
		{
			Name: "html", Ext: ".html", MIME: "text/html; charset=utf-8", Open: openHTML,
			Doc: "one page with pictures that needs no network, for reading and printing; of several machines the worst first",
		},
		{
			Name: "csv", Ext: ".csv", MIME: "text/csv; charset=utf-8", Findings: Open, Open: openCSV,
			Doc: "a row for each machine, for spreadsheets",
		},
		{
			Name: "csv-findings", Ext: ".csv", MIME: "text/csv; charset=utf-8", Findings: Open, Open: openFindingsCSV,
			Doc: "a row for each vulnerability of each machine, for spreadsheets",
		},
		{
			Name: "xlsx", Ext: ".xlsx", MIME: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
			Findings: Open, Open: openXLSX,
			Doc: "a workbook: machines, missing updates, findings, what is undecided or not known, sources; with --output",
		},
		{
			Name: "letter", Ext: ".html", MIME: "text/html; charset=utf-8", Findings: None, Open: openLetter,
			Doc: "an exception letter for auditors, to be filled in and signed: a page of paper for each machine",
		},
	}
}

// Inspections lists the formats of what is known of a machine before it is judged, the
// default first.
func Inspections() []Format {
	return []Format{
		{
			Name: "text", Ext: ".txt", MIME: "text/plain; charset=utf-8", Open: openInspectionText,
			Doc: "for people: each fact with who states it",
		},
		{
			Name: "json", Ext: ".json", MIME: "application/json", Open: openInspectionJSON,
			Doc: `the part "host" of an assessment's document, the lists of updates and the gaps: "` + schemaInspection + `"`,
		},
	}
}

// Find gives the format with that name.
func Find(list []Format, name string) (Format, bool) {
	for _, f := range list {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}
