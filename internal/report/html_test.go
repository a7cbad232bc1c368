package report

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// made assesses a Server 2008 SP2 made here, with a whole list of updates.
func made(tb testing.TB, name, day string, kbs ...winver.KB) *assess.Assessment {
	tb.Helper()
	src := host.Source{Reader: "test", Input: "made here", At: "line 1"}
	h := &host.Host{}
	h.Name.Say(name, 1, src)
	h.Product.Say("Microsoft Windows Server 2008 Standard", 1, src)
	h.Installation.Say(host.Server, 1, src)
	h.Arch.Say(winver.AMD64, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6002}, 1, src)
	for _, kb := range kbs {
		h.Updates.Add(kb, src)
	}
	h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "made so", Announced: len(kbs), Printed: len(kbs)})
	return judged(tb, h, day)
}

func judged(tb testing.TB, h *host.Host, day string) *assess.Assessment {
	tb.Helper()
	on, err := time.Parse(time.DateOnly, day)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := catalog.Embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return assess.Assess(h, c, assess.Policy{}, on)
}

// written gives the document of some assessments.
func written(tb testing.TB, name string, o Options, list ...*assess.Assessment) []byte {
	tb.Helper()
	f, ok := Find(Formats(), name)
	if !ok {
		tb.Fatalf("no format %q", name)
	}
	if o.Findings == "" {
		o.Findings = f.Findings
	}
	o.Many = len(list) > 1
	var b bytes.Buffer
	w := f.Open(&b, o)
	for _, a := range list {
		if err := Write(w, a); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

var (
	unchanging = regexp.MustCompile(`(?s)<style>.*?</style>|<script>.*?</script>|content="default-src[^"]*"`)
	digests    = regexp.MustCompile(`[0-9a-f]{16,64}`)
)

// TestHTMLGolden holds the structure of the page of a small machine; the style and the
// script are looked at in a browser.
func TestHTMLGolden(t *testing.T) {
	a := made(t, "FS01", "2018-11-20")
	frozen(a)
	got := unchanging.ReplaceAll(written(t, "html", Options{Findings: Top}, a), []byte("…"))
	golden.Check(t, "testdata/html/small.html", digests.ReplaceAll(got, []byte("…")))
}

// frozen keeps of an assessment what does not move with the catalogue, so that a page of
// it is small and the same for years.
func frozen(a *assess.Assessment) {
	a.Findings = a.Findings[:min(3, len(a.Findings))]
	a.Updates.Undecided = a.Updates.Undecided[:min(2, len(a.Updates.Undecided))]
	a.Sources = a.Sources[:1]
	a.Sources[0].Last = a.AsOf - 20
	a.Summary = assess.Summary{Headline: "Windows Server 2008 SP2 amd64: affected by 3 vulnerabilities", Affected: 3, Exploited: 3}
}

// TestHTMLEscapes puts markup, and characters that turn the direction of writing, into all
// that evidence can state.
func TestHTMLEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=//192.0.2.1/x onerror=alert(1)>` + "\u202e<!--\x00-->'`"
	src := host.Source{Reader: evil, Input: evil, At: evil}
	h := &host.Host{}
	for _, f := range []*host.Fact[string]{&h.Name, &h.Domain, &h.ProductID, &h.MachineID, &h.Product, &h.Edition, &h.BuildLab, &h.Language} {
		f.Say(evil, 1, src)
		f.Say(evil+"2", 1, src)
	}
	h.Role.Say(host.Role(evil), 1, src)
	h.Arch.Say(winver.AMD64, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: 6002}, 1, src)
	h.Installation.Say(host.Server, 1, src)
	h.Updates.Add(4012598, src)
	h.Updates.List(host.Listing{From: src, Whole: true, Why: evil})
	h.Gap(host.Gap{What: evil, Why: evil, Hint: evil, From: src})
	a := judged(t, h, "2026-02-01")
	for _, list := range [][]*assess.Assessment{{a}, {a, a}} {
		for _, format := range []string{"html", "letter"} {
			got := string(written(t, format, Options{}, list...))
			for _, bad := range []string{"<script>alert", "<img", "\u202e", "\x00", "<!--"} {
				if i := strings.Index(got, bad); i >= 0 {
					t.Errorf("%s of %d machines holds %q: …%s…", format, len(list), bad, got[max(i-60, 0):i+len(bad)])
				}
			}
			if n := strings.Count(got, "<script"); n > 1 {
				t.Errorf("%s of %d machines has %d scripts", format, len(list), n)
			}
		}
	}
}

// TestHTMLWorstFirst: of more machines than are shown in full, the worst are, in order,
// whatever the order in which they come.
func TestHTMLWorstFirst(t *testing.T) {
	worst := made(t, "WORST", "2026-02-01")
	last := made(t, "LAST", "2026-02-01", 4474419, 5050682, 5073697)
	middle := made(t, "MIDDLE", "2026-02-01", 4474419, 4493730, 4534303)
	list := []*assess.Assessment{last, middle}
	for i := range maxFull + 5 {
		list = append(list, made(t, fmt.Sprintf("OK%03d", i), "2026-02-01", 4474419, 5050682, 5073697))
	}
	list = append(list, worst)
	got := string(written(t, "html", Options{Findings: Top}, list...))
	order := []string{">WORST<", ">MIDDLE<", ">LAST<", ">OK000<"}
	at := -1
	for _, name := range order {
		i := strings.Index(got, name)
		if i <= at {
			t.Errorf("%s is at %d, after %d", name, i, at)
		}
		at = i
	}
	if n := strings.Count(got, `<details class="host"`); n != maxFull {
		t.Errorf("%d machines in full, want %d", n, maxFull)
	}
	if n := strings.Count(got, "<tr"); n < len(list) {
		t.Errorf("%d rows for %d machines", n, len(list))
	}
	if strings.Contains(got, "<!--m") {
		t.Error("a place for a machine was left empty")
	}
}

// TestHTMLLinksLead: each link of the page leads to something in it, and to nothing else.
func TestHTMLLinksLead(t *testing.T) {
	got := string(written(t, "html", Options{}, made(t, "FS01", "2026-02-01"), made(t, "FS02", "2020-01-14", 4534303)))
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(got, -1) {
		ids[m[1]]++
		if ids[m[1]] > 1 {
			t.Errorf("id %s stands twice", m[1])
		}
	}
	links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(got, -1)
	for _, m := range links {
		if target, ok := strings.CutPrefix(m[1], "#"); !ok || ids[target] == 0 {
			t.Errorf("link %q leads nowhere in the page", m[1])
		}
	}
	if len(links) < 100 {
		t.Errorf("only %d links", len(links))
	}
}

// TestNobodyIsCalledSafe: no format calls a machine safe or secure.
func TestNobodyIsCalledSafe(t *testing.T) {
	a := made(t, "FS01", "2026-02-01", 4474419, 5050682, 5073697)
	for _, f := range Formats() {
		text := written(t, f.Name, Options{}, a)
		for _, at := range regexp.MustCompile(`(?i)\bsafe\b`).FindAllIndex(text, -1) {
			if m := string(text[max(0, at[0]-40):at[1]]); !strings.Contains(m, "nothing in it says that a machine is safe") {
				t.Errorf("%s says %q", f.Name, m)
			}
		}
	}
}
