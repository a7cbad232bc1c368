package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
)

// schemaMigration is described in docs/schema/migration-1.json.
const schemaMigration = "oldguard/migration/1"

// MigrationFormat is one way to write plans to leave old releases.
type MigrationFormat struct {
	Name, Doc string
	Write     func(w io.Writer, d *MigrationDocument, o Options) error
}

// MigrationFormats lists the formats, the default first.
func MigrationFormats() []MigrationFormat {
	return []MigrationFormat{
		{"text", "for people: the ways off each machine, side by side", migrationText},
		{"json", `one document "` + schemaMigration + `", of one machine or many`, migrationJSON},
		{"html", "one page for who decides, with a calendar, then each machine; needs no network", migrationHTML},
	}
}

// MigrationDocument is the plan as programs read it; text and HTML are written from it.
// Lists are never null; what is not known is.
type MigrationDocument struct {
	Schema string          `json:"schema"`
	AsOf   catalog.Date    `json:"as_of"`
	By     date            `json:"by"`
	Waves  []MigrationWave `json:"waves"`
	Hosts  []MigrationHost `json:"hosts"`
	// Ties are machines of the document that use others of it.
	Ties    []MigrationTie `json:"ties"`
	Unclear []string       `json:"ties_unclear"`
}

// MigrationTie is one machine that uses another.
type MigrationTie struct {
	Client     string   `json:"client"`
	Server     string   `json:"server"`
	Services   []string `json:"services"`
	Times      int      `json:"times"`
	ClientWave string   `json:"client_wave"`
	ServerWave string   `json:"server_wave"`
	// Together is true if both are moved in the same wave, Moves if one of them is moved.
	Together bool `json:"moved_together"`
	Moves    bool `json:"one_is_moved"`
}

// MigrationWave is machines that are moved in the same stretch of time.
type MigrationWave struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Because string   `json:"because"`
	From    date     `json:"from"`
	To      date     `json:"to"`
	Hosts   []string `json:"hosts"` // the most pressing first
}

// MigrationHost is one machine and the ways off it.
type MigrationHost struct {
	Name         *string                `json:"name"`
	Release      *string                `json:"release"`
	ReleaseName  *string                `json:"release_name"`
	Edition      *string                `json:"edition"`
	Arch         *string                `json:"arch"`
	Installation *string                `json:"installation"`
	Language     *string                `json:"language"`
	Role         *string                `json:"role"`
	SupportState assess.SupportState    `json:"support"`
	SupportEnds  date                   `json:"support_ends"`
	Exploited    int                    `json:"exploited"`
	Affected     int                    `json:"affected"`
	Unfixable    int                    `json:"unfixable"`
	Targets      []MigrationTarget      `json:"targets"`
	Alternatives []MigrationAlternative `json:"alternatives"`
	Roles        []MigrationRole        `json:"roles"`
	Programs     []MigrationProgram     `json:"programs"`
	Questions    []MigrationQuestion    `json:"not_known"`
	Why          *string                `json:"no_plan_because"`
	Notes        []string               `json:"notes"`
}

// Title names the machine for people.
func (h *MigrationHost) Title() string { return titleOf(h.Name) }

func titleOf(name *string) string {
	if name == nil {
		return "a machine whose name is not known"
	}
	return *name
}

// What says what it runs, for people.
func (h *MigrationHost) What() string {
	if h.ReleaseName == nil {
		return "release not known"
	}
	words := []string{*h.ReleaseName}
	for _, s := range []*string{h.Edition, h.Arch, h.Installation} {
		if s != nil {
			words = append(words, *s)
		}
	}
	return strings.Join(words, ", ")
}

// Support says how it stands to its support, for people.
func (h *MigrationHost) Support() string {
	s := supportWords[h.SupportState]
	if h.SupportEnds != 0 {
		s += ", " + catalog.Date(h.SupportEnds).String()
	}
	return s
}

// MigrationTarget is a release to go to.
type MigrationTarget struct {
	Release    string             `json:"release"`
	Name       string             `json:"name"`
	Ends       date               `json:"support_ends"`
	Confidence string             `json:"confidence"`
	Source     string             `json:"source"`
	Over       bool               `json:"over_by_then"`
	InPlace    host.Tri           `json:"in_place"`
	Paths      [][]MigrationHop   `json:"paths"`
	Blockers   []MigrationBlocker `json:"blockers"`
}

