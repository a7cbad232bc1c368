package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/report"
)

// hostData is what the page of a machine shows.
type hostData struct {
	fleet.Host
	Doc       *report.Document
	Identity  []fact
	Show      string           // which findings are listed: one of findingLists
	Listed    []report.Finding // the worst first
	Counts    map[string]int   // of findingLists
	Reasons   []reasonCount    // why findings are not known, the most frequent first
	Missing   []report.Missing
	Changes   []fleet.Change
	Sightings []fleet.Sighting
	Notes     []fleet.Note
	Risks     []fleet.Risk
	Conflicts []fleet.Conflict
	Accepted  map[string]fleet.Risk // by CVE, those that count today
	Patch     *plan.Patch
	Migrate   *plan.Migration
	Fence     *plan.Isolation
	Formats   []report.Format
	Today     catalog.Date
	May       bool
	All       bool // shows every finding
}

// fact is one thing that is known of a machine, and who says so.
type fact struct {
	Name, Value string
	Disputed    bool
	Sources     []string
}

// shownFindings is how many findings the page lists unless asked for all.
const shownFindings = 40

func (s *Server) hostPage(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	ctx := r.Context()
	a, _, err := s.Fleet.Assessment(ctx, id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	h, err := s.Store.Host(ctx, id)
	if err != nil {
		s.missing(w, r, err)
		return
	}
	today := catalog.DateOf(s.Now())
	d := hostData{
		Host: h, Doc: report.New(a, report.Open), Today: today, May: visitOf(ctx).who.May(access.Decide), Formats: report.Formats(),
		All: on(r.URL.Query(), "all"), Accepted: map[string]fleet.Risk{}, Counts: map[string]int{},
	}
	d.Show = listOf(r.URL.Query().Get("show"))
	var errs [5]error
	d.Changes, errs[0] = s.Store.Changes(ctx, fleet.ChangeQuery{Host: id, Limit: 20})
	d.Sightings, errs[1] = s.Store.HostSightings(ctx, id)
	d.Notes, errs[2] = s.Store.Notes(ctx, id)
	d.Risks, errs[3] = s.Store.Risks(ctx, id)
	d.Conflicts, errs[4] = s.Store.Conflicts(ctx, id)
	if err := errors.Join(errs[:]...); err != nil {
		s.missing(w, r, err)
		return
	}
	for _, risk := range d.Risks {
		if risk.CVE != "" && risk.Until >= today {
			d.Accepted[risk.CVE] = risk
		}
	}
	d.sort(a)
	c := s.Fleet.InUse()
	d.Patch = plan.PatchHost(a.Host, c, plan.Options{Entitlement: plan.Entitlement(h.Entitlement)}, a.AsOf.Time())
	d.Migrate = plan.Migrate(a.Host, c, plan.MigrateOptions{}, a.AsOf.Time())
	d.Fence = plan.Isolate(a.Host, c, plan.IsolateOptions{}, a.AsOf.Time())
	f := s.frame(r, nameOf(h.Identity), "/hosts")
	f.Foot = s.foot()
	s.show(w, r, http.StatusOK, hostView(f, d))
}

// sort takes out of the document what the page shows first.
func (d *hostData) sort(a *assess.Assessment) {
	reasons := map[string]int{}
	for i := range d.Doc.Findings {
		f := &d.Doc.Findings[i]
		for _, l := range findingLists {
			if l.holds(f) {
				d.Counts[l.show]++
				if l.show == d.Show {
					d.Listed = append(d.Listed, *f)
				}
			}
		}
		if f.Verdict == assess.Unknown && len(f.Because) > 0 {
			reasons[general(f.Because[0].Text)]++
		}
	}
	for text, n := range reasons {
		d.Reasons = append(d.Reasons, reasonCount{text, n})
	}
	slices.SortFunc(d.Reasons, func(a, b reasonCount) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.text, b.text)) })
	d.Missing = d.Doc.Updates.Missing
	h := a.Host
	d.Identity = []fact{
		factOf("Release", releaseName(d), d.Doc.Host.Release.Disputed, d.Doc.Host.Release.Sources),
		factOf("Product", d.Doc.Host.Product.Value, d.Doc.Host.Product.Disputed, d.Doc.Host.Product.Sources),
		{Name: "Build", Value: a.Build.String(), Disputed: h.Build.Disputed(), Sources: who(h.Build.Claims(), h.Build.Disputed())},
		{Name: "Architecture", Value: a.Host.Arch.Or(0).String(), Disputed: h.Arch.Disputed(), Sources: who(h.Arch.Claims(), h.Arch.Disputed())},
		factOf("Edition", d.Doc.Host.Edition.Value, d.Doc.Host.Edition.Disputed, d.Doc.Host.Edition.Sources),
		factOf("Installation", d.Doc.Host.Installation.Value, d.Doc.Host.Installation.Disputed, d.Doc.Host.Installation.Sources),
		factOf("Domain or workgroup", d.Doc.Host.Domain.Value, d.Doc.Host.Domain.Disputed, d.Doc.Host.Domain.Sources),
		factOf("Role", d.Doc.Host.Role.Value, d.Doc.Host.Role.Disputed, d.Doc.Host.Role.Sources),
		factOf("Language", d.Doc.Host.Language.Value, d.Doc.Host.Language.Disputed, d.Doc.Host.Language.Sources),
		factOf("Product id", d.Doc.Host.ProductID.Value, d.Doc.Host.ProductID.Disputed, d.Doc.Host.ProductID.Sources),
		factOf("Machine id", d.Doc.Host.MachineID.Value, d.Doc.Host.MachineID.Disputed, d.Doc.Host.MachineID.Sources),
	}
}

