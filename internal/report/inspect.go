package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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
	// Packages are all packages of component servicing; Host.Packages counts them.
	Packages      []Package   `json:"packages"`
	LicencesWhole bool        `json:"licences_whole"` // a source listed every one
	Programs      []Installed `json:"programs"`
	ProgramsWhole bool        `json:"programs_whole"` // a source listed every one
	// Files are program files of Windows; AtLeast is the highest revision of the machine's
	// build among them, a lower bound of its own; null where none tells.
	SetUp   SetUp         `json:"set_up"`
	Files   []SystemFile  `json:"files"`
	AtLeast *winver.Build `json:"revision_at_least"`
	Errors  []LogError    `json:"log_errors"`
	Gaps    []Gap         `json:"gaps"`
}

// Installed is an installed program.
type Installed struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Publisher string `json:"publisher"`
	Source    Source `json:"source"`
}

// SystemFile is a program file of Windows.
type SystemFile struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Source  Source `json:"source"`
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
		Packages: each(h.Packages, packageOf), LicencesWhole: h.LicencesWhole.Or(false),
		Programs:      each(h.Programs, func(p host.Program) Installed { return Installed{p.Name, p.Version, p.Publisher, sourceOf(p.From)} }),
		ProgramsWhole: h.ProgramsWhole.Or(false),
		SetUp:         setUpOf(h),
		Files: each(h.Files, func(f host.File) SystemFile {
			return SystemFile{f.Name, f.Version.String(), f.Arch.String(), sourceOf(f.From)}
		}),
		AtLeast: known(a.AtLeast),
		Errors:  each(h.Errors, logErrorOf), Gaps: each(h.Gaps, gapOf),
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
	t.packages(h)
	t.restart(h)
	t.licences(h)
	t.programs(h)
	t.setUp(h)
	t.files(h)
	t.errors(h.Errors)
	if len(h.Gaps) > 0 {
		t.title("What could not be read")
	}
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
	if a.AtLeast.Known() {
		t.para(plain, "  files    ", "show revision "+a.AtLeast.String()+" at least, which proves no update installed")
	}
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

// packages counts the packages by state and names those that wait or failed.
func (t *printer) packages(h *host.Host) {
	if len(h.Packages) == 0 {
		return
	}
	t.title("Packages of component servicing: %d", len(h.Packages))
	p := packagesOf(h)
	var counts []string
	for _, s := range slices.Sorted(maps.Keys(p.States)) {
		counts = append(counts, fmt.Sprintf("%d %s", p.States[s], s))
	}
	t.para(plain, "  ", strings.Join(counts, ", "))
	for _, o := range p.Open {
		t.para(amber, "  - ", o.Name+": "+o.State)
		t.para(faint, "    ", where(o.Source))
	}
}

func (t *printer) restart(h *host.Host) {
	r := restartOf(h)
	if r.Pending == nil {
		return
	}
	if !*r.Pending {
		t.title("No restart is pending")
		for _, c := range h.RestartChecked.Claims() {
			t.para(faint, "  ", where(sourceOf(c.From)))
		}
		return
	}
	t.title("A restart is pending")
	for _, b := range r.Because {
		t.para(amber, "  - ", b.Text)
		for _, s := range b.Sources {
			t.para(faint, "    ", where(s))
		}
	}
}

// licences names the products that have a key or are more than unlicensed; Software
// Licensing lists dozens that nobody asked for.
func (t *printer) licences(h *host.Host) {
	if len(h.Licences) == 0 {
		return
	}
	t.title("Licences: %s", plural(len(h.Licences), "product"))
	idle := 0
	for _, l := range h.Licences {
		if l.PartialKey == "" && (l.Status == host.Unlicensed || l.Status == host.LicenceUnknown) {
			idle++
			continue
		}
		text := cmp.Or(l.Name, "name not known") + ": " + l.Status.String()
		if l.PartialKey != "" {
			text += ", key ending in " + l.PartialKey
		}
		if l.ActivationID != "" {
			text += ", activation id " + l.ActivationID
		}
		t.para(plain, "  - ", text)
		t.para(faint, "    ", where(sourceOf(l.From)))
	}
	if idle > 0 {
		t.para(faint, "  ", plural(idle, "product")+" without a key")
	}
	if !h.LicencesWhole.Or(false) {
		t.para(faint, "  ", "the list may lack some: slmgr.vbs /dlv all shows every one")
	}
}

func (t *printer) programs(h *host.Host) {
	if len(h.Programs) == 0 {
		return
	}
	t.title("Programs: %d", len(h.Programs))
	for _, p := range h.Programs {
		text := p.Name
		if p.Version != "" {
			text += " " + p.Version
		}
		if p.Publisher != "" {
			text += " (" + p.Publisher + ")"
		}
		t.para(plain, "  - ", text)
	}
}

func (t *printer) files(h *host.Host) {
	if len(h.Files) == 0 {
		return
	}
	t.title("Program files: %d", len(h.Files))
	for _, f := range h.Files {
		t.line("  ", fmt.Sprintf("%-30s  %s  %s", f.Name, f.Version, f.Arch))
	}
}
