package web_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/oldguard/oldguard/internal/peer"
)

// tab is a page of a real browser.
type tab struct {
	t   testing.TB
	s   *site
	ctx context.Context

	mu     sync.Mutex
	errors []string // what the browser complained of: scripts, content security policy, network
}

// open starts a browser of its own, which ends with the test.
func (s *site) open() *tab {
	s.t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(peer.Need(s.t, "chromium")), chromedp.NoSandbox, chromedp.UserDataDir(s.t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("disable-component-update", true), chromedp.DisableGPU)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 2*time.Minute)
	s.t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	s.t.Cleanup(cancel) // it ends its own process and waits for it
	ctx, cancel = chromedp.NewContext(ctx)
	b := &tab{t: s.t, s: s, ctx: ctx}
	s.t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			s.t.Logf("the browser does not end: %v", err)
		}
		cancel()
	})
	b.run("start")
	go func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return // the browser has ended
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.Type == chromedp.ConsoleException || m.Source == "security" {
				b.complain(fmt.Sprint(m.Source, " ", m.Text, " ", m.URL))
			}
		}
	}()
	return b
}

func (b *tab) complain(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.errors = append(b.errors, what)
}

// quiet fails the test for what the browser complained of since the last call.
func (b *tab) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		b.t.Errorf("%s: the browser says: %s", where, e)
	}
	b.errors = nil
}

func (b *tab) run(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.run(path, chromedp.Navigate(b.s.url+path), chromedp.WaitReady(chromedp.CSS("main")))
}

