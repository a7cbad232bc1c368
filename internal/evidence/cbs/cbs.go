// Package cbs says what a list of packages of Component Based Servicing means for a host:
// which updates are in effect, which wait or are broken, and whether the list names every
// one. Where the list came from (registry, dism, a log) is the readers' business.
package cbs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Identity is the name of a package: Package_for_KB4493730~31bf3856ad364e35~amd64~~6.0.1.0.
type Identity struct {
	Name    string // Package_for_KB4493730
	Arch    winver.Arch
	Version string // 6.0.1.0
	KB      winver.KB
}

// maxIdentity is the longest name of a registry key, which identities are.
const maxIdentity = 255

// Parse reads the name of a package: name, key token, architecture, language and version,
// joined by tildes.
func Parse(s string) (id Identity, ok bool) {
	parts := strings.Split(s, "~")
	if len(s) > maxIdentity || len(parts) != 5 || parts[0] == "" || len(parts[1]) != 16 || !hexadecimal(parts[1]) ||
		parts[4] == "" || strings.Trim(parts[4], "0123456789.") != "" || strings.ContainsAny(s, " \t\"\\<>|:") {
		return id, false
	}
	id = Identity{Name: parts[0], Version: parts[4], KB: kbOf(parts[0])}
	id.Arch, _ = winver.ParseArch(parts[2]) // empty, or "wow64": not known
	return id, true
}

func hexadecimal(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// kbOf finds the KB number in a package's name: Package_for_KB976902, Package_1_for_KB4493730,
// Package_for_KB2305420_RTM, VistaSP2-KB948465.
func kbOf(name string) winver.KB {
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '_' || r == '-' }) {
		if len(part) > 2 && strings.EqualFold(part[:2], "KB") {
			if kb, err := winver.ParseKB(part); err == nil {
				return kb
			}
		}
	}
	return 0
}

// rollup gives the build that a cumulative package without a KB number leads to:
// Package_for_RollupFix~31bf3856ad364e35~amd64~~14393.2273.1.9.
func (id Identity) rollup() (winver.Build, bool) {
	if id.Name != "Package_for_RollupFix" {
		return winver.Build{}, false
	}
	number, rest, _ := strings.Cut(id.Version, ".")
	revision, _, _ := strings.Cut(rest, ".")
	v, err := winver.Parse(number + "." + revision)
	return v.Build, err == nil && v.Build.HasRevision
}

// nameless reports whether the package is an update that names no KB number: a rollup
// (Windows 7 and later), a servicing stack, a .NET rollup (both Windows 10 and later).
func (id Identity) nameless() bool {
	return id.KB == 0 && strings.HasPrefix(id.Name, "Package_for_")
}

// states are the values of CurrentState, and of the states that CBS.log writes.
// https://learn.microsoft.com/archive/blogs/tip_of_the_day/tip-of-the-day-cbs-servicing-states-chart-refresher
// (Microsoft, 2015-10-12), read 2026-11-22. The page also gives -19 and -17 for partially
// installed and superseded, from another table; what is in the registry is below.
var states = map[int32]host.PackageState{
	0:    host.PackageAbsent,
	0x05: host.PackageUninstalled, // Uninstall Pending
	0x10: host.PackageAbsent,      // Resolving
	0x20: host.PackageAbsent,      // Resolved
	0x30: host.PackageStaged,      // Staging
	0x40: host.PackageStaged,
	0x50: host.PackageSuperseded,
	0x60: host.PackagePending, // Install Pending
	0x65: host.PackagePartly,
	0x70: host.PackageInstalled,
	0x80: host.PackageInstalled, // Permanent: cannot be removed, as servicing stacks
	// Invalid: the state was reached and is broken.
	-0x20: host.PackageBroken,
	-0x40: host.PackageBroken,
	-0x70: host.PackageBroken,
	-0x80: host.PackageBroken,
}

// StateOf gives the meaning of CurrentState.
func StateOf(n uint32) host.PackageState {
	return states[int32(n)] //nolint:gosec // the registry holds negative numbers as unsigned ones
}

// List is a list of packages.
type List struct {
	Packages []host.Package
	// Cut says why packages may be missing; empty if the source shows every one.
	Cut string
	// Build is the version that the source itself states, if it does.
	Build winver.Build
	From  host.Source
	Rank  int
	// Hint says how to obtain a better list; empty for the usual one.
	Hint string
}

const maxNamed = 8 // in sentences for people

