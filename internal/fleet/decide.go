package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/oldguard/oldguard/internal/host"
)

// Merge makes two machines one: from turned out to be into, which keeps its id. It is for
// people to decide, and cannot be undone. By is who did.
func (s *Server) Merge(ctx context.Context, into, from int64, by string) error {
	if into == from {
		return fmt.Errorf("%w: a machine cannot be merged into itself", ErrInvalid)
	}
	return s.retrying(ctx, func() error {
		a, err := s.Store.Placing(ctx, into)
		if err != nil {
			return err
		}
		b, err := s.Store.Placing(ctx, from)
		if err != nil {
			return err
		}
		if a.Host.Merged != 0 || b.Host.Merged != 0 {
			return fmt.Errorf("%w: one of the machines is merged into another already", ErrInvalid)
		}
		defer s.places.lock(append(keysOf(a.Host.Identity, into), keysOf(b.Host.Identity, from)...))()
		parts := slices.Concat(a.Parts, b.Parts)
		one, err := s.together(ctx, &a, parts)
		if err != nil {
			return err
		}
		one.Absorbs, one.By = from, by
		one.Host.LastSeen = latest(a.Host.LastSeen, b.Host.LastSeen)
		if b.Host.FirstSeen.Before(one.Host.FirstSeen) {
			one.Host.FirstSeen = b.Host.FirstSeen
		}
		return s.Store.Record(ctx, Result{Now: s.Now(), Assessed: []Assessed{*one}})
	})
}

// Assign gives evidence that was given to none to a machine, or to a new one if host is 0,
// and gives that machine.
func (s *Server) Assign(ctx context.Context, sighting, host int64, by string) error {
	return s.retrying(ctx, func() error {
		p, err := s.Store.Unplaced(ctx, sighting)
		if err != nil {
			return err
		}
		var at Placing
		if host != 0 {
			if at, err = s.Store.Placing(ctx, host); err != nil {
				return err
			}
			if at.Host.Merged != 0 {
				return fmt.Errorf("%w: the machine is merged into another", ErrInvalid)
			}
		}
		defer s.places.lock(keysOf(at.Host.Identity, host))()
		one, err := s.together(ctx, &at, append(slices.Clone(at.Parts), p))
		if err != nil {
			return err
		}
		one.Host.LastSeen = latest(at.Host.LastSeen, p.Seen)
		if one.Host.FirstSeen.IsZero() || p.Seen.Before(one.Host.FirstSeen) {
			one.Host.FirstSeen = p.Seen
		}
		return s.Store.Record(ctx, Result{Now: s.Now(), Assessed: []Assessed{*one}, Placed: []int64{sighting}, By: by})
	})
}

// retrying does something again if somebody else changed the same meanwhile.
func (s *Server) retrying(ctx context.Context, do func() error) (err error) {
	for range staleTries {
		if err = do(); !errors.Is(err, ErrStale) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// together assesses a machine by those of the parts that count.
func (s *Server) together(ctx context.Context, at *Placing, parts []Part) (*Assessed, error) {
	for i := range parts {
		parts[i].Current = false
	}
	merged := new(host.Host)
	for _, i := range picture(parts) {
		p := &parts[i]
		p.Current = true
		h, again, err := s.says(ctx, p)
		if err != nil {
			return nil, err
		}
		p.Renewed = again
		merged.Merge(h)
	}
	a := Assessed{Host: at.Host, Parts: parts}
	identify(&a.Host.Identity, merged, Identity{})
	return &a, s.judge(ctx, &a, at, merged, CauseEdit, 0)
}
