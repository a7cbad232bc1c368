package web_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"html/template"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/web"
)

// provider is a real OpenID Connect provider on loopback, with people and groups that a test
// may change.
type provider struct {
	*storage.Storage

	url string

	mu     sync.Mutex
	people map[string]*storage.User // by subject
	groups map[string][]string      // likewise
	inID   bool                     // the claims are in the id token too, not at its UserInfo alone
	lasts  time.Duration            // how long an id token is good
}

const providerPassword = "known to the provider alone"

// newProvider starts a provider for a server at an address.
func newProvider(t testing.TB, public string) *provider {
	t.Helper()
	p := &provider{people: map[string]*storage.User{}, groups: map[string][]string{}, lasts: time.Hour}
	client := storage.WebClient("oldguard", "a secret", public+"/login/oidc/back")
	p.Storage = storage.NewStorageWithClients(p, map[string]*storage.Client{"oldguard": client})
	srv := httptest.NewUnstartedServer(nil)
	p.url = "http://" + srv.Listener.Addr().String()
	config := &op.Config{CryptoKey: sha256.Sum256([]byte("test")), CodeMethodS256: true, AuthMethodPost: true}
	protocol, err := op.NewProvider(config, p, op.StaticIssuer(p.url), op.WithAllowInsecure())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", protocol)
	page := template.Must(template.New("").Parse(`<form method="post" action="/login/username"><input name="id" value="{{.}}"><input name="name"><input name="password"></form>`))
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) {
		if err := page.Execute(w, r.FormValue("authRequestID")); err != nil {
			t.Error(err)
		}
	})
	back := op.AuthCallbackURL(protocol)
	mux.Handle("POST /login/username", op.NewIssuerInterceptor(protocol.IssuerFromRequest).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.CheckUsernamePassword(r.FormValue("name"), r.FormValue("password"), r.FormValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, back(r.Context(), r.FormValue("id")), http.StatusFound)
	}))
	srv.Config.Handler = mux
	srv.Start()
	t.Cleanup(srv.Close)
	return p
}

// person adds somebody; the same subject again is him with what changed.
func (p *provider) person(subject, name string, groups ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[subject] = &storage.User{ID: subject, Username: name, Password: providerPassword, FirstName: "Ada", LastName: "<b>" + name, Email: name + "@example.com", EmailVerified: true}
	p.groups[subject] = groups
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// GetUserByID implements storage.UserStore.
func (p *provider) GetUserByID(id string) *storage.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.people[id]
}

// GetUserByUsername implements storage.UserStore.
func (p *provider) GetUserByUsername(name string) *storage.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.people {
		if u.Username == name {
			return u
		}
	}
	return nil
}

// ExampleClientID implements storage.UserStore.
func (p *provider) ExampleClientID() string { return "none" }

// GetClientByClientID gives the client with what the test set.
func (p *provider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return providerClient{c, p.inID, p.lasts}, nil
}

type providerClient struct {
	op.Client

	inID  bool
	lasts time.Duration
}

// IDTokenUserinfoClaimsAssertion implements op.Client.
func (c providerClient) IDTokenUserinfoClaimsAssertion() bool { return c.inID }

// IDTokenLifetime implements op.Client.
func (c providerClient) IDTokenLifetime() time.Duration { return c.lasts }

// SetUserinfoFromRequest adds the groups to an id token that has a profile.
func (p *provider) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	if err := p.Storage.SetUserinfoFromRequest(ctx, info, token, scopes); err != nil {
		return err
	}
	if slices.Contains(scopes, oidc.ScopeProfile) {
		p.addGroups(info, token.GetSubject())
	}
	return nil
}

// SetUserinfoFromToken adds the groups to what its UserInfo says.
func (p *provider) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, id, subject, origin string) error {
	if err := p.Storage.SetUserinfoFromToken(ctx, info, id, subject, origin); err != nil {
		return err
	}
	p.addGroups(info, subject)
	return nil
}

func (p *provider) addGroups(info *oidc.UserInfo, subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info.AppendClaims("groups", slices.Clone(p.groups[subject]))
}

