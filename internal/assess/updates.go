package assess

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

// Flash Player was removed from Windows at the end of 2020; its last update for Windows
// came on the day below. https://www.microsoft.com/windows/end-of-support (Adobe Flash),
// read 2026-11.
var lastFlash = must("2020-12-31")

func must(day string) catalog.Date {
	d, err := catalog.ParseDate(day)
	if err != nil {
		panic(err) // a constant of ours
	}
	return d
}

// Groups of undecided updates, as text sums them up.
const (
	groupDotNet     = ".NET Framework"
	groupOlder      = "fixes older than the rollup model"
	groupStandAlone = "stand-alone updates"
	groupFlash      = "Adobe Flash Player"
	groupIE         = "Internet Explorer"
	groupList       = "cannot be told from this list"
)

// Kind names what an update is, in the field's words.
func Kind(rel *catalog.Release, u *catalog.Update) string {
	switch u.Stream {
	case catalog.Cumulative:
		switch {
		case rel.Always:
			return "cumulative-update"
		case u.HasCVE:
			return "monthly-rollup"
		}
		return "preview-rollup"
	case catalog.SecurityOnly:
		return "security-only"
	case catalog.IE:
		return "ie-cumulative"
	case catalog.DotNet:
		return "dotnet"
	case catalog.Flash:
		return "flash"
	case catalog.ServicingStack:
		return "servicing-stack"
	case catalog.SHA2:
		return "sha2-support"
	case catalog.Other:
	}
	return "update"
}

// updates fills Updates.
func (x *assessor) updates() {
	x.installed()
	x.latest = x.newest(catalog.Cumulative, func(u *catalog.Update) bool { return u.HasCVE })
	if n := x.st.Newest; n >= 0 {
		u := &x.rec.Updates[n]
		x.Updates.Newest, x.Updates.NewestReleased = u.KB, u.Released
	}
	if x.latest >= 0 {
		u := &x.rec.Updates[x.latest]
		x.Updates.Latest, x.Updates.LatestReleased = u.KB, u.Released
		x.behind(u)
	}
	// In the order of installation: SHA-2 support before the servicing stack, which has been
	// signed with SHA-2 alone since 2019-07 (KB4472027), and both before the rollup.
	rel := x.rec.Release
	x.want(x.newest(catalog.SHA2, nil))
	if !rel.Always {
		x.want(x.newest(catalog.ServicingStack, nil))
	}
	x.want(x.latest)
	if !rel.Server && x.AsOf <= lastFlash {
		x.want(x.newest(catalog.Flash, nil))
	}
	x.undecided()
	x.offered()
	x.Summary.Missing, x.Summary.Undecided = len(x.Updates.Missing), len(x.Updates.Undecided)
	if !x.st.IsWhole && !x.st.ByRevision {
		why := "no evidence lists them"
		for _, l := range x.Host.Updates.Listings() {
			why = l.Why
		}
		x.gap("installed updates", why, hintList)
	}
}

// published reports whether an update came out by the day for this architecture.
func (x *assessor) published(u *catalog.Update) bool {
	return u.Arches&x.bit != 0 && u.Released != 0 && u.Released <= x.AsOf
}

// newest gives the last member of a stream published by the day that ok accepts, -1 if none.
func (x *assessor) newest(stream catalog.Stream, ok func(*catalog.Update) bool) int {
	best := -1
	for i := range x.rec.Updates {
		u := &x.rec.Updates[i]
		if u.Stream == stream && x.published(u) && (ok == nil || ok(u)) && (best < 0 || u.Pos > x.rec.Updates[best].Pos) {
			best = i
		}
	}
	return best
}

func (x *assessor) behind(latest *catalog.Update) {
	if x.securityOnlyLine(latest) {
		return
	}
	switch n := x.st.Newest; {
	case n >= 0 && x.rec.Updates[n].Pos >= latest.Pos:
		x.Updates.MonthsBehind = 0
	case n >= 0 && x.rec.Updates[n].Released != 0:
		x.Updates.MonthsBehind = latest.Released.Month() - x.rec.Updates[n].Released.Month()
	case n < 0 && x.st.State[x.latest] == infer.Absent && x.rec.Release.RollupSince != 0:
		// Not one rollup: behind since the first of them.
		x.Updates.MonthsBehind = latest.Released.Month() - x.rec.Release.RollupSince.Month() + 1
	case n < 0 && x.st.State[x.latest] == infer.Absent && x.rec.Release.Always:
		// None at all: behind since the release came out.
		if l, ok := lifecycleOf(x.rec.Release, x.Host); ok && l.Start != 0 {
			x.Updates.MonthsBehind = latest.Released.Month() - l.Start.Month()
		}
	}
}

