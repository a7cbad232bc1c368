package assess_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/host"
)

// realData is the folder of real evidence, which is not part of the repository.
func realData(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(filepath.Join(dir, "systeminfo", "vanilla")); err != nil {
		t.Skipf("no real evidence here (set OLDGUARD_DATA): %v", err)
	}
	return dir
}

func readHosts(t *testing.T, files ...string) []*host.Host {
	t.Helper()
	var in []evidence.Input
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, evidence.TextInput(f, string(b)))
	}
	var hosts []*host.Host
	for h, err := range evidence.Read(context.Background(), all.Readers(), in, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

func embedded(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var vanillaName = regexp.MustCompile(`_(\d{8})_(\d+)(?:\.(\d+))?\.txt$`)

// exceptions are the lab machines that the rules do not fit, each with its reason.
var exceptions = map[string]string{
	"SystemInfo_W10_1709_Pro_20171114_16299.64.txt":                     "media with the update built in: the list says N/A, and 16299.64 shows nowhere in the text",
	"SystemInfo_W10_1809_Pro_20181113_17763.107.txt":                    "really behind: KB4467708 (17763.134) came out on the day in the name",
	"SystemInfo_WindowsServer2019_1809_Standard_20181113_17763.107.txt": "really behind: KB4467708 (17763.134) came out on the day in the name",
	"SystemInfo_W10_1903_Pro_20191210_18362.1016.txt":                   "the name's day is wrong: the machine has KB4565351 of 2020-08",
	"SystemInfo_WindowsServer2022_21H2_Standard_20220215_20348.587.txt": "the name's day is wrong: the machine has KB5011497 of 2022-03",
	"SystemInfo_W11_Dev_Pro_20210909_22454.1000.txt":                    "an Insider build: said to be not covered",
}

// noRevision are the lab machines whose revision no installed update tells.
var noRevision = map[string]string{
	"SystemInfo_W10_1709_Pro_20171114_16299.64.txt":  "media with the update built in",
	"SystemInfo_W10_2004_Pro_20200527_19041.264.txt": "media with the update built in",
	"SystemInfo_W11_21H2_Pro_20210916_22000.194.txt": "media with the update built in",
}

// TestFreshlyPatchedMachines: on the day in a file's name nothing of a cumulative, rollup
// or servicing stack stream is missing; 45 days later the newest cumulative update is, on
// every release still supported that ever had one.
func TestFreshlyPatchedMachines(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(realData(t), "systeminfo", "vanilla", "*.txt"))
	c := embedded(t)
	checks, excepted, revisions, right := 0, map[string]bool{}, 0, 0
	for _, f := range files {
		name := filepath.Base(f)
		hosts := readHosts(t, f)
		if len(hosts) != 1 {
			t.Fatalf("%s: %d hosts", name, len(hosts))
		}
		m := vanillaName.FindStringSubmatch(name)
		if m == nil {
			continue // two names without a day
		}
		fail := func(format string, args ...any) {
			if exceptions[name] == "" {
				t.Errorf(name+": "+format, args...)
			}
			excepted[name] = true
		}
		on, err := time.Parse("20060102", m[1])
		if err != nil {
			t.Fatal(err)
		}
		a := assess.Assess(hosts[0], c, assess.Policy{}, on)
		checks++
		if a.Identity.Release == nil {
			if a.Identity.Covered {
				t.Errorf("%s: %s", name, a.Identity.Why)
			}
			fail("not covered")
			continue
		}
		if got := kbsOf(a.Updates.Missing); len(got) > 0 {
			fail("on its day, missing %v", got)
		}
		if m[3] != "" {
			revisions++
			switch want := fmt.Sprintf("%s.%s", a.Build.Base(), m[3]); {
			case a.Build.String() == want:
				right++
			case a.Build.HasRevision:
				fail("revision %s, want %s", a.Build, want)
			case noRevision[name] == "":
				t.Errorf("%s: no revision, want %s", name, want)
			}
		}
		b := assess.Assess(hosts[0], c, assess.Policy{}, on.AddDate(0, 0, 45))
		if b.Support.State == assess.Over || b.Support.State == assess.Programmes || b.Updates.Latest == 0 {
			continue // nothing more comes, or no cumulative update had come yet: 2009 to 2013
		}
		checks++
		if !slices.Contains(kbsOf(b.Updates.Missing), b.Updates.Latest) {
			fail("45 days later %s of %s is not missing", b.Updates.Latest, b.Updates.LatestReleased)
		}
	}
	t.Logf("%d checks on %d machines, %d exceptions; revision right on %d of %d", checks, len(files), len(excepted), right, revisions)
	for name, why := range exceptions {
		t.Logf("exception: %s: %s", name, why)
		if !excepted[name] {
			t.Errorf("%s is no exception any more", name)
		}
	}
	if len(excepted) > 6 || right < revisions-len(noRevision) {
		t.Errorf("%d exceptions, at most 6 are allowed; %d of %d revisions", len(excepted), right, revisions)
	}
}

// TestEveryRealMachine: whatever the machine, the assessment tells its release or says why
// not, and what is missing is never something its own list contains.
func TestEveryRealMachine(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(realData(t), "systeminfo", "*", "*.txt"))
	c := embedded(t)
	for _, f := range files {
		for _, h := range readHosts(t, f) {
			a := assess.Assess(h, c, assess.Policy{}, day(t, "2026-06-01"))
			if a.Identity.Release == nil && a.Identity.Why == "" {
				t.Errorf("%s: no release and no reason", f)
			}
			for _, it := range slices.Concat(a.Updates.Missing, a.Updates.Undecided) {
				if h.Updates.Has(it.KB) == host.Yes {
					t.Errorf("%s: %s is installed, and missing or undecided", f, it.KB)
				}
				if len(it.Because) == 0 {
					t.Errorf("%s: %s without a reason", f, it.KB)
				}
			}
			for _, v := range a.Findings {
				if len(v.Because) == 0 || v.Because[0].Text == "" {
					t.Errorf("%s: %s is %s without a reason", f, v.CVE, v.Verdict)
					break
				}
			}
		}
	}
}
