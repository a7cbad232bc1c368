package report

import (
	"fmt"
	"io"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Inspection is what the evidence says of a machine and what follows from it, unjudged.
// Its host is the one of Document.
type Inspection struct {
	Schema  string   `json:"schema"`
	Host    Host     `json:"host"`
	Because []Reason `json:"because"` // of the release; or why it is not known
	Lists   []List   `json:"lists"`
	Updates []Listed `json:"updates"`
	Gaps    []Gap    `json:"gaps"`
}

// List is what a source says about its list of updates as a whole.
type List struct {
	Source    Source `json:"source"`
	Whole     bool   `json:"whole"`
	Scope     string `json:"scope"`
	Why       string `json:"why"`
	Announced *int   `json:"announced"`
	Printed   int    `json:"printed"`
}

// Listed is an update that the evidence names.
type Listed struct {
	KB          winver.KB `json:"kb"`
	InstalledOn *string   `json:"installed_on"`
	Sources     []Source  `json:"sources"`
}

func inspection(a *assess.Assessment) *Inspection {
	h := a.Host
	return &Inspection{
		Schema: schemaInspection, Host: hostOf(a), Because: whyRelease(a),
		Lists: each(h.Updates.Listings(), func(l host.Listing) List {
			out := List{Source: sourceOf(l.From), Whole: l.Whole, Scope: l.Scope, Why: l.Why, Printed: l.Printed}
			if l.Announced >= 0 {
				out.Announced = &l.Announced
			}
			return out
		}),
		Updates: each(h.Updates.All(), func(kb winver.KB) Listed {
			out := Listed{KB: kb, Sources: each(h.Updates.Sources(kb), sourceOf)}
			if on, ok := h.InstalledOn[kb]; ok {
				out.InstalledOn = known(on.Format("2006-01-02"))
			}
			return out
		}),
		Gaps: each(h.Gaps, gapOf),
	}
}

func whyRelease(a *assess.Assessment) []Reason {
	if a.Identity.Release == nil {
		return []Reason{{Text: a.Identity.Why, Sources: []Source{}}}
	}
	return reasons(a.Identity.Because)
}

func minute(t time.Time) string { return t.Format("2006-01-02 15:04") }

// inspectionText writes inspections for people.
type inspectionText struct{ o Options }

func openInspectionText(w io.Writer, o Options) Writer {
	return &blocks{w: w, prepare: inspectionText{o}.prepare}
}

func (o inspectionText) prepare(a *assess.Assessment) (Part, error) {
	t := newPrinter(o.o)
	h := a.Host
	if Unread(a) {
		t.unread(a)
		return Part{Body: t.bytes(), Unread: true}, nil
	}
	t.line(t.styled(bold, h.Name.Or("a machine whose name is not known")))
	forEachFact(h, t.fact)
	t.follows(a)
	t.lists(h)
	for _, g := range h.Gaps {
		t.gap(gapOf(g))
	}
	return Part{Body: t.bytes()}, nil
}

func (t *printer) fact(name string, f shown) {
	look, note := plain, ""
	if f.disputed {
		look, note = amber, "  the sources disagree:"
	}
	t.line("  ", fmt.Sprintf("%-20s", name), t.styled(look, f.value), t.styled(look, note))
	for _, c := range f.claims {
		text := where(c.Source)
		if f.disputed {
			text = c.Value + ": " + text
		}
		t.line("      ", t.styled(faint, text))
	}
}

func (t *printer) follows(a *assess.Assessment) {
	t.title("What follows")
	if r := a.Identity.Release; r != nil {
		t.para(plain, "  release  ", r.Name+" ("+r.ID+")")
	} else {
		t.para(amber, "  release  ", "not known")
	}
	for _, r := range whyRelease(a) {
		t.para(faint, "      because ", r.Text)
	}
	t.para(plain, "  build    ", build(a))
}

func (t *printer) lists(h *host.Host) {
	t.title("Updates: %s named", plural(h.Updates.Len(), "update"))
	for _, l := range h.Updates.Listings() {
		word := "may lack some"
		if l.Whole {
			word = "whole"
		}
		t.para(plain, "  - ", where(sourceOf(l.From))+": "+word+": "+l.Why)
	}
	if h.Updates.Len() > 0 {
		t.para(plain, "  ", kbs(h.Updates.All()))
	}
}
