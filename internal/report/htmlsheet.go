package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// sheet is what the template of one machine shows. Everything in it is text that the
// template escapes, but for the two pictures, which escape theirs.
type sheet struct {
	*machine
	Many           bool
	AsOf           catalog.Date
	Notes          []string
	Timeline       template.HTML
	Monthly        template.HTML
	Years          []yearCount
	Sum            *assess.Summary
	SupportIs      *Support
	Reasons        []counted // why it is affected
	NotKnown       []counted // why it cannot be told
	Newest, Latest string
	NewestFrom     []Source
	Facts          []statedFact
	Disputed       int
	Listings       []Listing
	Steps          []step
	ExploitedList  []row
	Listed         Findings
	Affected       []year
	Undecided      []year
	Closed         []year
	MayBe          []undecidedGroup
	GapList        []Gap
	ESU            []Ready
	Forever        ForeverDays
	Programs       []Program
	Sources        []DataSource
	Stale          bool
	KEVLast        catalog.Date
	First          string // what to do first
	Ways           *ways
}

// Listing is a list of updates in the evidence.
type Listing struct {
	Where string
	Whole bool
	Why   string
	N     int
}

// counted is a reason and how many findings have it.
type counted struct {
	Reason
	N int
}

// statedFact is a fact with who states it.
type statedFact struct {
	Name, Value string
	Disputed    bool
	Claims      []Claim[string]
}

// step is one update to install.
type step struct {
	KB, Kind, Released string
	Offered            bool
	Needs              []string
	Because            []Reason
}

// year holds the findings whose first fix came in it, by the updates that fix them.
type year struct {
	Name             string
	N, Critical, KEV int
	Groups           []group
}

// group holds the findings that the same updates fix for the same reason.
type group struct {
	Fixes, Month     string
	N, Critical, KEV int
	Because          []Reason
	Needs            []string
	Rows             []row
}

// row is one finding.
type row struct {
	ID, CVE, Severity, Class, Score, Impact, Component, Verdict string
	Exploited, Since, Fixes                                     string
	Ransomware                                                  bool
	Because                                                     []Reason
}

// yearCount is a row of the numbers behind the pictures.
type yearCount struct {
	Year      string
	Counts    tally
	Sum       int
	Exploited int
}

// undecidedGroup holds updates that may or may not be missing.
type undecidedGroup struct {
	Name  string
	N     int
	Items []step
	// Because holds the reasons, each once.
	Because []Reason
}

func sheetOf(a *assess.Assessment, m *machine, o Options) *sheet {
	s := &sheet{
		machine: m, Many: o.Many, AsOf: a.AsOf, Notes: a.Summary.Notes, Sum: &a.Summary, Listed: o.Findings,
		Timeline: timeline(m.ID, a), Monthly: monthly(m.ID, a), Years: yearCounts(a),
		GapList: each(a.Gaps, gapOf), Sources: sourcesOf(a), First: firstStep(a),
	}
	if o.Catalog != nil && a.Identity.Release != nil {
		s.Ways = waysOf(a, o.Catalog)
	}
	if a.Support.State == assess.Over || a.Support.State == assess.Programmes { // before that nobody asks
		s.ESU = each(a.ESU, readyOf)
	}
	s.Forever, s.Programs = foreverOf(a), each(a.Programs, programOf)
	support := supportOf(&a.Support)
	s.SupportIs = &support
	for _, src := range a.Sources {
		if src.ID == catalog.SourceKEV {
			s.KEVLast = src.Last
		}
		s.Stale = s.Stale || src.Stale
	}
	u := &a.Updates
	if u.Newest != 0 {
		s.Newest, s.NewestFrom = dated(u.Newest.String(), u.NewestReleased), each(a.Host.Updates.Sources(u.Newest), sourceOf)
	}
	if u.Latest != 0 {
		s.Latest = dated(u.Latest.String(), u.LatestReleased)
	}
	forEachFact(a.Host, func(name string, f shown) {
		s.Facts = append(s.Facts, statedFact{name, f.value, f.disputed, f.claims})
		if f.disputed {
			s.Disputed++
		}
	})
	for _, l := range a.Host.Updates.Listings() {
		s.Listings = append(s.Listings, Listing{where(sourceOf(l.From)), l.Whole, l.Why, l.Printed})
	}
	for _, it := range u.Missing {
		s.Steps = append(s.Steps, stepOf(it, offered(u, it.KB)))
	}
	s.findings(a)
	s.undecided(u.Undecided, o.Many && !o.Verbose)
	return s
}