// MigrationHop is one upgrade.
type MigrationHop struct {
	Kind        plan.HopKind `json:"kind"`
	From        string       `json:"from"`
	FromEdition string       `json:"from_edition"`
	To          string       `json:"to"`
	Edition     string       `json:"to_edition"`
	Confidence  string       `json:"confidence"`
	Source      string       `json:"source"`
}

// MigrationBlocker stops a way.
type MigrationBlocker struct {
	ID         string   `json:"id"`
	Text       string   `json:"text"`
	Cure       string   `json:"cure"`
	Confidence string   `json:"confidence"`
	Source     *string  `json:"source"`
	Sources    []Source `json:"evidence"`
}

// MigrationAlternative is one way.
type MigrationAlternative struct {
	ID         string             `json:"id"`
	Name       string             `json:"name"`
	Feasible   host.Tri           `json:"feasible"`
	Ends       date               `json:"updates_until"`
	EndsWhy    string             `json:"updates_because"`
	Confidence string             `json:"updates_confidence"`
	Source     *string            `json:"updates_source"`
	Blockers   []MigrationBlocker `json:"blockers"`
	Steps      []MigrationStep    `json:"steps"`
}

// MigrationStep is one thing to do.
type MigrationStep struct {
	Title      string  `json:"title"`
	Because    string  `json:"because"`
	Confidence string  `json:"confidence"`
	Source     *string `json:"source"`
}

// MigrationRole is a role or a piece of software found.
type MigrationRole struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Needs      *string  `json:"needs"`
	Move       *string  `json:"move"`
	Tell       []string `json:"commands_that_tell"`
	Confidence string   `json:"confidence"`
	Source     *string  `json:"source"`
	Sources    []Source `json:"evidence"`
}

// MigrationProgram is a program whose end of support is known.
type MigrationProgram struct {
	Name string `json:"name"`
	Ends date   `json:"support_ends"`
	Over bool   `json:"over"`
}

// MigrationQuestion is something the evidence could not tell, and what would.
type MigrationQuestion struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Tell string `json:"command_that_tells"`
}

// NewMigration makes the document of plans for machines, as of a day and to be done by
// another, which may be zero.
func NewMigration(list []*plan.Migration, on, by catalog.Date) *MigrationDocument {
	waves := plan.Waves(list, on, by)
	d := &MigrationDocument{
		Schema: schemaMigration, AsOf: on, By: date(by), Hosts: each(list, migrationHostOf),
		Waves: each(waves, func(w plan.Wave) MigrationWave {
			return MigrationWave{
				w.ID, w.Name, w.Because, date(w.From), date(w.To),
				each(w.Members, func(m *plan.Migration) string { return titleOf(known(m.Host)) }),
			}
		}),
	}
	wave := map[*plan.Migration]*plan.Wave{}
	for i := range waves {
		for _, m := range waves[i].Members {
			wave[m] = &waves[i]
		}
	}
	ties, unclear := plan.Ties(list)
	d.Unclear = strings0(unclear)
	d.Ties = each(ties, func(t plan.Tie) MigrationTie {
		client, server := wave[t.Client], wave[t.Server]
		return MigrationTie{
			titleOf(known(t.Client.Host)), titleOf(known(t.Server.Host)), t.Services, t.Times, client.ID, server.ID,
			client == server && client.Moves, client.Moves || server.Moves,
		}
	})
	return d
}

