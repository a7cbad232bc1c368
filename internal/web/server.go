package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
)

// Server answers requests. Its fields are set before Handler is called and not changed
// after it.
type Server struct {
	Guard *access.Guard
	Log   *slog.Logger
	Now   func() time.Time
	Fleet Fleet
	Store fleet.Store
	// Alerts is what people are told of; nil for nothing.
	Alerts *alert.Server
	// Secure tells that browsers reach the server by HTTPS, here or at a proxy before it.
	Secure bool
	// Insecure lets everybody in as an administrator. It is for loopback only; whoever
	// listens sees to that.
	Insecure bool
	// Proxies are the networks of proxies whose word about the other side counts.
	Proxies []netip.Prefix
	// Ready reports whether the server can do its work; nil is always.
	Ready func(ctx context.Context) error
	// Works are the kinds of jobs that the server does, for the page about them.
	Works []fleet.Work
	// Authority lets people in too; nil for none.
	Authority *Authority

	crossOrigin *http.CrossOriginProtection
	limits      limiter
	uploading   slots
	pace        pace // the zero value is usualPace
	metrics     *metrics
	routes      map[string]*Route // by pattern
}

// Fleet is what the server asks of package fleet beyond what is stored.
type Fleet interface {
	// Receive and those below it are those of fleet.Server.
	Receive(ctx context.Context, r io.Reader, m fleet.Meta) (u fleet.Upload, added bool, err error)
	Assessment(ctx context.Context, id int64) (*assess.Assessment, fleet.Host, error)
	Evidence(ctx context.Context, upload int64) (io.ReadSeekCloser, fleet.Upload, error)
	Merge(ctx context.Context, into, from int64, by string) error
	Assign(ctx context.Context, sighting, host int64, by string) error
	// InUse is the catalogue in use.
	InUse() *catalog.Catalog
}

// Handler makes the handler of all routes. It panics if two are the same: a test calls it.
func (s *Server) Handler() http.Handler {
	s.crossOrigin = http.NewCrossOriginProtection()
	s.routes = map[string]*Route{}
	s.metrics = newMetrics(s)
	mux := http.NewServeMux()
	for _, r := range s.newAPI(mux) {
		s.routes[r.Pattern()] = &r
	}
	for _, r := range slices.Concat(s.loginRoutes(), s.accountRoutes(), s.pageRoutes(), s.verifyRoutes(), s.alertRoutes(), s.jobRoutes()) {
		s.routes[r.Pattern()] = &r
		mux.HandleFunc(r.Pattern(), r.Handle)
	}
	return s.around(mux)
}

// Routes lists the routes, by path and method.
func (s *Server) Routes() (out []Route) {
	for _, r := range s.routes {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Route) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return out
}

// around does for every request what must be done before its handler and after it.
func (s *Server) around(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := s.Now()
		answer := &recorder{ResponseWriter: w, paced: newPaced(s.pace, w, r)}
		protect(w.Header(), s.Secure)
		_, pattern := mux.Handler(r)
		defer func() {
			defer answer.paced.end()
			if cause := recover(); cause != nil {
				if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(cause)
				}
				s.Log.LogAttrs(r.Context(), slog.LevelError, "handler panicked", slog.String("route", pattern), slog.String("cause", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
				if answer.status == 0 {
					s.problem(answer, r, http.StatusInternalServerError, "something went wrong here; the log says what")
				}
			}
			s.metrics.observe(pattern, cmp.Or(answer.status, http.StatusOK), s.Now().Sub(begin))
			if pattern == "POST /login" {
				s.metrics.logins.WithLabelValues(loginResult(answer.status)).Inc()
			}
			s.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("method", r.Method), slog.String("route", pattern),
				slog.Int("status", cmp.Or(answer.status, http.StatusOK)), slog.Int64("bytes", answer.bytes), slog.Duration("took", s.Now().Sub(begin)))
		}()
		route := s.routes[pattern]
		if route == nil {
			s.unrouted(answer, r, mux, pattern)
			return
		}
		v, err := s.visit(r)
		if err != nil {
			s.fault(answer, r, err)
			return
		}
		if wait := s.limits.take(limitKey(v), begin); wait > 0 {
			answer.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
			s.problem(answer, r, http.StatusTooManyRequests, "too many requests: wait a moment")
			return
		}
		r = r.WithContext(withVisit(r.Context(), v))
		r.Body = answer.paced.body(r.Body)
		if !s.settle(answer, r, route, v) {
			return
		}
		if uploads[pattern] {
			free, ok := s.uploading.take(limitKey(v), maxUploadsOf, maxUploads)
			if !ok {
				answer.Header().Set("Retry-After", retryUpload)
				s.problem(answer, r, http.StatusTooManyRequests, "too many uploads at the same time: wait until one is done")
				return
			}
			defer free()
		}
		mux.ServeHTTP(answer, r)
	})
}

// uploads are the routes that take files: see slots.
var uploads = map[string]bool{"POST " + apiBase + "/evidence": true, "POST /uploads": true, "POST /verify": true}

const retryUpload = "5" // seconds

// unrouted answers where there is no route: a redirect of the mux, another method, or
// nothing at all.
func (s *Server) unrouted(w http.ResponseWriter, r *http.Request, mux *http.ServeMux, pattern string) {
	if pattern != "" { // the mux would redirect to a clean path, which has a route of its own
		mux.ServeHTTP(w, r)
		return
	}
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, p := mux.Handler(other); s.routes[p] != nil {
			allow = append(allow, m)
		}
	}
	if len(allow) > 0 {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		s.problem(w, r, http.StatusMethodNotAllowed, "this path takes "+strings.Join(allow, ", "))
		return
	}
	if strings.HasPrefix(r.URL.Path+"/", "/api/") {
		s.problem(w, r, http.StatusNotFound, "there is nothing here: "+apiBase+"/openapi.json says what there is")
		return
	}
	s.problem(w, r, http.StatusNotFound, "there is nothing here")
}

// fault answers for an error that is not the caller's.
func (s *Server) fault(w http.ResponseWriter, r *http.Request, err error) {
	s.Log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	s.problem(w, r, http.StatusInternalServerError, "something went wrong here; the log says what")
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter

	paced  *paced
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.paced.write(w.ResponseWriter, b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func errorAttr(err error) slog.Attr { return slog.String("error", err.Error()) }

func queryEscape(s string) string { return url.QueryEscape(s) }