func dated(name string, d catalog.Date) string {
	if d == 0 {
		return name
	}
	return name + " of " + d.String()
}

// firstStep says in a few words what to do.
func firstStep(a *assess.Assessment) string {
	if len(a.Updates.Missing) == 0 {
		return ""
	}
	return kbs(each(a.Updates.Missing, func(it assess.Item) winver.KB { return it.KB }))
}

func stepOf(it assess.Item, offered bool) step {
	return step{it.KB.String(), KindWords(it.Kind), released(it), offered, needTexts(it.Needs), reasons(it.Because)}
}

func needTexts(list []assess.Need) []string {
	return each(list, func(n assess.Need) string {
		if n.KB != 0 {
			return n.KB.String() + ": " + n.Text
		}
		return n.Text
	})
}

// findings sorts the findings into what the page shows.
func (s *sheet) findings(a *assess.Assessment) {
	why, unknown := map[string]int{}, map[string]int{}
	for i := range a.Findings {
		f := &a.Findings[i]
		switch {
		case isOpen(f):
			s.Reasons = count(s.Reasons, why, f.Because)
			if f.KEV == host.Yes {
				r := rowOf(f)
				r.ID = s.ID
				s.ExploitedList = append(s.ExploitedList, r)
			}
		case f.Verdict == assess.Unknown:
			s.NotKnown = count(s.NotKnown, unknown, f.Because)
		}
	}
	byNumber := func(a, b counted) int { return cmp.Compare(b.N, a.N) }
	slices.SortStableFunc(s.Reasons, byNumber)
	slices.SortStableFunc(s.NotKnown, byNumber)
	var bad, open, closed []*assess.Finding
	listed := s.Listed.of(a)
	for i := range listed {
		switch f := &listed[i]; {
		case isOpen(f):
			bad = append(bad, f)
		case f.Verdict == assess.Unknown:
			open = append(open, f)
		default:
			closed = append(closed, f)
		}
	}
	s.Affected, s.Undecided, s.Closed = years(bad), years(open), years(closed)
}

// maxReasons bounds how many different reasons are told beside a number.
const maxReasons = 12

// count adds the reasons of a finding to those counted.
func count(list []counted, at map[string]int, because []host.Reason) []counted {
	for _, r := range because {
		i, ok := at[r.Text]
		if !ok {
			i, at[r.Text] = len(list), len(list)
			list = append(list, counted{Reason: reasons([]host.Reason{r})[0]})
		}
		list[i].N++
	}
	return list
}

// Told is the reasons with the most findings, and Rest the number of the others.
func (s *sheet) Told(list []counted) []counted { return list[:min(maxReasons, len(list))] }

// Rest is the number of reasons that Told leaves out.
func (s *sheet) Rest(list []counted) int { return max(len(list)-maxReasons, 0) }

// shownExploited is how many exploited vulnerabilities stand before the fold.
const shownExploited = 10

// First10 is the most urgent exploited ones, After10 the others.
func (s *sheet) First10() []row { return s.ExploitedList[:min(shownExploited, len(s.ExploitedList))] }

// After10 is what First10 leaves out.
func (s *sheet) After10() []row { return s.ExploitedList[len(s.First10()):] }

func rowOf(f *assess.Finding) row {
	_, mark := exploited(f)
	r := row{
		CVE: f.CVE, Severity: cmp.Or(f.Severity.String(), "not rated"), Class: severities[severityIndex(f.Severity)].class,
		Impact: f.Impact.String(), Component: f.Component, Verdict: f.Verdict.String(),
		Exploited: mark, Since: f.KEVSince.String(), Ransomware: f.Ransomware, Fixes: fixes(f), Because: reasons(f.Because),
	}
	if f.Score > 0 {
		r.Score = fmt.Sprintf("%.1f", f.Score)
	}
	return r
}

