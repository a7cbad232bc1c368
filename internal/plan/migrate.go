package plan

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// MigrateOptions is what the owner wants.
type MigrateOptions struct {
	Target string       // release id; empty: every server release that is supported on the day
	By     catalog.Date // the day by which it is to be done; zero: none
}

// Migration is the ways off an old release, side by side.
type Migration struct {
	AsOf, By     catalog.Date
	Host         string
	Release      *catalog.Release // nil if not known
	Edition      string           // see EditionOf
	Arch         winver.Arch
	Installation host.Installation
	Language     string
	Support      assess.Support
	Summary      assess.Summary
	Level        assess.Level
	Domain       host.Role // empty if not known
	// Targets are the releases asked for, the one supported longest first.
	Targets []Target
	// Alternatives are for the first target, in a fixed order; none is said to be the best.
	Alternatives []Alternative
	Roles        []RoleFound
	Programs     []assess.ProgramNote
	// Questions are what the evidence could not tell, and what would.
	Questions []Question
	// Why says why there is no plan, where there is none: Targets and Alternatives are then
	// empty.
	Why   string
	Notes []string

	talks talks // for Ties
}

// Target is a release to go to.
type Target struct {
	Release *catalog.Release
	Ends    catalog.Date // end of its support; zero if not known
	Known                // of Ends
	// Over is true if that is before the day by which it is to be done, or before today.
	Over bool
	// InPlace is Yes if there is a path, every role is known and none of them stops it, No if
	// there is no path or something known does stop it, and Unknown otherwise.
	InPlace  host.Tri
	Paths    []Path // the shortest, the stops supported longest first; kept where a role stops them
	Blockers []Blocker
}

// Blocker stops a way.
type Blocker struct {
	ID, Text, Cure string
	From           []host.Source
	Known
}

// Alternative is one way of ending the life of the old installation.
type Alternative struct {
	ID, Name string
	Feasible host.Tri
	// Ends is how long there will be updates afterwards; zero where there are none or it is
	// not known: EndsWhy says which.
	Ends     catalog.Date
	EndsWhy  string
	Known    // of Ends
	Blockers []Blocker
	Steps    []MoveStep
}

// MoveStep is one thing to do, in order.
type MoveStep struct {
	Title   string
	Because string // why it is done, or done here
	Known
}

// RoleFound is a role or a piece of software, and what it needs.
type RoleFound struct {
	ID, Name string
	Needs    string // may be empty
	Move     string // how it is moved; may be empty
	Tell     []string
	From     []host.Source
	Known

	carried, stopped []string
}

// Question is something that was not known, and what would tell.
type Question struct{ What, Why, Tell string }

type role struct {
	RoleFound
	names, services []string
	program         string
}

var roleTable = sync.OnceValue(func() (out []role) {
	for _, f := range rows("roles.txt", 12) {
		out = append(out, role{
			RoleFound{
				ID: f[0], Name: f[1], Needs: f[7], Move: f[8], Tell: list(f[9], "|"), Known: Known{f[10], f[11]},
				carried: list(f[5], ","), stopped: list(f[6], ","),
			}, list(f[2], "|"), list(f[3], "|"), f[4],
		})
	}
	return out
})

var blockerTable = sync.OnceValue(func() map[string]Blocker {
	out := map[string]Blocker{}
	for _, f := range rows("blockers.txt", 5) {
		out[f[0]] = Blocker{ID: f[0], Text: f[1], Cure: f[2], Known: Known{f[3], f[4]}}
	}
	return out
})

// blocker gives a row of the table, with what of the evidence shows it.
func blocker(id string, from ...host.Source) Blocker {
	b, ok := blockerTable()[id]
	if !ok {
		panic("no blocker " + id) // a test names them all
	}
	b.From = from
	return b
}

// carries says whether an upgrade in place keeps the role, as far as that is known.
func (r *RoleFound) carries(h Hop) host.Tri {
	switch named := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			from, to, _ := strings.Cut(p, ">")
			return fits(from, h.From) && fits(to, h.To)
		})
	}; {
	case h.Kind != InPlace:
		return host.Yes // a service pack changes no role, and a rolling upgrade moves them away
	case named(r.stopped):
		return host.No
	case named(r.carried):
		return host.Yes
	}
	return host.Unknown
}

func fits(pattern, release string) bool {
	release = strings.TrimPrefix(release, "windows-server-")
	if start, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(release, start)
	}
	return release == pattern
}

// mover makes a migration.
type mover struct {
	*Migration
	host *host.Host
	cat  *catalog.Catalog
}