// securityOnlyLine says how a machine stands that is kept on security-only updates: each
// holds its own month alone, so all of them count, from the newest rollup on. It reports
// whether none is absent, so that the newest of them tells how far behind the machine is.
func (x *assessor) securityOnlyLine(latest *catalog.Update) bool {
	from := x.rec.Release.RollupSince
	if n := x.st.Newest; n >= 0 {
		from = x.rec.Updates[n].Released + 1
	}
	var all, have int
	var newest *catalog.Update
	for i := range x.rec.Updates {
		u := &x.rec.Updates[i]
		if u.Stream != catalog.SecurityOnly || u.Released < from || !x.published(u) {
			continue
		}
		all++
		if x.st.InForce(i) {
			have++
			if newest == nil || u.Released > newest.Released {
				newest = u
			}
		}
	}
	if have == 0 {
		return false
	}
	x.securityOnly = true
	x.note(fmt.Sprintf("It is kept on security-only updates: %d of %d published since %s are in force, the newest %s of %s. Each contains its own month alone, and none contains the updates of Internet Explorer.",
		have, all, from, newest.KB, newest.Released))
	if have < all {
		return false
	}
	x.Updates.MonthsBehind = latest.Released.Month() - newest.Released.Month()
	return true
}

func (x *assessor) installed() {
	for _, kb := range x.Host.Updates.All() {
		it := Item{KB: kb, Kind: "unknown", Because: []host.Reason{{Text: "listed", From: x.Host.Updates.Sources(kb)}}}
		if u, ok := x.rec.Update(kb); ok {
			it.Kind, it.Released, it.Sure = Kind(x.rec.Release, u), u.Released, u.Sure
		}
		x.Updates.Installed = append(x.Updates.Installed, it)
	}
}

// want puts update i among the missing or the undecided unless it is in force.
func (x *assessor) want(i int) {
	if i < 0 || x.st.InForce(i) {
		return
	}
	it := x.item(i)
	if x.st.State[i] == infer.Absent {
		it.Needs = x.needs(i)
		x.Updates.Missing = append(x.Updates.Missing, it)
		return
	}
	it.Group = groupList
	x.Updates.Undecided = append(x.Updates.Undecided, it)
}

func (x *assessor) item(i int) Item {
	u := &x.rec.Updates[i]
	it := Item{KB: u.KB, Kind: Kind(x.rec.Release, u), Released: u.Released, Sure: u.Sure}
	published := "published on " + u.Released.String()
	switch u.Sure {
	case catalog.Undated:
		published = "published on " + u.Released.String() + " or later (inferred from its place in the chain)"
	case catalog.Bounded:
		published = "published by " + u.Released.String() + " (bounded by the next member)"
	case catalog.MonthOf:
		published = "published in the month of " + u.Released.String() + " (the day is its Patch Tuesday, inferred)"
	case catalog.DayKnown:
	}
	it.Because = []host.Reason{{Text: published + " for " + x.rec.Release.Name}, x.whyAbsent(i)}
	return it
}

// whyAbsent gives the reason for update i's state where it is not in force.
func (x *assessor) whyAbsent(i int) host.Reason {
	switch {
	case x.st.State[i] != infer.Absent:
		return host.Reason{Text: "nothing listed contains it, and no list is known to be complete"}
	case x.st.Idle(x.rec.Updates[i].KB) != nil:
		return x.whyIdle(i)
	case x.st.IsWhole:
		if x.absent.From == nil {
			x.absent = host.Reason{Text: "neither it nor anything that contains it is in the list, which is whole: " + x.st.Whole.Why, From: []host.Source{x.st.Whole.From}}
		}
		return x.absent
	case x.st.ByRevision:
		return host.Reason{Text: fmt.Sprintf("the machine is at %s, and this update leads to a later revision", x.Build)}
	}
	return host.Reason{Text: fmt.Sprintf("the machine shows build %s, and this update leads to a later one", x.st.BuildProof), From: sourcesOf(x.Host.Build)}
}

