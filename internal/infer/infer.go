// Package infer draws the conclusions that need facts and catalogue together: which
// release a machine runs, which revision its updates lead to, and which updates are in
// force because something that contains them is installed.
//
// It is pure: no clock, no files. It judges nothing: whether a missing update matters is
// package assess's business.
package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// Identity is what a machine runs.
type Identity struct {
	// Release is nil where the evidence or the catalogue cannot tell; Why says which.
	Release *catalog.Release
	Why     string
	// Covered is false where the build is known and the catalogue has no release for it.
	Covered bool
	// Server is Unknown where no evidence tells a server from a client.
	Server host.Tri
	// Because holds the reasons for Release.
	Because []host.Reason
}

// Identify finds the release a host runs, from its build and, where a client and a server
// share one, its product name or kind of installation.
func Identify(h *host.Host, c *catalog.Catalog) Identity {
	id := Identity{Covered: true, Server: server(h)}
	build, ok := h.Build.Value()
	if !ok {
		id.Why = "no evidence states the Windows version"
		return id
	}
	var match []*catalog.Release
	for _, r := range c.Releases() {
		if slices.Contains(r.Builds, build.Base()) {
			match = append(match, r)
		}
	}
	if len(match) == 0 {
		id.Covered = false
		id.Why = fmt.Sprintf("Windows %s is not covered by the catalogue", build)
		return id
	}
	keep := func(f func(*catalog.Release) bool) {
		if kept := slices.DeleteFunc(slices.Clone(match), func(r *catalog.Release) bool { return !f(r) }); len(kept) > 0 {
			match = kept
		}
	}
	if id.Server != host.Unknown {
		keep(func(r *catalog.Release) bool { return r.Server == (id.Server == host.Yes) })
	}
	if a, ok := h.Arch.Value(); ok {
		keep(func(r *catalog.Release) bool { return slices.Contains(r.Arches, a.String()) })
	}
	if product, ok := h.Product.Value(); ok && len(match) > 1 {
		// Server 2019 and Server, version 1809 share a build; only the first has a year in
		// its displayed name. The longest name wins: "2012 R2" before "2012".
		year := func(r *catalog.Release) string { return strings.TrimPrefix(r.Name, "Windows Server ") }
		named := func(r *catalog.Release) bool { return strings.Contains(product, year(r)) }
		if slices.ContainsFunc(match, named) {
			keep(named)
		} else {
			keep(func(r *catalog.Release) bool { return strings.Contains(r.Name, ", version") })
		}
	}
	if len(match) > 1 {
		names := make([]string, len(match))
		for i, r := range match {
			names[i] = r.Name
		}
		id.Why = fmt.Sprintf("build %s is %s, and no evidence tells which", build, strings.Join(names, " or "))
		return id
	}
	id.Release = match[0]
	id.Because = append(id.Because, host.Reason{Text: fmt.Sprintf("build %s is %s", build.Base(), id.Release.Name), From: sources(h.Build)})
	if id.Server != host.Unknown && h.Product.Known() {
		p, _ := h.Product.Value()
		id.Because = append(id.Because, host.Reason{Text: fmt.Sprintf("its product name is %q", p), From: sources(h.Product)})
	}
	return id
}

func server(h *host.Host) host.Tri {
	if i, ok := h.Installation.Value(); ok {
		if i == host.Client {
			return host.No
		}
		return host.Yes
	}
	if r, ok := h.Role.Value(); ok && r == host.DomainController {
		return host.Yes
	}
	if p, ok := h.Product.Value(); ok {
		// The word is the same in every display language of Windows.
		if strings.Contains(strings.ToLower(p), "server") {
			return host.Yes
		}
		if strings.Contains(p, "Windows") {
			return host.No
		}
	}
	return host.Unknown
}

func sources[T comparable](f host.Fact[T]) (out []host.Source) {
	best, _ := f.Value()
	for _, c := range f.Claims() {
		if c.Value == best {
			out = append(out, c.From)
		}
	}
	return out
}

// State is how an update stands on a host.
type State uint8

// The states. Absent is proven; Undetermined is not.
const (
	Undetermined State = iota
	Present            // a source names it
	Contained          // something present contains it
	Absent
)