// Migrate says how a machine can be left behind or taken along, as of a day. It never
// fails: where the release is not known, or is no server, Why says so. A target that the
// catalogue does not know is such a case.
func Migrate(h *host.Host, c *catalog.Catalog, o MigrateOptions, on time.Time) *Migration {
	return migrate(assess.Assess(h, c, assess.Policy{OnlyOpen: true}, on), c, o)
}

// migrate is Migrate of a machine that was assessed.
func migrate(a *assess.Assessment, c *catalog.Catalog, o MigrateOptions) *Migration {
	h := a.Host
	m := &Migration{
		AsOf: a.AsOf, By: o.By, Host: h.Name.Or(""), Release: a.Identity.Release, Edition: EditionOf(h),
		Arch: h.Arch.Or(winver.ArchUnknown), Installation: h.Installation.Or(""), Language: h.Language.Or(""),
		Support: a.Support, Summary: a.Summary, Level: a.Level(), Domain: h.Role.Or(""), Programs: a.Programs,
		talks: talksOf(h),
	}
	switch {
	case m.Release == nil:
		m.Why = a.Identity.Why
		return m
	case !m.Release.Server:
		m.Why = m.Release.Name + " is no server: this plan is for servers"
		return m
	}
	if h.Build.Disputed() {
		if m.Why, _ = contradiction(h); m.Why != "" {
			return m
		}
	}
	if m.Arch == winver.ArchUnknown && len(m.Release.Arches) == 1 {
		m.Arch, _ = winver.ParseArch(m.Release.Arches[0])
	}
	x := mover{m, h, c}
	if m.Why = x.targets(o.Target); m.Why != "" {
		m.Targets = nil
		return m
	}
	x.roles()
	for i := range m.Targets {
		x.inPlace(&m.Targets[i])
	}
	x.questions()
	if len(m.Targets) > 0 {
		m.Alternatives = []Alternative{x.upgrade(), x.beside(), x.rehost(), x.local(), x.retire()}
		if x.has("cluster") {
			m.Alternatives = slices.Insert(m.Alternatives, 1, x.rolling())
		}
	}
	x.remarks()
	return m
}

// targets fills in where to go, and says why that is nowhere.
func (x *mover) targets(want string) (why string) {
	ids := Targets()
	if want != "" {
		rel, err := x.cat.Release(want)
		switch {
		case err != nil:
			return fmt.Sprintf("the catalogue knows no release %q", want)
		case !rel.Server:
			return rel.Name + " is no server"
		}
		for at := x.Release; at.NextPack != nil; {
			next, err := x.cat.Release(at.NextPack.Becomes)
			if err != nil {
				break
			}
			if next == rel {
				return rel.Name + " is a service pack for what runs there: a plan for patches goes there"
			}
			at = next
		}
		ids = []string{want}
	}
	for _, id := range ids {
		rel, err := x.cat.Release(id)
		if err != nil {
			continue
		}
		t := Target{Release: rel, Ends: supportEnd(rel)}
		for _, l := range rel.Lifecycles {
			if l.Extended == t.Ends {
				t.Known = Known{l.Confidence, l.Source}
			}
			if want == "" && l.Start > x.AsOf {
				t.Release = nil // not there yet on the day
			}
		}
		t.Over = t.Ends != 0 && t.Ends < max(x.AsOf, x.By)
		if t.Release == nil || want == "" && (t.Over || rel == x.Release) {
			continue
		}
		x.Targets = append(x.Targets, t)
	}
	slices.SortStableFunc(x.Targets, func(a, b Target) int { return int(b.Ends - a.Ends) })
	if len(x.Targets) == 0 {
		x.Notes = append(x.Notes, "No release that the catalogue knows and that an upgrade leads to is still supported then.")
	}
	return ""
}

