package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
)

// guarded gives readers of which none ends the program, whatever it is given.
func guarded(list []evidence.Reader, log *slog.Logger) []evidence.Reader {
	out := slices.Clone(list)
	for i := range out {
		r := &out[i]
		read := r.Read
		r.Read = func(ctx context.Context, in evidence.Input, h *host.Host) (nested []evidence.Input, err error) {
			defer func() {
				if cause := recover(); cause != nil {
					log.ErrorContext(ctx, "a reader panicked", slog.String("reader", r.Name), slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
					nested, err = nil, fmt.Errorf("the program is wrong: its reader of this panicked: %v", cause)
				}
			}()
			return read(ctx, in, h)
		}
	}
	return out
}

const (
	// readErrors is after how many attempts an error is the last one. River waits longer
	// each time: it is three weeks until then.
	readErrors = 25
	// readAttempts is how often an upload is tried whatever happens, also if the process
	// ends each time. It may be the upload that ends it; most of the time it is not.
	readAttempts = 100
	// batch is how many machines of one upload are stored in one transaction.
	batch = 32
	// staleTries is how often something is tried that others change meanwhile.
	staleTries = 20
	// largeUpload is from which size on uploads are read one at a time: what is in them is
	// in memory meanwhile, and an archive may be 200 times as large unpacked. Several machines
	// of one are assessed at a time all the same. Of those from midUpload on some are.
	largeUpload = 256 << 10
	midUpload   = 32 << 10
	midAtOnce   = 3
)

// lane is what an upload is read in, of which each holds one at a time; empty for none.
func (u *Upload) lane() string {
	switch {
	case u.Size >= largeUpload:
		return "large"
	case u.Size >= midUpload:
		return fmt.Sprint("mid ", u.ID%midAtOnce)
	}
	return ""
}

// Works are the jobs of the fleet.
func (s *Server) Works() []Work {
	return []Work{
		{
			Kind: ReadUpload{}.Kind(), Doc: "reads an upload, and assesses the machines in it",
			Do: s.readUpload, Attempts: readErrors,
		},
		WorkOn("assesses all machines again, some at a time", s.reassess),
		{
			Kind: Daily{}.Kind(), Doc: "has all machines assessed again on a new day or by a new catalogue, and notes how the fleet stands",
			Do: s.daily, Every: dailyEvery,
		},
	}
}

// readUpload reads an upload and stores what it says. What an attempt before this one
// stored of it stands.
func (s *Server) readUpload(ctx context.Context, task Task) (err error) {
	var job ReadUpload
	if err = task.Unmarshal(&job); err != nil {
		return err
	}
	u, err := s.Store.Upload(ctx, job.Upload)
	if err != nil {
		return fmt.Errorf("upload %d: %w", job.Upload, err)
	}
	if u.State != UploadReceived {
		return nil
	}
	if task.Attempt >= readAttempts {
		return s.fail(ctx, &u, fmt.Sprintf("it was begun to be read %d times, and each time the program ended", task.Attempt-1))
	}
	defer func() {
		if cause := recover(); cause != nil {
			s.Log.ErrorContext(ctx, "a reader panicked", slog.Int64("upload", u.ID), slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
			err = s.fail(ctx, &u, fmt.Sprintf("the program is wrong: %v", cause))
		} else if err != nil && ctx.Err() == nil && task.Attempt >= readErrors {
			err = s.fail(ctx, &u, err.Error())
		}
	}()
	done := map[int]bool{}
	if task.Attempt > 1 {
		known, failed := s.Store.Sightings(ctx, u.ID)
		if failed != nil {
			return failed
		}
		for _, k := range known {
			done[k.Part] = true
		}
	}
	if lane := u.lane(); lane != "" {
		defer s.large.lock([]string{lane})()
	}
	b := reading{server: s, upload: &u, storing: &tasks{slots: make(chan struct{}, 2)}}
	defer func() { err = errors.Join(err, b.storing.wait()) }()
	part := -1
	for h, err := range s.readNoting(ctx, &u, func(g []host.Gap) { b.gaps = append(b.gaps, g...) }) {
		if errors.Is(err, fs.ErrNotExist) {
			return s.fail(ctx, &u, "its evidence is no longer there")
		}
		if err != nil {
			return err
		}
		part++
		b.machines++
		if done[part] {
			continue
		}
		if err := b.add(ctx, part, h); err != nil {
			return err
		}
	}
	if b.machines == 0 {
		return s.fail(ctx, &u, b.trouble())
	}
	return b.flush(ctx, true)
}

func (s *Server) fail(ctx context.Context, u *Upload, why string) error {
	s.Log.WarnContext(ctx, "an upload could not be read", slog.Int64("upload", u.ID))
	return ignoring(s.Store.Record(ctx, Result{Upload: u.ID, Error: why, Now: s.Now()}), ErrStale)
}

// read yields the machines in an upload, in an order that is always the same. What is none,
// files that nobody understood, is left out.
func (s *Server) read(ctx context.Context, u *Upload) iter.Seq2[*host.Host, error] {
	return s.readNoting(ctx, u, func([]host.Gap) {})
}

// readNoting is read, with the gaps of files that could not be read: they are said of the upload,
// also where they are gaps of the only machine in it.
func (s *Server) readNoting(ctx context.Context, u *Upload, unread func([]host.Gap)) iter.Seq2[*host.Host, error] {
	return func(yield func(*host.Host, error) bool) {
		f, err := s.evidence.Open(u.Hash)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = f.Close() }() // it was only read
		in := evidence.Input{Name: u.Name, File: io.NewSectionReader(f, 0, u.Size)}
		for h, err := range evidence.Read(ctx, s.Readers, []evidence.Input{in}, evidence.Options{Workers: s.Workers}) {
			if err == nil && len(h.Origins()) == 0 {
				unread(h.Gaps)
				continue
			}
			if err == nil {
				unread(slices.DeleteFunc(slices.Clone(h.Gaps), func(g host.Gap) bool { return g.What != "file" }))
			}
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

// reading is an upload that is being read.
type reading struct {
	server   *Server
	upload   *Upload
	machines int
	gaps     []host.Gap
	waiting  []found
	keys     map[string]bool // of those that wait
	storing  *tasks
}

// found is a machine in an upload that is not stored yet.
type found struct {
	part Part
	host *host.Host
	keys []string
}

// trouble says what in an upload could not be read.
func (b *reading) trouble() string {
	const most = 5
	var list []string
	for _, g := range b.gaps {
		at := ""
		if g.From.At != "" {
			at = " (" + g.From.At + ")"
		}
		list = append(list, g.From.Input+at+": "+g.Why)
	}
	if n := len(list) - most; n > 0 {
		list = append(list[:most], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(list, "\n")
}

// add takes a machine, and stores those that wait if they are many, or if it may be one of
// them: whose it is shows only when they are stored.
func (b *reading) add(ctx context.Context, part int, h *host.Host) error {
	f := found{host: h, part: b.server.partOf(h, b.upload, part)}
	f.keys = keysOf(f.part.Identity, b.upload.Host)
	if len(b.waiting) >= batch || slices.ContainsFunc(f.keys, func(k string) bool { return b.keys[k] }) {
		if err := b.flush(ctx, false); err != nil {
			return err
		}
	}
	if b.keys == nil {
		b.keys = map[string]bool{}
	}
	for _, k := range f.keys {
		b.keys[k] = true
	}
	b.waiting = append(b.waiting, f)
	return nil
}

// keysOf gives what two pieces of evidence have in common that may be of one machine.
func keysOf(id Identity, stated int64) (keys []string) {
	if id.MachineID != "" {
		keys = append(keys, "id "+id.MachineID)
	}
	if k := id.Key(); k != "" {
		keys = append(keys, "name "+k)
	} else {
		keys = append(keys, "nameless")
	}
	if stated != 0 {
		keys = append(keys, fmt.Sprintf("host %d", stated))
	}
	return keys
}

// partOf describes what an upload says of a machine.
func (s *Server) partOf(h *host.Host, u *Upload, n int) Part {
	p := Part{Sighting: Sighting{
		Upload: u.ID, Part: n, Seen: u.Received, Base: h.Build.Known(), Gaps: len(h.Gaps),
		Identity: Identity{
			Name: called(h.Name.Or("")), Domain: called(h.Domain.Or("")), ProductID: called(h.ProductID.Or("")), MachineID: called(strings.ToLower(h.MachineID.Or(""))),
		},
	}}
	var taken time.Time
	for _, o := range h.Origins() {
		if !slices.Contains(p.Readers, o.Reader) {
			p.Readers = append(p.Readers, o.Reader)
		}
		// The clock of an old machine may be anything. What is to come was not seen.
		if o.Taken.After(taken) && o.Taken.Before(u.Received.Add(24*time.Hour)) {
			taken = o.Taken
		}
	}
	if !taken.IsZero() {
		p.Seen, p.Stated = taken, true
	}
	p.Body = s.pack.EncodeAll(h.Encode(), nil)
	return p
}

// flush has the machines that wait stored, while the next ones are read. The last time it
// waits for all, and the upload is done with that.
func (b *reading) flush(ctx context.Context, last bool) error {
	list := b.waiting
	b.waiting, b.keys = nil, nil
	if !last {
		b.storing.Go(func() error { return b.store(ctx, list, false) })
		return b.storing.failed()
	}
	if err := b.storing.wait(); err != nil {
		return err
	}
	return b.store(ctx, list, true)
}

// store places, assesses and stores machines.
func (b *reading) store(ctx context.Context, list []found, last bool) error {
	s := b.server
	var keys []string
	for i := range list {
		keys = append(keys, list[i].keys...)
	}
	defer s.places.lock(keys)()
	for range staleTries {
		r, err := s.result(ctx, b.upload, list)
		if err != nil {
			return err
		}
		if last {
			r.Upload, r.Machines, r.Error = b.upload.ID, b.machines, b.trouble()
		}
		err = s.Store.Record(ctx, r)
		if !errors.Is(err, ErrStale) {
			return err
		}
		// Somebody else stored the upload, or changed one of the machines.
		u, err := s.Store.Upload(ctx, b.upload.ID)
		if err != nil || u.State != UploadReceived {
			return err
		}
	}
	return fmt.Errorf("upload %d: %w", b.upload.ID, ErrStale)
}

// tasks are a few things that are done meanwhile.
type tasks struct {
	slots chan struct{}
	wg    sync.WaitGroup
	mu    sync.Mutex
	err   error // the first
}

// Go does something once there is room for it.
func (t *tasks) Go(do func() error) {
	t.slots <- struct{}{}
	t.wg.Go(func() {
		defer func() { <-t.slots }()
		err := do()
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.err == nil {
			t.err = err
		}
	})
}

// failed gives the first error so far.
func (t *tasks) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// wait waits for all, and gives the first error.
func (t *tasks) wait() error {
	t.wg.Wait()
	return t.failed()
}

// survive turns a panic into an error: a machine that the program is wrong about does not
// keep it from all others.
func (s *Server) survive(ctx context.Context, err *error) {
	if cause := recover(); cause != nil {
		s.Log.ErrorContext(ctx, "a machine could not be assessed", slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
		*err = fmt.Errorf("the program is wrong: %v", cause)
	}
}

// result places and assesses machines, several at a time.
func (s *Server) result(ctx context.Context, u *Upload, list []found) (Result, error) {
	type outcome struct {
		assessed *Assessed
		unplaced *Unplaced
		err      error
	}
	out := make([]outcome, len(list))
	each(s.Workers, len(list), func(i int) {
		o := &out[i]
		o.assessed, o.unplaced, o.err = s.take(ctx, u, &list[i])
	})
	r := Result{Now: s.Now()}
	for _, o := range out {
		switch {
		case o.err != nil:
			return r, o.err
		case o.unplaced != nil:
			r.Unplaced = append(r.Unplaced, *o.unplaced)
		default:
			r.Assessed = append(r.Assessed, *o.assessed)
		}
	}
	return r, nil
}

// each calls do for 0 to n-1, up to workers at a time.
func each(workers, n int, do func(i int)) {
	if n == 1 {
		do(0)
		return
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(workers, n) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// take finds the machine that evidence is about, and assesses it.
func (s *Server) take(ctx context.Context, u *Upload, f *found) (_ *Assessed, _ *Unplaced, err error) {
	defer s.survive(ctx, &err)
	p, err := s.whose(ctx, u, f.part.Identity)
	if err != nil {
		return nil, nil, err
	}
	if p.none {
		return nil, &Unplaced{Part: f.part, Conflict: p.conflicts[0]}, nil
	}
	at := Placing{}
	if p.at != nil {
		at = *p.at
	}
	a, err := s.with(ctx, at, f.part, f.host)
	if err != nil {
		return nil, nil, err
	}
	a.Conflicts = p.conflicts
	return a, nil, nil
}

// whose finds the machine: the one the sender states, unless the evidence has another name.
func (s *Server) whose(ctx context.Context, u *Upload, id Identity) (placement, error) {
	if u.Host != 0 {
		p, err := s.Store.Placing(ctx, u.Host)
		if err == nil && (id.Key() == "" || p.Host.Key() == "" || id.Key() == p.Host.Key()) {
			return placement{at: &p}, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return placement{}, err
		}
	}
	candidates, err := s.Store.Candidates(ctx, id)
	return place(id, candidates), err
}

// with assesses a machine with new evidence.
func (s *Server) with(ctx context.Context, at Placing, fresh Part, says *host.Host) (*Assessed, error) {
	parts := append(slices.Clone(at.Parts), fresh)
	for i := range parts {
		parts[i].Current = false
	}
	merged := new(host.Host)
	for _, i := range picture(parts) {
		p := &parts[i]
		p.Current = true
		h := says
		if i < len(at.Parts) {
			var err error
			if h, p.Renewed, err = s.says(ctx, p); err != nil {
				return nil, err
			}
		}
		merged.Merge(h)
	}
	kept := slices.DeleteFunc(parts, func(p Part) bool { return p.ID != 0 && !p.Current })
	a := Assessed{Host: at.Host, Parts: kept, Back: at.Host.Retired}
	identify(&a.Host.Identity, merged, fresh.Identity)
	a.Host.LastSeen = latest(at.Host.LastSeen, fresh.Seen)
	if a.Host.FirstSeen.IsZero() || fresh.Seen.Before(a.Host.FirstSeen) {
		a.Host.FirstSeen = fresh.Seen
	}
	return &a, s.judge(ctx, &a, &at, merged, CauseEvidence, fresh.Upload)
}

// identify brings an identity up to date: what is known now stands, and what was known
// stays.
func identify(id *Identity, h *host.Host, fresh Identity) {
	for _, f := range []struct {
		to             *string
		now, otherwise string
	}{
		{&id.Name, h.Name.Or(""), fresh.Name},
		{&id.Domain, h.Domain.Or(""), fresh.Domain},
		{&id.ProductID, h.ProductID.Or(""), fresh.ProductID},
		{&id.MachineID, strings.ToLower(h.MachineID.Or("")), fresh.MachineID},
	} {
		switch {
		case f.now != "":
			*f.to = called(f.now)
		case *f.to == "":
			*f.to = f.otherwise
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
