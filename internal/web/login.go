package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/a-h/templ"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

var passwordHint = fmt.Sprintf("At least %d characters: four words are easy to keep. No other rules.", access.MinPassword)

// maxForm bounds a form without files, maxBigForm one that may tick many machines.
const (
	maxForm    = 64 << 10
	maxBigForm = 1 << 20
)

// loginRoutes are the ways in and out.
func (s *Server) loginRoutes() []Route {
	return []Route{
		{"GET", "/login", Open, false, "the login page", s.loginPage},
		{"POST", "/login", Open, false, "log in with name and password", s.login},
		{"GET", "/login/oidc", Open, false, "log in at the other authority", s.oidcBegin},
		{"GET", "/login/oidc/back", Open, false, "the way back from the other authority", s.oidcBack},
		{"POST", "/theme", Open, false, "light or dark pages, for this browser", s.theme},
		{"POST", "/logout", Open, false, "end the session", s.logout},
		{"GET", "/setup", Open, false, "the form for the first administrator, from the link of the first start", s.setupPage},
		{"POST", "/setup", Open, false, "make the first administrator", s.setup},
		{"GET", "/healthz", Open, true, "whether the server works, for whoever watches it", s.health},
		{"GET", "/metrics", access.See, true, "figures for Prometheus, with a token of scope see", s.metricsPage},
		{"GET", "/static/{name}", Open, false, "styles, scripts and pictures of pages", s.staticFile},
	}
}

// frame is what a page of this request shares with the others.
func (s *Server) frame(r *http.Request, title, here string) frame {
	v := visitOf(r.Context())
	f := frame{Title: title, Here: here, User: v.who.Name, Manage: v.who.May(access.Manage), CSRF: v.session.CSRF, Local: s.Insecure, Alerts: s.openAlerts(r, v)}
	if c, err := r.Cookie("oldguard-theme"); err == nil && (c.Value == "dark" || c.Value == "light") {
		f.Theme = c.Value
	}
	return f
}

// show writes a page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, view templ.Component) {
	templ.Handler(view, templ.WithStatus(status), templ.WithErrorHandler(func(r *http.Request, err error) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.fault(w, r, err) })
	})).ServeHTTP(w, r)
}

func (s *Server) problemPage(w http.ResponseWriter, r *http.Request, p Problem) {
	s.show(w, r, p.Status, problemView(s.frame(r, p.Title, ""), p))
}

// form reads a form; it answers and gives false where that is not possible.
func (s *Server) form(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.problem(w, r, http.StatusBadRequest, "the form cannot be read")
		return false
	}
	return true
}

// theme remembers whether somebody wants the pages light or dark, and goes back to where he
// was.
func (s *Server) theme(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	word := r.PostFormValue("theme")
	if word != "dark" && word != "light" {
		s.problem(w, r, http.StatusUnprocessableEntity, "a theme is dark or light")
		return
	}
	// #nosec G124 -- it is no secret, and the script of the page sets it too
	http.SetCookie(w, &http.Cookie{Name: "oldguard-theme", Value: word, Path: "/", MaxAge: 365 * 24 * 60 * 60, SameSite: http.SameSiteLaxMode, Secure: s.Secure})
	back, err := url.Parse(r.Referer())
	if err != nil || back.Host != r.Host {
		back = &url.URL{Path: "/"}
	}
	redirect(w, r, back.RequestURI())
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if visitOf(r.Context()).who.User != 0 {
		redirect(w, r, next)
		return
	}
	s.show(w, r, http.StatusOK, loginView(s.frame(r, "Log in", ""), loginForm{Next: next, OIDC: s.authorityName()}))
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	v := visitOf(r.Context())
	next := localPath(r.PostFormValue("next"))
	id, _, _, err := s.Guard.Login(r.Context(), r.PostFormValue("name"), r.PostFormValue("password"), v.address, r.UserAgent())
	var wait access.WaitError
	switch {
	case errors.As(err, &wait):
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.For.Seconds())+1))
		s.show(w, r, http.StatusTooManyRequests, loginView(s.frame(r, "Log in", ""), loginForm{Next: next, Name: r.PostFormValue("name"), OIDC: s.authorityName(), Wrong: sentence(wait.Error())}))
	case errors.Is(err, access.ErrLogin):
		s.show(w, r, http.StatusUnauthorized, loginView(s.frame(r, "Log in", ""), loginForm{Next: next, Name: r.PostFormValue("name"), OIDC: s.authorityName(), Wrong: "Name or password is wrong."}))
	case err != nil:
		s.fault(w, r, err)
	default:
		s.setCookie(w, id)
		redirect(w, r, next)
	}
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if v := visitOf(r.Context()); v.session.Digest != "" {
		if err := s.Guard.Logout(r.Context(), v.who, v.address); err != nil {
			s.fault(w, r, err)
			return
		}
	}
	s.dropCookie(w)
	redirect(w, r, "/login")
}

func (s *Server) setupPage(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, setupView(s.frame(r, "Set up", ""), setupForm{Code: r.URL.Query().Get("code")}))
}

func (s *Server) setup(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	f := setupForm{Code: r.PostFormValue("code"), Name: r.PostFormValue("name"), Full: r.PostFormValue("full")}
	password, v := r.PostFormValue("password"), visitOf(r.Context())
	_, err := s.Guard.FinishSetup(r.Context(), access.Secret(f.Code), f.Name, f.Full, password, v.address)
	if err == nil {
		var id access.Secret
		if id, _, _, err = s.Guard.Login(r.Context(), f.Name, password, v.address, r.UserAgent()); err != nil {
			s.fault(w, r, err)
			return
		}
		s.setCookie(w, id)
		redirect(w, r, "/")
		return
	}
	if !access.Expected(err) {
		s.fault(w, r, err)
		return
	}
	f.Wrong = sentence(err.Error())
	s.show(w, r, http.StatusUnprocessableEntity, setupView(s.frame(r, "Set up", ""), f))
}

// sentence makes a sentence of an error.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	if c := s[0]; c >= 'a' && c <= 'z' { // as most errors begin
		s = string(c-'a'+'A') + s[1:]
	}
	return s + "."
}

// health says whether the server works: "ok", or 503.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if s.Ready != nil {
		if err := s.Ready(r.Context()); err != nil {
			s.Log.ErrorContext(r.Context(), "not ready", errorAttr(err))
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("{\"status\":\"the database does not answer\"}\n")) // who asked may be gone
			return
		}
	}
	_, _ = w.Write([]byte("{\"status\":\"ok\"}\n")) // who asked may be gone
}
