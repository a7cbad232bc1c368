package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/report"
)

// judge assesses a machine as it is today, and says what changed since before.
func (s *Server) judge(ctx context.Context, a *Assessed, before *Placing, h *host.Host, cause Cause, upload int64) error {
	now := s.Now()
	use := s.current.Load()
	as := assess.Assess(h, use.Catalog, assess.Policy{}, now)
	a.Host.Standing = standingOf(as)
	a.Host.Catalog, a.Host.Assessed = use.digest, now
	v := verdictsOf(as)
	a.Verdicts, a.Missing = v.Pack(), v.Missing
	c := Change{
		At: now, AsOf: as.AsOf, Cause: cause, Upload: upload, Headline: a.Host.Headline,
		Level: [2]assess.Level{before.Host.Level, a.Host.Level}, Support: [2]assess.SupportState{before.Host.Support, a.Host.Support},
	}
	if before.Verdicts == nil {
		c.First = true
		c.New, c.Exploited = a.Host.Affected+a.Host.Unfixable, a.Host.Exploited
		c.Build[1], c.Release[1] = a.Host.Build.String(), a.Host.Release
		a.Change = &c
		return nil
	}
	same := bytes.Equal(before.Verdicts, a.Verdicts) && before.Host.Build == a.Host.Build && before.Host.Release == a.Host.Release
	if cause != CauseEvidence && cause != CauseEdit && same && c.Level[0] == c.Level[1] && c.Support[0] == c.Support[1] {
		return nil
	}
	snapshot, earlier, err := s.snapshot(ctx, before, h, cause)
	if err != nil {
		return err
	}
	d := assess.Diff(snapshot, as)
	loss, err := use.loss(before, earlier, as, d, cause, now)
	if err != nil {
		return fmt.Errorf("what was lost: %w", err)
	}
	if !loss.same(&before.Loss) {
		a.Loss = &loss
	}
	if d.Empty() && c.Level[0] == c.Level[1] && c.Support[0] == c.Support[1] {
		return nil
	}
	c.New, c.Closed, c.Exploited = len(d.New), len(d.Closed), len(d.NewExploited())
	c.Build, c.Release = d.Build, d.Release
	if c.Document, err = json.Marshal(report.Compare(snapshot, as, d)); err != nil {
		return fmt.Errorf("what changed: %w", err)
	}
	a.Change = &c
	return nil
}

// snapshot gives a machine as it was assessed before, and what its evidence said then, which
// is what it says now unless evidence came.
func (s *Server) snapshot(ctx context.Context, before *Placing, now *host.Host, cause Cause) (snap assess.Snapshot, h *host.Host, err error) {
	v, err := UnpackVerdicts(before.Verdicts)
	if err != nil {
		return snap, nil, err
	}
	h = now
	if cause == CauseEvidence || cause == CauseEdit {
		if h, err = s.merged(ctx, slices.Clone(before.Parts)); err != nil {
			return snap, nil, err
		}
	}
	b := &before.Host
	snap = assess.Snapshot{
		Name: b.Name, Release: b.Release, AsOf: b.AsOf, Build: b.Build.String(), Missing: v.Missing, Listed: h.Updates.All(),
		Verdicts: make(map[string]assess.Verdict, len(v.List)), Exploit: make(map[string]bool, len(v.List)),
	}
	for _, c := range v.List {
		snap.Verdicts[c.CVE], snap.Exploit[c.CVE] = c.Verdict, c.Exploited
	}
	snap.Sources, err = s.lastsOf(ctx, b.Catalog)
	return snap, h, err
}

// lastsOf gives until when the sources of a catalogue go that machines were judged by.
func (s *Server) lastsOf(ctx context.Context, digest string) (map[string]catalog.Date, error) {
	if l, ok := s.sources.Load(digest); ok {
		return l.(map[string]catalog.Date), nil
	}
	list, err := s.Store.Catalogs(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		s.sources.Store(c.Digest, lasts(c.Sources))
	}
	l, _ := s.sources.LoadOrStore(digest, map[string]catalog.Date{})
	return l.(map[string]catalog.Date), nil
}

// verdictsOf takes the verdicts of an assessment.
func verdictsOf(a *assess.Assessment) Verdicts {
	v := Verdicts{List: make([]CVEVerdict, len(a.Findings))}
	for i := range a.Findings {
		f := &a.Findings[i]
		v.List[i] = CVEVerdict{f.CVE, f.Verdict, f.KEVSince != 0}
	}
	for _, it := range a.Updates.Missing {
		v.Missing = append(v.Missing, it.KB)
	}
	return v
}

// standingOf takes what an assessment comes to.
func standingOf(a *assess.Assessment) Standing {
	h, sum := a.Host, &a.Summary
	st := Standing{
		Product: h.Product.Or(""), Edition: h.Edition.Or(""), Role: h.Role.Or(""), Build: a.Build,
		Support: a.Support.State, SupportEnds: a.Support.Ends, Level: a.Level(), Headline: sum.Headline,
		Affected: sum.Affected, Unfixable: sum.Unfixable, Unknown: sum.Unknown,
		Exploited: sum.Exploited, Ransomware: sum.Ransomware, Critical: sum.CriticalAffected,
		Missing: sum.Missing, Undecided: sum.Undecided, MonthsBehind: a.Updates.MonthsBehind,
		Newest: a.Updates.Newest, Latest: a.Updates.Latest, Gaps: len(a.Gaps), AsOf: a.AsOf,
	}
	if r := a.Identity.Release; r != nil {
		st.Release, st.ReleaseName = r.ID, r.Name
	}
	if arch, ok := h.Arch.Value(); ok {
		st.Arch = arch.String()
	}
	switch i, ok := h.Installation.Value(); {
	case ok && i == host.ServerCore:
		st.Core = host.Yes
	case ok && (i == host.Client || i == host.NanoServer):
		st.Core = host.No
	}
	switch {
	case len(h.Restart) > 0:
		st.Restart = host.Yes
	case h.RestartChecked.Or(false):
		st.Restart = host.No
	}
	return st
}

