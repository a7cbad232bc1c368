package report

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

// The names of the documents with their versions. Fields are added to a version, and never
// given another meaning; docs/schema holds what programs may rely on.
const (
	schemaAssessment  = "oldguard/assessment/1"
	schemaAssessments = "oldguard/assessments/1"
	schemaInspection  = "oldguard/inspection/1"
	schemaInspections = "oldguard/inspections/1"
)

// Document is an assessment as programs read it. Lists are never null; what is not known is.
type Document struct {
	Schema   string       `json:"schema"`
	AsOf     catalog.Date `json:"as_of"`
	Sources  []DataSource `json:"sources"`
	Host     Host         `json:"host"`
	Support  Support      `json:"support"`
	ESU      []Ready      `json:"esu_readiness"`
	Forever  ForeverDays  `json:"forever_days"`
	Updates  Updates      `json:"updates"`
	Findings []Finding    `json:"findings"`
	Programs []Program    `json:"programs"`
	Errors   []LogError   `json:"log_errors"`
	Gaps     []Gap        `json:"gaps"`
	Summary  Summary      `json:"summary"`
}

// DataSource is one of the sources of the catalogue.
type DataSource struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Last    date   `json:"last"`
	Stale   bool   `json:"stale"`
	SHA256  string `json:"sha256"`
	Licence string `json:"licence"`
}

// Host is what is known of the machine.
type Host struct {
	Name         Fact[string]       `json:"name"`
	Release      Fact[string]       `json:"release"`
	Product      Fact[string]       `json:"product"`
	Arch         Fact[winver.Arch]  `json:"arch"`
	Edition      Fact[string]       `json:"edition"`
	Installation Fact[string]       `json:"installation"`
	Build        Fact[winver.Build] `json:"build"`
	BuildLab     Fact[string]       `json:"build_lab"`
	ServicePack  Fact[int]          `json:"service_pack"`
	Domain       Fact[string]       `json:"domain"`
	Role         Fact[string]       `json:"role"`
	Language     Fact[string]       `json:"language"`
	ProductID    Fact[string]       `json:"product_id"`
	MachineID    Fact[string]       `json:"machine_id"`
	Installed    Fact[localTime]    `json:"installed"`
	Booted       Fact[localTime]    `json:"booted"`
	Packages     Packages           `json:"packages"`
	Restart      Restart            `json:"restart"`
	Licences     []Licence          `json:"licences"`
}

// Packages is what component servicing says of its packages: how many are in which state,
// none where no evidence shows them, and those that wait or failed.
type Packages struct {
	States map[string]int `json:"states"`
	Open   []Package      `json:"open"`
}

// Package is one package of component servicing.
type Package struct {
	Name      string     `json:"name"`
	KB        *winver.KB `json:"kb"`
	State     string     `json:"state"`
	Installed *localTime `json:"installed"`
	Client    string     `json:"client"`
	Source    Source     `json:"source"`
}

// Restart says whether the machine waits for a restart; Pending is null where that is not
// known.
type Restart struct {
	Pending *bool    `json:"pending"`
	Because []Reason `json:"because"`
}

// Licence is a product of Software Licensing.
type Licence struct {
	ActivationID string `json:"activation_id"`
	Name         string `json:"name"`
	PartialKey   string `json:"partial_key"`
	Status       string `json:"status"`
	Source       Source `json:"source"`
}

// Fact is a value with everybody who states one. Value is null where none is known.
// Inferred is true where the value follows from what the sources state and the catalogue.
type Fact[T any] struct {
	Value    *T         `json:"value"`
	Known    bool       `json:"known"`
	Disputed bool       `json:"disputed"`
	Inferred bool       `json:"inferred"`
	Sources  []Claim[T] `json:"sources"`
}

// Claim is one source's word for a value.
type Claim[T any] struct {
	Source
	Value T `json:"value"`
}