// findingLists are the lists of findings that the page offers, the first unless asked.
var findingLists = []struct {
	show, name string
	holds      func(f *report.Finding) bool
}{
	{"open", "open", isOpen},
	{"exploited", "exploited", func(f *report.Finding) bool { return isOpen(f) && f.KEV != nil && *f.KEV }},
	{"unfixable", "without any fix", func(f *report.Finding) bool { return f.Verdict == assess.Unfixable }},
	{"unknown", "not known", func(f *report.Finding) bool { return f.Verdict == assess.Unknown }},
}

func isOpen(f *report.Finding) bool {
	return f.Verdict == assess.Affected || f.Verdict == assess.Unfixable
}

// listOf is the list of findings that somebody asks for.
func listOf(word string) string {
	for _, l := range findingLists {
		if l.show == word {
			return word
		}
	}
	return findingLists[0].show
}

// reasonCount is why so many findings are not known.
type reasonCount struct {
	text string
	n    int
}

// anUpdate is how a reason begins that is about one update.
var anUpdate = regexp.MustCompile(`^KB\d+ \(\d{4}-\d\d-\d\d\)`)

// general is a reason without the update that it names, so that those alike count together.
func general(reason string) string { return anUpdate.ReplaceAllString(reason, "an update that") }

// releaseName is what people call the release, or its id where the catalogue has no name.
func releaseName(d *hostData) *string {
	if d.ReleaseName != "" {
		return &d.ReleaseName
	}
	return d.Doc.Host.Release.Value
}

func factOf(name string, v *string, disputed bool, claims []report.Claim[string]) fact {
	f := fact{Name: name, Value: or(v), Disputed: disputed}
	for _, c := range claims {
		f.Sources = append(f.Sources, sourceWords(c.Value, c.Source, disputed))
	}
	return f
}

func who[T comparable](claims []host.Claim[T], disputed bool) (out []string) {
	for _, c := range claims {
		out = append(out, sourceWords(fmt.Sprint(c.Value), report.Source{Reader: c.From.Reader, Input: c.From.Input, At: c.From.At}, disputed))
	}
	return out
}

// sourceWords says where a value comes from, with the value where sources disagree.
func sourceWords(value string, s report.Source, disputed bool) string {
	words := strings.Join(strings.Fields(s.Input+" "+s.At+" ("+s.Reader+")"), " ")
	if disputed {
		return value + ": " + words
	}
	return words
}

// reasonsOf gives the sentences of reasons, each with where it rests on.
func reasonsOf(list []report.Reason) (out []string) {
	for _, r := range list {
		var at []string
		for i, s := range r.Sources {
			if i == 3 {
				at = append(at, fmt.Sprintf("and %d more", len(r.Sources)-3))
				break
			}
			at = append(at, strings.TrimSpace(s.Input+" "+s.At))
		}
		text := r.Text
		if len(at) > 0 {
			text += " (" + strings.Join(at, "; ") + ")"
		}
		out = append(out, text)
	}
	return out
}

func (s *Server) hostEdit(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok || !s.form(w, r) {
		return
	}
	if err := s.edit(r.Context(), []int64{id}, editForm(r.PostForm)); err != nil {
		s.missing(w, r, err)
		return
	}
	redirect(w, r, fmt.Sprintf("/hosts/%d", id))
}

func (s *Server) hostNote(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok || !s.form(w, r) {
		return
	}
	v := visitOf(r.Context())
	if text := strings.TrimSpace(typed(r.PostFormValue("text"))); text != "" {
		if _, err := s.Store.AddNote(r.Context(), fleet.Note{Host: id, At: s.Now(), By: v.who.Name, Text: text}); err != nil {
			s.missing(w, r, err)
			return
		}
		if err := s.Guard.Did(r.Context(), v.who, v.address, "note", fmt.Sprintf("machine %d", id), ""); err != nil {
			s.fault(w, r, err)
			return
		}
	}
	redirect(w, r, fmt.Sprintf("/hosts/%d#notes", id))
}

func (s *Server) hostRisk(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok || !s.form(w, r) {
		return
	}
	what := strings.TrimSpace(r.PostFormValue("what"))
	risk := fleet.Risk{Host: id, Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	if _, isCVE := fleet.CVENumber(strings.ToUpper(what)); isCVE {
		risk.CVE = strings.ToUpper(what)
	} else {
		risk.Kind = what
	}
	if risk.Reason == "" {
		s.problem(w, r, http.StatusUnprocessableEntity, "a risk is accepted for a reason: write it down")
		return
	}
	if _, err := s.accept(r.Context(), risk, r.PostFormValue("until")); err != nil {
		s.missing(w, r, err)
		return
	}
	redirect(w, r, fmt.Sprintf("/hosts/%d#risks", id))
}

func (s *Server) riskEnd(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok || !s.form(w, r) {
		return
	}
	if err := s.Store.RemoveRisk(r.Context(), id); err != nil {
		s.missing(w, r, err)
		return
	}
	v := visitOf(r.Context())
	if err := s.Guard.Did(r.Context(), v.who, v.address, "risk-end", fmt.Sprint(id), ""); err != nil {
		s.fault(w, r, err)
		return
	}
	redirect(w, r, localPath(r.PostFormValue("back")))
}
