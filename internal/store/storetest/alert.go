package storetest

import (
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
)

// Reopen opens a store at one place, the same each time; end closes it.
type Reopen func() (s Store, a alert.Store, end func())

// Alerts holds a store to what package alert asks of it.
func Alerts(t *testing.T, place func(t *testing.T) Reopen) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, open Reopen){"alerts": alerts, "setup": alertSetup, "sending": sending} {
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
	list, err = s.Open(ctx, now)
	must(t, err)
	want(t, "closed since", []alert.Alert{one, two}, list)
	for at, w := range map[time.Time]int{now: 0, now.Add(time.Hour): 1} {
		n, failed := s.Count(ctx, at)
		must(t, failed)
		want(t, "count", w, n)
	}
	_, err = s.Recent(ctx, now)
	must(t, err)
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
	r.ID, err = s.AddRoute(ctx, r)
	must(t, err)
	_, err = s.AddRoute(ctx, alert.Route{Channel: 99})
	wantError(t, "route to nowhere", fleet.ErrNotFound, err)
	routes, err := s.Routes(ctx)
	must(t, err)
	want(t, "routes", []alert.Route{r}, routes)
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
	_, err = s.AddRoute(ctx, alert.Route{Channel: id})
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
