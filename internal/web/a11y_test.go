package web_test

import (
	_ "embed"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
)

// audit is a function of a page that lists what keeps people from using it.
//
//go:embed testdata/audit.js
var audit string

// TestPeerAccessible looks at every page in a real browser for what keeps people out: fields,
// buttons and pictures without a name, broken headings, tables and references, ids given
// twice, colours too close to each other, in light and in dark, and on a narrow screen what
// is wider than it or too small to touch. Names are long and hostile, and every folded part
// is open.
func TestPeerAccessible(t *testing.T) {
	s := newSite(t)
	b := s.open()
	for _, path := range []string{"/login", "/setup?code=x"} {
		b.visit(path)
		s.inspect(b, path)
	}
	s.setUp()
	b.visit("/login")
	b.submit("log in", chromedp.SendKeys(chromedp.CSS("#name"), "root"), chromedp.SendKeys(chromedp.CSS("#password"), password+"\r"))
	for _, path := range []string{"/", "/hosts", "/cves", "/updates", "/changes", "/uploads", "/alerts", "/jobs"} {
		b.visit(path)
		s.inspect(b, path+" of an empty fleet")
	}
	s.crowd()
	called := map[string]string{}
	for _, path := range append(s.pages(), "/hosts/2", "/hosts?exploited=1&site=x&sort=name", "/hosts/1?show=unknown", "/hosts?q=nobody", "/nothing") {
		b.visit(path)
		b.run("open", chromedp.Evaluate[chromedp.Void](`void document.querySelectorAll("details").forEach(d => d.open = true)`))
		s.inspect(b, path)
		title := js[string](b, "document.title")
		if other, twice := called[title]; twice && !strings.Contains(path, "?") && path != "/login" && path != "/" {
			t.Errorf("%s and %s are both called %q", path, other, title)
		}
		called[title] = path
		b.run("dark", chromedp.Evaluate[chromedp.Void](`void (document.documentElement.dataset.theme = "dark")`))
		s.inspect(b, path+", dark")
		b.run("narrow", size(320, 800))
		s.inspect(b, path+", narrow")
		b.run("wide", size(1280, 800))
		if path != "/nothing" { // the browser says of it that it is not there
			b.quiet(path)
		}
	}
}

// inspect fails the test for what audit finds.
func (s *site) inspect(b *tab, where string) {
	s.t.Helper()
	found := js[[]string](b, audit)
	slices.Sort(found)
	for i, f := range slices.Compact(found) {
		if i == 10 {
			s.t.Errorf("%s: and more", where)
			break
		}
		s.t.Errorf("%s: %s", where, f)
	}
}

// crowd fills the server with some of everything, under names that are long and hostile.
func (s *site) crowd() {
	s.t.Helper()
	ctx := s.t.Context()
	long := strings.Repeat("W", 63)
	for name, text := range map[string]string{
		strings.Repeat("y", 200) + ".txt":   example(s.t, "fs01/systeminfo.txt"),
		strings.Repeat("long name ", 20):    strings.ReplaceAll(example(s.t, "fs02/systeminfo.txt"), "FS02", long),
		"<b onmouseover=alert(1)>.txt":      strings.ReplaceAll(example(s.t, "fs02/systeminfo.txt"), "FS02", `"><img src=x>`),
		"app03.txt":                         example(s.t, "app03/systeminfo.txt"),
		"notes.txt":                         "nothing that anybody reads",
		strings.Repeat("x", 200) + ".pcap0": "neither",
	} {
		s.feed(name, text)
	}
	s.feed("netstat.txt", example(s.t, "fs01/netstat.txt"))
	s.feed(strings.Repeat("z", 200)+".txt", strings.Replace(example(s.t, "fs01/systeminfo.txt"), "KB4534303", "KB5073697", 1))
	for ago := range 20 {
		if err := s.db.NoteDay(ctx, day(today.AddDate(0, 0, -ago)), s.fleet.Unseen()); err != nil {
			s.t.Fatal(err)
		}
	}
	must := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	e := fleet.OwnedEdit{Owner: new(strings.Repeat("owner", 30)), Site: new("<i>site"), Criticality: new(fleet.CriticalityHigh), AddTags: []string{"dmz", strings.Repeat("t", 60)}}
	must(s.db.EditHosts(ctx, []int64{1, 2}, e))
	_, err := s.db.AddNote(ctx, fleet.Note{Host: 1, At: today, By: "root", Text: strings.Repeat("n", 500)})
	must(err)
	_, err = s.db.AddRisk(ctx, fleet.Risk{Host: 1, CVE: "CVE-2021-34527", Reason: strings.Repeat("r", 300), By: "root", At: today, Until: day(today) + 20})
	must(err)
	c, err := s.web.Alerts.PutChannel(ctx, alert.Channel{Name: strings.Repeat("channel", 10), Kind: "slack", Settings: notify.Settings{"url": "http://127.0.0.1:1/x"}})
	must(err)
	_, err = s.db.Alerts().PutRoute(ctx, alert.Route{Channel: c, Group: alert.Together})
	must(err)
	must(s.web.Alerts.Look(ctx))
	u, err := s.guard.NewUser(ctx, access.Principal{Name: "root"}, "ada", strings.Repeat("Ada ", 40), password, access.Operator, "192.0.2.7")
	must(err)
	_, _, err = s.guard.NewToken(ctx, access.Principal{User: u.ID, Name: "ada", Role: access.Operator}, url.QueryEscape("a token"), access.Scopes{access.See}, 3600e9, "192.0.2.7")
	must(err)
}