// authority is a site with a provider whose groups decide.
func authority(t *testing.T) (*site, *provider) {
	t.Helper()
	s := newSite(t)
	p := newProvider(t, s.url)
	a, err := web.NewAuthority(t.Context(), "Example", p.url, "oldguard", "a secret", s.url)
	if err != nil {
		t.Fatal(err)
	}
	a.Claim, a.Roles = "groups", map[string]access.Role{"servers-read": access.Viewer, "servers-run": access.Operator, "servers-own": access.Administrator}
	s.web.Authority = a
	s.setUp()
	return s, p
}

// visit follows an address wherever it leads.
func (b *browser) visit(address string) answer {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return b.do(req)
}

// step asks for an address, and gives where it leads without going there.
func (b *browser) step(address string) string {
	b.s.t.Helper()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { b.client.CheckRedirect = nil }()
	res := b.visit(address)
	to, err := url.Parse(address)
	if err == nil {
		to, err = to.Parse(res.Header.Get("Location"))
	}
	if err != nil || res.Header.Get("Location") == "" {
		b.s.t.Fatalf("%s leads nowhere: %d %v %.300s", address, res.StatusCode, err, b.body)
	}
	return to.String()
}

var (
	oidcButton = regexp.MustCompile(`href="(/login/oidc\?[^"]*)"`)
	requestID  = regexp.MustCompile(`name="id" value="([^"]+)"`)
)

// begin presses the button of the login page, and gives the address at the provider.
func (b *browser) begin(next string) string {
	b.s.t.Helper()
	b.get("/login?next=" + url.QueryEscape(next))
	m := oidcButton.FindStringSubmatch(b.body)
	if m == nil || !strings.Contains(b.body, "Log in with Example") {
		b.s.t.Fatalf("no button: %s", b.body)
	}
	return b.step(b.s.url + strings.ReplaceAll(m[1], "&amp;", "&"))
}

// authorize logs in at the provider, and gives the address that leads back.
func (b *browser) authorize(p *provider, at, name string) string {
	b.s.t.Helper()
	b.visit(at)
	m := requestID.FindStringSubmatch(b.body)
	if m == nil {
		b.s.t.Fatalf("the provider does not ask who it is: %.500s", b.body)
	}
	form := url.Values{"id": {m[1]}, "name": {name}, "password": {providerPassword}}
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodPost, p.url+"/login/username", strings.NewReader(form.Encode()))
	if err != nil {
		b.s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res := b.do(req)
	b.client.CheckRedirect = nil
	if res.StatusCode != http.StatusFound {
		b.s.t.Fatalf("the provider does not let %s in: %d %.300s", name, res.StatusCode, b.body)
	}
	return b.step(res.Header.Get("Location"))
}

// enter goes the whole way.
func (b *browser) enter(p *provider, name, next string) answer {
	b.s.t.Helper()
	return b.visit(b.authorize(p, b.begin(next), name))
}

func (s *site) user(name string) access.User {
	s.t.Helper()
	u, err := s.db.Access().UserByName(s.t.Context(), name)
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return u
}

