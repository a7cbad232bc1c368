package web

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Problem is an answer that is an error, for programs: RFC 9457.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// problem answers with an error: for programs as problem+json, for people as a page.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, detail string) {
	p := Problem{http.StatusText(status), status, detail}
	if strings.HasPrefix(r.URL.Path, "/api/") || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(p) // who asked may be gone
		return
	}
	s.problemPage(w, r, p)
}
