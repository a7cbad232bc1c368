package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
)

// Config is what a Server is made of.
type Config struct {
	Store   Store
	Dir     string // the folder of the server's data: evidence is kept in it
	Readers []evidence.Reader
	Catalog *catalog.Catalog
	// Program is the version of the program: another one may judge otherwise, so that all
	// machines are assessed again, as with another catalogue.
	Program   string
	Now       func() time.Time
	Log       *slog.Logger // nil is none
	MaxUpload int64        // bytes of an upload; 0 is DefaultMaxUpload
	// Workers is how many machines are assessed at the same time; 0 is one for each
	// processor.
	Workers int
}

// DefaultMaxUpload is the largest upload unless Config says otherwise. The export of a
// whole registry has some 500 MiB.
const DefaultMaxUpload = 1 << 30

// Server receives, assesses and remembers. All methods may be called at the same time.
type Server struct {
	Config
	evidence Folder
	places   locks
	large    locks // held while an upload is read that is not small: see Upload.lane
	current  atomic.Pointer[inUse]
	sources  sync.Map // by digest, of catalogues that machines were judged by
	pack     *zstd.Encoder
	unpack   *zstd.Decoder
}

// inUse is a catalogue in use.
type inUse struct {
	*catalog.Catalog
	digest string
}

// New makes a server. Its jobs are done once the store works on what Works gives.
func New(ctx context.Context, c Config) (s *Server, err error) {
	s = &Server{Config: c}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.MaxUpload <= 0 {
		s.MaxUpload = DefaultMaxUpload
	}
	if s.Workers <= 0 {
		s.Workers = runtime.GOMAXPROCS(0)
	}
	s.Readers = guarded(c.Readers, s.Log)
	if s.evidence, err = OpenFolder(c.Dir); err != nil {
		return nil, fmt.Errorf("folder of evidence: %w", err)
	}
	if s.pack, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(s.Workers), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20)); err != nil {
		return nil, err
	}
	if s.unpack, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(s.Workers), zstd.WithDecoderMaxMemory(maxBody)); err != nil {
		return nil, err
	}
	return s, s.UseCatalog(ctx, c.Catalog)
}

// maxBody bounds the encoded form of what one upload says of one machine.
const maxBody = 1 << 30

// UseCatalog judges by another catalogue from now on. All machines are assessed again when
// Daily looks next.
func (s *Server) UseCatalog(ctx context.Context, c *catalog.Catalog) error {
	info := CatalogInfo{Digest: digest(c, s.Program), Sources: c.Sources(), At: s.Now()}
	if err := s.Store.UseCatalog(ctx, info); err != nil {
		return err
	}
	s.sources.Store(info.Digest, lasts(info.Sources))
	s.current.Store(&inUse{c, info.Digest})
	return nil
}

// InUse gives the catalogue in use.
func (s *Server) InUse() *catalog.Catalog { return s.current.Load().Catalog }

