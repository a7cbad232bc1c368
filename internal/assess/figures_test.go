package assess_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// server2008 is a Server 2008 SP2 machine of a build with a whole list of updates.
func server2008(arch winver.Arch, number uint32, kbs ...winver.KB) *host.Host {
	src := host.Source{Reader: "test", Input: "made here"}
	h := &host.Host{}
	h.Name.Say("FS01", 1, src)
	h.Product.Say("Microsoft Windows Server 2008 Standard", 1, src)
	h.Installation.Say(host.Server, 1, src)
	h.Arch.Say(arch, 1, src)
	h.Build.Say(winver.Build{Major: 6, Number: number}, 1, src)
	for _, kb := range kbs {
		h.Updates.Add(kb, src)
	}
	h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "made so", Announced: len(kbs), Printed: len(kbs)})
	return h
}

func kbsOf(items []assess.Item) (out []winver.KB) {
	for _, it := range items {
		out = append(out, it.KB)
	}
	return out
}

func day(t testing.TB, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func verdicts(a *assess.Assessment, v assess.Verdict) (cves []string) {
	for _, f := range a.Findings {
		if f.Verdict == v {
			cves = append(cves, f.CVE)
		}
	}
	return cves
}

func TestBare6002(t *testing.T) {
	a := assess.Assess(server2008(winver.AMD64, 6002), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	want := []winver.KB{4474419, 5050682, 5073697}
	if d := cmp.Diff(want, kbsOf(a.Updates.Missing)); d != "" {
		t.Errorf("missing (-want +got):\n%s", d)
	}
	n := len(verdicts(a, assess.Affected))
	t.Logf("bare 6002 on 2026-02-01: %d CVEs affected, %d exploited, %d unknown", n, a.Summary.Exploited, a.Summary.Unknown)
	if n < 2140 {
		t.Errorf("%d CVEs affected, want at least 2140", n)
	}
}

func TestLastRollup(t *testing.T) {
	a := assess.Assess(server2008(winver.AMD64, 6003, 4474419, 5050682, 5073697), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	if got := verdicts(a, assess.Affected); len(got) > 0 {
		t.Errorf("affected by %d CVEs: %v", len(got), got[:min(5, len(got))])
	}
	if got := kbsOf(a.Updates.Missing); len(got) > 0 {
		t.Errorf("missing: %v", got)
	}
	t.Logf("fixed %d, unknown %d, not affected %d: %v", a.Summary.Fixed, a.Summary.Unknown, a.Summary.NotAffected, a.Summary.Notes)
	if a.Build.String() != "6.0.6003.23717" {
		t.Errorf("build %s", a.Build)
	}
}

// TestWindowsUpdateAgrees: on the machine that comes with Windows Update's own answer,
// nothing of the operating system was wanted that day; without its newest cumulative
// update, exactly that one is.
func TestWindowsUpdateAgrees(t *testing.T) {
	dir := filepath.Join(realData(t), "wua")
	files, _ := filepath.Glob(filepath.Join(dir, "*.txt"))
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "updates.txt") }) // the answer
	on := day(t, "2019-03-05")
	for _, set := range append([][]string{files}, files[:1], files[1:]) {
		hosts := readHosts(t, set...)
		if len(hosts) != 1 {
			t.Fatalf("%v: %d hosts", set, len(hosts))
		}
		a := assess.Assess(hosts[0], embedded(t), assess.Policy{}, on)
		if a.Identity.Release == nil {
			continue // the qfe alone does not state the version
		}
		if got := kbsOf(a.Updates.Missing); len(got) > 0 {
			t.Errorf("%v: missing %v, Windows Update wanted nothing", set, got)
		}
		without := assess.Assess(remove(hosts[0], a.Updates.Newest), embedded(t), assess.Policy{}, on)
		if d := cmp.Diff([]winver.KB{a.Updates.Newest}, kbsOf(without.Updates.Missing)); d != "" {
			t.Errorf("%v: without %s (-want +got):\n%s", set, a.Updates.Newest, d)
		}
	}
}

