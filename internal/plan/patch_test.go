package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/explain"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
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
			if racing && i%5 != 0 {
				continue
			}
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
				if i > 0 || racing {
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
	if plans < 100 || empty == 0 {
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

// TestSecurityOnlyLine: on every release and architecture that has the line, from a bare
// machine, from one in the middle of the line and from a rollup in the middle, after the
// plan nothing of the line is missing, no rollup was installed, and the line is kept.
func TestSecurityOnlyLine(t *testing.T) {
	c := open(t)
	on := day(t, "2026-06-01")
	plans := 0
	for _, rel := range c.Releases() {
		rec, err := c.Records(rel.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range rel.Arches {
			arch, err := winver.ParseArch(name)
			if err != nil {
				t.Fatal(err)
			}
			var line []*catalog.Update
			var rollup winver.KB
			for i := range rec.Updates {
				switch u := &rec.Updates[i]; {
				case !u.Arches.Has(arch) || u.Released < rel.RollupSince || u.Released == 0:
				case u.Stream == catalog.SecurityOnly:
					line = append(line, u)
				case u.Stream == catalog.Cumulative && i%2 == 0:
					rollup = u.KB
				}
			}
			if len(line) < 3 {
				continue
			}
			for _, kbs := range [][]winver.KB{nil, {line[len(line)/2].KB}, {4474419, line[0].KB, line[1].KB}, {rollup}} {
				for _, e := range []plan.Entitlement{plan.None, plan.PremiumAssurance} {
					h := machine(rel, arch, kbs...)
					p := plan.PatchHost(h, c, plan.Options{Entitlement: e, Line: plan.SecurityOnly}, on)
					plans++
					what := fmt.Sprintf("%s %s from %v with %s", rel.ID, arch, kbs, e)
					if p.Why != "" || p.Line != plan.SecurityOnly {
						t.Fatalf("%s: line %s, no plan: %s", what, p.Line, p.Why)
					}
					seen := map[string]bool{}
					for _, s := range p.Steps {
						for _, n := range s.Needs {
							if !seen[n] {
								t.Fatalf("%s: %s needs %s, which does not come before it", what, s.ID, n)
							}
						}
						if seen[s.ID] {
							t.Fatalf("%s: step %s twice", what, s.ID)
						}
						seen[s.ID] = true
						if u, ok := rec.Update(s.KB); ok && u.Stream == catalog.Cumulative {
							t.Fatalf("%s: the rollup %s is in the plan", what, s.KB)
						}
					}
					after := p.Apply(h, c)
					st := infer.Stand(after, rec)
					for _, u := range line {
						i := slices.IndexFunc(rec.Updates, func(v catalog.Update) bool { return v.KB == u.KB })
						if u.Released <= p.Until && !st.InForce(i) {
							t.Fatalf("%s: after the plan %s is not in force", what, u.KB)
						}
					}
					again := plan.PatchHost(after, c, plan.Options{Entitlement: e}, on)
					if again.Line == plan.SecurityOnly && len(again.Steps) > 0 {
						t.Fatalf("%s: a second plan has steps: %v", what, updates(again))
					}
					if len(updates(p)) > 3 && again.Line != plan.SecurityOnly {
						t.Fatalf("%s: the line is not kept", what)
					}
				}
			}
		}
	}
	t.Logf("%d plans", plans)
	if plans < 50 {
		t.Errorf("%d plans: the test tests too little", plans)
	}
}

func TestLineAsFound(t *testing.T) {
	rel := release(t, "windows-server-2012-r2")
	for _, tt := range []struct {
		name string
		kbs  []winver.KB
		line plan.Line
		want plan.Line
	}{
		{"nothing_installed", nil, "", plan.Rollup},
		{"one_of_the_line", []winver.KB{4512489}, "", plan.SecurityOnly},
		{"found_but_rollup_wanted", []winver.KB{4512489}, plan.Rollup, plan.Rollup},
		{"rollup_after_it", []winver.KB{4512489, 4516067}, "", plan.Rollup},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan.PatchHost(machine(rel, winver.AMD64, tt.kbs...), open(t), plan.Options{Line: tt.line}, day(t, "2023-11-01"))
			if p.Line != tt.want {
				t.Errorf("line %s, want %s", p.Line, tt.want)
			}
		})
	}
	p := plan.PatchHost(machine(release(t, "windows-10-22h2"), winver.AMD64), open(t), plan.Options{Line: plan.SecurityOnly}, day(t, "2025-01-01"))
	if p.Line != plan.Rollup || len(p.Notes) == 0 {
		t.Errorf("a security-only line where there is none: %s, %q", p.Line, p.Notes)
	}
}

func TestMatch(t *testing.T) {
	bare := func() *plan.Patch {
		return plan.PatchHost(machine(release(t, "windows-server-2008-sp2"), winver.AMD64), open(t), plan.Options{}, day(t, "2026-11-22"))
	}
	genuine := func(name string) plan.Have {
		return plan.Have{Name: name, Genuine: true, Verdict: "genuine Microsoft update"}
	}
	for _, tt := range []struct {
		name    string
		have    plan.Have
		kb      winver.KB
		matched bool
		refused int
	}{
		{"as_named", genuine("Windows6.0-KB4493730-x64.msu"), 4493730, true, 0},
		{"with_the_digest", genuine("windows6.0-kb4493730-x64_5cb91f4e9000383f061b80f88feffdf228c2443c.msu"), 4493730, true, 0},
		{"not_read", plan.Have{Name: "windows6.0-kb4493730-x64.msu"}, 4493730, true, 0},
		{"altered", plan.Have{Name: "windows6.0-kb4493730-x64.msu", Verdict: "altered after signing"}, 4493730, false, 1},
		{"old_revision", genuine("windows6.0-kb4474419-x64.msu"), 4474419, false, 1},
		{"right_revision", genuine("windows6.0-kb4474419-v4-x64.msu"), 4474419, true, 0},
		{"other_architecture", genuine("windows6.0-kb4493730-x86.msu"), 4493730, false, 0},
		{"other_windows", genuine("windows6.1-kb4474419-v3-x64.msu"), 4474419, false, 1},
		{"longer_number", genuine("windows6.0-kb44937301-x64.msu"), 4493730, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := bare()
			p.Match([]plan.Have{tt.have})
			for _, s := range p.Updates() {
				if s.KB != tt.kb {
					continue
				}
				if (s.Have != nil) != tt.matched || len(s.Refused) != tt.refused {
					t.Errorf("have %+v, refused %+v", s.Have, s.Refused)
				}
				if s.Have != nil && !strings.Contains(s.Commands[0], tt.have.Name) {
					t.Errorf("command %q does not name the file", s.Commands[0])
				}
			}
		})
	}
}