// roles finds what the machine does. What is not listed may be there all the same: see
// questions.
func (x *mover) roles() {
	for _, r := range roleTable() {
		f := r.RoleFound
		for _, name := range r.names {
			f.From = append(f.From, x.host.Roles.Sources(name)...)
		}
		for _, s := range x.host.Services {
			if s.Start == host.StartAuto && slices.Contains(r.services, strings.ToLower(s.Name)) {
				f.From = append(f.From, s.From)
			}
		}
		if r.program != "" {
			for _, p := range x.Programs {
				if strings.HasPrefix(p.Product, r.program) {
					for _, b := range p.Because {
						f.From = append(f.From, b.From...)
					}
				}
			}
		}
		if r.ID == "ad-ds" && x.Domain == host.DomainController {
			f.From = append(f.From, sourcesOf(x.host.Role)...)
		}
		if r.ID == "file" {
			for _, s := range x.host.Shares {
				// Windows makes ADMIN$, C$ and the like, and those of a domain controller, itself.
				if !strings.HasSuffix(s.Name, "$") && !strings.EqualFold(s.Name, "netlogon") && !strings.EqualFold(s.Name, "sysvol") {
					f.From = append(f.From, s.From)
				}
			}
		}
		if len(f.From) > 0 {
			f.From = unique(f.From)
			x.Roles = append(x.Roles, f)
			if r.ID == "ad-ds" {
				x.Domain = host.DomainController // its service starts with Windows
			}
		}
	}
}

func sourcesOf[T comparable](f host.Fact[T]) (out []host.Source) {
	for _, c := range f.Claims() {
		out = append(out, c.From)
	}
	return out
}

