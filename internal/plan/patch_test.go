package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/winver"
)

func open(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func day(t testing.TB, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// machine is one of a release, with a whole list of updates.
func machine(rel *catalog.Release, arch winver.Arch, kbs ...winver.KB) *host.Host {
	src := host.Source{Reader: "test"}
	h := &host.Host{}
	h.Name.Say("M", 1, src)
	h.Product.Say(rel.Name, 1, src)
	h.Installation.Say(map[bool]host.Installation{true: host.Server, false: host.Client}[rel.Server], 1, src)
	h.Arch.Say(arch, 1, src)
	for _, kb := range kbs {
		h.Updates.Add(kb, src)
	}
	h.Build.Say(rel.Builds[0], 1, src)
	h.Updates.List(host.Listing{From: src, Whole: true, Scope: "cbs", Why: "made so", Announced: -1})
	return h
}

func updates(p *plan.Patch) (kbs []winver.KB) {
	for _, s := range p.Steps {
		if s.KB != 0 {
			kbs = append(kbs, s.KB)
		}
	}
	return kbs
}

func release(t testing.TB, id string) *catalog.Release {
	t.Helper()
	r, err := open(t).Release(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPatchBare6002(t *testing.T) {
	rel := release(t, "windows-server-2008-sp2")
	for _, tt := range []struct {
		name        string
		arch        winver.Arch
		entitlement plan.Entitlement
		want        []winver.KB
	}{
		{"without_entitlement", winver.AMD64, plan.None, []winver.KB{4493730, 4474419, 4526478, 4534303}},
		{"esu_year_1", winver.AMD64, plan.ESUYear1, []winver.KB{4493730, 4474419, 4580971, 5016891, 4598288}},
		{"esu_year_3", winver.X86, plan.ESUYear3, []winver.KB{4493730, 4474419, 5010452, 5016891, 5022340}},
		{"azure", winver.AMD64, plan.Azure, []winver.KB{4493730, 4474419, 5033466, 5016891, 5034173}},
		{"premium_assurance", winver.AMD64, plan.PremiumAssurance, []winver.KB{4493730, 4474419, 5050682, 5016891, 5073697}},
		{"itanium_has_nothing_more", winver.IA64, plan.PremiumAssurance, []winver.KB{4493730, 4474419, 4526478, 4534303}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.PatchHost(machine(rel, tt.arch), open(t), plan.Options{Entitlement: tt.entitlement}, day(t, "2026-11-22"))
			if d := cmp.Diff(tt.want, updates(p)); d != "" {
				t.Errorf("updates in order (-want +got):\n%s", d)
			}
		})
	}
}

func TestPatchFromServicePack1(t *testing.T) {
	p := plan.PatchHost(machine(release(t, "windows-server-2008-sp1"), winver.AMD64), open(t), plan.Options{}, day(t, "2026-11-22"))
	if d := cmp.Diff([]winver.KB{948465, 4493730, 4474419, 4526478, 4534303}, updates(p)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestPatchFromEveryState: from bare machines of every release and from members of their
// chains (every one for Server 2008 SP2), with and without SHA-2 and servicing stacks,
// under changing entitlements: what a step needs comes before it, and after the plan,
// applied in memory, nothing is missing as of the day it promises.
func TestPatchFromEveryState(t *testing.T) {
	c := open(t)
	on := day(t, "2026-06-01")
	plans, empty := 0, 0
	for _, rel := range c.Releases() {
		rec, err := c.Records(rel.ID)
		if err != nil {
			t.Fatal(err)
		}
		starts := [][]winver.KB{nil}
		for i := range rec.Updates {
			u := &rec.Updates[i]
			if u.Stream == catalog.Cumulative && (rel.ID == "windows-server-2008-sp2" || i%97 == 0) {
				starts = append(starts, append([]winver.KB{u.KB}, [][]winver.KB{nil, {4474419}, {4493730, 4474419}, {4493730}}[i%4]...))
			}
		}
		for _, name := range rel.Arches {
			arch, err := winver.ParseArch(name)
			if err != nil {
				t.Fatal(err)
			}
			for i, kbs := range starts {
				entitlements := []plan.Entitlement{plan.None, plan.PremiumAssurance, plan.ESUYear2}
				if i > 0 {
					entitlements = entitlements[i%3 : i%3+1]
				}
				for _, e := range entitlements {
					h := machine(rel, arch, kbs...)
					p := plan.PatchHost(h, c, plan.Options{Entitlement: e}, on)
					plans++
					what := fmt.Sprintf("%s %s from %v with %s", rel.ID, arch, kbs, e)
					if p.Why != "" {
						t.Fatalf("%s: no plan: %s", what, p.Why)
					}
					if len(p.Steps) == 0 {
						empty++
					}
					seen := map[string]bool{}
					for _, s := range p.Steps {
						for _, n := range s.Needs {
							if kb, err := winver.ParseKB(n); !seen[n] && (err != nil || h.Updates.Has(kb) != host.Yes) {
								t.Fatalf("%s: %s needs %s, which does not come before it", what, s.ID, n)
							}
						}
						if seen[s.ID] {
							t.Fatalf("%s: step %s twice", what, s.ID)
						}
						seen[s.ID] = true
					}
					after := p.Apply(h, c)
					a := assess.Assess(after, c, assess.Policy{OnlyOpen: true}, p.Until.Time())
					if len(a.Updates.Missing) > 0 {
						t.Fatalf("%s: after the plan %v, missing %v", what, updates(p), a.Updates.Missing[0].KB)
					}
					if p.Reached != 0 && a.Updates.Newest != p.Reached {
						t.Fatalf("%s: promises %s, reaches %s", what, p.Reached, a.Updates.Newest)
					}
					if again := plan.PatchHost(after, c, plan.Options{Entitlement: e}, on); len(again.Steps) > 0 {
						t.Fatalf("%s: a second plan has steps: %v", what, updates(again))
					}
				}
			}
		}
	}
	t.Logf("%d plans, %d of them empty", plans, empty)
	if plans < 300 || empty == 0 {
		t.Errorf("%d plans, %d empty: the test tests too little", plans, empty)
	}
}

func TestNoPlanWithoutEvidence(t *testing.T) {
	p := plan.PatchHost(&host.Host{}, open(t), plan.Options{}, day(t, "2026-06-01"))
	if p.Why == "" || len(p.Steps) > 0 {
		t.Errorf("a plan for nothing known: %+v", p)
	}
	h := machine(release(t, "windows-server-2008-sp2"), winver.AMD64)
	h.Build = host.Fact[winver.Build]{}
	h.Build.Say(winver.Build{Major: 6, Number: 6003}, 1, host.Source{})
	h.Updates = host.Set[winver.KB]{}
	if p := plan.PatchHost(h, open(t), plan.Options{}, day(t, "2026-06-01")); p.Why == "" {
		t.Errorf("a plan without a list of updates: %v", updates(p))
	}
}

func TestStepsAreWhole(t *testing.T) {
	p := plan.PatchHost(machine(release(t, "windows-server-2008-sp2"), winver.AMD64), open(t), plan.Options{Entitlement: plan.ESUYear3}, day(t, "2026-11-22"))
	var ids []string
	for _, s := range p.Steps {
		ids = append(ids, s.ID)
		if s.Title == "" || s.Changes == "" || s.Kind == plan.StepUpdate && (len(s.Commands) == 0 || len(s.Check) == 0 || len(s.Because) == 0 || s.File == "") {
			t.Errorf("step %s lacks something: %+v", s.ID, s)
		}
	}
	want := []string{
		"backup", "vendor", "disk", "antivirus", "way-back", "kb4493730", "kb4474419", "restart-1", "kb5010452", "kb5016891", "restart-2",
		"key-esu-y1", "key-esu-y2", "key-esu-y3", "kb5022340", "restart-3", "check",
	}
	if d := cmp.Diff(want, ids); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.KB == 4474419 })
	if p.Steps[i].File != "windows6.0-kb4474419-v4-x64.msu" || !p.Steps[i].FileSure {
		t.Errorf("file %q", p.Steps[i].File)
	}
}
