package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/trust"
	"github.com/oldguard/oldguard/internal/verify"
)

// verifyRoutes are about update files that somebody has.
func (s *Server) verifyRoutes() []Route {
	return []Route{
		{"GET", "/verify", access.See, false, "a form for an update file", s.verifyPage},
		{"POST", "/verify", access.See, false, "whether an update file is Microsoft's and unmodified; it is not kept", s.verifyFile},
	}
}

// maxPackage bounds a file that is verified; the largest update has some 2 GiB.
const maxPackage = 4 << 30

// verifying bounds how many files are verified at the same time: each takes a processor and a
// copy on disk.
var verifying = make(chan struct{}, 2)

// verifyData is what the page shows: nothing, what was wrong, or an answer.
type verifyData struct {
	Wrong  string
	Answer *verify.Answer
	Took   time.Duration
	// Lack are the machines of the fleet that lack the update.
	Lack fleet.HostPage
}

func (s *Server) verifyPage(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, verifyView(s.frame(r, "Verify", "/verify"), verifyData{}))
}

func (s *Server) verifyFile(w http.ResponseWriter, r *http.Request) {
	wrong := func(status int, why string) {
		s.show(w, r, status, verifyView(s.frame(r, "Verify", "/verify"), verifyData{Wrong: why}))
	}
	select {
	case verifying <- struct{}{}:
		defer func() { <-verifying }()
	default:
		wrong(http.StatusServiceUnavailable, "Others are verifying files: try again in a minute.")
		return
	}
	parts, err := r.MultipartReader()
	if err != nil {
		wrong(http.StatusBadRequest, "The form cannot be read.")
		return
	}
	for {
		p, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			wrong(http.StatusUnprocessableEntity, "Choose a file first.")
			return
		case err != nil:
			wrong(http.StatusBadRequest, "The upload broke off: send it again.")
			return
		case p.FormName() != "file" || p.FileName() == "":
			continue
		}
		d, status, err := s.verified(r, p.FileName(), p)
		if err != nil {
			s.fault(w, r, err)
			return
		}
		s.show(w, r, status, verifyView(s.frame(r, "Verify", "/verify"), d))
		return
	}
}

// verified copies a file beside nothing else, looks at it, and removes it again.
func (s *Server) verified(r *http.Request, name string, from io.Reader) (d verifyData, status int, err error) {
	begin := s.Now()
	f, err := os.CreateTemp("", "oldguard-verify-*")
	if err != nil {
		return d, 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }() // #nosec G703 -- our own temporary file
	size, err := io.Copy(f, io.LimitReader(from, maxPackage+1))
	switch {
	case err != nil:
		return verifyData{Wrong: "The upload broke off: send it again."}, http.StatusBadRequest, nil
	case size > maxPackage:
		return verifyData{Wrong: fmt.Sprintf("The file is larger than %d GiB.", maxPackage>>30)}, http.StatusRequestEntityTooLarge, nil
	}
	a, err := verify.File(name, f, size, verify.Options{Trust: trust.Options{Now: s.Now()}, Catalog: s.Fleet.InUse()})
	if err != nil {
		return d, 0, err
	}
	d = verifyData{Answer: a}
	if a.Package != nil && a.Package.KB != 0 {
		if d.Lack, err = s.Store.Hosts(r.Context(), fleet.HostQuery{Missing: a.Package.KB, Limit: hostsPageSize}); err != nil {
			return d, 0, err
		}
	}
	a.Release()
	d.Took = s.Now().Sub(begin)
	return d, http.StatusOK, nil
}
