package alert

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/notify"
	"github.com/oldguard/oldguard/winver"
)

// Rule is one thing that people want to know of: code and its documentation together.
type Rule struct {
	ID, Name, Doc string
	find          func(s *State, add func(Condition))
}

// Condition is something that a rule found to be so.
type Condition struct {
	Rule     string
	Key      string // tells it from others of the rule; the same as long as it is the same thing
	Severity notify.Severity
	Host     int64  // 0 is none in particular
	Path     string // where the server shows it
	Title    string
	Text     string
}

// State is what rules look at.
type State struct {
	Now       time.Time
	Machines  []Machine      // not retired
	Changes   []fleet.Change // with something newly exploited, since Now less recent; the newest of each machine
	Losses    []Loss         // since Now less recent
	Releases  []*catalog.Release
	Sources   []catalog.Source
	Conflicts []fleet.Conflict // open ones
	Risks     []fleet.Risk
	Failed    []fleet.Upload // that could not be read

	machines map[int64]*Machine
}

// Machine is what rules and routes look at of one.
type Machine struct {
	ID          int64
	Name        string
	Release     string
	Ends        catalog.Date // last day of support of its release and edition; zero if not known
	Site        string
	Tags        []string
	Criticality fleet.Criticality
	Exploited   int // open vulnerabilities
	Seen        time.Time
}

// matters tells whether people said that much depends on it.
func (m *Machine) matters() bool { return m.Criticality >= fleet.CriticalityHigh }

// Loss is what a machine had and has no more; see fleet.Loss.
type Loss struct {
	Host      int64
	At        time.Time
	Build     winver.Build // that it had; zero if it is not lower
	CVEs, KBs int
	Text      string
}

const (
	day = 24 * time.Hour
	// recent is how long an event counts unless what it brought is over sooner.
	recent = 30 * day
	// unseenAfter is when a machine counts as not seen any more.
	unseenAfter = 30 * day
	// endsSoon is how long before its end support is spoken of, in days.
	endsSoon = 90
	// riskSoon is the same for an accepted risk.
	riskSoon = 30
	// failedFor is how long a failed upload counts.
	failedFor = 7 * day
	// tooOld is after how many days a source should have been renewed: updates come monthly.
	tooOld = 45
)

// Rules lists the rules.
func Rules() []Rule {
	return []Rule{
		{"exploited", "newly exploited", "a vulnerability that is open on a machine entered the list of exploited ones, or opened while on it; critical where the machine's criticality is high or critical; over when the machine has none that is exploited, or after 30 days", exploited},
		{"support", "support ends", "support of a machine's release and edition, or a paid programme for the release, ends within 90 days; one alert for each release and day", support},
		{"source", "sources are old", "sources of the catalogue speak about no day of the last 45, so that what came since is not known; one alert for all of them", source},
		{"went-back", "went back", "a machine has a lower build than before, a vulnerability that was fixed is open again, or an update that was in force is gone, by the machine's own evidence and not because the catalogue says otherwise; over when all is back, or after 30 days", wentBack},
		{"unseen", "not seen", "no evidence of a machine for 30 days; a warning where the machine's criticality is high or critical, else a note", unseen},
		{"conflict", "who is who", "evidence fits no machine or several, or two machines share what should tell them apart", conflict},
		{"risk", "accepted risk ends", "an accepted risk ends within 30 days, or ended in the last 30", risk},
		{"upload", "upload failed", "nothing in an upload of the last 7 days could be read", upload},
	}
}

// Conditions gives all that is so, by rule and key.
func Conditions(s *State) (out []Condition) {
	s.machines = make(map[int64]*Machine, len(s.Machines))
	for i := range s.Machines {
		s.machines[s.Machines[i].ID] = &s.Machines[i]
	}
	for _, r := range Rules() {
		r.find(s, func(c Condition) {
			c.Rule = r.ID
			out = append(out, c)
		})
	}
	return out
}