// Standing is how every update of a release stands on a host.
type Standing struct {
	Records *catalog.Records
	State   []State     // by index into Records.Updates
	By      []winver.KB // what contains it, where Contained
	// Newest is the index of the newest cumulative update in force, -1 if none is proven.
	Newest int
	// ByRevision is true where the stated revision, not a list, proves the newest cumulative.
	ByRevision bool
	// Whole is the listing that makes absence provable, if there is one.
	Whole   host.Listing
	IsWhole bool
	// BuildProof is the build that proves the absence of everything leading to a later
	// one, as 6.0.6002 does of every update since 2019-03-19. Zero where there is none.
	BuildProof winver.Build
	// PendingRestart is an update that is listed although the build it leads to does not
	// show yet; zero if there is none.
	PendingRestart winver.KB
	// AtLeast is the program file with the highest revision: the machine is at that revision
	// at least. Its zero value says nothing. It proves no update to be in force.
	AtLeast host.File
	idle    map[winver.KB][]host.Package // see Idle
}

// InForce reports whether update i is present or contained in what is.
func (s *Standing) InForce(i int) bool { return s.State[i] == Present || s.State[i] == Contained }

// Stand works out how the updates of rec stand on h.
//
// The rules are those of the rollup model: a member of a cumulative stream contains every
// earlier member; from the start of the model a rollup also contains the security-only
// updates up to its month and the IE updates and single fixes up to its day; a
// security-only update contains itself alone. Links ("supersedes") are followed only where
// they are known to be true.
func Stand(h *host.Host, rec *catalog.Records) *Standing {
	ups := rec.Updates
	s := &Standing{Records: rec, State: make([]State, len(ups)), By: make([]winver.KB, len(ups)), Newest: -1}
	s.Whole, s.IsWhole = h.Updates.Whole()
	s.idle = idlePackages(h, s.IsWhole)
	build, _ := h.Build.Value()
	s.AtLeast = atLeast(h, build)
	newest := map[catalog.Stream]int{}
	better := func(i int) {
		st := ups[i].Stream
		if j, ok := newest[st]; !ok || ups[i].Pos > ups[j].Pos {
			newest[st] = i
		}
	}
	for i := range ups {
		if h.Updates.Has(ups[i].KB) == host.Yes {
			s.State[i] = Present
			better(i)
		}
	}
	if rec.Release.Always && build.HasRevision {
		s.byRevision(build, better)
	}
	if i, ok := newest[catalog.Cumulative]; ok {
		s.Newest = i
	}
	contain := func(i, by int) {
		if s.State[i] == Undetermined || s.State[i] == Absent {
			s.State[i], s.By[i] = Contained, ups[by].KB
		}
	}
	for i := range ups {
		u := &ups[i]
		switch u.Stream {
		case catalog.Cumulative, catalog.IE, catalog.Flash, catalog.ServicingStack:
			if j, ok := newest[u.Stream]; ok && u.Pos <= ups[j].Pos && i != j && u.Pos != 0 {
				contain(i, j)
			}
		case catalog.Other, catalog.SecurityOnly, catalog.DotNet, catalog.SHA2:
		}
		if s.Newest >= 0 && RollupContains(rec.Release, &ups[s.Newest], u) {
			contain(i, s.Newest)
		}
	}
	s.follow(contain)
	s.absences(h, build)
	return s
}

// RollupContains reports whether rollup r contains update u of another stream, by the
// rollup model of the release.
func RollupContains(rel *catalog.Release, r, u *catalog.Update) bool {
	since := rel.RollupSince
	if since == 0 || r.Released < since || u.Released < since || u.NotInRollup {
		return false
	}
	switch u.Stream {
	case catalog.SecurityOnly:
		if u.NextRollup {
			return u.Released.Month() < r.Released.Month()
		}
		return u.Released.Month() <= r.Released.Month()
	case catalog.IE, catalog.Other:
		return u.Released <= r.Released
	case catalog.Cumulative, catalog.DotNet, catalog.Flash, catalog.ServicingStack, catalog.SHA2:
	}
	return false
}