func TestFailuresAreExplained(t *testing.T) {
	c := open(t)
	p := plan.PatchHost(machine(release(t, "windows-server-2008-sp2"), winver.AMD64), c, plan.Options{Entitlement: plan.ESUYear3}, day(t, "2026-11-22"))
	codes := map[string]bool{}
	for _, s := range p.Steps {
		for _, f := range s.Failures {
			if f.Cause == "" || f.Cure == "" {
				t.Errorf("%s: %+v", s.ID, f)
			}
			codes[f.Code] = true
		}
	}
	for _, want := range []string{"0x80096010", "0x80092004", "0xC004F050", "0x80070643", "0x80070661"} {
		if !codes[want] {
			t.Errorf("no step says how %s comes", want)
		}
	}
	delete(codes, "")
	for code := range codes {
		if a, err := explain.Explain(code, c, day(t, "2026-11-22")); err != nil || !a.Known {
			t.Errorf("oldguard explain %s does not know it: %v", code, err)
		}
	}
}

func TestWhatItSaysFirst(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		rel        string
		arch       winver.Arch
		change     func(*host.Host)
	}{
		{"esu_cannot_be_bought", "can no longer be bought", "windows-server-2008-sp2", winver.AMD64, nil},
		{"the_route_is_offline", "the route is offline", "windows-server-2008-sp2", winver.AMD64, nil},
		{"itanium", "Nothing was published for Itanium after 2020-01-14", "windows-server-2008-sp2", winver.IA64, nil},
		{"x86", "No later Windows Server runs on x86", "windows-server-2008-sp2", winver.X86, nil},
		{"domain_controller", "USN rollback", "windows-server-2008-sp2", winver.AMD64, func(h *host.Host) { h.Role.Say(host.DomainController, 1, host.Source{}) }},
		{"restart_is_pending", "a restart is pending: key", "windows-server-2008-sp2", winver.AMD64, func(h *host.Host) { h.Restart = []host.Reason{{Text: "key"}} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := machine(release(t, tt.rel), tt.arch)
			if tt.change != nil {
				tt.change(h)
			}
			p := plan.PatchHost(h, open(t), plan.Options{}, day(t, "2026-11-22"))
			if text := fmt.Sprint(p.Notes, p.Steps); !strings.Contains(text, tt.want) {
				t.Errorf("%q is not in %s", tt.want, text)
			}
		})
	}
}

