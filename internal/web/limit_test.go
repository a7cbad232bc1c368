package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/web"
)

// proxied asks the handler of a site as its proxy at 203.0.113.5 would, for somebody at an
// address.
func (s *site) proxied(h http.Handler, method, path, body, remote, forwarded string, token access.Secret) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(body))
	r.RemoteAddr = remote
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	theProxy  = "203.0.113.5:1000"
	elsewhere = "192.0.2.77:1000"
)

// limited makes a site behind a proxy, whose clock the test sets.
func limited(t *testing.T) (s *site, h http.Handler, now *time.Time) {
	t.Helper()
	s = newSite(t)
	at := today
	s.web.Now = func() time.Time { return at }
	s.guard.Now = s.web.Now
	s.web.Proxies = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	return s, s.web.Handler(), &at
}

// TestWhoIsLimited: requests are counted by token, by person, or by address, with IPv6 by
// network; nobody else is held up for them; and who waits as long as it is said goes on.
func TestWhoIsLimited(t *testing.T) {
	s, h, now := limited(t)
	tokens := map[string]access.Secret{"": "", "one": s.token("one", access.Viewer, access.See), "two": s.token("two", access.Viewer, access.See)}
	const path = "/static/app.js"
	type who struct{ remote, forwarded, token string }
	for _, tt := range []struct {
		name       string
		busy, next who
		held       bool // the next is held up too
	}{
		{"same_address", who{theProxy, "198.51.100.1", ""}, who{theProxy, "198.51.100.1", ""}, true},
		{"other_address", who{theProxy, "198.51.100.2", ""}, who{theProxy, "198.51.100.3", ""}, false},
		{"forged_without_the_proxy", who{elsewhere, "198.51.100.4", ""}, who{elsewhere, "198.51.100.5", ""}, true},
		{"forged_before_the_proxy", who{theProxy, "192.0.2.1, 198.51.100.6", ""}, who{theProxy, "192.0.2.2, 198.51.100.6", ""}, true},
		{"same_network_of_version_6", who{theProxy, "2001:db8:1:2::1", ""}, who{theProxy, "2001:db8:1:2:ffff:ffff:ffff:ffff", ""}, true},
		{"other_network_of_version_6", who{theProxy, "2001:db8:1:3::1", ""}, who{theProxy, "2001:db8:1:4::1", ""}, false},
		{"not_all_of_version_4_in_version_6", who{theProxy, "::ffff:198.51.100.9", ""}, who{theProxy, "::ffff:198.51.100.10", ""}, false},
		{"same_token_from_elsewhere", who{theProxy, "198.51.100.11", "one"}, who{theProxy, "198.51.100.12", "one"}, true},
		{"other_token_from_there", who{theProxy, "198.51.100.13", "one"}, who{theProxy, "198.51.100.13", "two"}, false},
		{"nobody_from_where_a_token_is_busy", who{theProxy, "198.51.100.15", "two"}, who{theProxy, "198.51.100.15", ""}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			*now = now.Add(time.Minute) // what was before is forgotten
			ask := func(w who) *httptest.ResponseRecorder {
				return s.proxied(h, http.MethodGet, path, "", w.remote, w.forwarded, tokens[w.token])
			}
			for i := range web.Burst {
				if res := ask(tt.busy); res.Code != http.StatusOK {
					t.Fatalf("request %d: %d", i, res.Code)
				}
			}
			res := ask(tt.busy)
			wait, err := strconv.Atoi(res.Header().Get("Retry-After"))
			var problem struct {
				Status int
				Detail string
			}
			if res.Code != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 60 {
				t.Fatalf("one too many: %d, Retry-After %q", res.Code, res.Header().Get("Retry-After"))
			}
			if err = json.Unmarshal(res.Body.Bytes(), &problem); err != nil || problem.Status != http.StatusTooManyRequests || problem.Detail == "" || res.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("it is told %s as %s, %v", res.Body, res.Header().Get("Content-Type"), err)
			}
			if got := ask(tt.next).Code == http.StatusTooManyRequests; got != tt.held {
				t.Errorf("the next is held up: %v; want %v", got, tt.held)
			}
			*now = now.Add(time.Duration(wait) * time.Second)
			if res := ask(tt.busy); res.Code != http.StatusOK {
				t.Errorf("after the time that was said: %d", res.Code)
			}
		})
	}
}

