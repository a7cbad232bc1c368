package web

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/notify"
)

// Authority is another party that lets people in: an OpenID Connect provider.
type Authority struct {
	Name string // on the login page
	// Claim is the claim with the groups of a person, Roles what each group makes of him: the
	// highest counts, at each login anew, and who is in none of them is not let in. Without Roles
	// everybody whom the provider lets in is a viewer, until an administrator says otherwise.
	Claim string
	Roles map[string]access.Role

	provider *oidc.Provider
	verifier *oidc.IDTokenVerifier
	config   oauth2.Config
	client   *http.Client
}

var errNoGroup = errors.New("none of the groups has a role here")

// How long the provider may take to answer, and a person to log in there.
const (
	oidcTimeout = 10 * time.Second
	oidcLogin   = 10 * time.Minute
)

// NewAuthority asks a provider for its configuration. The public address of this server is
// that under which browsers reach it, without a slash at the end.
func NewAuthority(ctx context.Context, name, issuer, client string, secret access.Secret, public string) (*Authority, error) {
	a := &Authority{Name: name, client: outward(issuer)}
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, a.client), issuer)
	if err != nil {
		return nil, fmt.Errorf("ask %s how to log in there: %w", redactURL(issuer), err)
	}
	a.provider, a.verifier = p, p.Verifier(&oidc.Config{ClientID: client})
	a.config = oauth2.Config{
		ClientID: client, ClientSecret: secret.Reveal(), Endpoint: p.Endpoint(), RedirectURL: public + "/login/oidc/back",
		Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}
	return a, nil
}