// TestLoginAtAuthority: a browser goes to the provider and comes back logged in, as what its
// groups make of the person, whether the provider puts them into the id token or not.
func TestLoginAtAuthority(t *testing.T) {
	s, p := authority(t)
	p.person("s1", "ada", "staff", "servers-read", "servers-run")
	p.person("s2", "bob", "servers-own")
	p.person("s3", "eve", "staff")
	for _, inID := range []bool{false, true} {
		t.Run(fmt.Sprintf("claims_in_id_token_%v", inID), func(t *testing.T) {
			p.set(func() { p.inID = inID })
			b := s.browser()
			at, err := url.Parse(b.begin("/hosts?q=a"))
			if err != nil {
				t.Fatal(err)
			}
			q := at.Query()
			for name, least := range map[string]int{"state": 32, "nonce": 32, "code_challenge": 43} {
				if len(q.Get(name)) < least {
					t.Errorf("%s is %q", name, q.Get(name))
				}
			}
			if q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != s.url+"/login/oidc/back" {
				t.Errorf("the provider is asked with %v", q)
			}
			if res := b.visit(b.authorize(p, at.String(), "ada")); res.StatusCode != http.StatusOK || b.at != "/hosts" {
				t.Fatalf("back at %s with %d: %s", b.at, res.StatusCode, b.body)
			}
			if u := s.user("ada"); u.Role != access.Operator || u.Issuer != p.url || u.Subject != "s1" || u.Email != "ada@example.com" || u.Hash != "" {
				t.Errorf("stored as %+v", u)
			}
			b.get("/account")
			if strings.Contains(b.body, "<b>ada") || !strings.Contains(b.body, "ada") {
				t.Errorf("the page of the account: %s", b.body)
			}
			bob := s.browser()
			bob.enter(p, "bob", "/settings")
			if bob.at != "/settings" {
				t.Errorf("an administrator is at %s", bob.at)
			}
			if eve := s.browser(); eve.enter(p, "eve", "/").StatusCode != http.StatusUnauthorized || !strings.Contains(eve.body, "in no group") {
				t.Errorf("without a group: %s", eve.body)
			}
		})
	}
	t.Run("groups_change", func(t *testing.T) {
		p.person("s1", "ada", "servers-read")
		b := s.browser()
		if b.enter(p, "ada", "/"); s.user("ada").Role != access.Viewer {
			t.Errorf("with one group less: %s", s.user("ada").Role)
		}
		p.person("s1", "ada")
		b = s.browser()
		if res := b.enter(p, "ada", "/"); res.StatusCode != http.StatusUnauthorized || !strings.Contains(b.body, "in no group") {
			t.Errorf("without groups: %d %s", res.StatusCode, b.body)
		}
	})
	t.Run("name_changes", func(t *testing.T) {
		p.person("s2", "bobby", "servers-own")
		b := s.browser()
		if b.enter(p, "bobby", "/account"); b.at != "/account" || s.user("bob").Subject != "s2" {
			t.Errorf("at %s", b.at)
		}
	})
	s.audited(t, "login-oidc", "ada", true)
	s.audited(t, "user-create", "ada", true)
	s.audited(t, "user-edit", "ada", true)
}