// remove gives h as it were without an update.
func remove(h *host.Host, kb winver.KB) *host.Host {
	out := *h
	out.Updates = host.Set[winver.KB]{}
	for _, k := range h.Updates.All() {
		if k != kb {
			for _, src := range h.Updates.Sources(k) {
				out.Updates.Add(k, src)
			}
		}
	}
	for _, l := range h.Updates.Listings() {
		out.Updates.List(l)
	}
	return &out
}

// TestCutListProvesNothing: fewer updates printed than announced proves no absence, but
// what is named is proven present, and build 6002 proves what no list needs to.
func TestCutListProvesNothing(t *testing.T) {
	cut := func(number uint32, kbs ...winver.KB) *assess.Assessment {
		h := server2008(winver.AMD64, number, kbs...)
		h.Updates = remove(h, 0).Updates
		whole := h.Updates.Listings()[0]
		h.Updates = host.Set[winver.KB]{}
		for _, kb := range kbs {
			h.Updates.Add(kb, whole.From)
		}
		h.Updates.List(host.Listing{From: whole.From, Why: "cut", Announced: 273, Printed: len(kbs)})
		return assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	}
	a := cut(6003, 4534303)
	if len(a.Updates.Missing) > 0 || len(verdicts(a, assess.Affected)) > 0 {
		t.Errorf("a cut list proves %v missing and %d CVEs affected", kbsOf(a.Updates.Missing), len(verdicts(a, assess.Affected)))
	}
	if !slices.Contains(kbsOf(a.Updates.Undecided), 5073697) {
		t.Error("the newest rollup is not among the undecided")
	}
	if a.Summary.Fixed == 0 {
		t.Error("the rollup that is named fixes nothing")
	}
	if a.Level() != assess.Undecided {
		t.Errorf("level %d, want undecided", a.Level())
	}
	b := cut(6002)
	if got := kbsOf(b.Updates.Missing); !slices.Contains(got, 5073697) {
		t.Errorf("build 6002 proves that no rollup since 2019-03-19 is in effect; missing: %v", got)
	}
	if n := len(verdicts(b, assess.Affected)); n < 1800 {
		t.Errorf("build 6002 proves %d CVEs affected only", n)
	}
	c := cut(6002, 4493471)
	if c.Updates.Missing != nil || !slices.ContainsFunc(c.Summary.Notes, func(n string) bool { return strings.Contains(n, "restart is probably pending") }) {
		t.Errorf("build 6002 with a 6003 rollup listed may await a restart: missing %v, notes %q", kbsOf(c.Updates.Missing), c.Summary.Notes)
	}
}

// TestArchitectures: Itanium had its last update in January 2020. What came for others
// after that is not known for it, neither affected nor fine.
func TestArchitectures(t *testing.T) {
	on := day(t, "2026-02-01")
	a := assess.Assess(server2008(winver.IA64, 6003, 4474419, 4526478, 4534303), embedded(t), assess.Policy{}, on)
	if got := kbsOf(a.Updates.Missing); len(got) > 0 {
		t.Errorf("missing on ia64 with its last rollup: %v", got)
	}
	if n := len(verdicts(a, assess.Affected)); n > 0 {
		t.Errorf("affected by %d on ia64 with its last rollup", n)
	}
	later := 0
	for _, f := range a.Findings {
		if f.Verdict == assess.Unknown && strings.Contains(f.Because[0].Text, "nothing was published for ia64 after") {
			later++
		}
	}
	if later < 1000 {
		t.Errorf("%d CVEs of later years are said to be unknown, want more than a thousand", later)
	}
	x := assess.Assess(server2008(winver.X86, 6002), embedded(t), assess.Policy{}, on)
	if d := cmp.Diff([]winver.KB{4474419, 5050682, 5073697}, kbsOf(x.Updates.Missing)); d != "" {
		t.Errorf("x86 (-want +got):\n%s", d)
	}
}

