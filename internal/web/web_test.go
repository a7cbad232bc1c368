package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/web"
)

const password = "four words are enough"

var today = time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)

// site is a server on a store of its own, behind a real listener on loopback.
type site struct {
	t     testing.TB
	web   *web.Server
	guard *access.Guard
	fleet *fleet.Server
	db    *store.DB
	dir   string
	url   string
	log   *bytes.Buffer
	clock atomic.Int64 // seconds
}

func newSite(t testing.TB) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, dir: dir, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if s.db, err = store.Open(t.Context(), store.Config{Dir: dir, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if failed := s.db.Close(); failed != nil {
			t.Error(failed)
		}
	})
	cat, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	s.clock.Store(today.Unix())
	now := func() time.Time { return time.Unix(s.clock.Load(), 0).UTC() }
	s.fleet, err = fleet.New(t.Context(), fleet.Config{Store: s.db, Dir: dir, Readers: all.Readers(), Catalog: cat, Program: "test", Now: now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := alert.New(t.Context(), alert.Config{
		Store: s.db.Alerts(), Fleet: s.db, InUse: s.fleet.InUse, Now: now, Log: log, URL: "https://oldguard.example.com", Local: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	// The tests look for alerts by themselves.
	stop, err := s.db.Work(context.WithoutCancel(t.Context()), append(s.fleet.Works(), alerts.Works()[1:]...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	s.guard = &access.Guard{Store: s.db.Access(), Now: now}
	s.web = &web.Server{Guard: s.guard, Log: log, Now: now, Fleet: s.fleet, Store: s.db, Alerts: alerts, Works: append(s.fleet.Works(), alerts.Works()...)}
	srv := httptest.NewServer(s.web.Handler())
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// setUp makes the first administrator by the link, and gives his browser.
func (s *site) setUp() *browser {
	s.t.Helper()
	code, ok, err := s.guard.BeginSetup(s.t.Context())
	if err != nil || !ok {
		s.t.Fatalf("BeginSetup() = %v, %v", ok, err)
	}
	b := s.browser()
	res := b.post("/setup", url.Values{"code": {code.Reveal()}, "name": {"root"}, "full": {"Root"}, "password": {password}})
	if res.StatusCode != http.StatusOK || b.at != "/" {
		s.t.Fatalf("set-up leads to %d at %s", res.StatusCode, b.at)
	}
	return b
}

// person adds a local user and gives his browser, logged in.
func (s *site) person(name string, role access.Role) *browser {
	s.t.Helper()
	if _, err := s.guard.NewUser(s.t.Context(), access.Principal{Name: "test"}, name, name, password, role, ""); err != nil {
		s.t.Fatal(err)
	}
	b := s.browser()
	if res := b.post("/login", url.Values{"name": {name}, "password": {password}, "next": {"/account"}}); res.StatusCode != http.StatusOK || b.at != "/account" {
		s.t.Fatalf("login of %s leads to %d at %s", name, res.StatusCode, b.at)
	}
	return b
}

// token makes a token with scopes for somebody of a role.
func (s *site) token(name string, role access.Role, scopes ...access.Permission) access.Secret {
	s.t.Helper()
	u, err := s.guard.NewUser(s.t.Context(), access.Principal{Name: "test"}, name, name, password, role, "")
	if err != nil {
		s.t.Fatal(err)
	}
	secret, _, err := s.guard.NewToken(s.t.Context(), access.Principal{User: u.ID, Name: name, Role: role}, "test", scopes, time.Hour, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return secret
}

// feed brings evidence past HTTP and waits until it is read.
func (s *site) feed(name, text string) {
	s.t.Helper()
	u, _, err := s.fleet.Receive(s.t.Context(), strings.NewReader(text), fleet.Meta{Name: name, By: "test", Via: fleet.ViaAPI})
	if err != nil {
		s.t.Fatal(err)
	}
	s.wait(u.ID)
}

func (s *site) wait(id int64) fleet.Upload {
	s.t.Helper()
	for range 600 {
		u, err := s.db.Upload(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if u.State != fleet.UploadReceived {
			return u
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatalf("upload %d is not read", id)
	return fleet.Upload{}
}

// example is one of the machines in examples.
func example(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// browser is somebody's browser: cookies, the CSRF token of the last page, where it is.
type browser struct {
	s      *site
	client *http.Client
	csrf   string
	at     string
	body   string
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s: s, client: &http.Client{Jar: jar, Timeout: 30 * time.Second}}
}

var csrfField = regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`)

// answer is what came back; its body was read.
type answer struct {
	StatusCode int
	Header     http.Header
}

func (b *browser) do(req *http.Request) answer {
	b.s.t.Helper()
	req.Header.Set("Accept", "text/html")
	res, err := b.client.Do(req)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.s.t.Fatal(err)
	}
	b.body, b.at = string(body), res.Request.URL.Path
	if m := csrfField.FindStringSubmatch(b.body); m != nil {
		b.csrf = m[1]
	}
	return answer{res.StatusCode, res.Header}
}

func (b *browser) get(path string) answer {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, b.s.url+path, nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) post(path string, form url.Values) answer {
	b.s.t.Helper()
	form = url.Values(http.Header(form).Clone())
	form.Set("csrf", b.csrf)
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodPost, b.s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", b.s.url)
	return b.do(req)
}

// upload brings files as the form does.
func (b *browser) upload(files map[string]string) answer {
	b.s.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for name, text := range files {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			b.s.t.Fatal(err)
		}
		if _, err := io.WriteString(part, text); err != nil {
			b.s.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodPost, b.s.url+"/uploads?csrf="+b.csrf, &body)
	if err != nil {
		b.s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("Origin", b.s.url)
	return b.do(req)
}

// call asks the API with a token, and gives the status and the body.
func (s *site) call(method, path string, token access.Secret, body string, header ...string) (answer, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header}, string(b)
}

// TestEveryRouteAsEveryRole: each route answers each role, and nobody, as its permission says.
func TestEveryRouteAsEveryRole(t *testing.T) {
	s := newSite(t)
	s.setUp()
	s.feed("fs02.txt", example(t, "fs02/systeminfo.txt"))
	people := []struct {
		name  string
		role  access.Role
		token access.Secret
	}{
		{"nobody", access.Nobody, ""},
		{"viewer", access.Viewer, s.token("viewer", access.Viewer, access.See)},
		{"operator", access.Operator, s.token("operator", access.Operator, access.See, access.Send, access.Decide)},
		{"administrator", access.Administrator, s.token("administrator", access.Administrator, access.Permissions()...)},
		{"administrator_sends_only", access.Administrator, s.token("sender", access.Administrator, access.Send)},
	}
	browsers := map[access.Role]*browser{
		access.Nobody: s.browser(), access.Viewer: s.person("v", access.Viewer), access.Operator: s.person("o", access.Operator),
		access.Administrator: s.person("a", access.Administrator),
	}
	routes := s.web.Routes()
	if len(routes) < 40 {
		t.Fatalf("only %d routes", len(routes))
	}
	for _, r := range routes {
		if strings.HasPrefix(r.Path, "/login") || r.Path == "/logout" || r.Path == "/setup" {
			continue // they end or begin sessions, and have tests of their own
		}
		id := "1"
		if strings.HasPrefix(r.Path, "/account/tokens/") || strings.HasPrefix(r.Path, "/settings/people/") {
			id = "99" // not those that the test needs
		}
		path := strings.NewReplacer("{id}", id, "{cve}", "CVE-2020-1472", "{kb}", "KB4474419", "{format}", "json", "{name}", "app.css", "{build}", "6.0.6003.22015", "{$}", "").Replace(r.Path)
		t.Run(r.Method+strings.ReplaceAll(path, "/", "_"), func(t *testing.T) {
			if !r.Token {
				for role, b := range browsers {
					var res answer
					if r.Method == http.MethodGet {
						res = b.get(path)
					} else {
						res = b.post(path, url.Values{})
					}
					may := r.Needs == web.Open || role.May(r.Needs)
					refused := res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized || b.at == "/login"
					if may == refused || res.StatusCode >= 500 {
						t.Errorf("%s: status %d at %s; may %v", role, res.StatusCode, b.at, may)
					}
				}
			}
			for _, p := range people {
				res, body := s.call(r.Method, path, p.token, "")
				scopes := access.Principal{User: 1, Role: p.role, Token: 1}
				switch p.name {
				case "viewer":
					scopes.Scopes = access.Scopes{access.See}
				case "operator":
					scopes.Scopes = access.Scopes{access.See, access.Send, access.Decide}
				case "administrator":
					scopes.Scopes = access.Permissions()
				case "administrator_sends_only":
					scopes.Scopes = access.Scopes{access.Send}
				}
				may := r.Needs == web.Open || p.token != "" && scopes.May(r.Needs)
				if p.token != "" && !r.Token && r.Needs != web.Open {
					may = false // tokens are for the API
				}
				refused := res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized || strings.HasPrefix(res.Header.Get("Location"), "/login?")
				if may == refused || res.StatusCode >= 500 {
					t.Errorf("%s by token: status %d (%.200s); may %v", p.name, res.StatusCode, body, may)
				}
			}
		})
	}
}

func TestSetUpAndLogin(t *testing.T) {
	s := newSite(t)
	b := s.browser()
	if res := b.get("/hosts?q=a"); res.StatusCode != http.StatusOK || b.at != "/login" || !strings.Contains(b.body, `value="/hosts?q=a"`) {
		t.Errorf("nobody is led to %s (%d)", b.at, res.StatusCode)
	}
	if res := b.post("/setup", url.Values{"code": {"ogx_guess"}, "name": {"x"}, "password": {password}}); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a guessed code: %d", res.StatusCode)
	}
	root := s.setUp()
	if !strings.Contains(root.body, "No machines yet") || !strings.Contains(root.body, "Settings") {
		t.Error("the overview of an empty fleet does not say so")
	}
	b = s.browser()
	if res := b.post("/login", url.Values{"name": {"root"}, "password": {"wrong"}}); res.StatusCode != http.StatusUnauthorized || !strings.Contains(b.body, "Name or password is wrong.") {
		t.Errorf("a wrong password: %d", res.StatusCode)
	}
	for _, next := range []string{"//evil.example.com", "https://evil.example.com", `/\evil.example.com`, "/account"} {
		b := s.browser()
		if b.post("/login", url.Values{"name": {"root"}, "password": {password}, "next": {next}}); b.at != "/" && b.at != "/account" {
			t.Errorf("next %q leads to %s", next, b.at)
		}
	}
	root.post("/logout", url.Values{})
	if root.get("/account"); root.at != "/login" {
		t.Errorf("after logging out /account is %s", root.at)
	}
}

func TestOtherSitesCannotChangeAnything(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	root.get("/account")
	for _, tt := range []struct {
		name, csrf, origin string
		want               int
	}{
		{"no_token", "", s.url, http.StatusForbidden},
		{"wrong_token", strings.Repeat("0", 64), s.url, http.StatusForbidden},
		{"other_origin", root.csrf, "https://evil.example.com", http.StatusForbidden},
		{"right", root.csrf, s.url, http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/account/sessions/end", strings.NewReader(url.Values{"csrf": {tt.csrf}}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", tt.origin)
			res, err := root.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tt.want {
				t.Errorf("status %d; want %d", res.StatusCode, tt.want)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/login", "/static/app.css", "/api/v1/hosts", "/nothing"} {
		res, _ := s.call("GET", path, "", "")
		for name, want := range map[string]string{
			"Content-Security-Policy": "script-src 'self'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
		} {
			if got := res.Header.Get(name); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if strings.Contains(res.Header.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: %s", path, res.Header.Get("Content-Security-Policy"))
		}
	}
}

// TestPagesHaveNoInlineCode: the policy would stop it, so that a page that needs it is broken.
func TestPagesHaveNoInlineCode(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	s.feed("fs02.txt", example(t, "fs02/systeminfo.txt"))
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>[^<]|<style|\sstyle="|\son[a-z]+="|javascript:`)
	elsewhere := regexp.MustCompile(`(?:src|href)="(?:https?:)?//`)
	for _, path := range []string{"/", "/hosts", "/hosts/1", "/hosts/1?all=1", "/cves", "/cves/CVE-2020-0787", "/updates", "/updates/KB4474419", "/changes", "/uploads", "/uploads/1", "/account", "/settings", "/settings/messages", "/alerts", "/audit", "/nothing"} {
		res := root.get(path)
		if want := map[bool]int{true: 404, false: 200}[path == "/nothing"]; res.StatusCode != want {
			t.Errorf("%s: status %d", path, res.StatusCode)
		}
		if m := inline.FindString(root.body); m != "" {
			t.Errorf("%s has %q", path, m)
		}
		if m := elsewhere.FindString(root.body); m != "" {
			t.Errorf("%s loads from elsewhere: %q", path, m)
		}
		if !strings.Contains(root.body, "<h1>") || !strings.Contains(root.body, `<html lang="en"`) || !strings.Contains(root.body, `id="main"`) {
			t.Errorf("%s has no heading, language or main part", path)
		}
	}
}

func TestEvidenceByAPI(t *testing.T) {
	s := newSite(t)
	s.setUp()
	token := s.token("task", access.Operator, access.Send, access.See)
	text := example(t, "fs01/systeminfo.txt")
	res, body := s.call("POST", "/api/v1/evidence?name=fs01.txt", token, text, "Idempotency-Key", "monday")
	var up web.UploadBody
	if err := json.Unmarshal([]byte(body), &up); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d: %s, %v", res.StatusCode, body, err)
	}
	s.wait(up.ID)
	res, body = s.call("POST", "/api/v1/evidence?name=fs01.txt", token, text, "Idempotency-Key", "monday")
	var again web.UploadBody
	if err := json.Unmarshal([]byte(body), &again); err != nil || res.StatusCode != http.StatusOK || again.ID != up.ID {
		t.Errorf("the same key again: %d %s", res.StatusCode, body)
	}
	if res, body = s.call("POST", "/api/v1/evidence", token, "other", "Idempotency-Key", "monday"); res.StatusCode != http.StatusConflict {
		t.Errorf("the same key with other content: %d %s", res.StatusCode, body)
	}
	_, body = s.call("GET", up.Status, token, "")
	if err := json.Unmarshal([]byte(body), &up); err != nil || up.State != "done" || len(up.Hosts) != 1 {
		t.Fatalf("%s, %v", body, err)
	}
	res, body = s.call("GET", fmt.Sprintf("/api/v1/hosts/%d", up.Hosts[0]), token, "")
	var h web.HostBody
	if err := json.Unmarshal([]byte(body), &h); err != nil || h.Name == nil || *h.Name != "FS01" || h.Exploited == 0 || h.Release == nil {
		t.Errorf("%d: %s, %v", res.StatusCode, body, err)
	}
	if res, _ = s.call("GET", fmt.Sprintf("/api/v1/hosts/%d", up.Hosts[0]), token, "", "If-None-Match", res.Header.Get("Etag")); res.StatusCode != http.StatusNotModified {
		t.Errorf("with its ETag: %d", res.StatusCode)
	}
	res, body = s.call("GET", fmt.Sprintf("/api/v1/hosts/%d/assessment", up.Hosts[0]), token, "")
	if !strings.Contains(body, `"schema":"oldguard/assessment/1"`) {
		t.Errorf("assessment: %d %.200s", res.StatusCode, body)
	}
	for _, path := range []string{"/api/v1/hosts?exploited=true&sort=name", "/api/v1/cves", "/api/v1/updates", "/api/v1/overview", "/api/v1/changes", "/api/v1/evidence", "/api/v1/sources", "/api/v1/explain?q=KB4474419"} {
		if res, body = s.call("GET", path, token, ""); res.StatusCode != http.StatusOK || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %.200s", path, res.StatusCode, body)
		}
	}
	for _, path := range []string{"/api/v1/hosts?sort=nothing", "/api/v1/hosts?misspelt=1", "/api/v1/hosts?limit=100000", "/api/v1/hosts?cursor=x"} {
		if res, body = s.call("GET", path, token, ""); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.Header.Get("Content-Type"), "problem+json") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

func TestBuildForOthers(t *testing.T) {
	s := newSite(t)
	res, body := s.call("GET", "/api/v1/build/6.0.6003.22015", "", "")
	if res.StatusCode != http.StatusOK || !strings.Contains(body, "oldguard/explanation/1") || !strings.Contains(body, "Server 2008") {
		t.Errorf("%d: %s", res.StatusCode, body)
	}
	if res, body = s.call("GET", "/api/v1/build/CVE-2020-1472", "", ""); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("not a build: %d %s", res.StatusCode, body)
	}
	if res, body = s.call("GET", "/api/v1/hosts", "", ""); res.StatusCode != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("hosts without login: %d %s", res.StatusCode, body)
	}
}

func TestUploadByPage(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	root.get("/uploads")
	if res := root.upload(map[string]string{`..\..\evil<b>.txt`: example(t, "fs02/systeminfo.txt")}); res.StatusCode != http.StatusOK || !strings.HasPrefix(root.at, "/uploads/") {
		t.Fatalf("upload leads to %s (%d): %s", root.at, res.StatusCode, root.body)
	}
	if strings.Contains(root.body, "<b>.txt") || strings.Contains(root.body, "..") {
		t.Error("the name of the file is not escaped")
	}
	s.wait(1)
	root.get("/hosts?q=FS02")
	if !strings.Contains(root.body, ">FS02</a>") {
		t.Errorf("the machine is not in the list: %s", root.body)
	}
	root.get("/hosts/1")
	root.post("/hosts/1/edit", url.Values{"owner": {"Radiology"}, "add_tag": {"dmz, imaging"}, "criticality": {"critical"}})
	root.post("/hosts/1/notes", url.Values{"text": {"<script>alert(1)</script>"}})
	root.post("/hosts/1/risks", url.Values{"what": {"CVE-2020-0787"}, "until": {"2027-01-31"}, "reason": {"behind a firewall"}})
	root.get("/hosts/1")
	for _, want := range []string{"Radiology", ">dmz</a>", "&lt;script&gt;", "behind a firewall", "accepted until 2027-01-31"} {
		if !strings.Contains(root.body, want) {
			t.Errorf("the page of the machine lacks %q", want)
		}
	}
	for _, format := range []string{"html", "json", "csv", "xlsx"} {
		if res := root.get("/hosts/1/report/" + format); res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Disposition"), "attachment") || len(root.body) < 500 {
			t.Errorf("report %s: %d, %d bytes", format, res.StatusCode, len(root.body))
		}
	}
	root.post("/hosts/edit", url.Values{"id": {"1"}, "site": {"=cmd()"}, "back": {"/hosts"}})
	if root.get("/hosts.csv"); !strings.Contains(root.body, "'=cmd()") {
		t.Errorf("a formula is not disarmed: %s", root.body)
	}
	if res := root.get("/uploads/1/file"); res.Header.Get("Content-Type") != "application/octet-stream" || strings.ContainsAny(res.Header.Get("Content-Disposition"), `\<>`) {
		t.Errorf("file as %q, %q", res.Header.Get("Content-Type"), res.Header.Get("Content-Disposition"))
	}
	root.get("/audit")
	for _, want := range []string{"evidence", "host-edit", "risk-accept", "note", "setup"} {
		if !strings.Contains(root.body, want) {
			t.Errorf("the audit log lacks %q", want)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := newSite(t)
	s.setUp()
	s.feed("fs02.txt", example(t, "fs02/systeminfo.txt"))
	token := s.token("prometheus", access.Viewer, access.See)
	s.call("GET", "/nothing/at/all", token, "")
	s.browser().post("/login", url.Values{"name": {"root"}, "password": {"wrong"}})
	_, body := s.call("GET", "/metrics", token, "")
	for _, want := range []string{
		`oldguard_hosts{level="bad"} 1`, `oldguard_hosts_exploited 1`, `oldguard_hosts_support{support="ended"} 1`, `oldguard_logins_total{result="refused"} 1`,
		`oldguard_database_up 1`, `oldguard_http_requests_total{route="none",status="404"} 1`, `oldguard_source_age_days{source=`, "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, "FS02") {
		t.Error("the name of a machine is a label")
	}
	named := regexp.MustCompile(`oldguard_[a-z_]+`)
	for _, file := range []string{"prometheus-rules.yaml", "grafana-dashboard.json"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := named.FindAllString(string(text), -1)
		if len(names) < 6 {
			t.Errorf("%s names %d figures only", file, len(names))
		}
		for _, name := range names {
			if !strings.Contains(body, name) {
				t.Errorf("%s speaks of %s, which is none", file, name)
			}
		}
	}
	if res, _ := s.call("GET", "/metrics", "", ""); res.StatusCode == http.StatusOK {
		t.Error("figures for everybody")
	}
}

// TestVerifyPage: a file that is no update is told so, and nothing of it stays.
func TestVerifyPage(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newSite(t)
	root := s.setUp()
	root.get("/verify")
	send := func(name, text string) answer {
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.WriteString(part, text); err != nil {
			t.Fatal(err)
		}
		if err = w.Close(); err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/verify?csrf="+root.csrf, &body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", w.FormDataContentType())
		return root.do(req)
	}
	if res := send("windows6.0-kb4474419-x64.msu", "no package"); res.StatusCode != http.StatusOK || !strings.Contains(root.body, "kb4474419-x64.msu: unsigned") {
		t.Errorf("status %d: %s", res.StatusCode, root.body)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	data := "../../../shared/data/msu"
	files, err := os.ReadDir(data)
	if err != nil {
		t.Skip("no real packages: " + err.Error())
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".msu") {
			continue
		}
		b, err := os.ReadFile(data + "/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if send(f.Name(), string(b)); !strings.Contains(root.body, "genuine Microsoft update") {
			t.Errorf("%s: %.2000s", f.Name(), root.body)
		}
		return
	}
}