// TestAuthorityIsNotDeceived: what does not belong to a login that began in this browser lets
// nobody in.
func TestAuthorityIsNotDeceived(t *testing.T) {
	s, p := authority(t)
	p.person("s1", "ada", "servers-read")
	s.person("grace", access.Operator)
	p.person("s9", "grace", "servers-own")
	out := func(t *testing.T, b *browser, res answer, why string) {
		t.Helper()
		if res.StatusCode != http.StatusUnauthorized || !strings.Contains(b.body, why) {
			t.Errorf("status %d at %s without %q: %s", res.StatusCode, b.at, why, b.body)
		}
		if b.get("/account"); b.at != "/login" {
			t.Error("logged in all the same")
		}
	}
	edit := func(t *testing.T, address, name, value string) string {
		t.Helper()
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set(name, value)
		u.RawQuery = q.Encode()
		return u.String()
	}
	const unusable = "answer cannot be used"
	t.Run("other_state", func(t *testing.T) {
		b := s.browser()
		out(t, b, b.visit(edit(t, b.authorize(p, b.begin("/"), "ada"), "state", strings.Repeat("0", 64))), "no login that began here")
	})
	t.Run("no_state", func(t *testing.T) {
		b := s.browser()
		out(t, b, b.visit(edit(t, b.authorize(p, b.begin("/"), "ada"), "state", "")), "no login that began here")
	})
	t.Run("other_browser", func(t *testing.T) {
		back := s.browser()
		to := back.authorize(p, back.begin("/"), "ada")
		b := s.browser()
		out(t, b, b.visit(to), "took too long")
	})
	t.Run("code_of_another_login", func(t *testing.T) { // his own state with somebody's code: PKCE
		victim, b := s.browser(), s.browser()
		stolen, err := url.Parse(victim.authorize(p, victim.begin("/"), "ada"))
		if err != nil {
			t.Fatal(err)
		}
		p.person("s2", "mallory")
		out(t, b, b.visit(edit(t, b.authorize(p, b.begin("/"), "mallory"), "code", stolen.Query().Get("code"))), unusable)
	})
	t.Run("other_nonce", func(t *testing.T) {
		b := s.browser()
		out(t, b, b.visit(b.authorize(p, edit(t, b.begin("/"), "nonce", "of another login"), "ada")), unusable)
	})
	t.Run("replayed", func(t *testing.T) {
		b := s.browser()
		at := b.begin("/")
		here, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		cookies := b.client.Jar.Cookies(here)
		back := b.authorize(p, at, "ada")
		if b.visit(back); b.at != "/" {
			t.Fatalf("the first time leads to %s", b.at)
		}
		other := s.browser()
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		jar.SetCookies(here, cookies)
		other.client.Jar = jar
		out(t, other, other.visit(back), unusable)
	})
	t.Run("token_expired", func(t *testing.T) {
		p.set(func() { p.lasts = -time.Minute })
		defer p.set(func() { p.lasts = time.Hour })
		b := s.browser()
		out(t, b, b.enter(p, "ada", "/"), unusable)
	})
	t.Run("denied", func(t *testing.T) {
		b := s.browser()
		u, err := url.Parse(b.begin("/"))
		if err != nil {
			t.Fatal(err)
		}
		out(t, b, b.visit(s.url+"/login/oidc/back?error=access_denied&state="+u.Query().Get("state")), "did not let you in")
	})
	t.Run("made_up_code", func(t *testing.T) {
		b := s.browser()
		u, err := url.Parse(b.begin("/"))
		if err != nil {
			t.Fatal(err)
		}
		out(t, b, b.visit(s.url+"/login/oidc/back?code=guess&state="+u.Query().Get("state")), unusable)
	})
	t.Run("local_account_of_that_name", func(t *testing.T) {
		b := s.browser()
		out(t, b, b.enter(p, "grace", "/"), "local account of your name")
		if u := s.user("grace"); u.Issuer != "" || u.Role != access.Operator || u.Hash == "" {
			t.Errorf("taken over: %+v", u)
		}
	})
	t.Run("elsewhere_afterwards", func(t *testing.T) {
		for _, next := range []string{"//evil.example.com/", "https://evil.example.com/", `/\evil.example.com`, "/\t/evil.example.com"} {
			b := s.browser()
			at := b.step(s.url + "/login/oidc?next=" + url.QueryEscape(next))
			if got := b.step(b.authorize(p, at, "ada")); got != s.url+"/" {
				t.Errorf("next %q leads to %s", next, got)
			}
		}
	})
	t.Run("cookie_of_somebody_else_leads_nowhere", func(t *testing.T) { // one that a neighbouring host set
		b := s.browser()
		u, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		back := b.authorize(p, b.begin("/"), "ada")
		for _, c := range b.client.Jar.Cookies(u) {
			if strings.HasSuffix(c.Name, "-oidc") {
				b.client.Jar.SetCookies(u, []*http.Cookie{{Name: c.Name, Path: "/", Value: c.Value[:strings.LastIndexByte(c.Value, '|')+1] + url.QueryEscape("//evil.example.com")}})
			}
		}
		if got := b.step(back); got != s.url+"/" {
			t.Errorf("it leads to %s", got)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		off := true
		if _, err := s.guard.EditUser(t.Context(), access.Principal{Name: "test"}, s.user("ada").ID, access.UserEdit{Disabled: &off}, ""); err != nil {
			t.Fatal(err)
		}
		b := s.browser()
		out(t, b, b.enter(p, "ada", "/"), "disabled")
		s.audited(t, "login-oidc", "ada", false)
	})
}

// audited wants an entry in the audit log.
func (s *site) audited(t testing.TB, action, object string, ok bool) {
	t.Helper()
	list, err := s.db.Access().AuditLog(t.Context(), access.EntryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Action == action && e.Object == object && e.OK == ok {
			return
		}
	}
	t.Errorf("the audit log lacks %s of %s (%v)", action, object, ok)
}
