package web_test

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oldguard/oldguard/internal/web"
)

// TestProviderLeadsNowhere: a provider cannot make the server ask at addresses of its own machine
// or link-local ones, by what it says its endpoints are or by redirects, and gets it to take its
// secret nowhere else.
func TestProviderLeadsNowhere(t *testing.T) {
	var inside atomic.Int64
	victim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		inside.Add(1)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer victim.Close()
	_, port, err := net.SplitHostPort(victim.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var token, jwks atomic.Value // where the endpoints are
	var asked atomic.Int64
	mux := http.NewServeMux()
	provider := httptest.NewServer(mux)
	defer provider.Close()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		err := json.NewEncoder(w).Encode(map[string]any{
			"issuer": provider.URL, "authorization_endpoint": provider.URL + "/auth", "token_endpoint": token.Load(), "jwks_uri": jwks.Load(),
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
		if err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("POST /moved", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, victim.URL+"/token", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		// An id token whose signature must be looked up at jwks_uri.
		id := "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ." + "eyJpc3MiOiJ4In0" + ".AAAA"
		if err := json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": id}); err != nil {
			t.Error(err)
		}
	})
	s := newSite(t)
	for _, tt := range []struct {
		name, token, jwks string
		asked             bool // at the provider itself, which the operator chose, also on loopback
	}{
		{"token_endpoint_on_this_machine", "http://localhost:" + port + "/token", provider.URL + "/keys", false},
		{"token_endpoint_by_another_address_of_it", "http://127.0.0.2:" + port + "/token", provider.URL + "/keys", false},
		{"token_endpoint_in_version_6", "http://[::ffff:127.0.0.2]:" + port + "/token", provider.URL + "/keys", false},
		{"token_endpoint_of_a_metadata_service", "http://169.254.169.254/token", provider.URL + "/keys", false},
		{"token_endpoint_that_moved", provider.URL + "/moved", provider.URL + "/keys", true},
		{"keys_on_this_machine", provider.URL + "/token", "http://localhost:" + port + "/keys", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token.Store(tt.token)
			jwks.Store(tt.jwks)
			asked.Store(0)
			authority, err := web.NewAuthority(t.Context(), "single sign-on", provider.URL, "oldguard", "a secret", s.url)
			if err != nil {
				t.Fatal(err)
			}
			s.web.Authority = authority
			b := s.browser()
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			begun := b.get("/login/oidc")
			at, err := url.Parse(begun.Header.Get("Location"))
			if err != nil || begun.StatusCode != http.StatusSeeOther {
				t.Fatal(begun, err)
			}
			res := b.get("/login/oidc/back?code=c&state=" + at.Query().Get("state"))
			if res.StatusCode != http.StatusUnauthorized || !strings.Contains(b.body, "its answer cannot be used") {
				t.Errorf("%d %s", res.StatusCode, b.body)
			}
			if (asked.Load() > 0) != tt.asked || inside.Load() != 0 {
				t.Errorf("the provider was asked %d times, another server %d times", asked.Load(), inside.Load())
			}
		})
	}
	t.Run("configuration_that_moved", func(t *testing.T) {
		moved := httptest.NewServer(http.RedirectHandler(victim.URL+"/.well-known/openid-configuration", http.StatusFound))
		defer moved.Close()
		if _, err := web.NewAuthority(t.Context(), "single sign-on", moved.URL, "oldguard", "a secret", s.url); err == nil || inside.Load() != 0 {
			t.Errorf("%v; another server was asked %d times", err, inside.Load())
		}
	})
}