// digest tells what judges by the same data in the same way.
func digest(c *catalog.Catalog, program string) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q\n", program) // a hash takes everything
	for _, s := range c.Sources() {
		_, _ = fmt.Fprintf(h, "%q %q %d\n", s.ID, s.SHA256, s.Last)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func lasts(sources []catalog.Source) map[string]catalog.Date {
	m := map[string]catalog.Date{}
	for _, s := range sources {
		m[s.ID] = s.Last
	}
	return m
}

// Receive keeps what r gives and asks for it to be read. When it returns without an error
// the upload is on disk and will be read and assessed whatever happens. Added is false if
// the same key came before; then that upload is given.
func (s *Server) Receive(ctx context.Context, r io.Reader, m Meta) (u Upload, added bool, err error) {
	hash, size, err := s.evidence.Add(ctx, r, s.MaxUpload)
	if err != nil {
		return Upload{}, false, fmt.Errorf("receive: %w", err)
	}
	if size == 0 {
		return Upload{}, false, fmt.Errorf("%w: the upload is empty", ErrInvalid)
	}
	if m.Key == "" {
		m.Key = "sha256:" + hash
	}
	if len(m.Key) > maxKey {
		return Upload{}, false, fmt.Errorf("%w: an idempotency key has at most %d bytes", ErrInvalid, maxKey)
	}
	u, added, err = s.Store.AddUpload(ctx, Upload{
		Key: m.Key, Hash: hash, Name: fileName(m.Name), Size: size, Via: m.Via, By: m.By, Host: m.Host, Received: s.Now(),
	})
	if err != nil {
		return Upload{}, false, fmt.Errorf("receive: %w", err)
	}
	return u, added, nil
}

const (
	maxKey  = 200
	maxName = 200
)

// fileName makes a name for people and readers of what a sender calls a file: its last
// element, without what is not shown.
func fileName(name string) string {
	name = path.Base("/" + strings.ReplaceAll(strings.ToValidUTF8(name, ""), `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	for len(name) > maxName {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name == "/" || name == "" || name == "." || name == ".." {
		return "evidence"
	}
	return name
}

// Evidence opens an upload as it came. Close it after use.
func (s *Server) Evidence(ctx context.Context, upload int64) (io.ReadSeekCloser, Upload, error) {
	u, err := s.Store.Upload(ctx, upload)
	if err != nil {
		return nil, u, err
	}
	f, err := s.evidence.Open(u.Hash)
	return f, u, err
}

// Machine gives what the current evidence says of a machine.
func (s *Server) Machine(ctx context.Context, id int64) (*host.Host, error) {
	p, err := s.Store.Placing(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.merged(ctx, p.Parts)
}

// Assessment gives the newest assessment of a machine with all its findings: for the same
// day, by the catalogue in use. It is made anew, which takes some milliseconds, since an
// assessment follows from what is stored.
func (s *Server) Assessment(ctx context.Context, id int64) (*assess.Assessment, Host, error) {
	p, err := s.Store.Placing(ctx, id)
	if err != nil {
		return nil, Host{}, err
	}
	h, err := s.merged(ctx, p.Parts)
	if err != nil {
		return nil, Host{}, err
	}
	return assess.Assess(h, s.current.Load().Catalog, assess.Policy{}, p.Host.AsOf.Time()), p.Host, nil
}

// merged gives what parts say together.
func (s *Server) merged(ctx context.Context, parts []Part) (*host.Host, error) {
	out := new(host.Host)
	for i := range parts {
		h, _, err := s.says(ctx, &parts[i])
		if err != nil {
			return nil, err
		}
		if len(parts) == 1 {
			return h, nil
		}
		out.Merge(h)
	}
	return out, nil
}

// says gives what a part says. If another version of the program stored it, its evidence
// is read again, and the part has a new body.
func (s *Server) says(ctx context.Context, p *Part) (h *host.Host, again bool, err error) {
	b, err := s.unpack.DecodeAll(p.Body, nil)
	if err == nil {
		if h, err = host.Decode(b); err == nil {
			return h, false, nil
		}
	}
	if !errors.Is(err, host.ErrLayout) {
		s.Log.WarnContext(ctx, "a stored machine is damaged; its evidence is read again", slog.Int64("sighting", p.ID), slog.Any("error", err))
	}
	u, err := s.Store.Upload(ctx, p.Upload)
	if err != nil {
		return nil, false, fmt.Errorf("evidence of sighting %d: %w", p.ID, err)
	}
	n := 0
	for h, err := range s.read(ctx, &u) {
		if err != nil {
			return nil, false, err
		}
		if n == p.Part {
			p.Body = s.pack.EncodeAll(h.Encode(), nil)
			return h, true, nil
		}
		n++
	}
	return nil, false, fmt.Errorf("upload %d has no machine %d any more", u.ID, p.Part)
}

// locks keeps two jobs from giving evidence of one machine a place at the same time.
type locks struct {
	mu   sync.Mutex
	held map[string]bool
	free sync.Cond
}

// lock waits until all keys are free and takes them.
func (l *locks) lock(keys []string) (unlock func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]bool{}
		l.free.L = &l.mu
	}
	for l.any(keys) {
		l.free.Wait()
	}
	for _, k := range keys {
		l.held[k] = true
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range keys {
			delete(l.held, k)
		}
		l.free.Broadcast()
	}
}

func (l *locks) any(keys []string) bool {
	for _, k := range keys {
		if l.held[k] {
			return true
		}
	}
	return false
}