func migrationHostOf(m *plan.Migration) MigrationHost {
	h := MigrationHost{
		Name: known(m.Host), Edition: known(m.Edition), Arch: known(m.Arch.String()), Installation: known(string(m.Installation)),
		Language: known(m.Language), Role: known(string(m.Domain)), SupportState: m.Support.State, SupportEnds: date(m.Support.Ends),
		Exploited: m.Summary.Exploited, Affected: m.Summary.Affected, Unfixable: m.Summary.Unfixable, Why: known(m.Why),
		Notes:     each(m.Notes, func(s string) string { return s }),
		Questions: each(m.Questions, func(q plan.Question) MigrationQuestion { return MigrationQuestion(q) }),
		Programs:  each(m.Programs, func(p assess.ProgramNote) MigrationProgram { return MigrationProgram{p.Product, date(p.Ends), p.Over} }),
		Targets:   each(m.Targets, migrationTargetOf),
		Roles: each(m.Roles, func(r plan.RoleFound) MigrationRole {
			return MigrationRole{
				r.ID, r.Name, known(r.Needs), known(r.Move), each(r.Tell, func(s string) string { return s }),
				r.Confidence, known(r.Source), each(r.From, sourceOf),
			}
		}),
		Alternatives: each(m.Alternatives, func(a plan.Alternative) MigrationAlternative {
			return MigrationAlternative{
				a.ID, a.Name, a.Feasible, date(a.Ends), a.EndsWhy, a.Confidence, known(a.Source), each(a.Blockers, migrationBlockerOf),
				each(a.Steps, func(s plan.MoveStep) MigrationStep {
					return MigrationStep{s.Title, s.Because, s.Confidence, known(s.Source)}
				}),
			}
		}),
	}
	if m.Release != nil {
		h.Release, h.ReleaseName = &m.Release.ID, &m.Release.Name
	}
	return h
}

func migrationTargetOf(t plan.Target) MigrationTarget {
	return MigrationTarget{
		t.Release.ID, t.Release.Name, date(t.Ends), t.Confidence, t.Source, t.Over, t.InPlace,
		each(t.Paths, func(p plan.Path) []MigrationHop {
			return each(p, func(h plan.Hop) MigrationHop {
				return MigrationHop{h.Kind, h.From, h.FromEdition, h.To, h.Edition, h.Confidence, h.Source}
			})
		}),
		each(t.Blockers, migrationBlockerOf),
	}
}

func migrationBlockerOf(b plan.Blocker) MigrationBlocker {
	return MigrationBlocker{b.ID, b.Text, b.Cure, b.Confidence, known(b.Source), each(b.From, sourceOf)}
}

func migrationJSON(w io.Writer, d *MigrationDocument, _ Options) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// feasibleWords say whether a way is open.
var feasibleWords = map[host.Tri]string{host.Yes: "possible", host.No: "not possible", host.Unknown: "not known yet"}

// Word says whether the way is open.
func (a *MigrationAlternative) Word() string { return feasibleWords[a.Feasible] }

// Mark is the class of Word.
func (a *MigrationAlternative) Mark() string { return markOf(a.Feasible) }

// Word says whether one gets there in place.
func (t *MigrationTarget) Word() string { return feasibleWords[t.InPlace] }

// Mark is the class of Word.
func (t *MigrationTarget) Mark() string { return markOf(t.InPlace) }

func markOf(t host.Tri) string {
	return map[host.Tri]string{host.Yes: "clear", host.No: "bad", host.Unknown: "undecided"}[t]
}

// Origin says where the end of updates comes from.
func (a *MigrationAlternative) Origin() string { return origin(a.Confidence, a.Source) }

// Until says how long there are updates afterwards.
func (a *MigrationAlternative) Until() string {
	if a.Ends == 0 {
		return "Updates: " + a.EndsWhy
	}
	return "Updates until " + catalog.Date(a.Ends).String() + ": " + a.EndsWhy
}

// Way is the first of the shortest chains, in words; empty where nothing leads there.
func (t *MigrationTarget) Way() string {
	if len(t.Paths) == 0 || t.InPlace == host.No {
		return ""
	}
	words := []string{strings.TrimPrefix(t.Paths[0][0].From, "windows-server-")}
	for _, h := range t.Paths[0] {
		words = append(words, strings.TrimPrefix(h.To, "windows-server-"))
	}
	return strings.ReplaceAll(strings.ReplaceAll(strings.Join(words, " > "), "-r2", " R2"), "-sp", " SP")
}

// Origin says where a statement comes from.
func (s *MigrationStep) Origin() string { return origin(s.Confidence, s.Source) }

// Origin says where a statement comes from.
func (b *MigrationBlocker) Origin() string { return origin(b.Confidence, b.Source) }

// Origin says where a statement comes from.
func (r *MigrationRole) Origin() string { return origin(r.Confidence, r.Source) }

func origin(confidence string, source *string) string {
	if source == nil {
		return confidence
	}
	return *source + "; " + confidence
}

// Days is the stretch of a wave in words.
func (w *MigrationWave) Days() string {
	if w.From == 0 {
		return ""
	}
	return catalog.Date(w.From).String() + " to " + catalog.Date(w.To).String()
}