func unique(list []host.Source) (out []host.Source) {
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (x *mover) has(id string) bool {
	return slices.ContainsFunc(x.Roles, func(r RoleFound) bool { return r.ID == id })
}

// inPlace says whether one gets to a target by upgrades of the installation.
func (x *mover) inPlace(t *Target) {
	stop := func(id string, from ...host.Source) { t.Blockers = append(t.Blockers, blocker(id, from...)) }
	switch x.Arch {
	case winver.X86:
		stop("x86", sourcesOf(x.host.Arch)...)
	case winver.IA64:
		stop("itanium", sourcesOf(x.host.Arch)...)
	case winver.ArchUnknown, winver.AMD64, winver.ARM, winver.ARM64:
	}
	if x.Installation == host.NanoServer {
		stop("nano", sourcesOf(x.host.Installation)...)
	}
	if len(t.Release.Builds) > 0 && len(x.Release.Builds) > 0 && t.Release.Builds[0].Compare(x.Release.Builds[0]) <= 0 {
		stop("older")
	}
	if x.Edition != "" && !slices.ContainsFunc(ways(), func(w way) bool { return w.edition == x.Edition }) {
		stop("edition", append(sourcesOf(x.host.Edition), sourcesOf(x.host.Product)...)...)
	}
	if x.has("cluster") {
		stop("cluster", x.role("cluster").From...)
	}
	if x.Edition != "" && len(t.Blockers) == 0 && x.Arch == upgradeArch {
		t.Paths = shortest(x.cat, InPlace, x.Release.ID, x.Edition, t.Release.ID, x.dropped)
		if len(t.Paths) == 0 {
			x.stopped(t)
		}
	}
	silent := slices.ContainsFunc(x.Roles, func(r RoleFound) bool {
		return len(t.Paths) > 0 && pathCarries(&r, t.Paths[0]) == host.Unknown
	})
	switch {
	case len(t.Blockers) > 0:
		t.InPlace = host.No
	case len(t.Paths) > 0 && x.Installation != "" && !silent && x.wholeRoles() && !x.host.Edition.Disputed() && !x.host.Arch.Disputed():
		t.InPlace = host.Yes
	}
}

func (x *mover) role(id string) *RoleFound {
	i := slices.IndexFunc(x.Roles, func(r RoleFound) bool { return r.ID == id })
	if i < 0 {
		return &RoleFound{}
	}
	return &x.Roles[i]
}

// dropped reports whether a role found does not survive a hop.
func (x *mover) dropped(h Hop) bool {
	return slices.ContainsFunc(x.Roles, func(r RoleFound) bool { return r.carries(h) == host.No })
}

// stopped says what leaves no path to a target: the roles, or the table itself.
func (x *mover) stopped(t *Target) {
	t.Paths = shortest(x.cat, InPlace, x.Release.ID, x.Edition, t.Release.ID, nil)
	if len(t.Paths) == 0 {
		t.Blockers = append(t.Blockers, blocker("no-path"))
		return
	}
	for i := range x.Roles {
		r := &x.Roles[i]
		if slices.ContainsFunc(t.Paths, func(p Path) bool { return pathCarries(r, p) == host.No }) {
			t.Blockers = append(t.Blockers, Blocker{ID: r.ID, Text: r.Name + ": " + r.Needs, Cure: r.Move, From: r.From, Known: r.Known})
		}
	}
}

// pathCarries says whether a role survives a path.
func pathCarries(r *RoleFound, p Path) host.Tri {
	all := host.Yes
	for _, h := range p {
		switch r.carries(h) {
		case host.No:
			return host.No
		case host.Unknown:
			all = host.Unknown
		case host.Yes:
		}
	}
	return all
}

// questions says what the evidence could not tell and which command does.
func (x *mover) questions() {
	ask := func(what, why, tell string) { x.Questions = append(x.Questions, Question{what, why, tell}) }
	const version = `reg query "HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"`
	if x.Arch == winver.ArchUnknown {
		ask("the architecture", "x86 and Itanium have no upgrade in place, x64 has", "systeminfo")
	}
	if x.Edition == "" {
		ask("the edition", "upgrades differ by it", version+" /v EditionID")
	}
	if x.Installation == "" {
		ask("Server Core or full installation", "an upgrade keeps which of the two it is", version+" /v InstallationType  (2008: oclist answers on Server Core only)")
	}
	if x.Language == "" {
		ask("the language installed", "an upgrade needs media in that language", `reg query "HKLM\SYSTEM\CurrentControlSet\Control\Nls\Language" /v InstallLanguage`)
	}
	if x.Domain == "" {
		ask("whether it is a domain controller", "that decides the order of everything else", `wmic computersystem get DomainRole`)
	}
	if !x.wholeRoles() {
		tell := `powershell -Command "Get-WindowsFeature | Where-Object Installed"`
		if b := x.Release.Builds[0]; b.Major == 6 && b.Minor < 2 {
			tell = "servermanagercmd -query  (on Server Core: oclist)"
		}
		ask("all roles", "no evidence lists every one: what is not named here may be there all the same", tell)
	}
	if !x.host.ProgramsWhole.Known() {
		ask("all programs", "no evidence lists every one: SQL Server, Exchange or a program that its maker ties to this Windows may be there", `reg export HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall programs.reg  (on x64 also HKLM\SOFTWARE\Wow6432Node\...)`)
	}
	if x.has("ad-ds") {
		ask("functional levels and how SYSVOL replicates", x.role("ad-ds").Needs, "dfsrmig /getglobalstate  and  dsquery * -filter (objectClass=domainDNS) -attr msDS-Behavior-Version")
	}
	if slices.ContainsFunc(x.Targets, func(t Target) bool { return len(t.Paths) > 0 }) {
		ask("whether it starts from a VHD", blocker("vhd").Text, "bcdedit /enum {current}")
		ask("teams of network adapters", blocker("nic-team").Text, `powershell -Command "Get-NetLbfoTeam"  (before 2012: the program of the adapter's maker)`)
	}
	for i := range x.Roles {
		r := &x.Roles[i]
		if len(x.Targets) > 0 && len(x.Targets[0].Paths) > 0 && pathCarries(r, x.Targets[0].Paths[0]) == host.Unknown {
			ask("whether "+r.Name+" survives every upgrade on the way", "the table of roles says so for 2012 and 2012 R2 to 2016 only", "try it on a copy of the machine")
		}
	}
}

// wholeRoles reports whether some evidence would have shown every role.
func (x *mover) wholeRoles() bool {
	_, whole := x.host.Roles.Whole()
	return whole || x.host.ServicesWhole.Known()
}

// remarks says what one has to know beside the alternatives.
func (x *mover) remarks() {
	note := func(format string, args ...any) { x.Notes = append(x.Notes, fmt.Sprintf(format, args...)) }
	if strings.HasPrefix(x.Release.ID, "windows-server-2008-sp") {
		// Supported-Upgrade-Paths and Installation-and-Upgrade of MicrosoftDocs/windowsserverdocs;
		// its extended-security-updates-overview.md says otherwise for both at once.
		note("Newer texts of Microsoft say \"2008 or 2008 R2: first upgrade to 2012 R2\". That holds for 2008 R2 alone: from 2008 the table leads to 2012, not to 2012 R2.")
	}
	if x.Installation == host.ServerCore {
		note("%s", blocker("core").Text+" "+blocker("core").Cure)
	}
	for _, t := range x.Targets {
		if t.Over {
			note("Support of %s ends on %s: before the day by which this is to be done.", t.Release.Name, t.Ends)
		}
	}
	for _, d := range []struct {
		what string
		yes  bool
	}{{"the architecture", x.host.Arch.Disputed()}, {"the edition", x.host.Edition.Disputed()}, {"the build", x.host.Build.Disputed()}, {"Server Core or full", x.host.Installation.Disputed()}} {
		if d.yes {
			note("The evidence contradicts itself about %s: settle that first.", d.what)
		}
	}
}