// TestAsOf: a day decides by each update's own date, and a day past the sources is not
// answered with "nothing missing".
func TestAsOf(t *testing.T) {
	for on, want := range map[string]winver.KB{
		"2018-09-10": 0, "2018-09-11": 4458010, "2019-04-08": 4489880, "2019-04-09": 4493471,
		"2020-01-14": 4534303, "2025-06-09": 5058449, "2025-07-08": 5062624, "2026-01-12": 5071504, "2026-01-13": 5073697, "2026-11-22": 5073697,
	} {
		a := assess.Assess(server2008(winver.AMD64, 6002), embedded(t), assess.Policy{}, day(t, on))
		if a.Updates.Latest != want {
			t.Errorf("on %s the newest rollup is %s, want %s", on, a.Updates.Latest, want)
		}
		if want != 0 && !slices.Contains(kbsOf(a.Updates.Missing), want) {
			t.Errorf("on %s %s is not missing: %v", on, want, kbsOf(a.Updates.Missing))
		}
	}
	h := server2008(winver.AMD64, 6003, 4474419, 5050682, 5073697)
	h.Product = host.Fact[string]{}
	h.Build = host.Fact[winver.Build]{}
	h.Build.Say(winver.Build{Major: 10, Number: 17763}, 1, host.Source{})
	h.Product.Say("Microsoft Windows Server 2019 Standard", 1, host.Source{})
	h.Updates.Add(5087538, host.Source{})
	late := assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-11-22"))
	if !late.Summary.SourceStale || late.Level() == assess.Clear {
		t.Errorf("five months past the feeds: stale %v, level %d, %q", late.Summary.SourceStale, late.Level(), late.Summary.Headline)
	}
}

// TestInternetExplorer9: Internet Explorer 9 counts where it is, not where it is not, and
// is unknown where nothing tells.
func TestInternetExplorer9(t *testing.T) {
	verdictOn := func(h *host.Host) assess.Verdict {
		for _, f := range assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")).Findings {
			if f.CVE == "CVE-2020-0674" {
				return f.Verdict
			}
		}
		t.Fatal("CVE-2020-0674 has no finding")
		return 0
	}
	if v := verdictOn(server2008(winver.AMD64, 6003, 4493471)); v != assess.NotAffected {
		t.Errorf("without KB982861: %s, want not-affected", v)
	}
	if v := verdictOn(server2008(winver.AMD64, 6003, 4493471, 982861)); v != assess.Affected {
		t.Errorf("with KB982861: %s, want affected", v)
	}
	if v := verdictOn(server2008(winver.AMD64, 6003, 5073697, 982861)); v != assess.Fixed {
		t.Errorf("with the last rollup: %s, want fixed", v)
	}
	for version, want := range map[string]assess.Verdict{"9.0.8112.16421": assess.Affected, "7.0.6002.18005": assess.NotAffected} {
		h := server2008(winver.AMD64, 6003, 4493471)
		h.Programs = []host.Program{{Name: "Internet Explorer", Version: version}}
		if v := verdictOn(h); v != want {
			t.Errorf("with Internet Explorer %s in the registry: %s, want %s", version, v, want)
		}
	}
	core := server2008(winver.AMD64, 6003, 4493471, 982861)
	core.Installation = host.Fact[host.Installation]{}
	core.Installation.Say(host.ServerCore, 1, host.Source{})
	if v := verdictOn(core); v != assess.NotAffected {
		t.Errorf("on Server Core: %s, want not-affected", v)
	}
}

// TestMoreUpdatesNeverHurt: installing something published never turns a fixed finding
// into an open one, and adds nothing to what is missing.
func TestMoreUpdatesNeverHurt(t *testing.T) {
	on := day(t, "2026-02-01")
	rec, err := embedded(t).Records("windows-server-2008-sp2")
	if err != nil {
		t.Fatal(err)
	}
	base := []winver.KB{4493730, 4474419, 4493471}
	before := assess.Assess(server2008(winver.AMD64, 6003, base...), embedded(t), assess.Policy{}, on)
	fixed := map[string]bool{}
	for _, cve := range verdicts(before, assess.Fixed) {
		fixed[cve] = true
	}
	missing := len(before.Updates.Missing)
	for i := 0; i < len(rec.Updates); i += 7 {
		u := rec.Updates[i]
		after := assess.Assess(server2008(winver.AMD64, 6003, append(slices.Clone(base), u.KB)...), embedded(t), assess.Policy{}, on)
		if len(after.Updates.Missing) > missing {
			t.Errorf("with %s, %v is missing", u.KB, kbsOf(after.Updates.Missing))
		}
		n := 0
		for _, cve := range verdicts(after, assess.Fixed) {
			if fixed[cve] {
				n++
			}
		}
		if n != len(fixed) {
			t.Errorf("with %s, %d of %d fixed findings stay fixed", u.KB, n, len(fixed))
		}
	}
}