// TestLimitedPage: a person is told on a page.
func TestLimitedPage(t *testing.T) {
	s := newSite(t)
	b := s.setUp()
	for range web.Burst + 10 {
		if res := b.get("/account"); res.StatusCode == http.StatusTooManyRequests {
			if res.Header.Get("Retry-After") == "" || !strings.Contains(b.body, "</html>") || !strings.Contains(b.body, "Too many requests: wait a moment.") {
				t.Errorf("%v %s", res.Header, b.body)
			}
			return
		}
	}
	t.Error("nobody was held up")
}

// TestLimiterMemory: many addresses take no more memory than some, and do not make the limiter
// forget who is busy meanwhile.
func TestLimiterMemory(t *testing.T) {
	var l web.Limiter
	for range web.Burst {
		if wait := l.Take("busy", today); wait != 0 {
			t.Fatal(wait)
		}
	}
	most := 0
	for i := range 5 * web.MaxSeen {
		l.Take(fmt.Sprint("address ", i), today)
		if i%1000 == 0 && l.Take("busy", today) == 0 {
			t.Fatalf("after %d others it begins anew", i)
		}
		most = max(most, l.Size())
	}
	if most > 2*web.MaxSeen {
		t.Errorf("it remembered %d", most)
	}
	if wait := l.Take("busy", today.Add(-time.Hour)); wait <= 0 || wait > time.Second {
		t.Errorf("after the clock went back it waits %v", wait)
	}
	if wait := l.Take("busy", today.Add(time.Second)); wait != 0 {
		t.Errorf("after a second it waits %v", wait)
	}
}

// TestWhoIsThrottled: failures of a login count by name, wherever they come from, and by
// address, with IPv6 by network; somebody else elsewhere logs in meanwhile.
func TestWhoIsThrottled(t *testing.T) {
	s, h, now := limited(t)
	for _, name := range []string{"ada", "bob"} {
		if _, err := s.guard.NewUser(t.Context(), access.Principal{Name: "test"}, name, name, password, access.Viewer, ""); err != nil {
			t.Fatal(err)
		}
	}
	login := func(name, word, remote, forwarded string) *httptest.ResponseRecorder {
		return s.proxied(h, http.MethodPost, "/login", url.Values{"name": {name}, "password": {word}}.Encode(), remote, forwarded, "")
	}
	for _, tt := range []struct {
		name     string
		failures func(i int) (name, remote, forwarded string)
		next     [3]string // who then comes with the right password
		want     int
	}{
		{"same_name_from_everywhere", func(i int) (string, string, string) { return "ada", theProxy, fmt.Sprint("198.51.100.", i) }, [3]string{"ada", theProxy, "198.51.100.99"}, http.StatusTooManyRequests},
		{"forged_addresses", func(i int) (string, string, string) {
			return fmt.Sprint("f", i), elsewhere, fmt.Sprint("198.51.100.", i)
		}, [3]string{"ada", elsewhere, "198.51.100.96"}, http.StatusTooManyRequests},
		{"many_addresses_of_a_network", func(i int) (string, string, string) {
			return fmt.Sprint("v", i), theProxy, fmt.Sprintf("2001:db8::%x", i)
		}, [3]string{"ada", theProxy, "2001:db8::ffff:1"}, http.StatusTooManyRequests},
		{"the_network_beside_it", func(i int) (string, string, string) {
			return fmt.Sprint("w", i), theProxy, fmt.Sprintf("2001:db8:0:1::%x", i)
		}, [3]string{"ada", theProxy, "2001:db8:0:2::1"}, http.StatusSeeOther},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if raceEnabled && strings.Contains(tt.name, "network") {
				t.Skip("a password takes long to check here")
			}
			*now = now.Add(3 * time.Hour)
			for i := range 5 {
				name, remote, forwarded := tt.failures(i + 1)
				if res := login(name, "wrong", remote, forwarded); res.Code != http.StatusUnauthorized {
					t.Fatalf("failure %d: %d", i, res.Code)
				}
			}
			res := login(tt.next[0], password, tt.next[1], tt.next[2])
			if res.Code != tt.want {
				t.Fatalf("status %d; want %d", res.Code, tt.want)
			}
			if tt.want != http.StatusTooManyRequests {
				return
			}
			wait, err := strconv.Atoi(res.Header().Get("Retry-After"))
			if err != nil || wait < 1 || wait > 15*60+1 {
				t.Fatalf("Retry-After %q", res.Header().Get("Retry-After"))
			}
			*now = now.Add(time.Duration(wait) * time.Second)
			if res := login(tt.next[0], password, tt.next[1], tt.next[2]); res.Code != http.StatusSeeOther {
				t.Errorf("after the time that was said: %d", res.Code)
			}
		})
	}
}
