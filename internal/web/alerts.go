package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
)

// alertRoutes are what people are told of, and how; none where the server has no alerts.
func (s *Server) alertRoutes() []Route {
	if s.Alerts == nil {
		return nil
	}
	return []Route{
		{"GET", "/alerts", access.See, false, "alerts: open, acknowledged, closed", s.alertsPage},
		{"POST", "/alerts/{id}/acknowledge", access.Decide, false, "somebody knows of an alert", s.acknowledgePage},
		{"POST", "/alerts/acknowledge", access.Decide, false, "somebody knows of all alerts on a page", s.acknowledgeShown},
		{"GET", "/settings/messages", access.Manage, false, "channels, routes, and the log of messages", s.messagesPage},
		{"POST", "/settings/messages/channels", access.Manage, false, "add a channel, or change one", s.putChannel},
		{"POST", "/settings/messages/channels/{id}/test", access.Manage, false, "send a test to a channel", s.testChannel},
		{"POST", "/settings/messages/channels/{id}/remove", access.Manage, false, "remove a channel with its routes", s.removeChannel},
		{"POST", "/settings/messages/routes", access.Manage, false, "add a route, or change one", s.putRoutePage},
		{"POST", "/settings/messages/routes/{id}/remove", access.Manage, false, "remove a route", s.removeRoute},
	}
}

const (
	alertsPageSize     = 100
	deliveriesPageSize = 50
	// maxAcknowledge is for how many days somebody may know of an alert at most.
	maxAcknowledge = 366
	maxAckNote     = 1000
)

// alertsData is what the page of alerts shows.
type alertsData struct {
	alert.Query
	List   []alert.Alert
	Older  int64
	Decide bool
	Rules  []alert.Rule
}

// address is that of the same page in another state or further back.
func (d *alertsData) address(state alert.Standing, before int64) string {
	v := url.Values{"state": {string(state)}}
	if d.Rule != "" {
		v.Set("rule", d.Rule)
	}
	if d.Severity > notify.Note {
		v.Set("severity", d.Severity.String())
	}
	if before != 0 {
		v.Set("before", strconv.FormatInt(before, 10))
	}
	return "/alerts?" + v.Encode()
}

func standingOf(word string) alert.Standing {
	switch st := alert.Standing(word); st {
	case alert.StateOpen, alert.StateAcknowledged, alert.StateClosed:
		return st
	}
	return alert.StateOpen
}

func (s *Server) alertsPage(w http.ResponseWriter, r *http.Request) {
	q := alert.Query{State: standingOf(r.URL.Query().Get("state")), Rule: r.URL.Query().Get("rule"), Now: s.Now(), Limit: alertsPageSize}
	if severity, err := notify.ParseSeverity(r.URL.Query().Get("severity")); err == nil {
		q.Severity = severity
	}
	if before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil {
		q.Before = before
	}
	d := alertsData{Query: q, Decide: visitOf(r.Context()).who.May(access.Decide), Rules: alert.Rules()}
	var err error
	if d.List, err = s.Alerts.Store.Alerts(r.Context(), q); err != nil {
		s.fault(w, r, err)
		return
	}
	if len(d.List) == q.Limit {
		d.Older = d.List[len(d.List)-1].ID
	}
	s.show(w, r, http.StatusOK, alertsView(s.frame(r, "Alerts", "/alerts"), d))
}

// acknowledge notes that who asks knows of alerts. Of one, it gives fleet.ErrNotFound if it is
// not open; of several, it leaves those out that are not.
func (s *Server) acknowledge(ctx context.Context, ids []int64, days int, note string) error {
	if days < 1 || days > maxAcknowledge || len(note) > maxAckNote || len(ids) > alertsPageSize {
		return fmt.Errorf("%w: acknowledge for 1 to %d days, with a note of at most %d bytes, at most %d alerts at once", fleet.ErrInvalid, maxAcknowledge, maxAckNote, alertsPageSize)
	}
	v := visitOf(ctx)
	now := s.Now()
	var done []string
	for _, id := range ids {
		err := s.Alerts.Store.Acknowledge(ctx, id, alert.Ack{By: v.who.Name, Note: note, At: now, Until: now.AddDate(0, 0, days)})
		if errors.Is(err, fleet.ErrNotFound) && len(ids) > 1 {
			continue
		}
		if err != nil {
			return err
		}
		done = append(done, strconv.FormatInt(id, 10))
	}
	if len(done) == 0 {
		return fleet.ErrNotFound
	}
	return s.Guard.Did(ctx, v.who, v.address, "alert-acknowledge", "alert "+strings.Join(done, ", "), "for "+several(days, "day"))
}

