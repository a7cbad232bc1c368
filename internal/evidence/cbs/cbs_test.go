package cbs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence/cbs"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

const token = "~31bf3856ad364e35~amd64~~"

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     cbs.Identity
	}{
		{"update", "Package_for_KB4474419" + token + "6.0.4.0", cbs.Identity{"Package_for_KB4474419", winver.AMD64, "6.0.4.0", 4474419}},
		{"wrapped", "Package_1_for_KB4493730~31bf3856ad364e35~x86~~6.0.1.0", cbs.Identity{"Package_1_for_KB4493730", winver.X86, "6.0.1.0", 4493730}},
		{"for_a_service_pack", "Package_for_KB2305420_SP2~31bf3856ad364e35~ia64~~6.0.1.0", cbs.Identity{"Package_for_KB2305420_SP2", winver.IA64, "6.0.1.0", 2305420}},
		{"service_pack", "VistaSP2-KB948465" + token + "6.0.1.18005", cbs.Identity{"VistaSP2-KB948465", winver.AMD64, "6.0.1.18005", 948465}},
		{"language", "Package_for_KB976902~31bf3856ad364e35~amd64~de-DE~6.1.1.17514", cbs.Identity{"Package_for_KB976902", winver.AMD64, "6.1.1.17514", 976902}},
		{"no_kb", "Package_for_RollupFix" + token + "14393.2273.1.9", cbs.Identity{"Package_for_RollupFix", winver.AMD64, "14393.2273.1.9", 0}},
		{"no_kb_but_its_letters", "Microsoft-Windows-KBD-Package" + token + "6.0.6001.18000", cbs.Identity{"Microsoft-Windows-KBD-Package", winver.AMD64, "6.0.6001.18000", 0}},
		{"no_identity", "Package_for_KB4474419", cbs.Identity{}},
		{"file", "Package_for_KB4474419" + token + "6.0.4.0.mum", cbs.Identity{}},
		{"spaces", "Package for KB4474419" + token + "6.0.4.0", cbs.Identity{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := cbs.Parse(tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want != cbs.Identity{}) {
				t.Errorf("Parse(%q) = %v (-want +got):\n%s", tt.in, ok, diff)
			}
		})
	}
}

func TestStateOf(t *testing.T) {
	for n, want := range map[uint32]host.PackageState{
		0: host.PackageAbsent, 5: host.PackageUninstalled, 0x40: host.PackageStaged, 0x50: host.PackageSuperseded, 0x60: host.PackagePending,
		0x65: host.PackagePartly, 0x70: host.PackageInstalled, 0x80: host.PackageInstalled,
		0xffffff90: host.PackageBroken, 0xffffff80: host.PackageBroken, 0xffffffed: host.PackageUnknown, 7: host.PackageUnknown,
	} {
		if got := cbs.StateOf(n); got != want {
			t.Errorf("StateOf(%#x) = %v, want %v", n, got, want)
		}
	}
}