// years groups findings by the year of their first fix, the newest first, and in it by the
// updates that fix them.
func years(list []*assess.Finding) (out []year) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b *assess.Finding) int {
		return cmp.Or(cmp.Compare(b.First, a.First), slices.Compare(a.Fixes, b.Fixes), cmp.Compare(whyText(a), whyText(b)))
	})
	for i, f := range list {
		name, month := "day not known", ""
		if f.First != 0 {
			name, month = f.First.String()[:4], f.First.String()[:7]
		}
		if len(out) == 0 || out[len(out)-1].Name != name {
			out = append(out, year{Name: name})
		}
		y := &out[len(out)-1]
		if len(y.Groups) == 0 || !slices.Equal(list[i-1].Fixes, f.Fixes) || whyText(list[i-1]) != whyText(f) {
			y.Groups = append(y.Groups, group{Fixes: fixes(f), Month: month, Because: reasons(f.Because), Needs: needTexts(f.Needs)})
		}
		g := &y.Groups[len(y.Groups)-1]
		r := rowOf(f)
		r.Because = nil // the group's
		g.Rows = append(g.Rows, r)
		g.N++
		y.N++
		if f.Severity == catalog.Critical {
			g.Critical++
			y.Critical++
		}
		if f.KEV == host.Yes {
			g.KEV++
			y.KEV++
		}
	}
	return out
}

func whyText(f *assess.Finding) string {
	if len(f.Because) == 0 {
		return ""
	}
	return f.Because[0].Text
}

// yearCounts are the numbers behind the picture of what is missing.
func yearCounts(a *assess.Assessment) (out []yearCount) {
	at := map[string]int{}
	for i := range a.Findings {
		f := &a.Findings[i]
		if !isOpen(f) {
			continue
		}
		name := "day not known"
		if f.First != 0 {
			name = f.First.String()[:4]
		}
		j, ok := at[name]
		if !ok {
			j, at[name] = len(out), len(out)
			out = append(out, yearCount{Year: name})
		}
		y := &out[j]
		y.Counts[severityIndex(f.Severity)]++
		y.Sum++
		if f.KEV == host.Yes {
			y.Exploited++
		}
	}
	slices.SortFunc(out, func(a, b yearCount) int { return strings.Compare(a.Year, b.Year) })
	return out
}

// briefItems is how many updates of a group stand on a page with many machines.
const briefItems = 10

// undecided groups the updates that may or may not be missing, the newest first.
func (s *sheet) undecided(list []assess.Item, brief bool) {
	for len(list) > 0 { // sorted by group
		n := 1
		for n < len(list) && list[n].Group == list[0].Group {
			n++
		}
		g := undecidedGroup{Name: cmp.Or(list[0].Group, "others")}
		var why []counted
		at := map[string]int{}
		for _, it := range slices.SortedStableFunc(slices.Values(list[:n]), func(a, b assess.Item) int { return cmp.Compare(b.Released, a.Released) }) {
			if len(it.Because) > 0 {
				why = count(why, at, it.Because[len(it.Because)-1:])
			}
			if g.N++; !brief || g.N <= briefItems {
				g.Items = append(g.Items, stepOf(it, false))
			}
		}
		for _, c := range why[:min(3, len(why))] {
			g.Because = append(g.Because, c.Reason)
		}
		s.MayBe = append(s.MayBe, g)
		list = list[n:]
	}
}

// maxTold bounds how many places are named beside a reason.
const maxTold = 6

// Told is the places that a page names.
func (r Reason) Told() []Source { return r.Sources[:min(maxTold, len(r.Sources))] }

// Day writes a day for a page, empty where it is not known.
func (d date) Day() string { return catalog.Date(d).String() }

// Told reports whether anything can be said: the list of exploited vulnerabilities goes on
// after the last update.
func (f *ForeverDays) Told() bool { return f.KnownUntil > f.Since }