// byRevision: on Windows 10 and later the revision (UBR) is kept, and tells which
// cumulative update is in force without any list.
func (s *Standing) byRevision(build winver.Build, better func(int)) {
	ups, best := s.Records.Updates, -1
	for i := range ups {
		if ups[i].Stream == catalog.Cumulative && ups[i].Build.HasRevision && ups[i].Build.Revision <= build.Revision &&
			(best < 0 || ups[i].Pos > ups[best].Pos) {
			best = i
		}
	}
	if best >= 0 {
		s.State[best], s.ByRevision = Present, true
		better(best)
	}
	for i := range ups {
		if ups[i].Stream == catalog.Cumulative && ups[i].Build.HasRevision && ups[i].Build.Revision > build.Revision && s.State[i] != Present {
			s.State[i] = Absent
		}
	}
}

// follow follows supersedence links out of what is in force: from cumulative updates and
// single fixes to what they say they replace, and within one stream. Never from
// security-only updates (their links name rollups that they do not contain), and never
// from IE, .NET, Flash or servicing stack updates to cumulative ones.
func (s *Standing) follow(contain func(i, by int)) {
	ups := s.Records.Updates
	var queue []int
	for i := range ups {
		if s.InForce(i) {
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		from := queue[0]
		queue = queue[1:]
		for _, kb := range ups[from].Supersedes {
			u, ok := s.Records.Update(kb)
			if !ok || !followable(ups[from].Stream, u.Stream) {
				continue
			}
			i := s.index(kb)
			if !s.InForce(i) {
				contain(i, from)
				queue = append(queue, i)
			}
		}
	}
}

func followable(from, to catalog.Stream) bool {
	switch from {
	case catalog.SecurityOnly:
		return false
	case catalog.Cumulative:
		return to == catalog.Cumulative || to == catalog.SecurityOnly || to == catalog.IE || to == catalog.Other
	case catalog.Other, catalog.IE, catalog.DotNet, catalog.Flash, catalog.ServicingStack, catalog.SHA2:
	}
	return from == to
}

func (s *Standing) index(kb winver.KB) int {
	i, _ := slices.BinarySearchFunc(s.Records.Updates, kb, func(u catalog.Update, kb winver.KB) int { return int(int64(u.KB) - int64(kb)) })
	return i
}

// absences marks what is proven not to be in force: by a whole list, for what such a list
// names, by a build older than the one an update leads to, and by its own packages.
func (s *Standing) absences(h *host.Host, build winver.Build) {
	ups := s.Records.Updates
	first := -1 // the earliest cumulative update that leads to a later build than is shown
	for i := range ups {
		u := &ups[i]
		if u.Stream == catalog.Cumulative && u.Build.Known() && build.Known() && u.Build.Base().Compare(build.Base()) > 0 &&
			(first < 0 || u.Pos < ups[first].Pos) {
			first = i
		}
	}
	later := func(u *catalog.Update) bool {
		return first >= 0 && (u.Stream == catalog.Cumulative && u.Pos >= ups[first].Pos ||
			u.Stream == catalog.SecurityOnly && u.Released >= ups[first].Released)
	}
	for i := range ups {
		if later(&ups[i]) && s.State[i] == Present {
			s.PendingRestart = ups[i].KB
		}
	}
	for i := range ups {
		switch {
		case s.State[i] != Undetermined:
		case later(&ups[i]) && s.PendingRestart == 0:
			s.State[i], s.BuildProof = Absent, build.Base()
		case s.IsWhole && h.Updates.Has(ups[i].KB) == host.No, s.idle[ups[i].KB] != nil:
			s.State[i] = Absent
		}
	}
}

// Revision gives the build with the revision that the newest cumulative update in force
// leads to, and whether that is known. The machine is at that revision at least.
func (s *Standing) Revision(build winver.Build) (winver.Build, bool) {
	if build.HasRevision {
		return build, true
	}
	if s.Newest < 0 {
		return build, false
	}
	b := s.Records.Updates[s.Newest].Build
	if !b.HasRevision || b.Base() != build.Base() {
		return build, false
	}
	return b, true
}
