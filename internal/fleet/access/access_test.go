package access_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

func TestRoleMay(t *testing.T) {
	for _, tt := range []struct {
		role access.Role
		may  string
	}{
		{access.Nobody, ""},
		{access.Viewer, "see"},
		{access.Operator, "see send decide"},
		{access.Administrator, "see send decide manage"},
		{access.Role(200), ""},
	} {
		var may []string
		for _, p := range access.Permissions() {
			if tt.role.May(p) {
				may = append(may, string(p))
			}
		}
		if got := strings.Join(may, " "); got != tt.may {
			t.Errorf("%s may %q; want %q", tt.role, got, tt.may)
		}
	}
}

func TestPrincipalMay(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    access.Principal
		what access.Permission
		want bool
	}{
		{"nobody", access.Principal{Role: access.Administrator}, access.See, false},
		{"session", access.Principal{User: 1, Role: access.Operator}, access.Decide, true},
		{"token_with_scope", access.Principal{User: 1, Role: access.Operator, Token: 1, Scopes: access.Scopes{access.Send}}, access.Send, true},
		{"token_without_scope", access.Principal{User: 1, Role: access.Operator, Token: 1, Scopes: access.Scopes{access.Send}}, access.See, false},
		{"scope_above_role", access.Principal{User: 1, Role: access.Viewer, Token: 1, Scopes: access.Scopes{access.Manage}}, access.Manage, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.p.May(tt.what); got != tt.want {
				t.Errorf("May(%s) = %v; want %v", tt.what, got, tt.want)
			}
		})
	}
}

func TestPassword(t *testing.T) {
	hash, err := access.HashPassword(t.Context(), "correct horse battery")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=1$") {
		t.Fatalf("HashPassword() = %q, %v", hash, err)
	}
	for _, tt := range []struct {
		name, hash, password string
		want, damaged        bool
	}{
		{"right", hash, "correct horse battery", true, false},
		{"wrong", hash, "correct horse battery.", false, false},
		{"no_such_user", "", "correct horse battery", false, false},
		{"takes_all_memory", strings.Replace(hash, "m=65536", "m=999999999", 1), "correct horse battery", false, true},
		{"takes_all_time", strings.Replace(hash, "t=3", "t=999999", 1), "correct horse battery", false, true},
		{"other_kind", strings.Replace(hash, "argon2id", "argon2i", 1), "correct horse battery", false, true},
		{"cut", hash[:40], "correct horse battery", false, true},
		{"very_long", hash, strings.Repeat("x", 1<<20), false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := access.VerifyPassword(t.Context(), tt.hash, tt.password)
			if got != tt.want || (err != nil) != tt.damaged {
				t.Errorf("VerifyPassword() = %v, %v; want %v, damaged %v", got, err, tt.want, tt.damaged)
			}
		})
	}
}

