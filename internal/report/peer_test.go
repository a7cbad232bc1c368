package report

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/winver"
)

// browse runs a headless browser that knows no other machine than this one.
func browse(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, peer.Need(t, "chromium"), append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--user-data-dir=" + t.TempDir(),
	}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.String())
	}
	return string(out)
}

func saved(t *testing.T, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wordy is a machine whose evidence is as long as it can be.
func wordy(t *testing.T) *assess.Assessment {
	t.Helper()
	long := strings.Repeat("W", 300) + strings.Repeat(" words", 100)
	src := host.Source{Reader: "test", Input: long, At: long}
	h := &host.Host{}
	for _, f := range []*host.Fact[string]{&h.Name, &h.Domain, &h.Edition, &h.ProductID, &h.BuildLab, &h.Language} {
		f.Say(long, 1, src)
	}
	h.Product.Say("Microsoft Windows Server 2008 Standard "+long, 1, src)
	h.Role.Say(host.DomainController, 1, src)
	h.Installation.Say(host.Server, 1, src)
	h.Arch.Say(winver.AMD64, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6002}, 1, src)
	h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: long})
	for range 8 {
		h.Gap(host.Gap{What: long, Why: long, Hint: long, From: src})
	}
	return judged(t, h, "2026-02-01")
}

// TestPeerLetterIsOnePage prints letters with a browser and counts the pages.
func TestPeerLetterIsOnePage(t *testing.T) {
	fs01 := assessed(t, "../../examples/fs01", "2026-02-01")
	for _, tc := range []struct {
		name  string
		list  []*assess.Assessment
		pages string
	}{
		{"example", []*assess.Assessment{fs01}, "1"},
		{"wordy", []*assess.Assessment{wordy(t)}, "1"},
		{"three", []*assess.Assessment{fs01, wordy(t), made(t, "FS02", "2012-02-01")}, "3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pdf := filepath.Join(t.TempDir(), "letter.pdf")
			browse(t, "--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+saved(t, "letter.html", written(t, "letter", Options{}, tc.list...)))
			info, err := exec.Command(peer.Need(t, "pdfinfo"), pdf).Output()
			if err != nil {
				t.Fatal(err)
			}
			if m := regexp.MustCompile(`Pages: +(\d+)`).FindSubmatch(info); m == nil || string(m[1]) != tc.pages {
				t.Errorf("want %s pages:\n%s", tc.pages, info)
			}
			if !strings.Contains(string(info), "(A4)") {
				t.Errorf("not A4:\n%s", info)
			}
		})
	}
}

// probe is what a page that holds a report in a frame finds out about it: its widths with
// everything unfolded, whether its script ran, and what it asked for.
const probe = `<!DOCTYPE html><body style="margin:0"><iframe id="f" src="/report" style="border:0;width:WIDTHpx;height:900px"></iframe>
<pre id="said"></pre><script>
document.getElementById("f").onload = function () {
  var w = this.contentWindow, d = w.document, e = d.documentElement;
  var folded = e.scrollWidth;
  d.querySelectorAll("details").forEach(function (x) { x.open = true; });
  var wide = [];
  d.querySelectorAll("body *").forEach(function (x) { if (x.getBoundingClientRect().right > e.clientWidth + 1 && wide.length < 5) wide.push(x.tagName + "." + x.className + " " + x.textContent.slice(0, 40)); });
  var form = d.querySelector("form.find");
  document.getElementById("said").textContent = JSON.stringify({
    Client: e.clientWidth, Folded: folded, Open: e.scrollWidth, Wide: wide,
    Styles: d.querySelectorAll("style").length, Used: d.styleSheets.length,
    Script: Boolean(form) && !form.hidden, Asked: w.performance.getEntriesByType("resource").map(function (r) { return r.name; }),
  });
};
</script>`

// TestPeerPage looks at pages in a browser: they ask for nothing, their style and script
// work under their own policy, and nothing is wider than the narrowest screen, whatever
// the evidence holds.
func TestPeerPage(t *testing.T) {
	fs01 := assessed(t, "../../examples/fs01", "2026-02-01")
	for _, tc := range []struct {
		name, format, width string
		list                []*assess.Assessment
	}{
		{"one_360", "html", "360", []*assess.Assessment{fs01}},
		{"one_1200", "html", "1200", []*assess.Assessment{fs01}},
		{"wordy_360", "html", "360", []*assess.Assessment{wordy(t)}},
		{"many_360", "html", "360", []*assess.Assessment{fs01, wordy(t), made(t, "FS02", "2020-02-01")}},
		{"letter_360", "letter", "360", []*assess.Assessment{wordy(t)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{}
			if len(tc.list) > 1 {
				o.Findings = Top // the long lists are looked at above
			}
			page := written(t, tc.format, o, tc.list...)
			said := looked(t, page, tc.width)
			if tc.format == "html" && !said.Script {
				t.Error("its policy let its script not run")
			}
		})
	}
}

// said is what a page that holds a report in a frame found out about it.
type said struct {
	Client, Folded, Open int
	Wide, Asked          []string
	Styles, Used         int // how many styles the page has, and how many its policy let the browser use
	Script               bool
}

// looked opens a page in a browser as wide as a screen. It must ask for nothing and be no wider
// than the screen, folded or not.
func looked(t *testing.T, page []byte, width string) (s said) {
	t.Helper()
	var others atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/":
			_, _ = w.Write([]byte(strings.Replace(probe, "WIDTH", width, 1)))
		case "/report":
			_, _ = w.Write(page)
		case "/favicon.ico": // the browser's own
		default:
			others.Store(r.URL.String())
		}
	}))
	defer server.Close()
	dom := browse(t, "--window-size=1400,1000", "--virtual-time-budget=20000", "--dump-dom", server.URL+"/")
	m := regexp.MustCompile(`<pre id="said">(\{.*\})</pre>`).FindStringSubmatch(dom)
	if m == nil {
		t.Fatalf("the page said nothing:\n%.2000s", dom)
	}
	if err := json.Unmarshal([]byte(strings.NewReplacer("&gt;", ">", "&lt;", "<", "&amp;", "&").Replace(m[1])), &s); err != nil {
		t.Fatal(err)
	}
	if s.Client == 0 || s.Folded > s.Client || s.Open > s.Client {
		t.Errorf("%d wide, %d unfolded, on a screen of %d: %q", s.Folded, s.Open, s.Client, s.Wide)
	}
	if len(s.Asked) > 0 || others.Load() != nil {
		t.Errorf("it asked for %q, %v", s.Asked, others.Load())
	}
	if s.Styles == 0 || s.Used != s.Styles {
		t.Errorf("its policy let %d of its %d styles be used", s.Used, s.Styles)
	}
	return s
}

// TestPeerIsolationPage looks at pages of isolation: as TestPeerPage, and of the two drawings of a
// picture one is shown.
func TestPeerIsolationPage(t *testing.T) {
	long := strings.Repeat("W", 300) + strings.Repeat(" words", 50)
	wordy := checked(long, isolated(t, jumpHost, fileServer(long, 300)))
	for _, tc := range []struct {
		name, width string
		s           Isolations
	}{
		{"wordy_360", "360", wordy},
		{"many_360", "360", isolated(t, jumpHost, fileServer(long, 5), fileServer("FS02", 5), &host.Host{})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			looked(t, []byte(writtenIsolation(t, "html", Options{}, tc.s)), tc.width)
		})
	}
}
