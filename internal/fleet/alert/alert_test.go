package alert_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
	"github.com/oldguard/oldguard/winver"
)

var now = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func machine(id int64, name string, change func(m *alert.Machine)) alert.Machine {
	m := alert.Machine{ID: id, Name: name, Release: "sp2", Seen: now}
	if change != nil {
		change(&m)
	}
	return m
}

func TestConditions(t *testing.T) {
	today := catalog.DateOf(now)
	old := winver.Build{Major: 6, Number: 6003, Revision: 200, HasRevision: true}
	exploited := []alert.Machine{machine(1, "a", func(m *alert.Machine) { m.Exploited = 1 })}
	one := []alert.Machine{machine(1, "a", nil)}
	for _, tt := range []struct {
		name string
		s    alert.State
		want []string // rule, key, severity, title
	}{
		{"nothing", alert.State{Machines: one}, nil},
		{"exploited_critical", alert.State{
			Machines: []alert.Machine{machine(1, "a", func(m *alert.Machine) { m.Exploited, m.Criticality = 1, fleet.CriticalityCritical })},
			Changes:  []fleet.Change{{ID: 9, Host: 1, At: now, Exploited: 1}},
		}, []string{"exploited, change 9, critical, a: one more exploited vulnerability is open"}},
		{"exploited_elsewhere", alert.State{Machines: exploited, Changes: []fleet.Change{{ID: 9, Host: 1, At: now, Exploited: 2}}}, []string{"exploited, change 9, warning, a: 2 more exploited vulnerabilities are open"}},
		{"exploited_but_fixed_since", alert.State{Machines: one, Changes: []fleet.Change{{ID: 9, Host: 1, At: now, Exploited: 1}}}, nil},
		{"exploited_and_retired", alert.State{Machines: one, Changes: []fleet.Change{{ID: 9, Host: 2, At: now, Exploited: 1}}}, nil},
		{"went_back", alert.State{
			Machines: one, Losses: []alert.Loss{{Host: 1, At: now, Build: old, CVEs: 3, KBs: 1}},
		}, []string{"went-back, host 1 since 2026-11-25T09:00:00Z, warning, a went back: its build was 6.0.6003.200"}},
		{"fix_is_lost", alert.State{Machines: one, Losses: []alert.Loss{{Host: 1, At: now, CVEs: 3, KBs: 1}}}, []string{"went-back, host 1 since 2026-11-25T09:00:00Z, warning, a: 3 vulnerabilities that were fixed are open again"}},
		{"update_is_lost", alert.State{Machines: one, Losses: []alert.Loss{{Host: 1, At: now, KBs: 1}}}, []string{"went-back, host 1 since 2026-11-25T09:00:00Z, warning, a: an update that was in force is gone"}},
		{"lost_long_ago", alert.State{Machines: one, Losses: []alert.Loss{{Host: 1, At: now.Add(-30*day - time.Second), KBs: 1}}}, nil},
		{"lost_and_retired", alert.State{Machines: one, Losses: []alert.Loss{{Host: 2, At: now, KBs: 1}}}, nil},
		{"support", alert.State{
			Machines: []alert.Machine{machine(1, "a", func(m *alert.Machine) { m.Ends = today + 90 })},
			Releases: []*catalog.Release{
				{ID: "sp2", Name: "S", Lifecycles: []catalog.Lifecycle{{Extended: today + 90}}, Programmes: []catalog.Programme{{Name: "P", Until: today + 30}, {Name: "Q", Until: today + 91}, {Name: "R", Until: today - 1}}},
				{ID: "nobody-runs-it", Lifecycles: []catalog.Lifecycle{{Extended: today}}},
			},
		}, []string{
			"support, sp2 " + (today + 30).String() + ", critical, S: P ends on 2026-12-25",
			"support, sp2 " + (today + 90).String() + ", warning, S: support ends on 2027-02-23",
		}},
		{"support_of_another_edition", alert.State{
			Machines: []alert.Machine{machine(1, "a", func(m *alert.Machine) { m.Ends = today + 900 })},
			Releases: []*catalog.Release{{ID: "sp2", Name: "S", Lifecycles: []catalog.Lifecycle{{Extended: today + 10}, {Extended: today + 900}}}},
		}, nil},
		{"support_of_an_edition_that_is_not_known", alert.State{
			Machines: one,
			Releases: []*catalog.Release{{ID: "sp2", Name: "S", Lifecycles: []catalog.Lifecycle{{Extended: today + 10}, {Extended: today + 900}}}},
		}, []string{"support, sp2 " + (today + 10).String() + ", critical, S: support ends on 2026-12-05"}},
		{"source", alert.State{Sources: []catalog.Source{{ID: "msrc", Name: "MSRC", Last: today - 46}, {ID: "kev", Last: today - 45}, {ID: "none"}}}, []string{"source, sources, warning, MSRC is known until 2026-10-10 only"}},
		{"sources_together", alert.State{Sources: []catalog.Source{{ID: "msrc", Last: today - 46}, {ID: "kev", Last: today - 450}, {ID: "fresh", Last: today}}}, []string{"source, sources, warning, 2 of 3 sources of the catalogue are old"}},
		{"unseen", alert.State{Machines: []alert.Machine{
			machine(1, "a", func(m *alert.Machine) { m.Seen = now.Add(-31 * day) }), machine(2, "b", func(m *alert.Machine) { m.Seen = now.Add(-30 * day) }),
		}}, []string{"unseen, host 1, note, a was last seen on 2026-10-25"}},
		{"unseen_critical", alert.State{Machines: []alert.Machine{
			machine(1, "a", func(m *alert.Machine) { m.Seen, m.Criticality = now.Add(-31*day), fleet.CriticalityHigh }),
		}}, []string{"unseen, host 1, warning, a was last seen on 2026-10-25"}},
		{"conflict", alert.State{Conflicts: []fleet.Conflict{{ID: 3}}}, []string{"conflict, conflict 3, warning, Somebody must decide who is who"}},
		{"risk", alert.State{Risks: []fleet.Risk{
			{ID: 1, CVE: "C", Until: today + 30}, {ID: 2, Until: today + 31}, {ID: 3, CVE: "C", Until: today - 1}, {ID: 4, Until: today - 31}, {ID: 5, Host: 99, Until: today},
		}}, []string{
			"risk, risk 1, note, The risk of C accepted for all machines ends on 2026-12-25", "risk, risk 3, warning, The risk of C accepted for all machines ended on 2026-11-24",
		}},
		{"upload", alert.State{Failed: []fleet.Upload{{ID: 1, Name: "f", Received: now}, {ID: 2, Received: now.Add(-8 * day)}}}, []string{"upload, upload 1, warning, Nothing in f could be read"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.Now = now
			var got []string
			for _, c := range alert.Conditions(&tt.s) {
				if !strings.HasPrefix(c.Path, "/") {
					t.Errorf("%+v has no place", c)
				}
				got = append(got, c.Rule+", "+c.Key+", "+c.Severity.String()+", "+c.Title)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReconcile(t *testing.T) {
	so := func(key string, s notify.Severity) alert.Condition {
		return alert.Condition{Rule: "r", Key: key, Severity: s}
	}
	open := []alert.Alert{
		{ID: 1, Condition: so("stays", notify.Note), Opened: now.Add(-day)},
		{ID: 2, Condition: so("worse", notify.Note), Opened: now.Add(-day), Ack: alert.Ack{By: "anna"}},
		{ID: 3, Condition: so("over", notify.Note), Opened: now.Add(-day)},
	}
	got := alert.Reconcile(now, open, []alert.Condition{so("stays", notify.Note), so("worse", notify.Critical), so("new", notify.Note), so("new", notify.Note)})
	want := alert.Turn{
		Opened:  []alert.Alert{{Condition: so("new", notify.Note), Opened: now}},
		Changed: []alert.Alert{{ID: 2, Condition: so("worse", notify.Critical), Opened: now.Add(-day), Ack: alert.Ack{By: "anna"}}},
		Closed:  []alert.Alert{{ID: 3, Condition: so("over", notify.Note), Opened: now.Add(-day), Closed: now}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDue(t *testing.T) {
	h := machine(1, "a", func(h *alert.Machine) {
		h.Tags, h.Site, h.Criticality = []string{"dmz"}, "Vienna", fleet.CriticalityHigh
	})
	base := alert.Alert{ID: 1, Condition: alert.Condition{Rule: "unseen", Severity: notify.Warning}, Opened: now.Add(-time.Hour)}
	told := alert.Told{At: now.Add(-3 * day), Severity: notify.Warning}
	closed, acked, worse := base, base, base
	closed.Closed = now
	acked.Ack = alert.Ack{By: "anna", Until: now.Add(day)}
	worse.Severity, worse.Ack = notify.Critical, acked.Ack
	lapsed := base
	lapsed.Ack = alert.Ack{By: "anna", Until: now}
	for _, tt := range []struct {
		name string
		r    alert.Route
		a    alert.Alert
		last alert.Told
		send bool
		why  string
	}{
		{"new", alert.Route{}, base, alert.Told{}, true, "it is new"},
		{"waits", alert.Route{Wait: 2 * time.Hour}, base, alert.Told{}, false, "it waits for others"},
		{"waited", alert.Route{Wait: time.Hour}, base, alert.Told{}, true, "it is new"},
		{"told", alert.Route{}, base, told, false, "it was told on 2026-11-22 09:00"},
		{"not_yet_again", alert.Route{Repeat: 4 * day}, base, told, false, "it was told on 2026-11-22 09:00"},
		{"again", alert.Route{Repeat: 3 * day}, base, told, true, "it is still so after an hour"},
		{"acknowledged", alert.Route{Repeat: day}, acked, told, false, "anna knows of it until 2026-11-26 09:00"},
		{"acknowledged_before_it_was_told", alert.Route{}, acked, alert.Told{}, false, "anna knows of it until 2026-11-26 09:00"},
		{"acknowledgement_is_over", alert.Route{Repeat: day}, lapsed, told, true, "it is still so after an hour"},
		{"worse_though_acknowledged", alert.Route{}, worse, told, true, "it became critical"},
		{"over", alert.Route{Ended: true}, closed, told, true, "it is over"},
		{"over_and_told", alert.Route{Ended: true}, closed, alert.Told{At: now, Ended: true}, false, "it is over"},
		{"over_and_not_asked_for", alert.Route{}, closed, told, false, "it is over"},
		{"over_and_never_told", alert.Route{Ended: true}, closed, alert.Told{}, false, "it was over before it was told"},
		{"severity", alert.Route{Severity: notify.Critical}, base, alert.Told{}, false, "it is less than critical"},
		{"rule", alert.Route{Rules: []string{"source"}}, base, alert.Told{}, false, "the route is for other rules"},
		{"tag", alert.Route{Tags: []string{"lab"}}, base, alert.Told{}, false, "the machine has none of the tags"},
		{"site", alert.Route{Sites: []string{"Graz"}}, base, alert.Told{}, false, "it is at none of the sites"},
		{"criticality", alert.Route{Criticality: fleet.CriticalityCritical}, base, alert.Told{}, false, "the machine's criticality is less than critical"},
		{"all_match", alert.Route{Severity: notify.Warning, Rules: []string{"unseen"}, Tags: []string{"x", "dmz"}, Sites: []string{"Vienna"}, Criticality: fleet.CriticalityHigh}, base, alert.Told{}, true, "it is new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			send, why := alert.Due(&tt.r, &tt.a, &h, tt.last, now)
			if send != tt.send || why != tt.why {
				t.Errorf("Due() = %v, %q; want %v, %q", send, why, tt.send, tt.why)
			}
		})
	}
}

// TestPlanOfEnds: the end of an alert is told, unless another takes its place.
func TestPlanOfEnds(t *testing.T) {
	is := func(id, host int64, rule string, closed time.Time) alert.Alert {
		return alert.Alert{ID: id, Condition: alert.Condition{Rule: rule, Host: host, Title: rule}, Opened: now.Add(-day), Closed: closed}
	}
	over := now.Add(-time.Hour)
	told := []alert.Told{{Alert: 1, At: now.Add(-day)}, {Alert: 2, At: now}}
	for _, tt := range []struct {
		name  string
		other alert.Alert
		want  []int64
	}{
		{"another_goes_on", is(2, 7, "exploited", time.Time{}), nil},
		{"another_is_over_too", is(2, 7, "exploited", over), []int64{1, 2}},
		{"another_rule", is(2, 7, "unseen", time.Time{}), []int64{1}},
		{"another_machine", is(2, 8, "exploited", time.Time{}), []int64{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []int64
			for _, b := range alert.Plan(now, []alert.Route{{Ended: true}}, []alert.Alert{is(1, 7, "exploited", over), tt.other}, nil, told) {
				for _, a := range b.Alerts {
					got = append(got, a.ID)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	a := func(id int64, rule string, hostID int64, s notify.Severity, opened time.Time) alert.Alert {
		return alert.Alert{ID: id, Condition: alert.Condition{Rule: rule, Host: hostID, Severity: s, Title: rule}, Opened: opened}
	}
	h1, h2 := machine(1, "a", func(h *alert.Machine) { h.Site = "Graz" }), machine(2, "b", func(h *alert.Machine) { h.Site = "Linz" })
	hosts := map[int64]*alert.Machine{1: &h1, 2: &h2}
	alerts := []alert.Alert{
		a(1, "unseen", 1, notify.Note, now.Add(-time.Hour)), a(2, "unseen", 2, notify.Note, now), a(3, "exploited", 2, notify.Critical, now),
	}
	for _, tt := range []struct {
		name string
		r    alert.Route
		told []alert.Told
		want map[string][]int64
	}{
		{"together_the_worst_first", alert.Route{}, nil, map[string][]int64{"": {3, 1, 2}}},
		{"by_rule", alert.Route{Group: alert.ByRule}, nil, map[string][]int64{"unseen": {1, 2}, "exploited": {3}}},
		{"by_site", alert.Route{Group: alert.BySite}, nil, map[string][]int64{"Graz": {1}, "Linz": {3, 2}}},
		{"who_waits_goes_along", alert.Route{Group: alert.ByRule, Wait: time.Hour}, nil, map[string][]int64{"unseen": {1, 2}}},
		{"told_ones_do_not", alert.Route{}, []alert.Told{{Alert: 1, At: now}, {Alert: 3, At: now, Severity: notify.Critical}}, map[string][]int64{"": {2}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string][]int64{}
			for _, b := range alert.Plan(now, []alert.Route{tt.r}, alerts, hosts, tt.told) {
				for _, x := range b.Alerts {
					got[b.Group] = append(got[b.Group], x.ID)
				}
				if m := alert.Compose(&b, "https://o.example.com"); b.Why == "" || len(m.Items) != len(b.Alerts) || !strings.HasPrefix(m.Subject, "oldguard: ") {
					t.Errorf("message %+v", m)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