const (
	// dailyEvery is how often it is looked whether there is a new day or catalogue.
	dailyEvery = time.Hour
	// unseenAfter is when a machine counts as not seen any more.
	unseenAfter = 30 * 24 * time.Hour
	// runBatch is how many machines of a run are stored in one transaction.
	runBatch = 64
)

// Unseen is the time before which a machine must have been seen last to count as not seen
// any more.
func (s *Server) Unseen() time.Time { return s.Now().Add(-unseenAfter) }

// daily begins a pass over all machines if there was none yet today by this catalogue, and
// notes how the fleet stands.
func (s *Server) daily(ctx context.Context, _ Task) error {
	now := s.Now()
	r := Run{Cause: CauseDay, Catalog: s.current.Load().digest, AsOf: catalog.DateOf(now), Begun: now}
	runs, err := s.Store.Runs(ctx, 1)
	if err != nil {
		return err
	}
	if len(runs) == 0 || runs[0].Catalog != r.Catalog {
		r.Cause = CauseCatalog
	}
	begun, err := s.Store.BeginRun(ctx, r)
	if err != nil {
		return err
	}
	if begun {
		s.Log.InfoContext(ctx, "all machines are assessed again", slog.String("cause", string(r.Cause)))
		return nil // the day is noted at its end
	}
	return s.Store.NoteDay(ctx, r.AsOf, s.Unseen())
}

// reassess goes on with a run where it was left.
func (s *Server) reassess(ctx context.Context, job Reassess) error {
	stale := 0
	for {
		r, err := s.Store.Run(ctx, job.Run)
		if err != nil {
			return err
		}
		if !r.Done.IsZero() {
			return nil
		}
		if r.Catalog != s.current.Load().digest {
			return nil // another run was begun, or will be
		}
		list, err := s.Store.Placings(ctx, r.Last, runBatch, r.Catalog, catalog.DateOf(s.Now()))
		if err != nil {
			return err
		}
		if len(list) == 0 {
			if err = ignoring(s.Store.Record(ctx, Result{Now: s.Now(), Run: r.ID, Ended: true}), ErrStale); err != nil {
				return err
			}
			s.Log.InfoContext(ctx, "all machines were assessed again", slog.Int("machines", r.Hosts), slog.Int("changed", r.Changed))
			return s.Store.NoteDay(ctx, catalog.DateOf(s.Now()), s.Unseen())
		}
		err = s.reassessSome(ctx, &r, list)
		if errors.Is(err, ErrStale) {
			if stale++; stale < staleTries {
				continue
			}
		}
		if err != nil {
			return err
		}
		stale = 0
	}
}

func (s *Server) reassessSome(ctx context.Context, r *Run, list []Placing) error {
	type outcome struct {
		assessed *Assessed
		err      error
	}
	out := make([]outcome, len(list))
	each(s.Workers, len(list), func(i int) {
		out[i].assessed, out[i].err = s.again(ctx, &list[i], r.Cause)
	})
	result := Result{
		Now: s.Now(), Run: r.ID, Last: list[len(list)-1].Host.ID, Seen: len(list), AsOf: catalog.DateOf(s.Now()), Catalog: s.current.Load().digest,
	}
	for i, o := range out {
		switch {
		case o.err != nil: // one machine never keeps the others from being assessed
			s.Log.ErrorContext(ctx, "a machine could not be assessed again", slog.Int64("host", list[i].Host.ID), slog.Any("error", o.err))
		case o.assessed == nil:
			result.Unchanged = append(result.Unchanged, list[i].Host.ID)
		default:
			result.Assessed = append(result.Assessed, *o.assessed)
		}
	}
	return s.Store.Record(ctx, result)
}

// again assesses a machine by the evidence that is there; nil if it stands as before.
func (s *Server) again(ctx context.Context, p *Placing, cause Cause) (_ *Assessed, err error) {
	defer s.survive(ctx, &err)
	h := new(host.Host)
	renewed := false
	for i := range p.Parts {
		part := &p.Parts[i]
		says, again, err := s.says(ctx, part)
		if err != nil {
			return nil, err
		}
		part.Renewed = again
		renewed = renewed || again
		h.Merge(says)
	}
	a := Assessed{Host: p.Host}
	if err := s.judge(ctx, &a, p, h, cause, 0); err != nil {
		return nil, err
	}
	if renewed {
		a.Parts = p.Parts
		return &a, nil
	}
	was, is := p.Host.Standing, a.Host.Standing
	was.AsOf, was.Catalog, was.Assessed = is.AsOf, is.Catalog, is.Assessed
	if a.Change == nil && a.Loss == nil && was == is && bytes.Equal(p.Verdicts, a.Verdicts) {
		return nil, nil
	}
	return &a, nil
}