// whyIdle says of update i that its own packages show that it is not in effect.
func (x *assessor) whyIdle(i int) host.Reason {
	u := &x.rec.Updates[i]
	idle := x.st.Idle(u.KB)
	r := host.Reason{Text: fmt.Sprintf("%s is not in effect: its package %s is %s, and nothing known that replaces it is in effect", x.name(u.KB), idle[0].Name, idle[0].State)}
	for _, p := range idle {
		r.From = append(r.From, p.From)
	}
	return r
}

func sourcesOf[T comparable](f host.Fact[T]) (out []host.Source) {
	for _, c := range f.Claims() {
		out = append(out, c.From)
	}
	return out
}

// needs lists what update i requires that is not known to be there.
func (x *assessor) needs(i int) (out []Need) {
	rel, u := x.rec.Release, &x.rec.Updates[i]
	if n, ok := x.esuNeed(u); ok {
		out = append(out, n)
	}
	if n, ok := x.editionNeed(u); ok {
		out = append(out, n)
	}
	if rel.Always {
		return out
	}
	lack := func(j int, text string) {
		if j >= 0 && j != i && !x.st.InForce(j) {
			out = append(out, Need{Kind: NeedUpdate, KB: x.rec.Updates[j].KB, Text: text})
		}
	}
	sha2 := x.newest(catalog.SHA2, nil)
	if sha2 >= 0 && u.Released >= sha2Only {
		lack(sha2, "updates since 2019-07 are signed with SHA-2 alone (KB4472027)")
		// The first stack that understands SHA-2 installs without it.
		lack(x.firstStack(), "the first servicing stack that reads SHA-2 signatures")
	}
	if u.Stream == catalog.Cumulative || u.Stream == catalog.SecurityOnly {
		lack(x.newest(catalog.ServicingStack, func(s *catalog.Update) bool { return s.Released <= u.Released }),
			"the newest servicing stack known not later than the update (inferred)")
	}
	return out
}

// sha2Only is the day from which updates for 6.0 and 6.1 are signed with SHA-2 alone:
// "July 2019 or later", KB4472027.
var sha2Only = must("2019-07-09")

// firstStack is the first servicing stack of 2019 or later: KB4493730 on Server 2008 SP2,
// KB4490628 on Windows 7 and Server 2008 R2 (KB4472027).
func (x *assessor) firstStack() int {
	best := -1
	for i := range x.rec.Updates {
		u := &x.rec.Updates[i]
		if u.Stream == catalog.ServicingStack && u.Sure == catalog.DayKnown && u.Released >= must("2019-01-01") &&
			x.published(u) && (best < 0 || u.Pos < x.rec.Updates[best].Pos) {
			best = i
		}
	}
	return best
}

// esuNeed names the programmes under which an update came after extended support.
func (x *assessor) esuNeed(u *catalog.Update) (Need, bool) {
	end := x.Support.Ends
	if end == 0 || u.Released <= end || len(x.Support.Programmes) == 0 ||
		u.Stream == catalog.ServicingStack || u.Stream == catalog.SHA2 {
		return Need{}, false
	}
	n := Need{Kind: NeedESU}
	var names []string
	for _, p := range x.Support.Programmes {
		if (p.From == 0 || u.Released >= p.From) && (p.Until == 0 || u.Released <= p.Until) {
			n.Programmes = append(n.Programmes, p.ID)
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return Need{}, false
	}
	n.Text = "published after support ended on " + end.String() + ": needs " + strings.Join(names, " or ")
	return n, true
}

// editionNeed names the editions an update came for alone: the long-term ones outlive the
// others of their release.
func (x *assessor) editionNeed(u *catalog.Update) (Need, bool) {
	if x.Support.Ends == 0 || u.Released <= x.Support.Ends || len(x.Support.Programmes) > 0 {
		return Need{}, false
	}
	for _, l := range x.rec.Release.Lifecycles {
		if len(l.Editions) > 0 && !editionMatches(l.Editions, x.Host) && u.Released <= l.Extended {
			return Need{Kind: NeedEdition, Text: "published after " + x.Support.Ends.String() + " for editions " + strings.Join(l.Editions, ", ") + " alone"}, true
		}
	}
	return Need{}, false
}

// undecided lists what may or may not be missing: one entry for each update.
func (x *assessor) undecided() {
	for i := range x.rec.Updates {
		u := &x.rec.Updates[i]
		if !x.published(u) || x.st.InForce(i) || !u.HasCVE {
			continue
		}
		group := x.group(u)
		if group == "" {
			continue
		}
		it := x.item(i)
		it.Group, it.Because[1] = group, x.whyOpen(i, group)
		x.Updates.Undecided = append(x.Updates.Undecided, it)
	}
	slices.SortStableFunc(x.Updates.Undecided, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.KB, b.KB))
	})
}

