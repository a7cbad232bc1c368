package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// streams is how one release's updates contain each other.
type streams struct {
	of      map[winver.KB]catalog.Stream
	pos     map[winver.KB]uint16
	date    map[winver.KB]catalog.Date
	sure    map[winver.KB]catalog.Sureness
	build   map[winver.KB]winver.Build
	foreign map[winver.KB]bool
}

// branches are builds that receive the same packages: an update that stands in the history
// of one is none of the others' foreigners. Enablement packages turn one into another.
var branches = [][]string{
	{"18362", "18363"},
	{"19041", "19042", "19043", "19044", "19045"},
	{"22621", "22631"},
	{"26100", "26200"},
}

func sameBranch(list, other string) bool {
	build := func(l string) string { return l[strings.LastIndex(l, "|")+1:] }
	a, b := build(list), build(other)
	if a == b && a != "" && a != "SP1" && a != "SP2" {
		return true
	}
	for _, br := range branches {
		if slices.Contains(br, a) && slices.Contains(br, b) {
			return true
		}
	}
	return false
}

// sortStreams puts each of a release's updates into its stream and orders the streams.
func (c *compiler) sortStreams(rel *relInfo) streams {
	s := streams{
		of: map[winver.KB]catalog.Stream{}, pos: map[winver.KB]uint16{}, date: map[winver.KB]catalog.Date{},
		sure: map[winver.KB]catalog.Sureness{}, build: map[winver.KB]winver.Build{}, foreign: map[winver.KB]bool{},
	}
	var chain, only []winver.KB // the cumulative stream and the security-only updates of the history
	for _, h := range c.history[rel.history] {
		to := &chain
		if h.kind == "security-only" {
			to = &only
		}
		if !slices.Contains(*to, h.kb) {
			*to = append(*to, h.kb)
		}
	}
	// A history begins after general availability: what the branch received before is in the
	// lists of its siblings (19043 lacks KB5001330).
	early := c.earlier(rel, chain)
	// Facts first: what the tables and the history say stands.
	for _, x := range c.facts.servicing {
		if slices.Contains(x.releases, rel.ID) {
			s.of[x.kb] = catalog.ServicingStack
			if x.sha2 {
				s.of[x.kb] = catalog.SHA2
			}
		}
	}
	for _, kb := range slices.Concat(early, chain) {
		s.of[kb] = catalog.Cumulative
		if rel.kbs[kb] == nil {
			rel.kbs[kb] = &relKB{feeds: catalog.FeedHistory}
		}
	}
	kbs := slices.Sorted(maps.Keys(rel.kbs))
	for _, kb := range only {
		s.of[kb] = catalog.SecurityOnly
	}
	// A KB whose home in the history is another release is no member of this one, and its
	// rows here are a mistake of the feed.
	for _, kb := range kbs {
		if home := c.home[kb]; s.of[kb] == catalog.Other && len(home) > 0 && rel.history != "" &&
			!slices.ContainsFunc(home, func(l string) bool { return sameBranch(l, rel.history) || l == rel.history }) {
			s.foreign[kb] = true
		}
		if c.facts.is("foreign", kb, rel.ID) {
			s.foreign[kb] = true
		}
	}
	free := func(kb winver.KB) bool { return s.of[kb] == catalog.Other && !s.foreign[kb] }
	for _, kb := range kbs {
		x := rel.kbs[kb]
		if !free(kb) || x.rows == 0 {
			continue
		}
		switch {
		case c.facts.is("servicing-stack", kb, rel.ID), x.stack == x.rows, typed(x, "Servicing Stack"):
			s.of[kb] = catalog.ServicingStack
		case x.dotnet == x.rows:
			s.of[kb] = catalog.DotNet
		case x.flash == x.rows:
			s.of[kb] = catalog.Flash
		case x.ie == x.rows, typed(x, "IE Cumulative"):
			s.of[kb] = catalog.IE
		}
	}
	// The chain goes on where the history ends: a plain Windows update that supersedes a
	// member is one; before Windows 10 only if it is typed so or fixes more than three CVEs,
	// since single fixes supersede members too.
	member := map[winver.KB]bool{}
	for _, kb := range slices.Concat(early, chain) {
		member[kb] = true
	}
	var extra []winver.KB
	if len(chain) > 0 {
		for grown := true; grown; {
			grown = false
			for _, kb := range kbs {
				x := rel.kbs[kb]
				if member[kb] || !free(kb) || x.plain == 0 || typed(x, "Security Only") || c.facts.is("not-cumulative", kb, rel.ID) {
					continue
				}
				home := slices.ContainsFunc(c.home[kb], func(l string) bool { return sameBranch(l, rel.history) })
				supersedes := false
				for old := range x.supersedes {
					supersedes = supersedes || member[old]
				}
				if home || supersedes && (rel.Always || len(cvesOf(x)) > 3 || typed(x, "Monthly Rollup")) {
					member[kb], grown = true, true
					s.of[kb] = catalog.Cumulative
					extra = append(extra, kb)
				}
			}
		}
	}
	// IE cumulative updates since 2021 carry a plain Windows product: they show by what they
	// supersede.
	for grown := true; grown; {
		grown = false
		for _, kb := range kbs {
			x := rel.kbs[kb]
			if rel.Always || !free(kb) || x.rows == 0 {
				continue
			}
			for old := range x.supersedes {
				if s.of[old] == catalog.IE {
					s.of[kb], grown = catalog.IE, true
				}
			}
		}
	}
	stacks := c.dateStacks(rel.ID, s.date, s.sure)
	for _, v := range c.facts.revisions {
		if d, err := catalog.ParseDate(v.released); err == nil && v.release == rel.ID && rel.kbs[v.rollup] != nil && c.kbs[v.rollup] == nil {
			s.date[v.rollup], s.sure[v.rollup] = d, catalog.DayKnown // no feed dates a preview
		}
	}
	c.dateList(chain, s.date, s.sure)
	for _, kb := range kbs {
		if k := c.kbs[kb]; s.date[kb] == 0 && k != nil {
			s.date[kb], s.sure[kb] = k.date, k.sure
		}
	}
	c.dateList(only, s.date, s.sure)
	chain = c.insert(chain, append(extra, early...), s.date)
	// Security-only updates that no feed types: nearly all of their CVEs are in the rollup of
	// the same month, and they are no small part of it.
	if rel.RollupSince != 0 {
		for _, kb := range kbs {
			x := rel.kbs[kb]
			if !free(kb) || x.plain == 0 || s.date[kb] < rel.RollupSince {
				continue
			}
			if typed(x, "Security Only") || c.inRollupOf(rel, x, s.date[kb].Month(), chain, s.date) {
				s.of[kb] = catalog.SecurityOnly
			}
		}
	}
	// Positions. A servicing stack table is in order already; the rest goes by date.
	number := func(order []winver.KB) {
		for i, kb := range order {
			s.pos[kb] = uint16(i + 1) // #nosec G115 -- hundreds
		}
	}
	number(chain)
	for _, stream := range []catalog.Stream{catalog.IE, catalog.Flash, catalog.ServicingStack} {
		var order []winver.KB
		for _, kb := range kbs {
			if s.of[kb] == stream && !slices.Contains(stacks, kb) {
				order = append(order, kb)
			}
		}
		slices.SortStableFunc(order, func(a, b winver.KB) int { return cmp.Compare(s.date[a], s.date[b]) })
		if stream == catalog.ServicingStack {
			order = append(stacks, order...)
			if len(stacks) > 0 {
				order = c.insert(stacks, order[len(stacks):], s.date)
			}
		}
		number(order)
	}
	c.findBuilds(rel, &s)
	return s
}