// Say says to h what the list says. A KB is in effect if any of its packages is:
// KB4493730 shows as Package_1_for_KB4493730 alone. The list is whole if nothing cut it,
// each package has a state, and every update in it names its KB number.
func (l List) Say(h *host.Host) {
	h.Packages = append(h.Packages, l.Packages...)
	inEffect := map[winver.KB]bool{}
	for _, p := range l.Packages {
		if p.KB != 0 && p.State.InEffect() {
			inEffect[p.KB] = true
			h.Updates.Add(p.KB, p.From)
			h.SetInstalledOn(p.KB, p.Installed)
		}
	}
	var pending, removed, staged, broken, nameless, unknown names
	var best winver.Build
	var bestFrom host.Source
	for _, p := range l.Packages {
		id, _ := Parse(p.Name)
		what := p.Name
		if p.KB != 0 {
			what = p.KB.String()
		}
		switch {
		case p.State == host.PackageUnknown:
			unknown.add(p.Name)
		case p.State == host.PackagePending:
			pending.from(what, p.From)
		case p.State == host.PackageUninstalled:
			removed.from(what, p.From)
		case p.State == host.PackageBroken:
			broken.from(p.Name, p.From)
		case p.State == host.PackageStaged && p.KB != 0 && !inEffect[p.KB]:
			staged.add(what)
		}
		if !p.State.InEffect() {
			continue
		}
		if b, ok := id.rollup(); ok && b.Compare(best) > 0 {
			best, bestFrom = b, p.From
		} else if id.nameless() && !ok {
			nameless.add(id.Name)
		}
	}
	if best.Known() && (!l.Build.Known() || l.Build.Base() == best.Base()) && !shared[best.Number] {
		h.Build.Say(best, l.Rank, bestFrom)
	}
	if best.Known() && best.Major < 10 {
		nameless.add("Package_for_RollupFix")
	}
	l.explain(h, pending, removed, broken)
	l.list(h, staged, nameless, unknown)
}

// shared are build numbers whose packages also serve other builds, so that they do not
// tell which one a machine is: 19041 for 2004 to 22H2, 22621 for 22H2 and 23H2, 18362 for
// 1903 and 1909, 26100 for 24H2 and 25H2. There the registry's UBR tells.
var shared = map[uint32]bool{18362: true, 19041: true, 22621: true, 26100: true}

// explain says what waits for a restart, and what is broken.
func (l List) explain(h *host.Host, pending, removed, broken names) {
	if pending.n > 0 {
		h.Restart = append(h.Restart, host.Reason{Text: pending.String() + ": installed at the next restart, not in effect yet", From: pending.sources})
	}
	if removed.n > 0 {
		h.Restart = append(h.Restart, host.Reason{Text: removed.String() + ": removed at the next restart, still in effect", From: removed.sources})
	}
	if broken.n > 0 {
		h.Gap(host.Gap{
			What: "updates", From: broken.sources[0], Why: "broken in servicing, so not counted as in effect: " + broken.String(),
			Hint: "run the System Update Readiness Tool (KB947821) on Windows 6.x, dism /online /cleanup-image /restorehealth later",
		})
	}
}

// list says whether the list is whole.
func (l List) list(h *host.Host, staged, nameless, unknown names) {
	list := host.Listing{From: l.From, Scope: evidence.ScopeCBS, Announced: -1, Printed: len(l.Packages)}
	why := "shows " + evidence.Count(len(l.Packages), "package", "packages")
	if unknown.n == 0 {
		why += ", each with its state"
	}
	if staged.n > 0 {
		why += "; staged and not in effect: " + staged.String()
	}
	switch {
	case l.Cut != "":
		list.Why = l.Cut
	case len(l.Packages) == 0:
		list.Why = "shows no package"
	case unknown.n > 0:
		list.Why = why + "; the state is not known of " + unknown.String()
	case nameless.n > 0:
		list.Why = why + "; updates that name no KB number: " + nameless.String()
		h.Updates.List(list)
		return // nothing is wrong with the list: no gap
	default:
		list.Whole, list.Why = true, why
		h.Updates.List(list)
		return
	}
	h.Updates.List(list)
	h.Gap(host.Gap{What: "updates", From: l.From, Why: list.Why, Hint: cmp.Or(l.Hint, evidence.UpdatesHint)})
}

// names collects names for a sentence, each once.
type names struct {
	shown   []string
	sources []host.Source
	n       int
	last    string
}

func (s *names) add(name string) { s.from(name, host.Source{}) }

// from adds a name once if the same follow each other or are among those shown, which is
// how packages of one update come.
func (s *names) from(name string, src host.Source) {
	if name == s.last || slices.Contains(s.shown, name) {
		return
	}
	s.last = name
	s.n++
	if len(s.shown) < maxNamed {
		s.shown, s.sources = append(s.shown, name), append(s.sources, src)
	}
}

func (s names) String() string {
	text := strings.Join(s.shown, ", ")
	if more := s.n - len(s.shown); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}
