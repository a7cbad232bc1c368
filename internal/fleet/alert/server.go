package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/notify"
)

// Config is what a Server is made of.
type Config struct {
	Store Store
	Fleet fleet.Store
	InUse func() *catalog.Catalog
	Now   func() time.Time
	Log   *slog.Logger
	// URL is where people reach the server, without a slash at the end.
	URL string
	// Local lets channels reach loopback and link-local addresses.
	Local bool
}

// Server looks for what people must be told of, and sends it. All methods may be called at
// the same time.
type Server struct {
	Config
	process string
	looking sync.Mutex
}

// New makes a server. What a process that is gone had begun to send is not sent again: it
// may have gone. Nothing is sent before the store works on what Works gives.
func New(ctx context.Context, c Config) (*Server, error) {
	s := &Server{Config: c, process: rand.Text()}
	n, err := s.Store.Orphans(ctx, s.process, s.Now())
	if n > 0 {
		s.Log.WarnContext(ctx, "messages were being sent when the server ended; they are not sent again", slog.Int("messages", n))
	}
	return s, err
}

const (
	lookEvery = 5 * time.Minute
	// attempts are how often a message is tried: over some ten hours.
	attempts = 12
	// tellEnd is how long after its end an alert may still be told to be over.
	tellEnd = 7 * day

	// Keep is how long closed alerts and messages are kept: a year and a month, so that who
	// looks back once a year sees all of it.
	Keep = 400 * day

	// In one go so many alerts and messages are forgotten at most, in transactions of
	// forgetBatch of each: others write between them. What is left is for the next day.
	forgetEvery  = day
	forgetBatch  = 1000
	forgetRounds = 100
)

// Send sends a delivery.
type Send struct {
	Delivery int64 `json:"delivery"`
}

// Kind is "send-message".
func (Send) Kind() string { return "send-message" }

// Works lists the jobs.
func (s *Server) Works() []fleet.Work {
	return []fleet.Work{
		{Kind: "look-for-alerts", Doc: "looks what people must be told of", Every: lookEvery, Do: func(ctx context.Context, _ fleet.Task) error { return s.Look(ctx) }},
		{Kind: Send{}.Kind(), Doc: "sends a message", Attempts: attempts, Do: s.send},
		{Kind: "forget-messages", Doc: "forgets closed alerts and messages that are old", Every: forgetEvery, Do: s.forget},
	}
}