// earlier lists what other builds of the release's branch received before its own list
// begins.
func (c *compiler) earlier(rel *relInfo, chain []winver.KB) (out []winver.KB) {
	begins := catalog.Date(0)
	for _, kb := range chain {
		if k := c.kbs[kb]; k != nil && begins == 0 {
			begins = k.date
		}
	}
	for _, list := range slices.Sorted(maps.Keys(c.history)) {
		if list == rel.history || !sameBranch(list, rel.history) {
			continue
		}
		for _, h := range c.history[list] {
			if k := c.kbs[h.kb]; k != nil && k.date != 0 && k.date < begins && !slices.Contains(chain, h.kb) && !slices.Contains(out, h.kb) {
				out = append(out, h.kb)
			}
		}
	}
	return out
}

// insert puts each extra behind the last member that is not later.
func (c *compiler) insert(order, extra []winver.KB, date map[winver.KB]catalog.Date) []winver.KB {
	extra = slices.Clone(extra)
	slices.SortStableFunc(extra, func(a, b winver.KB) int { return cmp.Or(cmp.Compare(date[a], date[b]), cmp.Compare(a, b)) })
	order = slices.Clone(order)
	for _, kb := range extra {
		i := len(order)
		for i > 0 && date[order[i-1]] > date[kb] {
			i--
		}
		order = slices.Insert(order, i, kb)
	}
	return order
}