// TestSameArgumentsSameAnswer: Assess is a function.
func TestSameArgumentsSameAnswer(t *testing.T) {
	h := server2008(winver.AMD64, 6003, 4534303, 4526478)
	first := fmt.Sprintf("%+v", assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")).Findings)
	for range 3 {
		if got := fmt.Sprintf("%+v", assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")).Findings); got != first {
			t.Fatal("two answers to one question")
		}
	}
}

// TestServicePackMissing: below the last service pack nothing is "fine". The pack is
// missing, with what one would install after it, and what was recorded for the higher
// level alone is unknown.
func TestServicePackMissing(t *testing.T) {
	a := assess.Assess(server2008(winver.AMD64, 6001), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	if d := cmp.Diff([]winver.KB{948465, 4474419, 5050682, 5073697}, kbsOf(a.Updates.Missing)); d != "" {
		t.Errorf("missing (-want +got):\n%s", d)
	}
	if a.Level() != assess.Bad {
		t.Errorf("level %d, want bad", a.Level())
	}
	if n := len(verdicts(a, assess.Unknown)); n < 4000 {
		t.Errorf("%d findings are unknown, want those of Service Pack 2 too", n)
	}
	if early := assess.Assess(server2008(winver.AMD64, 6001), embedded(t), assess.Policy{}, day(t, "2009-01-15")); len(early.Updates.Missing) > 0 {
		t.Errorf("before Service Pack 2 came, missing %v", kbsOf(early.Updates.Missing))
	}
}

// TestSharedHistoryPage: the page of Windows 7 and Server 2008 R2 goes on where Windows 7
// has no updates any more.
func TestSharedHistoryPage(t *testing.T) {
	h := server2008(winver.AMD64, 0)
	h.Build = host.Fact[winver.Build]{}
	h.Build.Say(winver.Build{Major: 6, Minor: 1, Number: 7601}, 1, host.Source{})
	if got := assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")).Updates.Latest; got != 5073695 {
		t.Errorf("Server 2008 R2: latest %s, want KB5073695", got)
	}
	h.Product, h.Installation = host.Fact[string]{}, host.Fact[host.Installation]{}
	h.Product.Say("Microsoft Windows 7 Professional", 1, host.Source{})
	if got := assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")).Updates.Latest; got != 5022338 {
		t.Errorf("Windows 7: latest %s, want KB5022338 of 2023-01", got)
	}
}

func domainController() *host.Host {
	h := server2008(winver.AMD64, 6003, 4474419, 5050682, 5073697)
	h.Role.Say(host.DomainController, 1, host.Source{Reader: "test"})
	return h
}

