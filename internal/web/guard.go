package web

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// The cookie of a session. With TLS it has the prefix that ties it to this host:
// https://www.rfc-editor.org/rfc/rfc6265#section-4.1 and draft-ietf-httpbis-rfc6265bis, 4.1.3.2.
const (
	cookieName       = "oldguard-session"
	secureCookieName = "__Host-oldguard-session"
	csrfField        = "csrf"
	csrfHeader       = "X-CSRF-Token"
)

func (s *Server) cookieName() string {
	if s.Secure {
		return secureCookieName
	}
	return cookieName
}

// setCookie gives the browser its session. It ends with the browser or with the session,
// whichever comes first.
func (s *Server) setCookie(w http.ResponseWriter, id access.Secret) {
	// #nosec G124 -- Secure is as the server is reached
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(), Value: id.Reveal(), Path: "/", HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode,
	})
}

func (s *Server) dropCookie(w http.ResponseWriter) {
	// #nosec G124 -- Secure is as the server is reached
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(), Path: "/", HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode, MaxAge: -1,
	})
}

// visit finds out who asks. A token or cookie that does not count is nobody's; only a
// store that fails is an error.
func (s *Server) visit(r *http.Request) (visit, error) {
	v := visit{address: addressOf(r, s.Proxies)}
	if s.Insecure {
		v.who = access.Principal{User: insecureUser, Name: "local", Role: access.Administrator}
		return v, nil
	}
	var err error
	if header := r.Header.Get("Authorization"); header != "" {
		if secret, ok := access.Bearer(header); ok {
			v.who, err = s.Guard.ByToken(r.Context(), secret)
		}
	} else if c, e := r.Cookie(s.cookieName()); e == nil {
		v.who, v.session, err = s.Guard.BySession(r.Context(), access.Secret(c.Value))
	}
	if errors.Is(err, access.ErrNotFound) {
		v, err = visit{address: v.address}, nil
	}
	return v, err
}

// insecureUser is the number of who uses a server without login, which listens on loopback
// only.
const insecureUser = -1

// settle decides whether the request may go on, and answers it if not.
func (s *Server) settle(w http.ResponseWriter, r *http.Request, route *Route, v visit) bool {
	api := strings.HasPrefix(r.URL.Path, "/api/")
	switch {
	case v.who.Token != 0 && !route.Token && route.Needs != Open:
		s.problem(w, r, http.StatusForbidden, "this is for browsers, not for tokens")
	case route.Needs == Open:
		return s.sameOrigin(w, r, v, route)
	case v.who.User == 0 && (api || r.Method != http.MethodGet):
		w.Header().Set("WWW-Authenticate", `Bearer realm="oldguard"`)
		s.problem(w, r, http.StatusUnauthorized, "log in, or send a token: Authorization: Bearer oldguard_…")
	case v.who.User == 0:
		redirect(w, r, "/login?next="+queryEscape(r.URL.RequestURI()))
	case !v.who.May(route.Needs):
		s.problem(w, r, http.StatusForbidden, "your role or token does not allow this: it takes \""+string(route.Needs)+"\"")
	default:
		return s.sameOrigin(w, r, v, route)
	}
	return false
}

// sameOrigin stops changes that another site made a browser send: what a browser says of
// its origin must be ours, and a session's change must carry its CSRF token.
func (s *Server) sameOrigin(w http.ResponseWriter, r *http.Request, v visit, route *Route) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	if v.who.Token != 0 {
		return true // a token is not sent by itself
	}
	if err := s.crossOrigin.Check(r); err != nil {
		s.problem(w, r, http.StatusForbidden, "this request comes from another site")
		return false
	}
	if route.Needs == Open && v.who.Session == "" || s.Insecure {
		return true
	}
	got := r.Header.Get(csrfHeader)
	switch multipart := strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/"); {
	case got != "":
	case multipart: // it is not read here: it may be large
		got = r.URL.Query().Get(csrfField)
	default:
		r.Body = http.MaxBytesReader(w, r.Body, maxBigForm)
		got = r.PostFormValue(csrfField)
	}
	if v.session.CSRF == "" || subtle.ConstantTimeCompare([]byte(got), []byte(v.session.CSRF)) != 1 {
		s.problem(w, r, http.StatusForbidden, "the page is out of date: load it again")
		return false
	}
	return true
}

// protect are the headers of every answer. Scripts and styles come from here and nowhere
// else, and never from within a page.
func protect(h http.Header, secure bool) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}
