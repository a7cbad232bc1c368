package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/notify"
)

// Alert is a condition over time.
type Alert struct {
	ID int64
	Condition
	Opened time.Time
	Closed time.Time // zero while it is so
	Ack    Ack
}

// Ack says that somebody knows of an alert: it is not repeated until a time. The zero value
// is that nobody does.
type Ack struct {
	By, Note string
	At       time.Time
	Until    time.Time
}

// Acknowledged tells whether somebody knows of it, at a time.
func (a *Alert) Acknowledged(now time.Time) bool {
	return a.Closed.IsZero() && now.Before(a.Ack.Until)
}

// Turn is what is different about the alerts.
type Turn struct {
	Opened  []Alert // without ids
	Changed []Alert // still so, with another severity or in other words
	Closed  []Alert // all at the same moment
}

// Reconcile compares the open alerts with what is so now. A condition that is back after
// its end is a new alert.
func Reconcile(now time.Time, open []Alert, so []Condition) (t Turn) {
	type key struct{ rule, key string }
	known := map[key]*Alert{}
	for i := range open {
		known[key{open[i].Rule, open[i].Key}] = &open[i]
	}
	seen := map[key]bool{}
	for _, c := range so {
		k := key{c.Rule, c.Key}
		if seen[k] {
			continue
		}
		seen[k] = true
		switch a := known[k]; {
		case a == nil:
			t.Opened = append(t.Opened, Alert{Condition: c, Opened: now})
		case a.Condition != c:
			changed := *a
			changed.Condition = c
			t.Changed = append(t.Changed, changed)
		}
	}
	for _, a := range open {
		if !seen[key{a.Rule, a.Key}] {
			a.Closed = now
			t.Closed = append(t.Closed, a)
		}
	}
	return t
}

// Group is what alerts share that go into one message.
type Group string

// The groups.
const (
	Together Group = "all"
	ByRule   Group = "rule"
	BySite   Group = "site"
)

// Groups lists the groups, the default first.
func Groups() []Group { return []Group{Together, ByRule, BySite} }

// Route says which alerts go to a channel, and when. Empty fields match all.
type Route struct {
	ID          int64
	Channel     int64
	Severity    notify.Severity // at least
	Rules       []string
	Tags        []string          // the machine has one of them
	Sites       []string          // and is at one of these
	Criticality fleet.Criticality // at least
	Group       Group
	Wait        time.Duration // for others, before the first message
	Repeat      time.Duration // after which an open alert is told again; 0 is never
	Ended       bool          // tell also when it is over
}

// Matches tells whether a route is for an alert, and if not why. H is the machine, nil
// where it is about none in particular.
func (r *Route) Matches(a *Alert, h *Machine) (ok bool, why string) {
	if h == nil {
		h = &Machine{}
	}
	switch {
	case a.Severity < r.Severity:
		return false, "it is less than " + r.Severity.String()
	case len(r.Rules) > 0 && !slices.Contains(r.Rules, a.Rule):
		return false, "the route is for other rules"
	case len(r.Tags) > 0 && !slices.ContainsFunc(h.Tags, func(t string) bool { return slices.Contains(r.Tags, t) }):
		return false, "the machine has none of the tags"
	case len(r.Sites) > 0 && !slices.Contains(r.Sites, h.Site):
		return false, "it is at none of the sites"
	case h.Criticality < r.Criticality:
		return false, "the machine's criticality is less than " + r.Criticality.String()
	}
	return true, ""
}

// Told is the last message of an alert by a route. The zero value is that there was none.
type Told struct {
	Route, Alert int64
	At           time.Time
	Severity     notify.Severity
	Ended        bool // that it is over was told
}

// Due decides whether a route tells of an alert now, and says why or why not.
func Due(r *Route, a *Alert, h *Machine, last Told, now time.Time) (send bool, why string) {
	if ok, why := r.Matches(a, h); !ok {
		return false, why
	}
	first := last.At.IsZero()
	switch {
	case !a.Closed.IsZero() && first:
		return false, "it was over before it was told"
	case !a.Closed.IsZero():
		return r.Ended && !last.Ended, "it is over"
	case !first && a.Severity > last.Severity:
		return true, "it became " + a.Severity.String()
	case a.Acknowledged(now):
		return false, a.Ack.By + " knows of it until " + a.Ack.Until.UTC().Format("2006-01-02 15:04")
	case first && now.Sub(a.Opened) < r.Wait:
		return false, "it waits for others"
	case first:
		return true, "it is new"
	case r.Repeat > 0 && now.Sub(last.At) >= r.Repeat:
		return true, fmt.Sprintf("it is still so after %s", days(now.Sub(a.Opened)))
	}
	return false, "it was told on " + last.At.UTC().Format("2006-01-02 15:04")
}

