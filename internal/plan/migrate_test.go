package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// supported is what Microsoft's pages support, written down a second time and otherwise:
// from, edition, and what that may become. Installation-and-Upgrade.md and
// Supported-Upgrade-Paths.md name editions, upgrade-overview.md releases alone.
const supported = `
2008-sp2 standard     > 2012/standard 2012/datacenter
2008-sp2 enterprise   > 2012/standard 2012/datacenter
2008-sp2 datacenter   > 2012/datacenter
2008-sp2 web          > 2012/standard
2008-r2-sp1 standard  > 2012/standard 2012/datacenter 2012-r2/standard 2012-r2/datacenter
2008-r2-sp1 enterprise > 2012/standard 2012/datacenter 2012-r2/standard 2012-r2/datacenter
2008-r2-sp1 datacenter > 2012/datacenter 2012-r2/datacenter
2008-r2-sp1 web       > 2012/standard 2012-r2/standard
2012 standard         > 2012-r2/standard 2012-r2/datacenter 2016/standard 2016/datacenter
2012 datacenter       > 2012-r2/datacenter 2016/datacenter
2012 hyper-v          > 2012-r2/hyper-v
2012 storage-standard > 2016/storage-standard
2012 storage-workgroup > 2016/storage-workgroup
2012-r2 standard      > 2016/standard 2016/datacenter 2019/standard 2025/standard
2012-r2 datacenter    > 2016/datacenter 2019/datacenter 2025/datacenter
2012-r2 essentials    > 2016/essentials
2012-r2 storage-standard > 2016/storage-standard
2012-r2 storage-workgroup > 2016/storage-workgroup
2016 standard         > 2019/standard 2022/standard 2025/standard
2016 datacenter       > 2019/datacenter 2022/datacenter 2025/datacenter
2019 standard         > 2022/standard 2025/standard
2019 datacenter       > 2022/datacenter 2025/datacenter
2022 standard         > 2025/standard
2022 datacenter       > 2025/datacenter
2008-sp1 *            > 2008-sp2/*
2008-r2 *             > 2008-r2-sp1/*
`

// allowed gives the releases with editions that one may go to in one step.
func allowed(from, edition string) (to []string) {
	for line := range strings.Lines(supported) {
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != from || f[1] != "*" && f[1] != edition {
			continue
		}
		for _, t := range f[3:] {
			to = append(to, strings.ReplaceAll(t, "*", edition))
		}
	}
	return to
}

// distance is how many steps there are at least, -1 if there is no way.
func distance(from, edition, to string) int {
	at := []string{from + "/" + edition}
	for n := 0; n < 10 && len(at) > 0; n++ {
		var next []string
		for _, s := range at {
			rel, e, _ := strings.Cut(s, "/")
			if rel == to {
				return n
			}
			next = append(next, allowed(rel, e)...)
		}
		at = next
	}
	return -1
}