// maxTieServices is how many services of a tie are named.
const maxTieServices = 6

// List names what one uses of the other.
func (t *MigrationTie) List() string {
	list := t.Services[:min(maxTieServices, len(t.Services))]
	s := strings.Join(list, ", ")
	if n := len(t.Services) - len(list); n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// Follows says what it means for who moves them.
func (t *MigrationTie) Follows() string {
	switch {
	case t.Together:
		return "in the same wave: move them together, or keep the way between them open"
	case t.Moves:
		return "not in the same wave: keep the way between them open, or move them together"
	}
	return "neither is moved"
}

func migrationText(w io.Writer, d *MigrationDocument, o Options) error {
	p := newPrinter(o)
	if len(d.Hosts) > 1 {
		p.line(p.styled(bold, fmt.Sprintf("%s as of %s", plural(len(d.Hosts), "machine"), d.AsOf)))
		for i := range d.Waves {
			v := &d.Waves[i]
			p.title("%s", strings.TrimSuffix(fmt.Sprintf("%s: %s, %s", v.Name, plural(len(v.Hosts), "machine"), v.Days()), ", "))
			p.para(faint, "  ", v.Because)
			p.para(plain, "  ", strings.Join(v.Hosts, ", "))
		}
		migrationTiesText(p, d)
		p.line()
	}
	for i := range d.Hosts {
		migrationHostText(p, &d.Hosts[i])
	}
	_, err := w.Write(p.bytes())
	return err
}

// maxTies is how many ties text and page show.
const maxTies = 100

func migrationTiesText(p *printer, d *MigrationDocument) {
	if len(d.Ties)+len(d.Unclear) == 0 {
		return
	}
	p.title("Who uses whom, as far as the evidence shows")
	for i := range d.Ties[:min(maxTies, len(d.Ties))] {
		t := &d.Ties[i]
		p.para(plain, "  ", fmt.Sprintf("%s is used by %s (%s)", t.Server, t.Client, t.List()))
		p.para(faint, "    ", t.Follows())
	}
	if n := len(d.Ties) - maxTies; n > 0 {
		p.para(faint, "  ", fmt.Sprintf("and %s more: --format json has all", thousands(n)))
	}
	for _, u := range d.Unclear {
		p.para(amber, "  ", u)
	}
}

func migrationHostText(p *printer, h *MigrationHost) {
	p.title("%s: %s", h.Title(), h.What())
	p.para(plain, "  ", fmt.Sprintf("Support: %s. %d exploited, %d affected, %d unfixable.", h.Support(), h.Exploited, h.Affected, h.Unfixable))
	if h.Why != nil {
		p.para(amber, "  ", "No plan: "+*h.Why+".")
	}
	for i := range h.Targets {
		t := &h.Targets[i]
		s := fmt.Sprintf("%s, support until %s: in place %s", t.Name, t.Until(), t.Word())
		if way := t.Way(); way != "" {
			s += ", " + way
		}
		p.para(plain, "  ", s)
	}
	for i := range h.Alternatives {
		a := &h.Alternatives[i]
		p.title("  %s: %s", a.Name, a.Word())
		p.para(plain, "    ", a.Until())
		p.para(faint, "    ", a.Origin())
		for j := range a.Blockers {
			b := &a.Blockers[j]
			p.para(amber, "    stopped: ", b.Text+" "+b.Cure)
			p.para(faint, "             ", b.Origin())
		}
		for j := range a.Steps {
			s := &a.Steps[j]
			p.para(plain, fmt.Sprintf("   %2d ", j+1), s.Title+".")
			p.para(faint, "      ", s.Because+" ("+s.Origin()+")")
		}
	}
	if len(h.Roles) > 0 {
		p.title("  Found on it")
	}
	for i := range h.Roles {
		r := &h.Roles[i]
		p.para(bold, "    ", r.Name)
		for _, s := range []*string{r.Needs, r.Move} {
			if s != nil {
				p.para(plain, "      ", *s)
			}
		}
		p.para(faint, "      ", r.Origin())
	}
	if len(h.Questions) > 0 {
		p.title("  What the evidence could not tell")
	}
	for _, q := range h.Questions {
		p.para(plain, "    ", sentence(q.What)+": "+q.Why)
		p.para(faint, "      ", q.Tell)
	}
	if len(h.Notes) > 0 {
		p.title("  Notes")
	}
	for _, n := range h.Notes {
		p.para(plain, "    ", n)
	}
	p.line()
}

func migrationHTML(w io.Writer, d *MigrationDocument, _ Options) error {
	b, err := render("migrate", d)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Open lists the alternatives of all machines that are possible, or may be, by how many
// machines, for the page of who decides.
func (d *MigrationDocument) Open() (out []MigrationCount) {
	at := map[string]int{}
	for _, h := range d.Hosts {
		for _, a := range h.Alternatives {
			i, ok := at[a.ID]
			if !ok {
				i = len(out)
				at[a.ID] = i
				out = append(out, MigrationCount{Name: a.Name})
			} else if out[i].Name != a.Name {
				out[i].Name = strings.SplitN(a.Name, " to Windows", 2)[0]
			}
			switch a.Feasible {
			case host.Yes:
				out[i].Yes++
			case host.No:
				out[i].No++
			case host.Unknown:
				out[i].Unknown++
			}
		}
	}
	return out
}

// MigrationCount says for how many machines a way is open.
type MigrationCount struct {
	Name             string
	Yes, No, Unknown int
}

// Total gives sums for the first page: machines without support, and exploited ones.
func (d *MigrationDocument) Total() (t struct{ Machines, Over, Exploited int }) {
	for i := range d.Hosts {
		h := &d.Hosts[i]
		t.Machines++
		if h.SupportState == assess.Over || h.SupportState == assess.Programmes {
			t.Over++
		}
		if h.Exploited > 0 {
			t.Exploited++
		}
	}
	return t
}

// Calendar draws the waves until the day, and when support of what runs and of the targets
// ends; empty without waves.
func (d *MigrationDocument) Calendar() template.HTML {
	type mark struct {
		name string
		ends catalog.Date
	}
	var targets []mark
	last := max(catalog.Date(d.By), d.AsOf+365)
	for i := range d.Hosts {
		for _, t := range d.Hosts[i].Targets {
			ends := catalog.Date(t.Ends)
			if ends > d.AsOf && !slices.ContainsFunc(targets, func(m mark) bool { return m.name == t.Name }) {
				targets = append(targets, mark{t.Name, ends})
				last = max(last, ends)
			}
		}
	}
	if len(d.Waves) == 0 {
		return ""
	}
	var desc strings.Builder
	for i := range d.Waves {
		w := &d.Waves[i]
		fmt.Fprintf(&desc, "%s: %s %s. ", w.Name, plural(len(w.Hosts), "machine"), w.Days())
	}
	for _, m := range targets {
		fmt.Fprintf(&desc, "Support of %s ends on %s. ", m.name, m.ends)
	}
	return drawn("calendar", "Calendar of the waves, and of the support of where they go", desc.String(), func(p *picture) float64 {
		const row = 34
		y := 6.0
		draw := func(s scale, class, label string, from, to catalog.Date) {
			p.text("label", "start", 0, y+9, label)
			p.rect("rail", s.left, y+14, s.right-s.left, 10, "")
			if to != 0 {
				p.rect(class, s.x(from), y+14, s.x(to)-s.x(from), 10, label+": "+from.String()+" to "+to.String())
			}
			y += row
		}
		if d.By != 0 {
			s := scale{d.AsOf, catalog.Date(d.By), 0, p.width}
			for i := range d.Waves {
				w := &d.Waves[i]
				if w.From != 0 {
					draw(s, "wave "+w.ID, fmt.Sprintf("%s (%d): %s", w.Name, len(w.Hosts), w.Days()), catalog.Date(w.From), catalog.Date(w.To))
				}
			}
			p.text("faint", "start", 0, y+8, d.AsOf.String())
			p.text("faint", "end", p.width, y+8, catalog.Date(d.By).String())
			y += 28
		}
		s := scale{d.AsOf, last, 0, p.width}
		for _, m := range targets {
			draw(s, "target", m.name+", support until "+m.ends.String(), d.AsOf, m.ends)
		}
		p.years(s, y)
		return y + 24
	})
}

// Deadline is the day by which it is to be done, empty if there is none.
func (d *MigrationDocument) Deadline() string { return catalog.Date(d.By).String() }

// Until is the end of its support.
func (t *MigrationTarget) Until() string {
	if t.Ends == 0 {
		return "not known"
	}
	return catalog.Date(t.Ends).String()
}