// TestSay: what makes a list whole, and what it proves.
func TestSay(t *testing.T) {
	pkg := func(name, version string, s host.PackageState) host.Package {
		id, ok := cbs.Parse(name + token + version)
		if !ok {
			t.Fatalf("%s is no package", name)
		}
		return host.Package{Name: name + token + version, KB: id.KB, State: s}
	}
	for _, tt := range []struct {
		name           string
		packages       []host.Package
		cut            string
		build          winver.Build
		whole          bool
		has            []winver.KB
		restarts, gaps int
		wantBuild      string
	}{
		{
			name:     "in_effect_by_a_wrapped_package",
			packages: []host.Package{pkg("Package_1_for_KB4493730", "6.0.1.0", host.PackageInstalled), pkg("Package_for_KB4474419", "6.0.4.0", host.PackageSuperseded)},
			whole:    true, has: []winver.KB{4474419, 4493730},
		},
		{
			name:     "pending_is_not_in_effect",
			packages: []host.Package{pkg("Package_for_KB4493730", "6.0.1.0", host.PackagePending), pkg("Package_1_for_KB4493730", "6.0.1.0", host.PackagePending)},
			whole:    true, restarts: 1,
		},
		{
			name:     "older_version_in_effect_newer_pending",
			packages: []host.Package{pkg("Package_for_KB4474419", "6.0.3.0", host.PackageInstalled), pkg("Package_for_KB4474419", "6.0.4.0", host.PackagePending)},
			whole:    true, has: []winver.KB{4474419}, restarts: 1,
		},
		{
			name:     "waits_to_be_removed_and_is_in_effect",
			packages: []host.Package{pkg("Package_for_KB4474419", "6.0.3.0", host.PackageUninstalled)},
			whole:    true, has: []winver.KB{4474419}, restarts: 1,
		},
		{
			name:     "broken_is_a_gap",
			packages: []host.Package{pkg("Package_for_KB4474419", "6.0.3.0", host.PackageBroken)},
			whole:    true, gaps: 1,
		},
		{
			name:     "state_unknown",
			packages: []host.Package{pkg("Package_for_KB4474419", "6.0.3.0", host.PackageUnknown), pkg("Package_for_KB4493730", "6.0.1.0", host.PackageInstalled)},
			has:      []winver.KB{4493730}, gaps: 1,
		},
		{
			name:     "cut",
			packages: []host.Package{pkg("Package_for_KB4493730", "6.0.1.0", host.PackageInstalled)},
			cut:      "the file ends within a line", has: []winver.KB{4493730}, gaps: 1,
		},
		{
			name:     "rollup_of_windows_7_names_no_kb",
			packages: []host.Package{pkg("Package_for_RollupFix", "7601.24002.1.4", host.PackageInstalled), pkg("Package_for_KB976902", "6.1.1.17514", host.PackageInstalled)},
			has:      []winver.KB{976902}, wantBuild: "6.1.7601.24002",
		},
		{
			name: "rollup_of_windows_10_tells_the_revision",
			packages: []host.Package{
				pkg("Package_for_RollupFix", "14393.2248.1.4", host.PackageSuperseded), pkg("Package_for_RollupFix", "14393.2273.1.9", host.PackageInstalled),
				pkg("Package_for_RollupFix", "14393.2312.1.5", host.PackagePending), pkg("Package_for_KB4132216", "10.0.1.0", host.PackageInstalled),
			},
			whole: true, has: []winver.KB{4132216}, restarts: 1, wantBuild: "10.0.14393.2273",
		},
		{
			name:     "servicing_stack_names_no_kb",
			packages: []host.Package{pkg("Package_for_ServicingStack_5064", "17763.5064.1.1", host.PackageInstalled)},
		},
		{
			name:     "shared_build_number",
			packages: []host.Package{pkg("Package_for_RollupFix", "19041.3803.1.6", host.PackageInstalled)},
			build:    winver.Build{Major: 10, Number: 19045}, whole: true,
		},
		{name: "empty", gaps: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h host.Host
			for i := range tt.packages { // a real list has each in a place of its own
				tt.packages[i].From.At = tt.packages[i].Name
			}
			cbs.List{Packages: tt.packages, Cut: tt.cut, Build: tt.build}.Say(&h)
			if _, whole := h.Updates.Whole(); whole != tt.whole {
				t.Errorf("whole = %v, want %v: %+v", whole, tt.whole, h.Updates.Listings())
			}
			if diff := cmp.Diff(tt.has, h.Updates.All()); diff != "" {
				t.Errorf("updates (-want +got):\n%s", diff)
			}
			if len(h.Restart) != tt.restarts || len(h.Gaps) != tt.gaps {
				t.Errorf("%d reasons to restart and %d gaps, want %d and %d: %+v %+v", len(h.Restart), len(h.Gaps), tt.restarts, tt.gaps, h.Restart, h.Gaps)
			}
			if got := h.Build.Or(winver.Build{}).String(); got != tt.wantBuild {
				t.Errorf("build = %s, want %s", got, tt.wantBuild)
			}
		})
	}
}