func testCatalog(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var src = host.Source{Reader: "test"}

// server is a machine of a release. Empty values are not said.
func server(t testing.TB, c *catalog.Catalog, release, edition string, arch winver.Arch, kind host.Installation) *host.Host {
	t.Helper()
	rel, err := c.Release("windows-server-" + release)
	if err != nil {
		t.Fatal(err)
	}
	h := &host.Host{}
	h.Name.Say("M", 1, src)
	h.Build.Say(rel.Builds[0], 1, src)
	h.ServicePack.Say(rel.ServicePack, 1, src)
	h.Edition.Say(edition, 1, src)
	h.Arch.Say(arch, 1, src)
	h.Installation.Say(kind, 1, src)
	h.Role.Say(host.Member, 1, src)
	h.ServicesWhole.Say(true, 1, src)
	return h
}

var on = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// editionIDs are what the registry calls the editions of the table, and some of no row.
var editionIDs = map[string]string{
	"standard": "ServerStandard", "enterprise": "ServerEnterprise", "datacenter": "ServerDatacenter", "web": "ServerWeb",
	"essentials": "ServerSolution", "hyper-v": "ServerHyper", "storage-standard": "ServerStorageStandard", "storage-workgroup": "ServerStorageWorkgroup",
	"foundation": "ServerFoundation", "evaluation": "ServerStandardEval", "small-business": "ServerSBSStandard", "azure": "ServerTurbine", "": "",
}

// TestNoPathTheTableDoesNotSupport goes through all releases, targets, editions,
// architectures and installation options: a path is there exactly where the pages support
// one, each of its steps is, and it is as short as can be.
func TestNoPathTheTableDoesNotSupport(t *testing.T) {
	c := testCatalog(t)
	short := func(id string) string { return strings.TrimPrefix(id, "windows-server-") }
	var servers []*catalog.Release
	for _, rel := range c.Releases() {
		if rel.Server {
			servers = append(servers, rel)
		}
	}
	paths, combinations := 0, 0
	for _, from := range servers {
		base := server(t, c, short(from.ID), "ServerStandard", winver.AMD64, host.Server)
		a := assess.Assess(base, c, assess.Policy{OnlyOpen: true}, on)
		a.Identity.Release = from // 17763 is 1809 and 2019
		for edition, id := range editionIDs {
			for _, arch := range []winver.Arch{winver.ArchUnknown, winver.X86, winver.AMD64, winver.IA64} {
				for _, kind := range []host.Installation{"", host.Server, host.ServerCore, host.NanoServer} {
					b := *a
					b.Host = server(t, c, short(from.ID), id, arch, kind)
					for _, to := range servers {
						combinations++
						m := migrate(&b, c, MigrateOptions{Target: to.ID})
						if len(m.Targets) == 0 {
							if distance(short(from.ID), "*", short(to.ID)) != 1 {
								t.Fatalf("%s to %s: %s", from.ID, to.ID, m.Why)
							}
							continue // a service pack
						}
						target := m.Targets[0]
						x64 := arch == winver.AMD64 || arch == winver.ArchUnknown && len(from.Arches) == 1
						want := -1
						if edition != "" && x64 && kind != host.NanoServer && from != to {
							want = distance(short(from.ID), edition, short(to.ID))
						}
						name := strings.Join([]string{from.ID, edition, arch.String(), string(kind), "to", to.ID}, " ")
						switch {
						case want <= 0 && len(target.Paths) > 0:
							t.Fatalf("%s: a path that nothing supports: %v", name, target.Paths)
						case want > 0 && len(target.Paths) == 0:
							t.Fatalf("%s: no path, but there is one of %d steps", name, want)
						case want > 0 && kind != "" && target.InPlace != host.Yes:
							t.Fatalf("%s: in place is %s: %v", name, target.InPlace, target.Blockers)
						case want > 0 && kind == "" && target.InPlace != host.Unknown:
							t.Fatalf("%s: in place is %s though Core or full is not known", name, target.InPlace)
						case want <= 0 && target.InPlace == host.Yes:
							t.Fatalf("%s: in place is yes", name)
						}
						for _, p := range target.Paths {
							paths++
							if len(p) != want {
								t.Fatalf("%s: %d steps, %d do: %v", name, len(p), want, p)
							}
							at := short(from.ID) + "/" + edition
							for _, h := range p {
								if at != short(h.From)+"/"+h.FromEdition || !slices.Contains(allowed(short(h.From), h.FromEdition), short(h.To)+"/"+h.Edition) {
									t.Fatalf("%s: not supported: %v at %s", name, h, at)
								}
								if h.Confidence == "" || h.Source == "" {
									t.Fatalf("%s: a step without its source: %v", name, h)
								}
								at = short(h.To) + "/" + h.Edition
							}
						}
						for _, alt := range m.Alternatives {
							if alt.ID == "in-place" && (alt.Feasible != target.InPlace || alt.Feasible == host.No && len(alt.Blockers) == 0) {
								t.Fatalf("%s: the alternative says %s, the target %s, because of %v", name, alt.Feasible, target.InPlace, alt.Blockers)
							}
							for _, s := range alt.Steps {
								if s.Title == "" || s.Because == "" || s.Confidence == "" || strings.HasPrefix(s.Confidence, "documented") && s.Source == "" {
									t.Fatalf("%s: %s: a step without its reason: %+v", name, alt.ID, s)
								}
							}
						}
					}
				}
			}
		}
	}
	if paths == 0 {
		t.Fatal("no path at all")
	}
	t.Logf("%d combinations, %d paths", combinations, paths)
}

func TestShortestPaths(t *testing.T) {
	c := testCatalog(t)
	for _, tt := range []struct {
		name, from, edition, to string
		want                    []string
	}{
		{"2008_sp2_to_2022", "2008-sp2", "ServerStandard", "2022", []string{"2012 2016 2022 "}},
		{"2008_sp2_to_2025", "2008-sp2", "ServerStandard", "2025", []string{"2012 2016 2025 ", "2012 2012-r2 2025 "}},
		{"2008_sp2_to_2019", "2008-sp2", "ServerEnterprise", "2019", []string{"2012 2016 2019 ", "2012 2012-r2 2019 "}},
		{"2008_sp2_never_to_2012_r2_directly", "2008-sp2", "ServerDatacenter", "2012-r2", []string{"2012 2012-r2 "}},
		{"service_pack_first", "2008-sp1", "ServerStandard", "2022", []string{"2008-sp2 2012 2016 2022 "}},
		{"2008_r2_to_2025", "2008-r2-sp1", "ServerStandard", "2025", []string{"2012-r2 2025 "}},
		{"2012_r2_to_2022_has_a_stop", "2012-r2", "ServerStandard", "2022", []string{"2019 2022 ", "2016 2022 "}},
		{"web_ends_nowhere_else", "2008-sp2", "ServerWeb", "2016", []string{"2012 2016 "}},
		{"hyper_v_server_2012_to_2019", "2012", "ServerHyper", "2019", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Migrate(server(t, c, tt.from, tt.edition, winver.AMD64, host.Server), c, MigrateOptions{Target: "windows-server-" + tt.to}, on)
			var got []string
			for _, p := range m.Targets[0].Paths {
				got = append(got, strings.ReplaceAll(p.stops(), "windows-server-", ""))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRolesStopOrCarry(t *testing.T) {
	c := testCatalog(t)
	for _, tt := range []struct {
		name, from, role, to string
		want                 host.Tri
		blocker              string
	}{
		{"domain_controller_2008", "2008-sp2", "domain controller", "2022", host.No, "ad-ds"},
		{"federation_server_2012_r2", "2012-r2", "federation server", "2016", host.No, "ad-fs"},
		{"hyper_v_2012_to_2016", "2012", "hypervisor", "2016", host.Unknown, ""}, // by way of 2012 R2
		{"hyper_v_2012_r2_to_2016", "2012-r2", "hypervisor", "2016", host.Yes, ""},
		{"dhcp_2012_r2_to_2016", "2012-r2", "DHCP server", "2016", host.Yes, ""},
		{"dhcp_2008_is_not_said", "2008-sp2", "DHCP server", "2022", host.Unknown, ""},
		{"cluster", "2012-r2", "cluster node", "2016", host.No, "cluster"},
		{"fax_2012", "2012", "fax server", "2016", host.No, "print"},
		{"exchange", "2016", "Exchange", "2022", host.No, "exchange"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := server(t, c, tt.from, "ServerStandard", winver.AMD64, host.Server)
			h.Roles.Add(tt.role, src)
			m := Migrate(h, c, MigrateOptions{Target: "windows-server-" + tt.to}, on)
			got := ""
			for _, b := range m.Targets[0].Blockers {
				got = b.ID
			}
			if m.Targets[0].InPlace != tt.want || got != tt.blocker {
				t.Errorf("in place %s, stopped by %q; want %s, %q", m.Targets[0].InPlace, got, tt.want, tt.blocker)
			}
			if tt.name == "cluster" && (m.Alternatives[1].ID != "rolling" || m.Alternatives[1].Feasible != host.Yes) {
				t.Errorf("a cluster of 2012 R2 goes node by node: %+v", m.Alternatives[1])
			}
		})
	}
}

func TestMigrateWithoutAnswers(t *testing.T) {
	c := testCatalog(t)
	t.Run("unknown_release", func(t *testing.T) {
		if m := Migrate(&host.Host{}, c, MigrateOptions{}, on); m.Why == "" || m.Targets != nil {
			t.Errorf("%+v", m)
		}
	})
	t.Run("roles_not_all_known", func(t *testing.T) {
		h := server(t, c, "2016", "ServerStandard", winver.AMD64, host.Server)
		h.ServicesWhole = host.Fact[bool]{}
		m := Migrate(h, c, MigrateOptions{Target: "windows-server-2022"}, on)
		if m.Targets[0].InPlace != host.Unknown || !slices.ContainsFunc(m.Questions, func(q Question) bool { return q.What == "all roles" }) {
			t.Errorf("%+v %+v", m.Targets[0], m.Questions)
		}
	})
	t.Run("unknown_target", func(t *testing.T) {
		m := Migrate(server(t, c, "2008-sp2", "ServerStandard", winver.AMD64, host.Server), c, MigrateOptions{Target: "windows-server-1066"}, on)
		if !strings.Contains(m.Why, "windows-server-1066") {
			t.Errorf("%q", m.Why)
		}
	})
	t.Run("no_target_gives_those_supported", func(t *testing.T) {
		m := Migrate(server(t, c, "2008-sp2", "ServerStandard", winver.X86, host.Server), c, MigrateOptions{}, on)
		var got []string
		for _, target := range m.Targets {
			got = append(got, target.Release.ID)
			if target.InPlace != host.No || target.Blockers[0].ID != "x86" {
				t.Errorf("%s: %+v", target.Release.ID, target)
			}
		}
		if diff := cmp.Diff([]string{"windows-server-2025", "windows-server-2022", "windows-server-2019", "windows-server-2016"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("azure_has_nothing_left_for_2008", func(t *testing.T) {
		m := Migrate(server(t, c, "2008-sp2", "ServerStandard", winver.AMD64, host.Server), c, MigrateOptions{}, on)
		i := slices.IndexFunc(m.Alternatives, func(a Alternative) bool { return a.ID == "azure" })
		if a := m.Alternatives[i]; a.Ends != 0 || !strings.Contains(a.EndsWhy, "2024-01-09") {
			t.Errorf("%v %q", a.Ends, a.EndsWhy)
		}
		m = Migrate(server(t, c, "2008-sp2", "ServerStandard", winver.AMD64, host.Server), c, MigrateOptions{}, time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC))
		if a := m.Alternatives[i]; a.Ends.String() != "2024-01-09" {
			t.Errorf("in 2023: %v %q", a.Ends, a.EndsWhy)
		}
		m = Migrate(server(t, c, "2016", "ServerStandard", winver.AMD64, host.Server), c, MigrateOptions{}, time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC))
		if a := m.Alternatives[i]; a.Ends != 0 || !strings.HasSuffix(a.EndsWhy, "whose end is not known") || strings.HasPrefix(a.Steps[len(a.Steps)-1].Title, "Fence") {
			t.Errorf("2016 in 2027: %v %q %v", a.Ends, a.EndsWhy, a.Steps)
		}
	})
}

func TestEditionOf(t *testing.T) {
	for name, want := range map[string]string{
		"Microsoft® Windows Server® 2008 Standard without Hyper-V": "standard", "Microsoft Hyper-V Server 2012": "hyper-v",
		"Windows Storage Server 2012 R2 Standard": "storage-standard", "Windows Server 2008 R2 for Embedded Systems Standard": "embedded",
		"Windows Server 2016 Datacenter Evaluation": "evaluation", "Windows Small Business Server 2008 Standard": "small-business",
		"Windows Web Server 2008 R2": "web", "Windows Server 2022 Datacenter Azure Edition": "azure", "Windows Server": "",
	} {
		h := &host.Host{}
		h.Product.Say(name, 1, src)
		if got := EditionOf(h); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWaves(t *testing.T) {
	c := testCatalog(t)
	var list []*Migration
	for i, release := range []string{"2025", "2008-sp2", "2008-sp1", "2016", "2008-sp2"} {
		h := server(t, c, release, "ServerStandard", winver.AMD64, host.Server)
		h.Name = host.Fact[string]{}
		h.Name.Say(string(rune('A'+i)), 1, src)
		if i == 4 {
			h.Role = host.Fact[host.Role]{}
			h.Role.Say(host.DomainController, 1, src)
		}
		if release != "2008-sp1" {
			h.Updates.List(host.Listing{Whole: true, Announced: -1})
		}
		list = append(list, Migrate(h, c, MigrateOptions{}, on))
	}
	list = append(list, Migrate(&host.Host{}, c, MigrateOptions{}, on))
	client := &host.Host{}
	client.Name.Say("W", 1, src)
	client.Product.Say("Windows 7 Professional", 1, src)
	client.Installation.Say(host.Client, 1, src)
	client.Build.Say(winver.Build{Major: 6, Minor: 1, Number: 7601}, 1, src)
	list = append(list, Migrate(client, c, MigrateOptions{}, on))
	by := catalog.DateOf(on) + 100
	for _, m := range list {
		m.By = by
	}
	var got []string
	end := catalog.DateOf(on) - 1
	for _, w := range Waves(list, catalog.DateOf(on), by) {
		names := w.ID
		for _, m := range w.Members {
			names += " " + m.Host
		}
		got = append(got, names)
		if w.From != 0 {
			if w.From != end+1 || w.To < w.From {
				t.Errorf("%s: from %s to %s after %s", w.ID, w.From, w.To, end)
			}
			end = w.To
		}
	}
	if end != by {
		t.Errorf("the last wave ends on %s, not %s", end, by)
	}
	if diff := cmp.Diff([]string{"controllers E", "exploited B", "over C", "ending D", "unknown ", "stay A", "no-server W"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTablesAreWhole(t *testing.T) {
	c := testCatalog(t)
	for _, w := range ways() {
		for _, id := range []string{w.from, w.to} {
			if _, err := c.Release(id); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		if len(w.editions) == 0 || w.Confidence == "" || w.Source == "" || w.kind != InPlace && w.kind != Rolling {
			t.Errorf("%+v", w)
		}
	}
	for _, r := range roleTable() {
		if r.Name == "" || r.Confidence == "" || strings.HasPrefix(r.Confidence, "documented") && r.Source == "" {
			t.Errorf("%+v", r)
		}
	}
	for _, id := range []string{"x86", "itanium", "core", "nano", "edition", "cluster", "vhd", "nic-team", "no-path", "older"} {
		if b := blocker(id); b.Text == "" || b.Cure == "" || b.Confidence == "" {
			t.Errorf("%+v", b)
		}
	}
}
