package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
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
	// told is how long after its end an alert may still be told to be over.
	tellEnd = 7 * day
	// maxHosts bounds how many machines are looked at.
	maxHosts = 1 << 20
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
	so := Conditions(state)
	open, err := s.Store.Open(ctx, now)
	if err != nil {
		return err
	}
	if err = s.Store.Apply(ctx, Reconcile(now, open, so)); err != nil {
		return err
	}
	since := now.Add(-tellEnd)
	alerts, err1 := s.Store.Open(ctx, since)
	told, err2 := s.Store.Told(ctx, since)
	routes, err3 := s.Store.Routes(ctx)
	if err = errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var list []Delivery
	var tells []Told
	for _, b := range Plan(now, routes, alerts, state.hosts, told) {
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
	q := fleet.HostQuery{Sort: fleet.SortName}
	for len(st.Hosts) < maxHosts {
		page, err := s.Fleet.Hosts(ctx, q)
		if err != nil {
			return nil, err
		}
		st.Hosts = append(st.Hosts, page.Hosts...)
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	failed := fleet.UploadFailed
	var errs [4]error
	st.Changes, errs[0] = s.Store.Recent(ctx, now.Add(-recent))
	st.Conflicts, errs[1] = s.Fleet.Conflicts(ctx, 0)
	st.Risks, errs[2] = s.Fleet.Risks(ctx, 0)
	st.Failed, errs[3] = s.Fleet.Uploads(ctx, fleet.UploadQuery{State: &failed})
	return st, errors.Join(errs[:]...)
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