// Look opens and closes alerts by how the fleet stands now, and queues what routes tell.
func (s *Server) Look(ctx context.Context) error {
	s.looking.Lock()
	defer s.looking.Unlock()
	now := s.Now()
	state, err := s.state(ctx, now)
	if err != nil {
		return fmt.Errorf("how the fleet stands: %w", err)
	}
	since := now.Add(-tellEnd)
	alerts, err := s.Store.Open(ctx, since)
	if err != nil {
		return err
	}
	open := slices.DeleteFunc(slices.Clone(alerts), func(a Alert) bool { return !a.Closed.IsZero() })
	if t := Reconcile(now, open, Conditions(state)); len(t.Opened)+len(t.Changed)+len(t.Closed) > 0 {
		if err = s.Store.Apply(ctx, t); err != nil {
			return err
		}
		if alerts, err = s.Store.Open(ctx, since); err != nil { // with their numbers
			return err
		}
	}
	routes, err := s.Store.Routes(ctx)
	if err != nil || len(routes) == 0 {
		return err
	}
	told, err := s.Store.Told(ctx, since)
	if err != nil {
		return err
	}
	var list []Delivery
	var tells []Told
	for _, b := range Plan(now, routes, alerts, state.machines, told) {
		m := Compose(&b, s.URL)
		m.At, m.ID = now, rand.Text()
		list = append(list, Delivery{Channel: b.Route.Channel, Route: b.Route.ID, Made: now, Changed: now, Message: m})
		for i := range b.Alerts {
			tells = append(tells, Told{Route: b.Route.ID, Alert: b.Alerts[i].ID, At: now, Severity: b.Alerts[i].Severity, Ended: !b.Alerts[i].Closed.IsZero()})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return s.Store.Queue(ctx, list, tells)
}

func (s *Server) state(ctx context.Context, now time.Time) (*State, error) {
	st := &State{Now: now, Releases: s.InUse().Releases(), Sources: s.InUse().Sources()}
	failed := fleet.UploadFailed
	var errs [6]error
	st.Machines, errs[0] = s.Store.Machines(ctx)
	st.Changes, errs[1] = s.Store.Recent(ctx, now.Add(-recent))
	st.Losses, errs[2] = s.Store.Losses(ctx, now.Add(-recent))
	st.Conflicts, errs[3] = s.Fleet.Conflicts(ctx, 0)
	st.Risks, errs[4] = s.Fleet.Risks(ctx, 0)
	st.Failed, errs[5] = s.Fleet.Uploads(ctx, fleet.UploadQuery{State: &failed})
	return st, errors.Join(errs[:]...)
}

// forget removes what is older than Keep, some at a time.
func (s *Server) forget(ctx context.Context, _ fleet.Task) error {
	for range forgetRounds {
		alerts, messages, err := s.Store.Forget(ctx, s.Now().Add(-Keep), forgetBatch)
		if err != nil {
			return err
		}
		if alerts+messages > 0 {
			s.Log.InfoContext(ctx, "old alerts and messages are forgotten", slog.Int("alerts", alerts), slog.Int("messages", messages))
		}
		if alerts < forgetBatch && messages < forgetBatch {
			return nil
		}
	}
	return nil
}

// The bounds of a route.
const (
	maxWait    = 7 * day
	maxRepeat  = 366 * day
	maxWords   = 100 // rules, tags or sites
	maxWordLen = 200
)

// PutRoute checks a route and stores it: a new one with ID 0, else in place of the one that is
// there.
func (s *Server) PutRoute(ctx context.Context, r Route) (int64, error) {
	if r.Group == "" {
		r.Group = Together
	}
	wrong := func(format string, a ...any) (int64, error) {
		return 0, fmt.Errorf("%w: "+format, append([]any{fleet.ErrInvalid}, a...)...)
	}
	switch {
	case r.Channel < 1:
		return wrong("a route leads to a channel")
	case !slices.Contains(Groups(), r.Group):
		return wrong("alerts are not grouped by %.40q", string(r.Group))
	case r.Wait < 0 || r.Wait > maxWait:
		return wrong("a route waits for at most %d days", int(maxWait/day))
	case r.Repeat < 0 || r.Repeat > maxRepeat:
		return wrong("a route tells again after at most %d days", int(maxRepeat/day))
	}
	for _, id := range r.Rules {
		if !slices.Contains(ruleIDs(), id) {
			return wrong("there is no rule %.40q", id)
		}
	}
	for _, list := range [][]string{r.Rules, r.Tags, r.Sites} {
		if len(list) > maxWords || slices.ContainsFunc(list, func(w string) bool { return len(w) > maxWordLen }) {
			return wrong("a route has at most %d rules, tags or sites, of at most %d bytes", maxWords, maxWordLen)
		}
	}
	return s.Store.PutRoute(ctx, r)
}

// Test queues a message to a channel that says that it is a test.
func (s *Server) Test(ctx context.Context, channel int64, by string) error {
	now := s.Now()
	m := notify.Message{ID: rand.Text(), Subject: "oldguard: test", Why: by + " pressed the button", Link: s.URL + "/settings/messages", At: now, Test: true}
	return s.Store.Queue(ctx, []Delivery{{Channel: channel, Made: now, Changed: now, Message: m}}, nil)
}

// PutChannel checks a channel and stores it. Secrets that are empty stay as they were.
func (s *Server) PutChannel(ctx context.Context, c Channel) (int64, error) {
	list, err := s.Store.Channels(ctx)
	if err != nil {
		return 0, err
	}
	kind, err := notify.KindOf(c.Kind)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
	}
	for _, old := range list {
		if old.ID == c.ID && old.Kind == c.Kind {
			for _, f := range kind.Fields {
				if f.Secret && c.Settings[f.Name] == "" {
					c.Settings[f.Name] = old.Settings[f.Name]
				}
			}
		}
	}
	if c.Name = strings.TrimSpace(c.Name); c.Name == "" || len(c.Name) > 100 {
		return 0, fmt.Errorf("%w: a channel has a name of at most 100 bytes", fleet.ErrInvalid)
	}
	if _, err = notify.Open(c.Kind, c.Settings, notify.Options{Local: s.Local}); err != nil {
		return 0, fmt.Errorf("%w: %w", fleet.ErrInvalid, err)
	}
	return s.Store.PutChannel(ctx, c)
}

// send sends a delivery, once: it is claimed before, and one that was claimed is let be.
func (s *Server) send(ctx context.Context, t fleet.Task) error {
	var job Send
	if err := t.Unmarshal(&job); err != nil {
		return err
	}
	d, ok, err := s.Store.Claim(ctx, job.Delivery, s.process, s.Now())
	if err != nil || !ok {
		if errors.Is(err, fleet.ErrNotFound) {
			return nil
		}
		return err
	}
	err = s.out(ctx, &d)
	state, why := Sent, ""
	if err != nil {
		state, why = Waiting, err.Error()
	}
	switch {
	case errors.Is(err, notify.ErrUnsure):
		state, err = Unsure, nil
	case errors.Is(err, notify.ErrPermanent):
		state, err = Failed, nil
	case err != nil && d.Attempts >= attempts:
		state, err = Failed, nil
	}
	// What became of it is noted also where the server is stopping.
	if failed := s.Store.Settle(context.WithoutCancel(ctx), d.ID, state, s.Now(), why); failed != nil {
		return failed
	}
	s.Log.InfoContext(ctx, "message", slog.Int64("delivery", d.ID), slog.String("state", state.String()), slog.Int("attempt", d.Attempts))
	return err
}

func (s *Server) out(ctx context.Context, d *Delivery) error {
	list, err := s.Store.Channels(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.ID == d.Channel {
			n, err := notify.Open(c.Kind, c.Settings, notify.Options{Local: s.Local})
			if err != nil {
				return fmt.Errorf("%w: %w", notify.ErrPermanent, err)
			}
			d.Message.Sent = s.Now()
			return n.Send(ctx, &d.Message)
		}
	}
	return fmt.Errorf("%w: the channel is gone", notify.ErrPermanent)
}