// TestDomainController: a role with a vulnerability that no record names is a finding.
func TestDomainController(t *testing.T) {
	a := assess.Assess(domainController(), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	for _, f := range a.Findings {
		if f.CVE == "CVE-2020-1472" {
			if f.Verdict != assess.Unknown || f.KEV != host.Yes {
				t.Errorf("%+v", f)
			}
			return
		}
	}
	t.Error("no finding for Zerologon on a domain controller")
}

// TestForeverDays: on Itanium the list of what was exploited since 2020-01 is long; where
// the last update is newer than the list of exploited vulnerabilities nothing is known.
func TestForeverDays(t *testing.T) {
	a := assess.Assess(server2008(winver.IA64, 6003, 4474419, 4526478, 4534303), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	if len(a.Forever) < 50 || a.ForeverSince.String() != "2020-01-14" || a.ForeverUntil.String() != "2025-08-25" {
		t.Errorf("%d forever-days from %s to %s", len(a.Forever), a.ForeverSince, a.ForeverUntil)
	}
	likely := 0
	for _, d := range a.Forever {
		if d.Confidence == "likely" {
			likely++
		}
		if d.Because.Text == "" || d.Fixed <= a.ForeverSince {
			t.Errorf("%+v", d)
		}
	}
	if likely == 0 {
		t.Error("none is likely")
	}
	b := assess.Assess(server2008(winver.AMD64, 6003, 5073697), embedded(t), assess.Policy{}, day(t, "2026-02-01"))
	if len(b.Forever) > 0 || b.ForeverUntil >= b.ForeverSince {
		t.Errorf("%d forever-days, list until %s, last update %s", len(b.Forever), b.ForeverUntil, b.ForeverSince)
	}
}

// TestReadiness tells the four conditions of ESU apart.
func TestReadiness(t *testing.T) {
	states := func(h *host.Host) (out []string) {
		for _, r := range assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")).ESU {
			out = append(out, r.ID+" "+r.State.String())
			if r.Because.Text == "" {
				t.Errorf("%s: no reason", r.ID)
			}
		}
		return out
	}
	full := server2008(winver.AMD64, 6003, 4474419, 5050682, 5016891, 5073697)
	if d := cmp.Diff([]string{"sha2 yes", "servicing-stack yes", "licensing-package yes", "entitlement unknown"}, states(full)); d != "" {
		t.Errorf("an update of the ESU era proves no entitlement (-want +got):\n%s", d)
	}
	full.Licences = append(full.Licences, host.Licence{ActivationID: "04FA0286-fa74-401e-bbe9-fbfbb158010d", Status: host.Licensed, PartialKey: "XXXXX"})
	if d := cmp.Diff([]string{"sha2 yes", "servicing-stack yes", "licensing-package yes", "entitlement yes"}, states(full)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	bare := server2008(winver.AMD64, 6002)
	bare.LicencesWhole.Say(true, 1, host.Source{})
	if d := cmp.Diff([]string{"sha2 no", "servicing-stack no", "licensing-package no", "entitlement no"}, states(bare)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestDiff: what is new, closed and newly exploited, and why.
func TestDiff(t *testing.T) {
	c := embedded(t)
	old := assess.Assess(server2008(winver.AMD64, 6003, 4474419, 5050682, 5071504), c, assess.Policy{}, day(t, "2025-12-31")).Snapshot()
	now := assess.Assess(server2008(winver.AMD64, 6003, 4474419, 5050682, 5071504), c, assess.Policy{}, day(t, "2026-02-01"))
	d := assess.Diff(old, now)
	if len(d.New) == 0 || len(d.Closed) > 0 || !slices.Equal(d.Missing, []winver.KB{5073697}) {
		t.Errorf("a month later: %d new, %d closed, missing %v", len(d.New), len(d.Closed), d.Missing)
	}
	for _, f := range d.New {
		if f.Why != "published between 2025-12-31 and 2026-02-01" {
			t.Errorf("%s: %q", f.Finding.CVE, f.Why)
		}
	}
	patched := assess.Assess(server2008(winver.AMD64, 6003, 4474419, 5050682, 5071504, 5073697), c, assess.Policy{}, day(t, "2026-02-01"))
	d = assess.Diff(now.Snapshot(), patched)
	if len(d.New) > 0 || len(d.Closed) != now.Summary.Affected || !slices.Equal(d.Settled, []winver.KB{5073697}) || d.Build == [2]string{} {
		t.Errorf("after patching: %d new, %d closed, settled %v, build %v", len(d.New), len(d.Closed), d.Settled, d.Build)
	}
	if !assess.Diff(patched.Snapshot(), patched).Empty() {
		t.Error("nothing changed, and something is said to have")
	}
	// CVE-2022-41073 entered the list on 2022-11-08.
	day1 := assess.Assess(server2008(winver.AMD64, 6003, 5018450), c, assess.Policy{}, day(t, "2022-11-07")).Snapshot()
	day2 := assess.Diff(day1, assess.Assess(server2008(winver.AMD64, 6003, 5018450), c, assess.Policy{}, day(t, "2022-11-09")))
	if len(day2.NewExploited()) == 0 {
		t.Error("a new exploited vulnerability is not told")
	}
}
