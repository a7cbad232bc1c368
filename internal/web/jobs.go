package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
)

// jobRoutes are about what the server does by itself.
func (s *Server) jobRoutes() []Route {
	return []Route{
		{"GET", "/jobs", access.See, false, "jobs: what waits, what failed, passes over all machines, sources", s.jobsPage},
		{"POST", "/uploads/{id}/retry", access.Send, false, "read an upload that failed once more", s.uploadRetry},
	}
}

// shownRuns is how many passes over all machines the page lists.
const shownRuns = 20

// jobsData is what the page of jobs shows.
type jobsData struct {
	Kinds    []jobKind
	Failed   []fleet.FailedJob
	Runs     []fleet.Run
	Catalogs []fleet.CatalogInfo // the newest first
	Unread   []fleet.Upload      // uploads of which nothing could be read
	InUse    string              // digest of the catalogue of the last pass
	Now      time.Time
}

// jobKind is how the jobs of one kind stand.
type jobKind struct {
	Kind, Doc string
	Every     time.Duration
	Jobs      map[fleet.JobState]int
	Last      time.Time
}

func (s *Server) jobsPage(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	failed := fleet.UploadFailed
	d := jobsData{Now: s.Now()}
	var jobs fleet.Jobs
	var errs [4]error
	jobs, errs[0] = s.Store.Jobs(ctx)
	d.Runs, errs[1] = s.Store.Runs(ctx, shownRuns)
	d.Catalogs, errs[2] = s.Store.Catalogs(ctx)
	d.Unread, errs[3] = s.Store.Uploads(ctx, fleet.UploadQuery{State: &failed, Limit: shownRuns})
	if err := errors.Join(errs[:]...); err != nil {
		s.fault(w, r, err)
		return
	}
	d.Failed, d.Kinds = jobs.Failed, s.jobKinds(jobs.Counts)
	if len(d.Runs) > 0 {
		d.InUse = d.Runs[0].Catalog
	}
	f := s.frame(r, "Jobs", "/settings")
	if !f.Manage {
		f.Here = "/uploads"
	}
	s.show(w, r, http.StatusOK, jobsView(f, d))
}

// jobKinds puts the counts to the kinds of jobs that the server knows, in their order, with
// those that it does not know behind them.
func (s *Server) jobKinds(counts []fleet.JobCount) (out []jobKind) {
	for _, w := range s.Works {
		out = append(out, jobKind{Kind: w.Kind, Doc: w.Doc, Every: w.Every})
	}
	for _, c := range counts {
		i := slices.IndexFunc(out, func(k jobKind) bool { return k.Kind == c.Kind })
		if i < 0 {
			i = len(out)
			out = append(out, jobKind{Kind: c.Kind})
		}
		if out[i].Jobs == nil {
			out[i].Jobs = map[fleet.JobState]int{}
		}
		out[i].Jobs[c.State] += c.Jobs
		if c.Last.After(out[i].Last) {
			out[i].Last = c.Last
		}
	}
	return out
}

// everyWords says how often something is done.
func everyWords(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d%time.Hour == 0:
		return plural(int(d.Hours()), "every hour", "every %d hours")
	}
	return plural(int(d.Minutes()), "every minute", "every %d minutes")
}

// plural says it of one, or of more or none; more may hold %d.
func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	if !strings.Contains(more, "%") {
		return more
	}
	return fmt.Sprintf(more, n)
}

// tookWords says how long a pass took.
func tookWords(r fleet.Run) string {
	return cmp.Or(r.Done.Sub(r.Begun).Round(time.Second), time.Second).String()
}

// uploadRetry has an upload that failed read once more.
func (s *Server) uploadRetry(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	if err := s.Store.RetryUpload(r.Context(), id); err != nil {
		s.missing(w, r, err)
		return
	}
	v := visitOf(r.Context())
	if err := s.Guard.Did(r.Context(), v.who, v.address, "evidence-retry", fmt.Sprintf("upload %d", id), ""); err != nil {
		s.fault(w, r, err)
		return
	}
	redirect(w, r, fmt.Sprintf("/uploads/%d", id))
}