func TestCheckPassword(t *testing.T) {
	for _, tt := range []struct {
		password string
		want     error
	}{
		{"four words are enough", nil},
		{"short", access.ErrPasswordShort},
		{"ÄÖÜäöüß€ÄÖÜäöüß€", nil},
		{strings.Repeat("a", 20), access.ErrPasswordPlain},
		{"administrator-01", access.ErrPasswordPlain},
		{strings.Repeat("abc", 1000), access.ErrPasswordLong},
	} {
		if got := access.CheckPassword("administrator-01", tt.password); !errors.Is(got, tt.want) {
			t.Errorf("CheckPassword(%.20q) = %v; want %v", tt.password, got, tt.want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	for _, s := range []access.Secret{access.NewToken(), access.NewSession(), access.NewSetup()} {
		j, _ := json.Marshal(map[string]any{"s": s})
		for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%q %#v %+v %s", s, s, s, s), string(j), s.LogValue().String()} {
			if strings.Contains(out, s.Reveal()) {
				t.Errorf("printed: %s", out)
			}
		}
		if len(s.Reveal()) < 43 || len(s.Digest()) != 64 || strings.Contains(s.Digest(), s.Reveal()) {
			t.Errorf("secret of %d characters, digest %q", len(s.Reveal()), s.Digest())
		}
	}
}

func TestBearer(t *testing.T) {
	token := access.NewToken()
	for _, tt := range []struct {
		header string
		ok     bool
	}{
		{"Bearer " + token.Reveal(), true},
		{"bearer  " + token.Reveal(), true},
		{"Basic " + token.Reveal(), false},
		{token.Reveal(), false},
		{"Bearer " + access.NewSession().Reveal(), false},
		{"Bearer oldguard_" + strings.Repeat("a", 1000), false},
		{"", false},
	} {
		if got, ok := access.Bearer(tt.header); ok != tt.ok || ok && got != token {
			t.Errorf("Bearer(%.30q) = %v; want %v", tt.header, ok, tt.ok)
		}
	}
}

func TestThrottle(t *testing.T) {
	var th access.Throttle
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for i := range 4 {
		th.Failed("a", now)
		if w := th.Wait("a", now); w != 0 {
			t.Fatalf("after %d failures it waits %v", i+1, w)
		}
	}
	last := time.Duration(0)
	for range 20 {
		th.Failed("a", now)
		w := th.Wait("a", now)
		if w <= 0 || w < last || w > 15*time.Minute {
			t.Fatalf("it waits %v after %v", w, last)
		}
		last = w
	}
	if last != 15*time.Minute || th.Wait("b", now) != 0 {
		t.Errorf("it waits %v at most, and another %v", last, th.Wait("b", now))
	}
	if w := th.Wait("a", now.Add(15*time.Minute)); w != 0 {
		t.Errorf("after the time it waits %v", w)
	}
	th.Succeeded("a")
	th.Failed("a", now)
	if w := th.Wait("a", now); w != 0 {
		t.Errorf("after a success and a failure it waits %v", w)
	}
	for i := range 2 * access.MaxKeys { // nobody is held up yet
		th.Failed(fmt.Sprint("n", i), now)
		if n := th.Size(); n > access.MaxKeys {
			t.Fatalf("it remembers %d keys", n)
		}
	}
}

// TestThrottleRemembers: a flood of names does not make it forget who is held up.
func TestThrottleRemembers(t *testing.T) {
	var th access.Throttle
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for range 10 {
		th.Failed("guesser", now)
	}
	for i := range 2 * access.MaxKeys {
		th.Failed(fmt.Sprint("n", i), now)
	}
	if th.Wait("guesser", now) == 0 {
		t.Error("it forgot who guesses")
	}
	if n := th.Size(); n > access.MaxKeys {
		t.Errorf("it remembers %d keys", n)
	}
}

func TestNeighbourhood(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2::", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
		{"@", "@"},
		{"", ""},
	} {
		if got := access.Neighbourhood(tt.in); got != tt.want {
			t.Errorf("Neighbourhood(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

func TestCleanName(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{" Admin ", "admin"}, {"jörg.müller@example.com", "jörg.müller@example.com"}, {"", ""}, {"a b", ""}, {"<script>", ""}, {strings.Repeat("a", 65), ""},
	} {
		if got, err := access.CleanName(tt.in); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("CleanName(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	if s, err := access.ParseScopes("send, see send"); err != nil || s.String() != "send,see" {
		t.Errorf("ParseScopes() = %v, %v", s, err)
	}
	for _, bad := range []string{"", "all", "see,root"} {
		if s, err := access.ParseScopes(bad); err == nil {
			t.Errorf("ParseScopes(%q) = %v", bad, s)
		}
	}
	for _, r := range access.Roles() {
		var got access.Role
		if text, _ := r.MarshalText(); got.UnmarshalText(text) != nil || got != r {
			t.Errorf("%s is read as %s", r, got)
		}
	}
	if _, err := access.ParseRole("nobody"); err == nil {
		t.Error("nobody is a role that can be given")
	}
}