func hostPath(id int64) string { return fmt.Sprintf("/hosts/%d", id) }

func nameOf(h *Machine) string {
	if h.Name == "" {
		return fmt.Sprintf("machine %d", h.ID)
	}
	return h.Name
}

func exploited(s *State, add func(Condition)) {
	for _, c := range s.Changes {
		h := s.machines[c.Host]
		if h == nil || h.Exploited == 0 {
			continue
		}
		severity := notify.Warning
		if h.matters() {
			severity = notify.Critical
		}
		what := "one more exploited vulnerability is open"
		if c.Exploited > 1 {
			what = fmt.Sprintf("%d more exploited vulnerabilities are open", c.Exploited)
		}
		add(Condition{
			Key: fmt.Sprintf("change %d", c.ID), Severity: severity, Host: h.ID, Path: hostPath(h.ID),
			Title: nameOf(h) + ": " + what,
			Text:  fmt.Sprintf("As of %s, because of %s. %s.", c.AsOf, causes[c.Cause], strings.TrimSuffix(c.Headline, ".")),
		})
	}
}

var causes = map[fleet.Cause]string{
	fleet.CauseEvidence: "new evidence", fleet.CauseCatalog: "a new catalogue", fleet.CauseDay: "a day that passed", fleet.CauseEdit: "an edit",
}

func wentBack(s *State, add func(Condition)) {
	for _, l := range s.Losses {
		h := s.machines[l.Host]
		if h == nil || s.Now.Sub(l.At) > recent {
			continue
		}
		title := nameOf(h)
		switch {
		case l.Build.Known():
			title += " went back: its build was " + l.Build.String()
		case l.CVEs == 1:
			title += ": a vulnerability that was fixed is open again"
		case l.CVEs > 0:
			title += fmt.Sprintf(": %d vulnerabilities that were fixed are open again", l.CVEs)
		case l.KBs == 1:
			title += ": an update that was in force is gone"
		default:
			title += fmt.Sprintf(": %d updates that were in force are gone", l.KBs)
		}
		add(Condition{
			Key: fmt.Sprintf("host %d since %s", h.ID, l.At.UTC().Format(time.RFC3339)), Severity: notify.Warning, Host: h.ID, Path: hostPath(h.ID),
			Title: title, Text: "An update was removed, or a backup or snapshot restored: " + l.Text + ".",
		})
	}
}

func support(s *State, add func(Condition)) {
	type until struct {
		release string
		end     catalog.Date
	}
	machines := map[string]int{}
	supported := map[until]int{} // editions of a release may differ; zero is an edition that is not known
	for i := range s.Machines {
		m := &s.Machines[i]
		machines[m.Release]++
		supported[until{m.Release, m.Ends}]++
	}
	today := catalog.DateOf(s.Now)
	for _, r := range s.Releases {
		if machines[r.ID] == 0 {
			continue
		}
		type ending struct {
			what     string
			machines int
		}
		ends := map[catalog.Date]ending{}
		for _, l := range r.Lifecycles {
			if n := supported[until{r.ID, l.Extended}] + supported[until{r.ID, 0}]; n > 0 {
				ends[l.Extended] = ending{"support", n}
			}
		}
		for _, p := range r.Programmes {
			ends[p.Until] = ending{p.Name, machines[r.ID]}
		}
		for _, end := range slices.Sorted(maps.Keys(ends)) {
			left := int(end - today)
			if end == 0 || left < 0 || left > endsSoon {
				continue
			}
			severity := notify.Warning
			if left <= riskSoon {
				severity = notify.Critical
			}
			add(Condition{
				Key: r.ID + " " + end.String(), Severity: severity, Path: "/hosts?release=" + r.ID,
				Title: fmt.Sprintf("%s: %s ends on %s", r.Name, ends[end].what, end), Text: runIt(ends[end].machines),
			})
		}
	}
}