// group gives the group of an update that cannot be decided, empty for one that can, or
// that the missing rollup contains anyway. A single fix is decided by its own packages.
func (x *assessor) group(u *catalog.Update) string {
	rel := x.rec.Release
	switch u.Stream {
	case catalog.DotNet:
		return groupDotNet
	case catalog.Flash:
		if rel.Server || x.AsOf > lastFlash {
			return groupFlash
		}
	case catalog.IE, catalog.Other:
		if x.latest >= 0 && infer.RollupContains(rel, &x.rec.Updates[x.latest], u) {
			return ""
		}
		switch {
		case u.Stream == catalog.IE:
			return groupIE
		case x.st.Idle(u.KB) != nil:
			return ""
		case rel.Always:
			return groupStandAlone
		case rel.RollupSince == 0 || u.Released < rel.RollupSince:
			return groupOlder
		}
		return groupStandAlone
	case catalog.Cumulative, catalog.SecurityOnly, catalog.ServicingStack, catalog.SHA2:
	}
	return ""
}

// offered is what Windows Update would show: nothing that came after the end of support
// under a programme, since an entitlement changes no verdict, and nothing whose
// prerequisite is missing. Windows
// Update has not served clients that know SHA-1 alone since 2020-08-03
// (https://support.microsoft.com/help/4569557).
func (x *assessor) offered() {
	if j := x.newest(catalog.SHA2, nil); j >= 0 && !x.st.InForce(j) && x.AsOf >= must("2020-08-03") {
		if len(x.Updates.Missing) > 0 {
			x.note("Windows Update no longer serves this machine: without " + x.rec.Updates[j].KB.String() + " it knows SHA-1 alone. Updates have to be brought by hand.")
		}
		return
	}
	for _, it := range x.Updates.Missing {
		paid := x.Support.Ends != 0 && it.Released > x.Support.Ends && len(x.Support.Programmes) > 0
		if len(it.Needs) == 0 && !paid {
			x.Updates.OfferedNow = append(x.Updates.OfferedNow, it)
		}
	}
}

// openQuestions turns what stays undecided into gaps: what is not known, and which command
// would tell.
func (x *assessor) openQuestions() {
	count := map[string]int{}
	for _, it := range x.Updates.Undecided {
		count[it.Group]++
	}
	for _, q := range []struct{ group, what, why, hint string }{
		{groupDotNet, "updates of .NET Framework", "which versions are installed decides which updates concern it, and the level of each is not read yet", `reg query "HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP" /s`},
		{groupOlder, "fixes older than the rollup model", "a fix that is not listed may have been replaced by a later single fix", hintCBS},
		{groupStandAlone, "stand-alone updates", "a list does not tell whether something else brought them", hintCBS},
		{groupFlash, "updates of Adobe Flash Player", "it may have been removed", `dir %windir%\system32\Macromed\Flash`},
		{groupIE, "updates of Internet Explorer", "which version is installed decides which updates concern it", `reg query "HKLM\SOFTWARE\Microsoft\Internet Explorer" /v svcVersion`},
	} {
		if n := count[q.group]; n > 0 {
			x.gap(q.what, fmt.Sprintf("%s (%d updates)", q.why, n), q.hint)
		}
	}
}

// name writes a KB and, where known, its day.
func (x *assessor) name(kb winver.KB) string {
	if u, ok := x.rec.Update(kb); ok && u.Released != 0 {
		return kb.String() + " (" + u.Released.String() + ")"
	}
	return kb.String()
}
