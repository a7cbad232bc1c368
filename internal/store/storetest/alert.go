package storetest

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
	"github.com/oldguard/oldguard/winver"
)

// Reopen opens a store at one place, the same each time; end closes it.
type Reopen func() (s Store, a alert.Store, end func())

// Alerts holds a store to what package alert asks of it.
func Alerts(t *testing.T, place func(t *testing.T) Reopen) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, open Reopen){"alerts": alerts, "state": alertState, "setup": alertSetup, "forget": forget, "sending": sending} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

func alerts(t *testing.T, open Reopen) {
	_, s, end := open()
	defer end()
	ctx := t.Context()
	c := func(key string) alert.Condition {
		return alert.Condition{Rule: "unseen", Key: key, Severity: notify.Warning, Host: 7, Path: "/hosts/7", Title: "t", Text: "x"}
	}
	one, two := alert.Alert{ID: 1, Condition: c("1"), Opened: now}, alert.Alert{ID: 2, Condition: c("2"), Opened: now}
	fresh := []alert.Alert{one, two}
	fresh[0].ID, fresh[1].ID = 0, 0
	must(t, s.Apply(ctx, alert.Turn{Opened: fresh}))
	list, err := s.Open(ctx, now)
	must(t, err)
	want(t, "open", []alert.Alert{one, two}, list)

	one.Ack = alert.Ack{By: "anna", Note: "n", At: now, Until: now.Add(time.Hour)}
	must(t, s.Acknowledge(ctx, 1, one.Ack))
	wantError(t, "acknowledge none", fleet.ErrNotFound, s.Acknowledge(ctx, 99, one.Ack))
	changed := one
	changed.Ack, changed.Title = alert.Ack{}, "other words"
	one.Title = changed.Title
	two.Closed = now.Add(time.Minute)
	must(t, s.Apply(ctx, alert.Turn{Changed: []alert.Alert{changed}, Closed: []alert.Alert{two}}))
	wantError(t, "acknowledge a closed one", fleet.ErrNotFound, s.Acknowledge(ctx, 2, one.Ack))
	for state, w := range map[alert.Standing][]alert.Alert{
		alert.StateOpen: nil, alert.StateAcknowledged: {one}, alert.StateClosed: {two}, "": {two, one},
	} {
		list, err = s.Alerts(ctx, alert.Query{State: state, Now: now})
		must(t, err)
		want(t, "state "+string(state), w, list)
	}
	for q, w := range map[alert.Query]int{
		{Rule: "unseen"}: 2, {Rule: "source"}: 0, {Severity: notify.Warning}: 2, {Severity: notify.Critical}: 0, {State: alert.StateClosed, Rule: "unseen", Severity: notify.Warning}: 1,
	} {
		q.Now = now
		list, err = s.Alerts(ctx, q)
		must(t, err)
		want(t, fmt.Sprintf("%+v", q), w, len(list))
	}
	list, err = s.Open(ctx, now)
	must(t, err)
	want(t, "closed since", []alert.Alert{one, two}, list)
	for at, w := range map[time.Time]int{now: 0, now.Add(time.Hour): 1} {
		n, failed := s.Count(ctx, at)
		must(t, failed)
		want(t, "count", w, n)
	}
}