// outward gives a client for a provider. It follows no redirect, which would take the secret of this
// server along; and what the provider says its endpoints are may be at an address of this machine,
// link-local or of a metadata service only on the host of the issuer, which the operator chose.
// A proxy of the environment is asked for all others by their names.
func outward(issuer string) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout = oidcTimeout, oidcTimeout
	checked := t.Clone()
	checked.Proxy = nil
	host := ""
	if u, err := url.Parse(issuer); err == nil {
		host = u.Hostname()
	}
	direct, wary := &net.Dialer{Timeout: oidcTimeout}, notify.Dialer()
	checked.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if at, _, err := net.SplitHostPort(address); err == nil && host != "" && strings.EqualFold(at, host) {
			return direct.DialContext(ctx, network, address)
		}
		return wary.DialContext(ctx, network, address)
	}
	return &http.Client{
		Timeout: oidcTimeout, Transport: proxied{checked, t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// proxied asks by a proxy where the environment has one for an address.
type proxied struct{ direct, proxy *http.Transport }

// RoundTrip implements http.RoundTripper.
func (p proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	if u, err := p.proxy.Proxy(r); err != nil || u != nil {
		return p.proxy.RoundTrip(r)
	}
	return p.direct.RoundTrip(r)
}

// redactURL leaves out what an address may hold that is not for everybody.
func redactURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "the provider"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

func (s *Server) oidcCookie() string {
	if s.Secure {
		return "__Host-oldguard-oidc"
	}
	return "oldguard-oidc"
}

// oidcBegin sends the browser to the provider. What belongs together when it comes back is
// in a cookie: the state, the nonce, the verifier of PKCE (RFC 7636) and where it wanted to go.
func (s *Server) oidcBegin(w http.ResponseWriter, r *http.Request) {
	if s.Authority == nil {
		s.problem(w, r, http.StatusNotFound, "no other authority is set up")
		return
	}
	state, nonce, verifier := access.NewSession().Digest(), access.NewSession().Digest(), oauth2.GenerateVerifier()
	// #nosec G124 -- Secure is as the server is reached
	http.SetCookie(w, &http.Cookie{
		Name: s.oidcCookie(), Path: "/", HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode, MaxAge: int(oidcLogin.Seconds()),
		Value: strings.Join([]string{state, nonce, verifier, url.QueryEscape(localPath(r.URL.Query().Get("next")))}, "|"),
	})
	http.Redirect(w, r, s.Authority.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

// oidcBack takes the browser back from the provider.
func (s *Server) oidcBack(w http.ResponseWriter, r *http.Request) {
	refuse := func(why string) {
		s.show(w, r, http.StatusUnauthorized, loginView(s.frame(r, "Log in", ""), loginForm{Next: "/", Wrong: why, OIDC: s.authorityName()}))
	}
	if s.Authority == nil {
		s.problem(w, r, http.StatusNotFound, "no other authority is set up")
		return
	}
	cookie, err := r.Cookie(s.oidcCookie())
	if err != nil {
		refuse("The login took too long: begin again.")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: s.oidcCookie(), Path: "/", HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode, MaxAge: -1}) // #nosec G124 -- likewise
	part := strings.Split(cookie.Value, "|")
	q := r.URL.Query()
	if len(part) != 4 || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(part[0])) != 1 {
		refuse("This answer belongs to no login that began here.")
		return
	}
	if q.Get("error") != "" {
		refuse(s.Authority.Name + " did not let you in.")
		return
	}
	u, err := s.fromAuthority(r, q.Get("code"), part[1], part[2])
	switch {
	case errors.Is(err, access.ErrTaken):
		refuse("There is a local account of your name: ask an administrator.")
		return
	case errors.Is(err, errNoGroup):
		refuse("You are in no group that may use this server: ask an administrator.")
		return
	case err != nil:
		s.Log.WarnContext(r.Context(), "login at the authority failed", errorAttr(err))
		refuse(s.Authority.Name + " let you in, but its answer cannot be used; the log says why.")
		return
	}
	v := visitOf(r.Context())
	id, _, _, err := s.Guard.Enter(r.Context(), u, v.address, r.UserAgent())
	if err != nil {
		refuse("Your account is disabled.")
		return
	}
	next, err := url.QueryUnescape(part[3])
	if err != nil {
		next = "/"
	}
	s.setCookie(w, id)
	redirect(w, r, next)
}

// fromAuthority exchanges the code and gives the user that the provider vouches for.
func (s *Server) fromAuthority(r *http.Request, code, nonce, verifier string) (access.User, error) {
	a := s.Authority
	ctx := oidc.ClientContext(r.Context(), a.client)
	token, err := a.config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return access.User{}, fmt.Errorf("exchange the code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return access.User{}, errors.New("the answer has no id token")
	}
	id, err := a.verifier.Verify(ctx, raw)
	if err != nil {
		return access.User{}, fmt.Errorf("the id token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return access.User{}, errors.New("the id token is of another login")
	}
	claims, err := a.claims(ctx, id, token)
	if err != nil {
		return access.User{}, err
	}
	text := func(name string) string {
		v, _ := claims[name].(string)
		return v
	}
	email := ""
	if verified, _ := claims["email_verified"].(bool); verified {
		email = text("email") // anybody can claim another's
	}
	role := a.roleOf(claims[a.Claim])
	if len(a.Roles) > 0 && role == access.Nobody {
		return access.User{}, errNoGroup
	}
	return s.Guard.Known(r.Context(), id.Issuer, id.Subject, cmp.Or(text("preferred_username"), email, id.Subject), text("name"), email, role, visitOf(r.Context()).address)
}

// claims gives what the provider says of a person. Where a code was exchanged many say it at
// their UserInfo endpoint alone (OpenID Connect Core 1.0, 5.4), so that is asked for what the
// id token, which counts first, does not have.
func (a *Authority) claims(ctx context.Context, id *oidc.IDToken, token *oauth2.Token) (map[string]any, error) {
	var said map[string]any
	if err := id.Claims(&said); err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	_, named := said["preferred_username"]
	_, grouped := said[a.Claim]
	if named && (grouped || len(a.Roles) == 0) || a.provider.UserInfoEndpoint() == "" {
		return said, nil
	}
	info, err := a.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("ask who it is: %w", err)
	}
	if info.Subject != id.Subject { // 5.3.2: else it is somebody else's
		return nil, errors.New("the UserInfo endpoint speaks of somebody else")
	}
	var more map[string]any
	if err := info.Claims(&more); err != nil {
		return nil, fmt.Errorf("the claims of UserInfo: %w", err)
	}
	for name, v := range more {
		if _, known := said[name]; !known {
			said[name] = v
		}
	}
	return said, nil
}

// roleOf gives the highest role of somebody's groups; Nobody where they decide nothing.
func (a *Authority) roleOf(claim any) access.Role {
	var groups []string
	switch v := claim.(type) {
	case string:
		groups = []string{v}
	case []any:
		for _, g := range v {
			if word, ok := g.(string); ok {
				groups = append(groups, word)
			}
		}
	}
	role := access.Nobody
	for group, r := range a.Roles {
		if slices.Contains(groups, group) {
			role = max(role, r)
		}
	}
	return role
}

func (s *Server) authorityName() string {
	if s.Authority == nil {
		return ""
	}
	return s.Authority.Name
}