// Source is a place in the evidence.
type Source struct {
	Reader string `json:"reader"`
	Input  string `json:"input"`
	At     string `json:"at"`
	Taken  string `json:"taken,omitempty"`
}

// Reason is one sentence of an argument.
type Reason struct {
	Text    string   `json:"text"`
	Sources []Source `json:"sources"`
}

// Support is how the release stands to its support.
type Support struct {
	State      assess.SupportState `json:"state"`
	Ends       date                `json:"ends"`
	Programmes []Programme         `json:"programmes"`
	Because    []Reason            `json:"because"`
}

// Programme is one way to updates after support.
type Programme struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	From        date   `json:"from"`
	Until       date   `json:"until"`
	State       string `json:"state"`
	Eligibility string `json:"eligibility"`
	Confidence  string `json:"confidence"`
	Source      string `json:"source"`
}

// Ready is one of the things that an extended update needs: yes, no or unknown.
type Ready struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Because []Reason `json:"because"`
	Hint    string   `json:"hint"`
}

// ForeverDays are what has been exploited on successors since the last update of this
// product, as far as the list of exploited vulnerabilities goes. Since is null where that
// question does not arise, since the product may still get updates.
type ForeverDays struct {
	Since           date         `json:"since"`
	KnownUntil      date         `json:"known_until"`
	Vulnerabilities []ForeverDay `json:"vulnerabilities"`
}

// ForeverDay is a vulnerability for which no fix will come.
type ForeverDay struct {
	CVE        string   `json:"cve"`
	Component  string   `json:"component"`
	KEVSince   date     `json:"kev_since"`
	Ransomware bool     `json:"ransomware"`
	Fixed      date     `json:"fixed"`
	On         []string `json:"on"`
	Confidence string   `json:"confidence"`
	Because    []Reason `json:"because"`
}

// Program is a product beside Windows whose end of support is known. It changes no verdict.
type Program struct {
	Product string   `json:"product"`
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Ends    date     `json:"ends"`
	Paid    date     `json:"paid_until"`
	Over    bool     `json:"over"`
	Because []Reason `json:"because"`
}

// LogError is an error that a log shows.
type LogError struct {
	Code   string     `json:"code"`
	Text   string     `json:"text"`
	On     *localTime `json:"on"`
	Source Source     `json:"source"`
}

// Updates is how the machine stands to what was published.
type Updates struct {
	Installed    []Update   `json:"installed"`
	Missing      []Missing  `json:"missing"`
	Undecided    []Update   `json:"undecided"`
	OfferedNow   []Update   `json:"offered_now"`
	Newest       *winver.KB `json:"newest"`
	Latest       *winver.KB `json:"latest"`
	MonthsBehind *int       `json:"months_behind"`
}

// Update is one update.
type Update struct {
	KB           winver.KB `json:"kb"`
	Kind         string    `json:"kind"`
	Released     date      `json:"released"`
	ReleasedSure string    `json:"released_sure"`
	Group        string    `json:"group,omitempty"`
	Needs        []Need    `json:"needs"`
	Because      []Reason  `json:"because"`
}

// Missing is an update that is missing.
type Missing struct {
	Update
	OfferedNow bool `json:"offered_now"`
}

// Need is what an update requires.
type Need struct {
	Kind       assess.NeedKind `json:"kind"`
	KB         *winver.KB      `json:"kb"`
	Programmes []string        `json:"programmes"`
	Text       string          `json:"text"`
}

// Finding is the verdict on one vulnerability.
type Finding struct {
	CVE        string         `json:"cve"`
	Verdict    assess.Verdict `json:"verdict"`
	Fixes      []winver.KB    `json:"fixes"`
	Needs      []Need         `json:"needs"`
	Severity   *string        `json:"severity"`
	Impact     *string        `json:"impact"`
	CVSS       *float64       `json:"cvss"`
	Vector     *string        `json:"cvss_vector"`
	KEV        *bool          `json:"kev"`
	KEVSince   date           `json:"kev_since"`
	Ransomware bool           `json:"ransomware"`
	Component  string         `json:"component"`
	Because    []Reason       `json:"because"`
}