// alertState: what the rules look at is there, and nothing of machines that are retired.
func alertState(t *testing.T, open Reopen) {
	db, s, end := open()
	defer end()
	ctx := t.Context()
	u, _, err := db.AddUpload(ctx, newUpload(1))
	must(t, err)
	a, b := machine("FS01", u.ID, 0), machine("FS02", u.ID, 1)
	must(t, db.Record(ctx, fleet.Result{Upload: u.ID, Machines: 2, Now: now, Assessed: []fleet.Assessed{a, b}}))
	page, err := db.Hosts(ctx, fleet.HostQuery{Sort: fleet.SortName})
	must(t, err)
	one, two := page.Hosts[0].ID, page.Hosts[1].ID
	must(t, db.EditHosts(ctx, []int64{one}, fleet.OwnedEdit{Site: new("Graz"), Criticality: new(fleet.CriticalityHigh), AddTags: []string{"lab", "dmz"}}))

	recent, err := s.Recent(ctx, now.Add(-time.Hour))
	must(t, err)
	want(t, "changes of machines that are new", []fleet.Change(nil), recent)
	loss := fleet.Loss{At: now, Build: winver.Build{Major: 6, Number: 6003, Revision: 22000, HasRevision: true}, CVEs: []string{"CVE-2020-0601", "CVE-2019-0708"}, KBs: []winver.KB{4499149}}
	for i := range 2 {
		p, failed := db.Placing(ctx, one)
		must(t, failed)
		c := fleet.Change{At: now.Add(time.Duration(i) * time.Minute), AsOf: day("2026-11-25"), Cause: fleet.CauseCatalog, Exploited: i + 1, Headline: "h"}
		must(t, db.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{{Host: p.Host, Verdicts: p.Verdicts, Change: &c, Loss: &loss}}}))
	}
	recent, err = s.Recent(ctx, now.Add(-time.Hour))
	must(t, err)
	if len(recent) != 1 || recent[0].Host != one || recent[0].Exploited != 2 || recent[0].Headline != "h" || recent[0].Cause != fleet.CauseCatalog {
		t.Errorf("recent changes: %+v", recent)
	}
	recent, err = s.Recent(ctx, now.Add(time.Hour))
	must(t, err)
	want(t, "changes since later", []fleet.Change(nil), recent)

	p, err := db.Placing(ctx, one)
	must(t, err)
	want(t, "what was lost", loss, p.Loss)
	lost := []alert.Loss{{Host: one, At: now, Build: loss.Build, CVEs: 2, KBs: 1, Text: "the build was 6.0.6003.22000; not there any more: KB4499149; open again: CVE-2020-0601, CVE-2019-0708"}}
	list, err := s.Losses(ctx, now)
	must(t, err)
	want(t, "losses", lost, list)
	list, err = s.Losses(ctx, now.Add(time.Second))
	must(t, err)
	want(t, "losses since later", []alert.Loss(nil), list)
	must(t, db.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{{Host: p.Host, Verdicts: p.Verdicts}}}))
	list, err = s.Losses(ctx, now)
	must(t, err)
	want(t, "losses that an assessment says nothing of", lost, list)
	p, err = db.Placing(ctx, one)
	must(t, err)
	must(t, db.Record(ctx, fleet.Result{Now: now, Assessed: []fleet.Assessed{{Host: p.Host, Verdicts: p.Verdicts, Loss: &fleet.Loss{}}}}))
	list, err = s.Losses(ctx, now)
	must(t, err)
	want(t, "losses that are made good", []alert.Loss(nil), list)

	m := alert.Machine{ID: one, Name: "FS01", Release: "windows-server-2008-sp2", Ends: day("2020-01-14"), Site: "Graz", Tags: []string{"dmz", "lab"}, Criticality: fleet.CriticalityHigh, Exploited: 1, Seen: now}
	must(t, db.EditHosts(ctx, []int64{two}, fleet.OwnedEdit{Retired: new(true)}))
	machines, err := s.Machines(ctx)
	must(t, err)
	want(t, "machines", []alert.Machine{m}, machines)
}