// typed reports whether the monthly feed gives one of the KB's plain Windows rows a type.
// It writes "Servicing Stack Update" as "ServicingStackUpdate" in places.
func typed(x *relKB, kind string) bool {
	for k := range x.kinds {
		if strings.Contains(strings.ReplaceAll(k, " ", ""), strings.ReplaceAll(kind, " ", "")) {
			return true
		}
	}
	return false
}

func cvesOf(x *relKB) map[string]bool {
	m := map[string]bool{}
	for k := range x.pairs {
		m[k.cve] = true
	}
	return m
}

// inRollupOf reports whether x looks like the security-only twin of a rollup of that month:
// at least 90 % of its CVEs in it, and at least half its size.
func (c *compiler) inRollupOf(rel *relInfo, x *relKB, month int, chain []winver.KB, date map[winver.KB]catalog.Date) bool {
	mine := cvesOf(x)
	if len(mine) == 0 {
		return false
	}
	for _, kb := range chain {
		if date[kb].Month() != month || rel.kbs[kb] == nil {
			continue
		}
		theirs, both := cvesOf(rel.kbs[kb]), 0
		for v := range mine {
			if theirs[v] {
				both++
			}
		}
		if both*10 >= len(mine)*9 && len(mine)*2 >= len(theirs) {
			return true
		}
	}
	return false
}

// findBuilds finds the version that each update leads to: from the tables, the history's
// revision column, and the feed's fixed builds where they name a build of this release
// (they name the branch, 19041 for 19044, in places).
func (c *compiler) findBuilds(rel *relInfo, s *streams) {
	bases := map[string]bool{}
	for _, b := range rel.BuildText {
		bases[b] = true
	}
	set := func(kb winver.KB, text string) {
		if b, ok := fullBuild(text); ok && bases[b.Base().String()] {
			if old, have := s.build[kb]; !have || b.Compare(old) < 0 {
				s.build[kb] = b // of several, the lowest: the machine has that at least
			}
		}
	}
	for _, v := range c.facts.revisions {
		if v.release == rel.ID && v.rollup != 0 && rel.kbs[v.rollup] != nil && s.of[v.rollup] == catalog.Cumulative {
			set(v.rollup, v.build)
		}
		if v.release == rel.ID && v.securityOnly != 0 && rel.kbs[v.securityOnly] != nil && s.of[v.securityOnly] == catalog.SecurityOnly {
			set(v.securityOnly, v.build)
		}
	}
	for list, rows := range c.history {
		if list != rel.history && !sameBranch(list, rel.history) {
			continue // builds of one branch count their revisions together
		}
		for _, h := range rows {
			if h.revision != 0 && s.of[h.kb] == catalog.Cumulative {
				set(h.kb, fmt.Sprintf("%s.%d", rel.BuildText[0], h.revision))
			}
		}
	}
	for kb, x := range rel.kbs {
		if _, have := s.build[kb]; !have && (s.of[kb] == catalog.Cumulative || s.of[kb] == catalog.SecurityOnly) {
			for _, text := range slices.Sorted(maps.Keys(x.fixed)) {
				set(kb, text)
			}
		}
	}
}

// fullBuild reads 6.0.6003.23717, or 6.0.6003 where the revision is not known.
func fullBuild(text string) (b winver.Build, ok bool) {
	n, _ := fmt.Sscanf(text, "%d.%d.%d.%d", &b.Major, &b.Minor, &b.Number, &b.Revision)
	b.HasRevision = n == 4
	return b, n >= 3
}
