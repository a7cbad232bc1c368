package alert

import (
	"fmt"
	"maps"
	"slices"
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
	Hosts     []fleet.Host   // not retired
	Changes   []fleet.Change // since Now less recent: those with something newly exploited or another build
	Releases  []*catalog.Release
	Sources   []catalog.Source
	Conflicts []fleet.Conflict // open ones
	Risks     []fleet.Risk
	Failed    []fleet.Upload // that could not be read

	hosts map[int64]*fleet.Host
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
		{"support", "support ends", "support of a machine's release, or a paid programme for it, ends within 90 days; one alert for each release", support},
		{"source", "a source is old", "a source of the catalogue speaks about no day of the last 45, so that what came since is not known", source},
		{"went-back", "went back", "a machine has a lower build than before: a fix was lost, a backup or snapshot restored; over when the build is reached again, or after 30 days", wentBack},
		{"unseen", "not seen", "no evidence of a machine for 30 days", unseen},
		{"conflict", "who is who", "evidence fits no machine or several, or two machines share what should tell them apart", conflict},
		{"risk", "accepted risk ends", "an accepted risk ends within 30 days, or ended in the last 30", risk},
		{"upload", "upload failed", "nothing in an upload of the last 7 days could be read", upload},
	}
}

// Conditions gives all that is so, by rule and key.
func Conditions(s *State) (out []Condition) {
	s.hosts = make(map[int64]*fleet.Host, len(s.Hosts))
	for i := range s.Hosts {
		s.hosts[s.Hosts[i].ID] = &s.Hosts[i]
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

func nameOf(h *fleet.Host) string {
	if h.Name == "" {
		return fmt.Sprintf("machine %d", h.ID)
	}
	return h.Name
}

func exploited(s *State, add func(Condition)) {
	told := map[int64]bool{}
	for _, c := range s.Changes { // the newest first
		h := s.hosts[c.Host]
		if c.Exploited == 0 || c.First || h == nil || h.Exploited == 0 || s.Now.Sub(c.At) > recent || told[c.Host] {
			continue
		}
		told[c.Host] = true
		severity := notify.Warning
		if h.Criticality == fleet.CriticalityHigh || h.Criticality == fleet.CriticalityCritical {
			severity = notify.Critical
		}
		add(Condition{
			Key: fmt.Sprintf("change %d", c.ID), Severity: severity, Host: h.ID, Path: hostPath(h.ID),
			Title: fmt.Sprintf("%s: %d newly exploited vulnerabilities are open", nameOf(h), c.Exploited),
			Text:  fmt.Sprintf("As of %s, because of %s. %s", c.AsOf, causes[c.Cause], h.Headline),
		})
	}
}

var causes = map[fleet.Cause]string{
	fleet.CauseEvidence: "new evidence", fleet.CauseCatalog: "a new catalogue", fleet.CauseDay: "a day that passed", fleet.CauseEdit: "an edit",
}

func wentBack(s *State, add func(Condition)) {
	told := map[int64]bool{}
	for _, c := range s.Changes {
		h := s.hosts[c.Host]
		was, err1 := winver.Parse(c.Build[0])
		is, err2 := winver.Parse(c.Build[1])
		if h == nil || told[c.Host] || s.Now.Sub(c.At) > recent || err1 != nil || err2 != nil || !lower(is.Build, was.Build) {
			continue
		}
		told[c.Host] = true
		if h.Build.AtLeast(was.Build) {
			continue // it is back where it was
		}
		add(Condition{
			Key: fmt.Sprintf("change %d", c.ID), Severity: notify.Warning, Host: h.ID, Path: hostPath(h.ID),
			Title: fmt.Sprintf("%s went back from %s to %s", nameOf(h), was.Build, is.Build),
			Text:  "A fix was lost: an update was removed, or a backup or snapshot restored.",
		})
	}
}

// lower tells whether a build is known to be lower than another. That a revision is not
// known any more is no step back.
func lower(is, was winver.Build) bool {
	if is.Base() == was.Base() && !is.HasRevision {
		return false
	}
	return is.Compare(was) < 0
}

func support(s *State, add func(Condition)) {
	machines := map[string]int{}
	for i := range s.Hosts {
		machines[s.Hosts[i].Release]++
	}
	today := catalog.DateOf(s.Now)
	for _, r := range s.Releases {
		if machines[r.ID] == 0 {
			continue
		}
		ends := map[catalog.Date]string{}
		for _, l := range r.Lifecycles {
			ends[l.Extended] = "support"
		}
		for _, p := range r.Programmes {
			ends[p.Until] = p.Name
		}
		for _, end := range slices.Sorted(maps.Keys(ends)) {
			what := ends[end]
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
				Title: fmt.Sprintf("%s: %s ends on %s", r.Name, what, end), Text: fmt.Sprintf("%d machines run it.", machines[r.ID]),
			})
		}
	}
}

func source(s *State, add func(Condition)) {
	today := catalog.DateOf(s.Now)
	for _, src := range s.Sources {
		if src.Last == 0 || int(today-src.Last) <= tooOld {
			continue
		}
		add(Condition{
			Key: src.ID, Severity: notify.Warning, Path: "/",
			Title: fmt.Sprintf("%s is known until %s only", src.Name, src.Last), Text: "What was published since is not known. A new catalogue brings it.",
		})
	}
}

func unseen(s *State, add func(Condition)) {
	for i := range s.Hosts {
		h := &s.Hosts[i]
		if h.LastSeen.IsZero() || s.Now.Sub(h.LastSeen) <= unseenAfter {
			continue
		}
		add(Condition{
			Key: fmt.Sprintf("host %d", h.ID), Host: h.ID, Severity: notify.Note, Path: hostPath(h.ID),
			Title: nameOf(h) + " was last seen on " + catalog.DateOf(h.LastSeen).String(), Text: "Bring newer evidence, or say that it is retired.",
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
		h := s.hosts[r.Host]
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
