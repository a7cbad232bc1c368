package assess_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/evidence/cbs"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

// TestBeforeRollups: CVE-2017-0144, the hole of WannaCry, which KB4012598 of 2017-03-14 closes
// on Server 2008 SP2, a year before its first rollup. KB4018466 of 2017-05 supersedes it.
func TestBeforeRollups(t *testing.T) {
	const cve, fix, later = "CVE-2017-0144", 4012598, 4018466
	own := func(kb winver.KB) string { return "Package_for_" + kb.String() }
	type pkg struct {
		name  string
		state host.PackageState
	}
	for _, tt := range []struct {
		name     string
		packages []pkg
		cut      string
		want     assess.Verdict
		reason   string // within the finding's first
	}{
		{"installed", []pkg{{own(fix), host.PackageInstalled}}, "", assess.Fixed, "is installed"},
		{"installed_in_a_cut_list", []pkg{{own(fix), host.PackageInstalled}}, "cut", assess.Fixed, "is installed"},
		{"superseded_is_in_effect", []pkg{{own(fix), host.PackageSuperseded}}, "", assess.Fixed, "is installed"},
		{"waits_to_be_removed_is_in_effect", []pkg{{own(fix), host.PackageUninstalled}}, "", assess.Fixed, "is installed"},
		{"superseding_package", []pkg{{own(later), host.PackageInstalled}}, "", assess.Fixed, "contained in KB4018466"},
		{"staged_but_superseding_package", []pkg{{own(fix), host.PackageStaged}, {own(later), host.PackageInstalled}}, "", assess.Fixed, "contained in KB4018466"},
		{"superseding_package_waits_too", []pkg{{own(fix), host.PackageAbsent}, {own(later), host.PackagePending}}, "", assess.Affected, "its package Package_for_KB4012598"},
		{"whole_list_without_it", []pkg{{own(982861), host.PackageInstalled}}, "", assess.Unknown, "a later single fix may have replaced it"},
		{"cut_list_without_it", []pkg{{own(982861), host.PackageInstalled}}, "cut", assess.Unknown, "a later single fix may have replaced it"},
		{"absent", []pkg{{own(fix), host.PackageAbsent}}, "", assess.Affected, "is absent, and nothing known that replaces it is in effect"},
		{"staged", []pkg{{own(fix), host.PackageStaged}}, "", assess.Affected, "is staged"},
		{"pending", []pkg{{own(fix), host.PackagePending}}, "", assess.Affected, "is install-pending"},
		{"broken", []pkg{{own(fix), host.PackageBroken}}, "", assess.Affected, "is broken"},
		{"staged_in_a_cut_list", []pkg{{own(fix), host.PackageStaged}}, "cut", assess.Affected, "is staged"},
		{"a_part_staged_in_a_whole_list", []pkg{{"Package_1_for_KB4012598", host.PackageStaged}}, "", assess.Affected, "is staged"},
		{"a_part_staged_in_a_cut_list", []pkg{{"Package_1_for_KB4012598", host.PackageStaged}}, "cut", assess.Unknown, "a later single fix may have replaced it"},
		{"a_part_does_not_apply", []pkg{{"Package_1_for_KB4012598", host.PackageAbsent}, {own(fix), host.PackageInstalled}}, "", assess.Fixed, "is installed"},
		{"state_not_known", []pkg{{own(fix), host.PackageUnknown}}, "", assess.Unknown, "a later single fix may have replaced it"},
		{"state_of_a_part_not_known", []pkg{{own(fix), host.PackageStaged}, {"Package_1_for_KB4012598", host.PackageUnknown}}, "", assess.Unknown, "a later single fix may have replaced it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := server2008(winver.AMD64, 6002)
			h.Updates = host.Set[winver.KB]{}
			src := host.Source{Reader: "test", Input: "made here"}
			l := cbs.List{Cut: tt.cut, From: src}
			for i, p := range tt.packages {
				name := p.name + "~31bf3856ad364e35~amd64~~6.0.1.0"
				id, ok := cbs.Parse(name)
				if !ok {
					t.Fatalf("%s is no package", name)
				}
				src.At = fmt.Sprint("package ", i)
				l.Packages = append(l.Packages, host.Package{Name: name, KB: id.KB, State: p.state, From: src})
			}
			l.Say(h)
			a := assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01"))
			f := findingOf(t, a, cve)
			if f.Verdict != tt.want || !strings.Contains(f.Because[0].Text, tt.reason) {
				t.Errorf("%v because %q, want %v because of %q", f.Verdict, f.Because[0].Text, tt.want, tt.reason)
			}
			if tt.want == assess.Affected && len(f.Because[0].From) == 0 {
				t.Error("no source for a package's state")
			}
			undecided := false
			for _, it := range a.Updates.Undecided {
				undecided = undecided || it.KB == fix
			}
			if undecided != (tt.want == assess.Unknown) {
				t.Errorf("among the undecided updates: %v", undecided)
			}
			for _, it := range a.Updates.Missing {
				if it.KB == fix {
					t.Error("a single fix is among the updates that one would install")
				}
			}
		})
	}
}

func findingOf(t *testing.T, a *assess.Assessment, cve string) assess.Finding {
	t.Helper()
	for _, f := range a.Findings {
		if f.CVE == cve {
			return f
		}
	}
	t.Fatalf("no finding for %s", cve)
	return assess.Finding{}
}

// TestNoRollupsAtAll: what holds for fixes older than the rollups holds for all fixes of a
// release that never had any.
func TestNoRollupsAtAll(t *testing.T) {
	h := server2008(winver.X86, 6002)
	h.Product = host.Fact[string]{}
	h.Product.Say("Microsoft Windows Vista Business", 1, host.Source{})
	h.Installation = host.Fact[host.Installation]{}
	h.Installation.Say(host.Client, 1, host.Source{})
	id := infer.Identify(h, embedded(t))
	if id.Release == nil || id.Release.RollupSince != 0 {
		t.Fatalf("Vista SP2 is not a release without rollups: %+v", id)
	}
	if v := findingOf(t, assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")), "CVE-2017-0144").Verdict; v != assess.Unknown {
		t.Errorf("%v by a whole list, want unknown", v)
	}
	h.Packages = []host.Package{{Name: "Package_for_KB4012598~31bf3856ad364e35~x86~~6.0.1.0", KB: 4012598, State: host.PackageStaged}}
	if v := findingOf(t, assess.Assess(h, embedded(t), assess.Policy{}, day(t, "2026-02-01")), "CVE-2017-0144").Verdict; v != assess.Affected {
		t.Errorf("%v by a staged package, want affected", v)
	}
}