func runIt(n int) string {
	if n == 1 {
		return "One machine runs it."
	}
	return fmt.Sprintf("%d machines run it.", n)
}

// source gives one condition for all old sources: one new catalogue brings them all.
func source(s *State, add func(Condition)) {
	today := catalog.DateOf(s.Now)
	var old []catalog.Source
	for _, src := range s.Sources {
		if src.Last != 0 && int(today-src.Last) > tooOld {
			old = append(old, src)
		}
	}
	if len(old) == 0 {
		return
	}
	slices.SortStableFunc(old, func(a, b catalog.Source) int { return cmp.Compare(a.Last, b.Last) })
	title := fmt.Sprintf("%s is known until %s only", old[0].Name, old[0].Last)
	if len(old) > 1 {
		title = fmt.Sprintf("%d of %d sources of the catalogue are old", len(old), len(s.Sources))
	}
	var names []string
	for _, src := range old {
		names = append(names, src.Name+" until "+src.Last.String())
	}
	add(Condition{
		Key: "sources", Severity: notify.Warning, Path: "/",
		Title: title, Text: "What was published since is not known: " + strings.Join(names, "; ") + ". A newer catalogue brings it: see oldguard catalog build.",
	})
}

func unseen(s *State, add func(Condition)) {
	for i := range s.Machines {
		h := &s.Machines[i]
		if h.Seen.IsZero() || s.Now.Sub(h.Seen) <= unseenAfter {
			continue
		}
		severity := notify.Note
		if h.matters() {
			severity = notify.Warning
		}
		add(Condition{
			Key: fmt.Sprintf("host %d", h.ID), Host: h.ID, Severity: severity, Path: hostPath(h.ID),
			Title: nameOf(h) + " was last seen on " + catalog.DateOf(h.Seen).String(), Text: "Bring newer evidence, or say that it is retired.",
		})
	}
}

func conflict(s *State, add func(Condition)) {
	for _, c := range s.Conflicts {
		add(Condition{
			Key: fmt.Sprintf("conflict %d", c.ID), Host: c.Host, Severity: notify.Warning, Path: "/uploads#conflicts",
			Title: "Somebody must decide who is who", Text: c.Text,
		})
	}
}

func risk(s *State, add func(Condition)) {
	today := catalog.DateOf(s.Now)
	for _, r := range s.Risks {
		left := int(r.Until - today)
		h := s.machines[r.Host]
		if left > riskSoon || left < -riskSoon || r.Host != 0 && h == nil {
			continue
		}
		where, path, severity, verb := "all machines", "/", notify.Note, "ends"
		if h != nil {
			where, path = nameOf(h), hostPath(h.ID)
		}
		if left < 0 {
			severity, verb = notify.Warning, "ended"
		}
		add(Condition{
			Key: fmt.Sprintf("risk %d", r.ID), Host: r.Host, Severity: severity, Path: path,
			Title: fmt.Sprintf("The risk of %s%s accepted for %s %s on %s", r.CVE, r.Kind, where, verb, r.Until), Text: "Accepted by " + r.By + ": " + r.Reason,
		})
	}
}

func upload(s *State, add func(Condition)) {
	for _, u := range s.Failed {
		if s.Now.Sub(u.Received) > failedFor {
			continue
		}
		add(Condition{
			Key: fmt.Sprintf("upload %d", u.ID), Severity: notify.Warning, Path: fmt.Sprintf("/uploads/%d", u.ID),
			Title: "Nothing in " + u.Name + " could be read", Text: u.Error,
		})
	}
}

// ruleIDs lists the ids of the rules.
func ruleIDs() (out []string) {
	for _, r := range Rules() {
		out = append(out, r.ID)
	}
	return out
}

// RuleName gives the name of a rule.
func RuleName(id string) string {
	if i := slices.Index(ruleIDs(), id); i >= 0 {
		return Rules()[i].Name
	}
	return id
}