func (s *Server) acknowledgePage(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok || !s.form(w, r) {
		return
	}
	days, err := strconv.Atoi(r.PostFormValue("days"))
	if err != nil {
		days = 0
	}
	if err := s.acknowledge(r.Context(), []int64{id}, days, r.PostFormValue("note")); err != nil {
		s.missing(w, r, err)
		return
	}
	redirect(w, r, "/alerts")
}

func (s *Server) acknowledgeShown(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	days, err := strconv.Atoi(r.PostFormValue("days"))
	var ids []int64
	for _, word := range r.PostForm["id"] {
		id, failed := strconv.ParseInt(word, 10, 64)
		ids, err = append(ids, id), errors.Join(err, failed)
	}
	if err == nil {
		err = s.acknowledge(r.Context(), ids, days, r.PostFormValue("note"))
	} else {
		err = fmt.Errorf("%w: which alerts, and for how long", fleet.ErrInvalid)
	}
	if err != nil {
		s.missing(w, r, err)
		return
	}
	redirect(w, r, "/alerts")
}

// messagesData is what the page of messages shows.
type messagesData struct {
	Channels    []alert.Channel
	Names       map[int64]string
	Kinds       []notify.Kind
	Routes      []alert.Route
	Rules       []alert.Rule
	Log         []alert.Delivery
	Older       int64
	Wrong, Done string
}

func (s *Server) messagesPage(w http.ResponseWriter, r *http.Request) {
	s.messages(w, r, http.StatusOK, messagesData{})
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request, status int, d messagesData) {
	ctx, store := r.Context(), s.Alerts.Store
	before, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil {
		before = 0
	}
	var errs [3]error
	d.Channels, errs[0] = store.Channels(ctx)
	d.Routes, errs[1] = store.Routes(ctx)
	d.Log, errs[2] = store.Deliveries(ctx, before, deliveriesPageSize)
	if err := errors.Join(errs[:]...); err != nil {
		s.fault(w, r, err)
		return
	}
	if len(d.Log) == deliveriesPageSize {
		d.Older = d.Log[len(d.Log)-1].ID
	}
	d.Names, d.Kinds, d.Rules = map[int64]string{}, notify.Kinds(), alert.Rules()
	for _, c := range d.Channels {
		d.Names[c.ID] = c.Name
	}
	s.show(w, r, status, messagesView(s.frame(r, "Messages", "/settings"), d))
}

// changed shows the page again after a change, and writes down who made it unless action is
// empty.
func (s *Server) changed(w http.ResponseWriter, r *http.Request, err error, action, object, done string) {
	if errors.Is(err, fleet.ErrInvalid) {
		s.messages(w, r, http.StatusUnprocessableEntity, messagesData{Wrong: sentence(err.Error())})
		return
	}
	if err == nil && action != "" {
		v := visitOf(r.Context())
		err = s.Guard.Did(r.Context(), v.who, v.address, action, object, "")
	}
	if err != nil {
		s.missing(w, r, err)
		return
	}
	s.messages(w, r, http.StatusOK, messagesData{Done: done})
}

func (s *Server) putChannel(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	c := alert.Channel{Name: r.PostFormValue("name"), Kind: r.PostFormValue("kind"), Settings: notify.Settings{}}
	if id, err := strconv.ParseInt(r.PostFormValue("id"), 10, 64); err == nil {
		c.ID = id
	}
	kind, err := notify.KindOf(c.Kind)
	if err != nil {
		s.changed(w, r, fmt.Errorf("%w: %w", fleet.ErrInvalid, err), "", "", "")
		return
	}
	for _, f := range kind.Fields {
		if v := strings.TrimSpace(r.PostFormValue(f.Name)); v != "" {
			c.Settings[f.Name] = notify.Secret(v)
		}
	}
	_, err = s.Alerts.PutChannel(r.Context(), c)
	s.changed(w, r, err, "channel", c.Name, "The channel is stored: test it, and give it a route.")
}

func (s *Server) testChannel(w http.ResponseWriter, r *http.Request) {
	if id, ok := s.id(w, r); ok {
		err := s.Alerts.Test(r.Context(), id, visitOf(r.Context()).who.Name)
		s.changed(w, r, err, "channel-test", "channel "+strconv.FormatInt(id, 10), "A test is on its way: the log below says what becomes of it.")
	}
}