func TestSecurityOnlyReaches6003(t *testing.T) {
	p := plan.PatchHost(machine(release(t, "windows-server-2008-sp2"), winver.AMD64), open(t), plan.Options{Line: plan.SecurityOnly}, day(t, "2026-06-01"))
	if want := (winver.Build{Major: 6, Number: 6003}); p.ReachedBuild != want {
		t.Errorf("reaches %s, want %s: KB4493458 leads there", p.ReachedBuild, want)
	}
	if kbs := updates(p); !slices.Contains(kbs, 4493458) || kbs[len(kbs)-1] != 4534251 {
		t.Errorf("the line is %v", kbs)
	}
}

// TestAfterIsBetter: the summary after the plan is that of an assessment of the host with
// the plan applied, and no vulnerability is added.
func TestAfterIsBetter(t *testing.T) {
	c := open(t)
	for _, id := range []string{"windows-server-2008-sp2", "windows-server-2012-r2", "windows-server-2016"} {
		h := machine(release(t, id), winver.AMD64)
		p := plan.PatchHost(h, c, plan.Options{}, day(t, "2026-06-01"))
		if p.After.Affected >= p.Before.Affected || p.After.Fixed <= p.Before.Fixed {
			t.Errorf("%s: before %d affected and %d fixed, after %d and %d", id, p.Before.Affected, p.Before.Fixed, p.After.Affected, p.After.Fixed)
		}
	}
}

// TestContradictions: what sources contradict each other about either stops the plans or is said.
func TestContradictions(t *testing.T) {
	rel := release(t, "windows-server-2008-sp2")
	build := func(major, minor uint16, number uint32) winver.Build {
		return winver.Build{Major: major, Minor: minor, Number: number}
	}
	for _, tt := range []struct {
		name      string
		change    func(h *host.Host)
		why, note string
		migrate   string // of the other plan's Why; architectures are one of its questions
	}{
		{"architecture", func(h *host.Host) { h.Arch.Say(winver.X86, 1, host.Source{Input: "b.txt"}) }, "x86 (b.txt)", "", ""},
		{"release", func(h *host.Host) { h.Build.Say(build(6, 1, 7601), 1, host.Source{Input: "b.txt"}) }, "6.1.7601 (b.txt)", "", "6.1.7601 (b.txt)"},
		{"other_day", func(h *host.Host) { h.Build.Say(build(6, 0, 6003), 1, host.Source{Input: "b.txt"}) }, "", "6.0.6003 (b.txt)", ""},
		{"edition", func(h *host.Host) {
			h.Edition.Say("ServerStandard", 2, host.Source{Input: "a.txt"})
			h.Edition.Say("ServerWeb", 1, host.Source{Input: "b.txt"})
		}, "", "ServerWeb (b.txt)", ""},
		{"installation", func(h *host.Host) {
			h.Installation.Say(host.ServerCore, 2, host.Source{Input: "a.txt"})
			h.Installation.Say(host.Client, 1, host.Source{Input: "b.txt"})
		}, "", "client (b.txt)", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := machine(rel, winver.AMD64)
			tt.change(h)
			p := plan.PatchHost(h, open(t), plan.Options{}, day(t, "2026-06-01"))
			if !strings.Contains(p.Why, tt.why) || (p.Why == "") != (tt.why == "") || (len(p.Steps) == 0) != (tt.why != "") {
				t.Errorf("Why = %q with %d steps; want %q", p.Why, len(p.Steps), tt.why)
			}
			if !strings.Contains(strings.Join(p.Notes, "\n"), tt.note) {
				t.Errorf("notes %q; want %q", p.Notes, tt.note)
			}
			if m := plan.Migrate(h, open(t), plan.MigrateOptions{}, day(t, "2026-06-01")); !strings.Contains(m.Why, tt.migrate) || (m.Why == "") != (tt.migrate == "") {
				t.Errorf("migration: Why = %q; want %q", m.Why, tt.migrate)
			}
		})
	}
}