// forget: what is old and over goes, the oldest first and no more at once than asked for.
func forget(t *testing.T, open Reopen) {
	_, s, end := open()
	defer end()
	ctx := t.Context()
	old := now.Add(-500 * 24 * time.Hour)
	var list []alert.Alert
	for i := range 4 {
		list = append(list, alert.Alert{Condition: alert.Condition{Rule: "unseen", Key: fmt.Sprint(i)}, Opened: old})
	}
	must(t, s.Apply(ctx, alert.Turn{Opened: list}))
	list, err := s.Open(ctx, now)
	must(t, err)
	list[0].Closed, list[1].Closed = old, old
	must(t, s.Apply(ctx, alert.Turn{Closed: list[:2]}))
	list[2].Closed = now
	must(t, s.Apply(ctx, alert.Turn{Closed: list[2:3]})) // the fourth stays open
	channel, err := s.PutChannel(ctx, alert.Channel{Name: "c", Kind: "slack"})
	must(t, err)
	var deliveries []alert.Delivery
	var told []alert.Told
	for i := range 5 {
		deliveries = append(deliveries, alert.Delivery{Channel: channel, Made: old.Add(time.Duration(i) * time.Hour)})
	}
	deliveries[4].Made = now
	for _, a := range list {
		told = append(told, alert.Told{Route: 1, Alert: a.ID, At: now})
	}
	must(t, s.Queue(ctx, deliveries, told))
	for id := int64(1); id <= 5; id++ {
		if id == 3 {
			continue // it still waits
		}
		_, _, err = s.Claim(ctx, id, "p", now)
		must(t, err)
		must(t, s.Settle(ctx, id, alert.Sent, now, ""))
	}
	step := func(what string, wantAlerts, wantMessages int) {
		t.Helper()
		alerts, messages, failed := s.Forget(ctx, now.Add(-400*24*time.Hour), 2)
		must(t, failed)
		want(t, what, []int{wantAlerts, wantMessages}, []int{alerts, messages})
	}
	step("first", 2, 2)
	step("second", 0, 1)
	step("third", 0, 0)
	log, err := s.Deliveries(ctx, 0, 0)
	must(t, err)
	var ids []int64
	for _, d := range log {
		ids = append(ids, d.ID)
	}
	want(t, "messages that are left", []int64{5, 3}, ids)
	left, err := s.Alerts(ctx, alert.Query{Now: now})
	must(t, err)
	if len(left) != 2 || left[0].ID != list[3].ID || left[1].ID != list[2].ID {
		t.Errorf("alerts that are left: %+v", left)
	}
	told, err = s.Told(ctx, old.Add(-time.Hour))
	must(t, err)
	want(t, "what was told of alerts that are left", 2, len(told))
}

func alertSetup(t *testing.T, open Reopen) {
	_, s, end := open()
	defer end()
	ctx := t.Context()
	c := alert.Channel{Name: "mail", Kind: "smtp", Settings: notify.Settings{"host": "mail.example.com", "password": "p"}}
	var err error
	c.ID, err = s.PutChannel(ctx, c)
	must(t, err)
	c.Name = "post"
	_, err = s.PutChannel(ctx, c)
	must(t, err)
	_, err = s.PutChannel(ctx, alert.Channel{ID: 99})
	wantError(t, "change none", fleet.ErrNotFound, err)
	channels, err := s.Channels(ctx)
	must(t, err)
	want(t, "channels", []alert.Channel{c}, channels)
	r := alert.Route{Channel: c.ID, Severity: notify.Critical, Rules: []string{"unseen"}, Tags: []string{"a"}, Sites: []string{"b"}, Criticality: fleet.CriticalityHigh, Group: alert.BySite, Wait: time.Minute, Repeat: time.Hour, Ended: true}
	r.ID, err = s.PutRoute(ctx, r)
	must(t, err)
	_, err = s.PutRoute(ctx, alert.Route{Channel: 99})
	wantError(t, "route to nowhere", fleet.ErrNotFound, err)
	routes, err := s.Routes(ctx)
	must(t, err)
	want(t, "routes", []alert.Route{r}, routes)
	other, err := s.PutChannel(ctx, alert.Channel{Name: "chat", Kind: "slack", Settings: notify.Settings{"url": "https://chat.example.com"}})
	must(t, err)
	r.Channel, r.Severity, r.Tags = other, notify.Note, nil
	id, err := s.PutRoute(ctx, r)
	must(t, err)
	routes, err = s.Routes(ctx)
	must(t, err)
	want(t, "a route that was changed", []alert.Route{r}, routes)
	want(t, "its number", r.ID, id)
	r.ID = 99
	_, err = s.PutRoute(ctx, r)
	wantError(t, "change no route", fleet.ErrNotFound, err)
	must(t, s.RemoveChannel(ctx, other))
	r.ID, r.Channel = 0, c.ID
	_, err = s.PutRoute(ctx, r)
	must(t, err)
	wantError(t, "remove none", fleet.ErrNotFound, s.RemoveRoute(ctx, 99))
	must(t, s.RemoveChannel(ctx, c.ID))
	routes, err = s.Routes(ctx)
	must(t, err)
	want(t, "routes of a channel that is gone", []alert.Route(nil), routes)
}