func (s *Server) removeChannel(w http.ResponseWriter, r *http.Request) {
	if id, ok := s.id(w, r); ok {
		err := s.Alerts.Store.RemoveChannel(r.Context(), id)
		s.changed(w, r, err, "channel-remove", "channel "+strconv.FormatInt(id, 10), "The channel is gone, with its routes.")
	}
}

func (s *Server) removeRoute(w http.ResponseWriter, r *http.Request) {
	if id, ok := s.id(w, r); ok {
		err := s.Alerts.Store.RemoveRoute(r.Context(), id)
		s.changed(w, r, err, "route-remove", "route "+strconv.FormatInt(id, 10), "The route is gone.")
	}
}

// routeOf reads the form of a route.
func routeOf(r *http.Request) (out alert.Route, err error) {
	get := r.PostFormValue
	number := func(name string, most int) int {
		n, failed := strconv.Atoi(get(name))
		if get(name) != "" && (failed != nil || n < 0 || n > most) {
			err = errors.Join(err, fmt.Errorf("%s is a number from 0 to %d", name, most))
		}
		return n
	}
	words := func(name string) (list []string) {
		for word := range strings.SplitSeq(get(name), ",") {
			if word = strings.TrimSpace(word); word != "" {
				list = append(list, word)
			}
		}
		return list
	}
	out = alert.Route{
		ID: int64(number("id", 1<<30)), Channel: int64(number("channel", 1<<30)), Rules: r.PostForm["rule"], Tags: words("tags"), Sites: words("sites"), Group: alert.Group(get("group")),
		Wait: time.Duration(number("wait", 7*24*60)) * time.Minute, Repeat: time.Duration(number("repeat", 366)) * 24 * time.Hour, Ended: get("ended") != "",
	}
	var failed1, failed2 error
	if word := get("severity"); word != "" {
		out.Severity, failed1 = notify.ParseSeverity(word)
	}
	failed2 = out.Criticality.UnmarshalText([]byte(get("criticality")))
	return out, errors.Join(err, failed1, failed2)
}

// putRoute stores a route, and writes down who did.
func (s *Server) putRoute(ctx context.Context, route alert.Route) (int64, error) {
	id, err := s.Alerts.PutRoute(ctx, route)
	if err != nil {
		return 0, err
	}
	action := "route"
	if route.ID != 0 {
		action = "route-change"
	}
	v := visitOf(ctx)
	return id, s.Guard.Did(ctx, v.who, v.address, action, "route "+strconv.FormatInt(id, 10), fmt.Sprintf("channel %d: %s", route.Channel, routeWords(route)))
}

func (s *Server) putRoutePage(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	route, err := routeOf(r)
	if err != nil {
		err = fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
	} else {
		_, err = s.putRoute(r.Context(), route)
	}
	s.changed(w, r, err, "", "", "The route is stored. It tells within five minutes what is open now and was not told.")
}

// openAlerts counts them for the menu; what cannot be counted is not shown.
func (s *Server) openAlerts(r *http.Request, v visit) int {
	if s.Alerts == nil || v.who.User == 0 {
		return 0
	}
	n, err := s.Alerts.Store.Count(r.Context(), s.Now())
	if err != nil {
		s.Log.WarnContext(r.Context(), "alerts cannot be counted", errorAttr(err))
	}
	return n
}

// routeWords says what a route is for.
func routeWords(r alert.Route) string {
	out := []string{r.Severity.String() + " and worse"}
	if r.Severity == notify.Note {
		out[0] = "all severities"
	}
	for _, x := range []struct {
		word string
		list []string
	}{{"rules", r.Rules}, {"tags", r.Tags}, {"sites", r.Sites}} {
		if len(x.list) > 0 {
			out = append(out, x.word+" "+strings.Join(x.list, ", "))
		}
	}
	if r.Criticality != fleet.CriticalityUnset {
		out = append(out, "criticality at least "+r.Criticality.String())
	}
	if r.Group == alert.ByRule || r.Group == alert.BySite {
		out = append(out, "grouped by "+string(r.Group))
	}
	if r.Wait > 0 {
		out = append(out, fmt.Sprintf("waits %s for others", several(int(r.Wait.Minutes()), "minute")))
	}
	if r.Repeat > 0 {
		out = append(out, "again every "+several(int(r.Repeat.Hours()/24), "day"))
	}
	if r.Ended {
		out = append(out, "tells the end too")
	}
	return strings.Join(out, "; ")
}

// several counts things in words.
func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