func days(d time.Duration) string {
	switch n := int(d.Hours()); {
	case n == 1:
		return "an hour"
	case d < 2*day:
		return fmt.Sprintf("%d hours", n)
	}
	return fmt.Sprintf("%d days", int(d/day))
}

// Batch is one message to be: alerts that a route tells of together.
type Batch struct {
	Route  Route
	Group  string
	Alerts []Alert // the worst first
	Why    string
}

// Plan decides what is told now. Once one alert of a group is due, those that wait go
// with it. Where a machine has another open alert of the same rule, as after a second
// vulnerability of a kind, it is not told that the first is over.
func Plan(now time.Time, routes []Route, alerts []Alert, hosts map[int64]*Machine, told []Told) (out []Batch) {
	type pair struct{ route, alert int64 }
	last := make(map[pair]Told, len(told))
	for _, t := range told {
		last[pair{t.Route, t.Alert}] = t
	}
	type about struct {
		rule string
		host int64
	}
	goesOn := map[about]bool{}
	for i := range alerts {
		if a := &alerts[i]; a.Closed.IsZero() && a.Host != 0 {
			goesOn[about{a.Rule, a.Host}] = true
		}
	}
	for _, r := range routes {
		patient, eager := r, r
		eager.Wait = 0
		due := map[string]bool{}
		batches := map[string]*Batch{}
		var names []string
		for i := range alerts {
			a := &alerts[i]
			if !a.Closed.IsZero() && goesOn[about{a.Rule, a.Host}] {
				continue
			}
			h := hosts[a.Host]
			send, why := Due(&eager, a, h, last[pair{r.ID, a.ID}], now)
			if !send {
				continue
			}
			group := r.groupOf(a, h)
			if ok, _ := Due(&patient, a, h, last[pair{r.ID, a.ID}], now); ok {
				due[group] = true
			}
			b := batches[group]
			if b == nil {
				b = &Batch{Route: r, Group: group}
				batches[group] = b
				names = append(names, group)
			}
			b.Alerts = append(b.Alerts, *a)
			if !strings.Contains(b.Why, why) && len(b.Why) < 200 {
				b.Why = strings.TrimPrefix(b.Why+"; "+why, "; ")
			}
		}
		slices.Sort(names)
		for _, name := range names {
			if b := batches[name]; due[name] {
				slices.SortStableFunc(b.Alerts, func(x, y Alert) int { return cmp.Or(cmp.Compare(y.Severity, x.Severity), cmp.Compare(x.ID, y.ID)) })
				out = append(out, *b)
			}
		}
	}
	return out
}

func (r *Route) groupOf(a *Alert, h *Machine) string {
	switch {
	case r.Group == ByRule:
		return a.Rule
	case r.Group == BySite && h != nil:
		return h.Site
	}
	return ""
}

// maxItems bounds the alerts that one message spells out.
const maxItems = 50

// Compose makes the message of a batch. Base is the address of the server.
func Compose(b *Batch, base string) notify.Message {
	m := notify.Message{Why: b.Why, Link: base + "/alerts"}
	over := 0
	for i := range b.Alerts {
		a := &b.Alerts[i]
		if !a.Closed.IsZero() {
			over++
		}
		if i >= maxItems {
			m.More++
			continue
		}
		m.Items = append(m.Items, notify.Item{Severity: a.Severity, Rule: a.Rule, Title: a.Title, Text: a.Text, Link: base + a.Path, Ended: !a.Closed.IsZero()})
	}
	m.Subject = b.Alerts[0].Title
	switch n := len(b.Alerts); {
	case n > 1 && over == n:
		m.Subject = fmt.Sprintf("%d alerts are over", n)
	case n > 1:
		m.Subject = fmt.Sprintf("%d alerts, the worst: %s", n-over, b.Alerts[0].Title)
	case over == 1:
		m.Subject = "Over: " + m.Subject
	}
	m.Subject = "oldguard: " + m.Subject
	return m
}