// sending sends to a receiver that checks signatures, and ends the server in between.
func sending(t *testing.T, open Reopen) {
	const secret = "sixteen letters or more"
	var got, status atomic.Int64
	status.Store(http.StatusServiceUnavailable)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || notify.Verify([]byte(secret), r.Header, body, now, time.Minute) != nil {
			t.Errorf("a message that is not signed: %s, %v", body, err)
		}
		got.Add(1)
		w.WriteHeader(int(status.Swap(http.StatusOK)))
	}))
	defer receiver.Close()
	ctx := t.Context()
	db, s, end := open()
	cat, err := catalog.Embedded()
	must(t, err)
	server := func(db Store, s alert.Store) *alert.Server {
		a, failed := alert.New(ctx, alert.Config{
			Store: s, Fleet: db, InUse: func() *catalog.Catalog { return cat }, Now: func() time.Time { return now },
			Log: slog.New(slog.DiscardHandler), URL: "https://oldguard.example.com", Local: true,
		})
		must(t, failed)
		return a
	}
	a := server(db, s)
	id, err := a.PutChannel(ctx, alert.Channel{Name: "hook", Kind: "webhook", Settings: notify.Settings{"url": notify.Secret(receiver.URL), "secret": secret}})
	must(t, err)
	_, err = a.PutChannel(ctx, alert.Channel{ID: id, Name: "hook", Kind: "webhook", Settings: notify.Settings{}}) // secrets stay
	must(t, err)
	must(t, a.Test(ctx, id, "anna"))
	_, ok, err := s.Claim(ctx, 1, "a process that dies", now)
	must(t, err)
	want(t, "claimed", true, ok)
	_, ok, err = s.Claim(ctx, 1, "another", now)
	must(t, err)
	want(t, "claimed twice", false, ok)
	end()

	db, s, end = open()
	defer end()
	a = server(db, s)
	stop, err := db.Work(ctx, a.Works()[1:])
	must(t, err)
	defer func() { must(t, stop()) }()
	must(t, a.Test(ctx, id, "anna"))
	wantError(t, "to nowhere", fleet.ErrNotFound, a.Test(ctx, 99, "anna"))
	var log []alert.Delivery
	for range 400 {
		log, err = s.Deliveries(ctx, 0, 0)
		must(t, err)
		if log[0].State == alert.Sent {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(log) != 2 || log[0].State != alert.Sent || log[0].Attempts != 2 || log[1].State != alert.Unsure || log[1].Error == "" || got.Load() != 2 {
		t.Errorf("received %d, log %+v", got.Load(), log)
	}
	wantError(t, "settled twice", fleet.ErrNotFound, s.Settle(ctx, log[0].ID, alert.Failed, now, ""))

	// A condition of the fleet becomes a message, once.
	_, err = s.PutRoute(ctx, alert.Route{Channel: id})
	must(t, err)
	_, err = db.AddRisk(ctx, fleet.Risk{CVE: "CVE-2020-0787", Reason: "r", By: "anna", At: now, Until: catalog.DateOf(now)})
	must(t, err)
	must(t, a.Look(ctx))
	must(t, a.Look(ctx))
	log, err = s.Deliveries(ctx, 0, 0)
	must(t, err)
	so, err := s.Open(ctx, now)
	must(t, err)
	if len(log) != 3 || len(so) == 0 || log[0].Message.Why != "it is new" {
		t.Errorf("after two looks %d messages, %d alerts: %+v", len(log), len(so), log[0])
	}
}