// Gap is what could not be known.
type Gap struct {
	What   string `json:"what"`
	Why    string `json:"why"`
	Hint   string `json:"hint"`
	Source Source `json:"source"`
}

// Summary is the assessment in numbers.
type Summary struct {
	Headline     string   `json:"headline"`
	Notes        []string `json:"notes"`
	Affected     int      `json:"affected"`
	Unfixable    int      `json:"unfixable"`
	Unknown      int      `json:"unknown"`
	Fixed        int      `json:"fixed"`
	NotAffected  int      `json:"not_affected"`
	Exploited    int      `json:"exploited"`
	Ransomware   int      `json:"ransomware"`
	Critical     int      `json:"critical"`
	Missing      int      `json:"missing"`
	Undecided    int      `json:"undecided"`
	MonthsBehind *int     `json:"months_behind"`
	Level        string   `json:"level"`
}

// date is a day, null where it is not known.
type date catalog.Date

// MarshalJSON writes "2019-04-09" or null.
func (d date) MarshalJSON() ([]byte, error) {
	if d == 0 {
		return []byte("null"), nil
	}
	return []byte(`"` + catalog.Date(d).String() + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *date) UnmarshalJSON(b []byte) error {
	*d = 0
	if string(b) == "null" {
		return nil
	}
	var word string
	if err := json.Unmarshal(b, &word); err != nil {
		return err
	}
	on, err := catalog.ParseDate(word)
	*d = date(on)
	return err
}

// localTime is a time in the machine's own zone, which the evidence does not name.
type localTime string

func local(t time.Time) localTime { return localTime(t.Format("2006-01-02T15:04:05")) }

// New makes a document of an assessment with the findings chosen.
func New(a *assess.Assessment, f Findings) *Document {
	return &Document{
		Schema: schemaAssessment, AsOf: a.AsOf,
		Sources: sourcesOf(a), Host: hostOf(a), Support: supportOf(&a.Support), ESU: each(a.ESU, readyOf), Forever: foreverOf(a), Updates: updatesOf(&a.Updates),
		Findings: each(f.of(a), findingOf), Programs: each(a.Programs, programOf),
		Errors: each(a.Errors, knownErrorOf), Gaps: each(a.Gaps, gapOf), Summary: summaryOf(a),
	}
}

func sourcesOf(a *assess.Assessment) []DataSource {
	return each(a.Sources, func(s assess.SourceState) DataSource {
		return DataSource{ID: s.ID, Name: s.Name, Last: date(s.Last), Stale: s.Stale, SHA256: s.SHA256, Licence: s.Licence}
	})
}

func supportOf(s *assess.Support) Support {
	return Support{
		State: s.State, Ends: date(s.Ends), Because: reasons(s.Because),
		Programmes: each(s.Programmes, func(p assess.Programme) Programme {
			return Programme{
				ID: p.ID, Name: p.Name, From: date(p.From), Until: date(p.Until), State: p.State,
				Eligibility: p.Eligibility, Confidence: p.Confidence, Source: p.Source,
			}
		}),
	}
}

// each makes a list of another one, empty rather than nil.
func each[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}

// known gives a pointer to v, nil for the zero value.
func known[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func hostOf(a *assess.Assessment) Host {
	h := a.Host
	out := Host{
		Name: same(h.Name), Product: same(h.Product), Arch: same(h.Arch), Edition: same(h.Edition),
		Installation: fact(h.Installation, func(i host.Installation) string { return string(i) }),
		Build:        same(h.Build), BuildLab: same(h.BuildLab),
		ServicePack: fact(h.ServicePack, func(n int) int { return max(n, 0) }), // host.NoServicePack is 0 here
		Domain:      same(h.Domain),
		Role:        fact(h.Role, func(r host.Role) string { return string(r) }),
		Language:    same(h.Language), ProductID: same(h.ProductID), MachineID: same(h.MachineID),
		Installed: fact(h.Installed, local), Booted: fact(h.Booted, local),
		Packages: packagesOf(h), Restart: restartOf(h), Licences: each(h.Licences, licenceOf),
	}
	if a.BuildInferred {
		out.Build.Value, out.Build.Inferred = &a.Build, true
		for _, s := range h.Updates.Sources(a.Updates.Newest) {
			out.Build.Sources = append(out.Build.Sources, Claim[winver.Build]{sourceOf(s), a.Build})
		}
	}
	out.Release = releaseOf(h, a.Identity)
	return out
}

// packagesOf counts the packages by state and names those that wait or failed.
func packagesOf(h *host.Host) Packages {
	out := Packages{States: map[string]int{}, Open: []Package{}}
	for _, p := range h.Packages {
		out.States[p.State.String()]++
		if waits(p.State) {
			out.Open = append(out.Open, packageOf(p))
		}
	}
	return out
}

// waits reports whether a package is neither there nor gone.
func waits(s host.PackageState) bool {
	return s == host.PackagePending || s == host.PackageBroken || s == host.PackageUninstalled || s == host.PackagePartly
}

func packageOf(p host.Package) Package {
	return Package{p.Name, known(p.KB), p.State.String(), localOrNull(p.Installed), p.Client, sourceOf(p.From)}
}

func localOrNull(t time.Time) *localTime {
	if t.IsZero() {
		return nil
	}
	l := local(t)
	return &l
}

func restartOf(h *host.Host) Restart {
	out := Restart{Because: reasons(h.Restart)}
	if pending := len(h.Restart) > 0; pending || h.RestartChecked.Or(false) {
		out.Pending = &pending
	}
	return out
}

func licenceOf(l host.Licence) Licence {
	return Licence{l.ActivationID, l.Name, l.PartialKey, l.Status.String(), sourceOf(l.From)}
}

func readyOf(r assess.Ready) Ready {
	return Ready{r.ID, r.Name, r.State.String(), reasons([]host.Reason{r.Because}), r.Hint}
}

func foreverOf(a *assess.Assessment) ForeverDays {
	return ForeverDays{
		Since: date(a.ForeverSince), KnownUntil: date(a.ForeverUntil),
		Vulnerabilities: each(a.Forever, func(d assess.ForeverDay) ForeverDay {
			return ForeverDay{
				CVE: d.CVE, Component: d.Area, KEVSince: date(d.KEVSince), Ransomware: d.Ransomware, Fixed: date(d.Fixed),
				On: each(d.On, func(s string) string { return s }), Confidence: d.Confidence, Because: reasons([]host.Reason{d.Because}),
			}
		}),
	}
}

func programOf(n assess.ProgramNote) Program {
	return Program{n.Product, n.Name, n.Version, date(n.Ends), date(n.Paid), n.Over, reasons(n.Because)}
}

func knownErrorOf(e assess.KnownError) LogError { return logErrorOf(e.LogError) }

func logErrorOf(e host.LogError) LogError {
	return LogError{e.Code, e.Text, localOrNull(e.On), sourceOf(e.From)}
}

// releaseOf gives the release with the sources it was concluded from. It is disputed if one
// of the builds stated is another release's.
func releaseOf(h *host.Host, id infer.Identity) Fact[string] {
	f := Fact[string]{Sources: []Claim[string]{}}
	if id.Release == nil {
		return f
	}
	f.Value, f.Known, f.Inferred = &id.Release.ID, true, true
	for _, r := range id.Because {
		for _, s := range r.From {
			f.Sources = append(f.Sources, Claim[string]{sourceOf(s), id.Release.ID})
		}
	}
	f.Disputed = slices.ContainsFunc(h.Build.Claims(), func(c host.Claim[winver.Build]) bool {
		return !slices.Contains(id.Release.Builds, c.Value.Base())
	})
	return f
}

func same[T comparable](f host.Fact[T]) Fact[T] { return fact(f, func(v T) T { return v }) }

func fact[A comparable, B any](f host.Fact[A], as func(A) B) Fact[B] {
	out := Fact[B]{Known: f.Known(), Disputed: f.Disputed()}
	if v, ok := f.Value(); ok {
		b := as(v)
		out.Value = &b
	}
	out.Sources = each(f.Claims(), func(c host.Claim[A]) Claim[B] { return Claim[B]{sourceOf(c.From), as(c.Value)} })
	return out
}

func sourceOf(s host.Source) Source {
	out := Source{Reader: s.Reader, Input: s.Input, At: s.At}
	if !s.Taken.IsZero() {
		out.Taken = s.Taken.UTC().Format(time.RFC3339)
	}
	return out
}

func reasons(list []host.Reason) []Reason {
	return each(list, func(r host.Reason) Reason { return Reason{r.Text, each(r.From, sourceOf)} })
}

func updatesOf(u *assess.Updates) Updates {
	return Updates{
		Installed: each(u.Installed, updateOf),
		Missing:   each(u.Missing, func(it assess.Item) Missing { return Missing{updateOf(it), offered(u, it.KB)} }),
		Undecided: each(u.Undecided, updateOf), OfferedNow: each(u.OfferedNow, updateOf),
		Newest: known(u.Newest), Latest: known(u.Latest), MonthsBehind: months(u),
	}
}

func offered(u *assess.Updates, kb winver.KB) bool {
	return slices.ContainsFunc(u.OfferedNow, func(it assess.Item) bool { return it.KB == kb })
}

func months(u *assess.Updates) *int {
	if u.MonthsBehind < 0 {
		return nil
	}
	return &u.MonthsBehind
}

func updateOf(it assess.Item) Update {
	return Update{
		KB: it.KB, Kind: it.Kind, Released: date(it.Released), ReleasedSure: sureOf(&it), Group: it.Group,
		Needs: each(it.Needs, needOf), Because: reasons(it.Because),
	}
}

// sureOf says how well the day of release is known, nothing where there is none.
func sureOf(it *assess.Item) string {
	if it.Released == 0 {
		return ""
	}
	return it.Sure.String()
}

func needOf(n assess.Need) Need {
	return Need{n.Kind, known(n.KB), each(n.Programmes, func(s string) string { return s }), n.Text}
}

func findingOf(f assess.Finding) Finding {
	out := Finding{
		CVE: f.CVE, Verdict: f.Verdict, Fixes: f.Fixes, Needs: each(f.Needs, needOf),
		Severity: known(f.Severity.String()), Impact: known(f.Impact.String()), CVSS: known(f.Score), Vector: known(f.Vector),
		KEVSince: date(f.KEVSince), Ransomware: f.Ransomware, Component: f.Component, Because: reasons(f.Because),
	}
	if out.Fixes == nil {
		out.Fixes = []winver.KB{}
	}
	if f.KEV != host.Unknown {
		on := f.KEV == host.Yes
		out.KEV = &on
	}
	return out
}

func gapOf(g host.Gap) Gap { return Gap{g.What, g.Why, g.Hint, sourceOf(g.From)} }

var levels = [...]string{assess.Clear: "clear", assess.Undecided: "undecided", assess.Bad: "bad"}

func summaryOf(a *assess.Assessment) Summary {
	s := &a.Summary
	return Summary{
		Headline: s.Headline, Notes: each(s.Notes, func(s string) string { return s }),
		Affected: s.Affected, Unfixable: s.Unfixable, Unknown: s.Unknown, Fixed: s.Fixed, NotAffected: s.NotAffected,
		Exploited: s.Exploited, Ransomware: s.Ransomware, Critical: s.CriticalAffected,
		Missing: s.Missing, Undecided: s.Undecided, MonthsBehind: months(&a.Updates), Level: levels[a.Level()],
	}
}
