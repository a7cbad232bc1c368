package web_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// TestSessionFixation: a session id that a browser brings along is never the one it gets.
func TestSessionFixation(t *testing.T) {
	s := newSite(t)
	s.setUp()
	s.person("ada", access.Viewer)
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	session := func(b *browser) string {
		for _, c := range b.client.Jar.Cookies(at) {
			if c.Name == "oldguard-session" {
				return c.Value
			}
		}
		return ""
	}
	b := s.browser()
	planted := access.NewSession().Reveal()
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: "oldguard-session", Value: planted, Path: "/"}})
	form := url.Values{"name": {"ada"}, "password": {password}}
	if b.post("/login", form); b.at != "/" || session(b) == planted || session(b) == "" {
		t.Errorf("after login at %s with %q", b.at, session(b))
	}
	first := session(b)
	b.get("/account")
	b.post("/logout", url.Values{})
	thief := s.browser()
	thief.client.Jar.SetCookies(at, []*http.Cookie{{Name: "oldguard-session", Value: first, Path: "/"}})
	if thief.get("/account"); thief.at != "/login" {
		t.Error("a session lives on after logging out")
	}
	b.get("/login")
	if b.post("/login", form); session(b) == first || session(b) == "" {
		t.Error("the same session after the second login")
	}
	s.audited(t, "login", "ada", true)
	s.audited(t, "logout", "ada", true)
}

// TestCookiesWithTLS: where browsers come by HTTPS cookies say so, and so do answers.
func TestCookiesWithTLS(t *testing.T) {
	s := newSite(t)
	s.setUp()
	s.person("ada", access.Viewer)
	s.web.Secure = true
	srv := httptest.NewTLSServer(s.web.Handler())
	defer srv.Close()
	s.url = srv.URL
	b := s.browser()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.client = srv.Client()
	b.client.Jar = jar
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res := b.post("/login", url.Values{"name": {"ada"}, "password": {password}})
	cookies := (&http.Response{Header: res.Header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d: %v", res.StatusCode, res.Header)
	}
	c := cookies[0]
	if c.Name != "__Host-oldguard-session" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %s", c)
	}
	if got := res.Header.Get("Strict-Transport-Security"); !strings.Contains(got, "max-age=31536000") {
		t.Errorf("HSTS %q", got)
	}
	if res := b.get("/account"); res.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %d", res.StatusCode)
	}
	// The name without the prefix, which a neighbour could set, counts for nothing.
	b.client.Jar, err = cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: "oldguard-session", Value: c.Value, Path: "/"}})
	if res := b.get("/account"); res.StatusCode != http.StatusSeeOther {
		t.Errorf("with the other name: %d", res.StatusCode)
	}
}

// TestThrottledLogin: who guesses must wait, by name and by address, with the right password
// too; and it is written down.
func TestThrottledLogin(t *testing.T) {
	s := newSite(t)
	s.setUp()
	s.person("ada", access.Viewer)
	now := today
	s.guard.Now = func() time.Time { return now }
	b := s.browser()
	wrong := url.Values{"name": {"ada"}, "password": {"wrong"}}
	statuses := map[int]int{}
	for range 7 {
		res := b.post("/login", wrong)
		statuses[res.StatusCode]++
		if res.StatusCode == http.StatusTooManyRequests && (res.Header.Get("Retry-After") == "" || !strings.Contains(b.body, "Too many failures")) {
			t.Errorf("no word of how long: %s", b.body)
		}
	}
	if statuses[http.StatusUnauthorized] != 5 || statuses[http.StatusTooManyRequests] != 2 {
		t.Errorf("answers %v", statuses)
	}
	right := url.Values{"name": {"ada"}, "password": {password}}
	if res := b.post("/login", right); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("with the right password meanwhile: %d", res.StatusCode)
	}
	if res := b.post("/login", url.Values{"name": {"root"}, "password": {password}}); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("as another from the same address: %d", res.StatusCode)
	}
	now = now.Add(15 * time.Minute)
	if res := b.post("/login", right); res.StatusCode != http.StatusOK || b.at != "/" {
		t.Errorf("after the time: %d at %s", res.StatusCode, b.at)
	}
	s.audited(t, "login", "ada", false)
	s.audited(t, "login-throttled", "ada", false)
}

// TestForwardedAddress: the audit log has the address of the other side, which nobody but a
// proxy that the operator named can say.
func TestForwardedAddress(t *testing.T) {
	s := newSite(t)
	s.setUp()
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, tt := range []struct {
		name, remote string
		proxies      []netip.Prefix
		forwarded    []string
		want         string
	}{
		{"no_proxy", "192.0.2.1:1000", nil, nil, "192.0.2.1"},
		{"no_proxy_that_counts", "192.0.2.1:1000", nil, []string{"198.51.100.7"}, "192.0.2.1"},
		{"other_proxy", "192.0.2.1:1000", prefixes("203.0.113.0/24"), []string{"198.51.100.7"}, "192.0.2.1"},
		{"proxy", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{"198.51.100.7"}, "198.51.100.7"},
		{"forged_before_the_proxy", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{"192.0.2.99, 198.51.100.7"}, "198.51.100.7"},
		{"two_headers", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{"192.0.2.99", "198.51.100.7"}, "198.51.100.7"},
		{"two_proxies", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{"198.51.100.7, 203.0.113.9"}, "198.51.100.7"},
		{"all_are_proxies", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{"203.0.113.8, 203.0.113.9"}, "203.0.113.8"},
		{"no_address", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{"198.51.100.7, <script>"}, "203.0.113.5"},
		{"empty", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{" , ,"}, "203.0.113.5"},
		{"mapped", "[::ffff:203.0.113.5]:1000", prefixes("203.0.113.0/24"), []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"version_6", "[2001:db8::1]:1000", prefixes("2001:db8::/64"), []string{"2001:db8:1::2%eth0"}, "2001:db8:1::2"},
		{"very_many", "203.0.113.5:1000", prefixes("203.0.113.0/24"), []string{strings.Repeat("192.0.2.99,", 10_000) + "198.51.100.7"}, "198.51.100.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.web.Proxies = tt.proxies
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/login", strings.NewReader("name=nobody-"+strings.ReplaceAll(tt.name, "_", "-")+"&password=x"))
			r.RemoteAddr = tt.remote
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			for _, v := range tt.forwarded {
				r.Header.Add("X-Forwarded-For", v)
			}
			s.guard.Now = func() time.Time { return today.Add(24 * time.Hour) }
			w := httptest.NewRecorder()
			s.web.Handler().ServeHTTP(w, r)
			list, err := s.db.Access().AuditLog(t.Context(), access.EntryQuery{})
			if err != nil || len(list) == 0 || list[0].Address != tt.want {
				t.Errorf("%d: %+v, %v; want %s", w.Code, list[:min(1, len(list))], err, tt.want)
			}
		})
	}
}