// js gives what an expression comes to.
func js[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// submit does what sends a form, and waits for the page that answers.
func (b *tab) submit(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	b.run(what, chromedp.WaitReady(chromedp.CSS("main")))
}

// size makes the window as large as a screen; a narrow one is a telephone's.
func size(width, height int64) chromedp.Action[chromedp.Void] {
	if width < 500 {
		return chromedp.EmulateViewport(width, height, chromedp.EmulateMobile)
	}
	return chromedp.EmulateViewport(width, height)
}

// keys types into whatever has the focus.
func (b *tab) keys(text string) {
	b.t.Helper()
	b.run("keys", chromedp.KeyEvent(text))
}

// tabTo presses Tab until a selector has the focus, as someone without a mouse does.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 40 {
		if js[bool](b, fmt.Sprintf("document.activeElement.matches(%q)", selector)) {
			if !js[bool](b, `document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
				b.t.Errorf("%s: the focus cannot be seen", selector)
			}
			return
		}
		b.keys(kb.Tab)
	}
	b.t.Fatalf("Tab does not lead to %s", selector)
}

func (b *tab) path() string {
	b.t.Helper()
	return js[string](b, "location.pathname")
}

// TestPeerBrowser goes through the pages as people do, in a real browser: set-up, upload,
// list, tags, dark, telephone, keyboard. No page may make the browser complain.
func TestPeerBrowser(t *testing.T) {
	s := newSite(t)
	b := s.open()
	code, ok, err := s.guard.BeginSetup(t.Context())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	b.visit("/setup?code=" + url.QueryEscape(code.Reveal()))
	b.submit("set-up", chromedp.SendKeys(chromedp.CSS("#name"), "root"), chromedp.SendKeys(chromedp.CSS("#full"), "Root"), chromedp.SendKeys(chromedp.CSS("#password"), password+kb.Enter))
	if b.path() != "/" || !strings.Contains(js[string](b, "document.body.innerText"), "No machines yet") {
		t.Fatalf("set-up leads to %s", b.path())
	}
	b.quiet("set-up")

	b.submit("log out", chromedp.Click(chromedp.CSS(`form[action="/logout"] button`)))
	b.visit("/login")
	b.run("focus", chromedp.Evaluate[chromedp.Void]("document.activeElement.blur()"))
	b.tabTo("a.skip")
	b.tabTo("#name")
	b.keys("root")
	b.tabTo("#password")
	b.keys(password)
	b.tabTo("button.main")
	b.submit("log in by keyboard", chromedp.KeyEvent(kb.Enter))
	if b.path() != "/" {
		t.Fatalf("the login by keyboard leads to %s", b.path())
	}

	file, err := filepath.Abs("../../examples/fs01/systeminfo.txt")
	if err != nil {
		t.Fatal(err)
	}
	b.visit("/uploads")
	b.run("choose", chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
	if got := js[string](b, `document.querySelector("[data-files]").innerText`); got != "systeminfo.txt" {
		t.Errorf("the form shows %q for the file", got)
	}
	b.submit("upload", chromedp.Click(chromedp.CSS("form[enctype] button")))
	s.wait(1)
	for _, name := range []string{"fs02", "app03"} {
		s.feed(name+".txt", example(t, name+"/systeminfo.txt"))
	}
	// The page of the upload looks again by itself.
	b.run("machine", chromedp.WaitVisible(chromedp.Search(`//main//a[starts-with(@href, "/hosts/")]`)))
	b.submit("machine", chromedp.Click(chromedp.Search(`//main//a[starts-with(@href, "/hosts/")]`)))
	if got := js[string](b, `document.querySelector("h1").innerText`); got != "FS01" {
		t.Errorf("the machine is %q", got)
	}

	names := `[...document.querySelectorAll("tbody a.name")].map(a => a.innerText).join(" ")`
	b.visit("/hosts")
	b.submit("sort", chromedp.Click(chromedp.Search(`//th/a[starts-with(., "Machine")]`)))
	if got := js[string](b, names); got != "APP03 FS01 FS02" {
		t.Errorf("sorted by name: %s", got)
	}
	b.keys("/")
	if !js[bool](b, `document.activeElement.id === "q"`) {
		t.Error("the key / does not lead to the search")
	}
	b.submit("search", chromedp.Evaluate[chromedp.Void](`void (document.activeElement.value = "")`), chromedp.KeyEvent("fs0"+kb.Enter))
	if got := js[string](b, names); !strings.Contains(got, "FS01") || strings.Contains(got, "APP03") {
		t.Fatalf("fs0 finds %q at %s", got, js[string](b, "location.href"))
	}
	b.run("tick all", chromedp.Click(chromedp.CSS("input[data-all]")))
	if got := js[string](b, `document.querySelector("[data-count]").innerText`); got != "(2)" {
		t.Errorf("%s are ticked", got)
	}
	b.submit("tag", chromedp.Click(chromedp.CSS("details.bulk summary")), chromedp.SendKeys(chromedp.CSS("#add_tag"), "dmz"+kb.Enter))
	if got := js[int](b, `[...document.querySelectorAll("tbody a.tag")].filter(a => a.innerText === "dmz").length`); got != 2 {
		t.Errorf("%d machines are tagged", got)
	}

	background := `getComputedStyle(document.body).backgroundColor`
	light := js[string](b, background)
	b.run("dark", chromedp.Click(chromedp.CSS(`button[name=theme][value=dark]`)))
	dark := js[string](b, background)
	b.visit("/hosts")
	if after := js[string](b, background); dark == light || after != dark || js[string](b, "document.documentElement.dataset.theme") != "dark" {
		t.Errorf("light is %s, dark is %s, and after a reload it is %s", light, dark, after)
	}

	for _, width := range []int64{390, 2560} {
		b.run("width", size(width, 844))
		for _, path := range s.pages() {
			if width > 500 && strings.Count(path, "/") > 1 && !strings.HasPrefix(path, "/hosts/") {
				continue
			}
			b.visit(path)
			if got := js[int64](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); got > 0 {
				t.Errorf("%s is %d pixels wider than a window of %d", path, got, width)
			}
			b.quiet(path)
		}
	}
}

// pages lists the addresses of all pages, each with something on it.
func (s *site) pages() (list []string) {
	for _, r := range s.web.Routes() {
		if r.Method != "GET" || strings.ContainsAny(r.Path, ".") || strings.HasPrefix(r.Path, "/api/") || strings.HasPrefix(r.Path, "/static/") || strings.HasPrefix(r.Path, "/login/") ||
			strings.HasSuffix(r.Path, "/file") || strings.Contains(r.Path, "/report/") || r.Path == "/healthz" || r.Path == "/metrics" || r.Path == "/readyz" || r.Path == "/setup" {
			continue
		}
		list = append(list, strings.NewReplacer("{id}", "1", "{cve}", "CVE-2020-1472", "{kb}", "KB4474419", "{$}", "").Replace(r.Path))
	}
	return list
}

// TestPeerScreenshots writes the pictures of the documentation into the folder
// SCREENSHOTS, of machines made of the examples: see make screenshots.
func TestPeerScreenshots(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Skip("make screenshots writes them")
	}
	s := newSite(t)
	s.setUp()
	first := s.demo(120)
	b := s.open()
	b.visit("/login")
	b.submit("log in", chromedp.SendKeys(chromedp.CSS("#name"), "root"), chromedp.SendKeys(chromedp.CSS("#password"), password+kb.Enter))
	for _, p := range []struct {
		name, path    string
		width, height int64
		theme         string
	}{
		{"overview", "/", 1280, 1100, "light"},
		{"machines", "/hosts", 1280, 800, "light"},
		{"machine", fmt.Sprintf("/hosts/%d", first), 1280, 900, "light"},
		{"findings", fmt.Sprintf("/hosts/%d#findings", first), 1280, 640, "light"},
		{"ways", fmt.Sprintf("/hosts/%d#patch", first), 1280, 760, "light"},
		{"alerts", "/alerts", 1280, 700, "light"},
		{"dark", "/", 1280, 900, "dark"},
		{"phone", fmt.Sprintf("/hosts/%d", first), 390, 844, "light"},
		{"phone-dark", "/", 390, 844, "dark"},
	} {
		b.run(p.name, size(p.width, p.height),
			chromedp.Evaluate[chromedp.Void](fmt.Sprintf("void (document.cookie = 'oldguard-theme=%s;path=/')", p.theme)))
		b.visit(p.path)
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if len(png) > 300_000 {
			t.Errorf("%s has %d bytes", p.name, len(png))
		}
		if err := os.WriteFile(filepath.Join(dir, p.name+".png"), png, 0o644); err != nil { // #nosec G306 -- pictures for everybody
			t.Fatal(err)
		}
	}
	b.quiet("pictures")
}
