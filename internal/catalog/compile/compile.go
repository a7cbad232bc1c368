// Package compile turns the feeds and the project's tables of facts into a catalogue. It
// reads files it is given and downloads nothing. Equal input gives equal bytes.
//
// The feeds are wrong in known ways; the rules that mend them are in dates.go (when was an
// update released?) and streams.go (which updates contain each other?), the exceptions to
// them in package data's traps.txt.
package compile

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/catalog/data"
	"github.com/oldguard/oldguard/winver"
)

// Stats says what went in and what was left out, for people.
type Stats struct {
	Rows     int // rows of both CVE feeds that name a KB
	Kept     int // of these, rows of a covered release
	Releases int
	Updates  int
	Fixes    int
	CVEs     int
	// Uncovered counts rows by product name, for names with "Windows" that no release has.
	Uncovered map[string]int
	// Withdrawn counts rows for Itanium that the monthly documents of 2020-02 to 2020-05 had
	// and MSRC has taken back since.
	Withdrawn int
	// Extended counts pairs of CVE and update carried over to an architecture whose rows the
	// feed lost.
	Extended int
	// Foreign lists updates dropped from a release because they are another one's.
	Foreign []string
}

// lastItanium is the day of the last updates for Itanium. The monthly documents of 2020-02
// to 2020-05 still listed it; in MSRC's data as of 2026-06 no such row is left, and no
// extended update was ever offered for it (facts: lifecycle and builds of Server 2008).
const lastItanium = catalog.Date(18275) // 2020-01-14

// Compile reads the feeds in dir and writes the catalogue to w.
func Compile(w io.Writer, dir fs.FS) (Stats, error) {
	f, err := readFacts(data.Files)
	if err != nil {
		return Stats{}, fmt.Errorf("tables of facts: %w", err)
	}
	c := compiler{
		facts: f, kbs: map[winver.KB]*kbInfo{}, rels: map[string]*relInfo{}, cves: map[string]*cveInfo{},
		interned: map[string]string{}, names: map[string]placed{}, stats: Stats{Uncovered: map[string]int{}},
	}
	for _, r := range f.releases {
		c.rels[r.ID] = &relInfo{release: r, kbs: map[winver.KB]*relKB{}}
	}
	content, err := c.run(dir)
	if err != nil {
		return Stats{}, err
	}
	return c.stats, catalog.Write(w, content)
}

// placed is where a product name of the feeds belongs.
type placed struct {
	release   string // empty if not covered
	component string // empty for Windows itself
	on        catalog.ArchSet
}

// kbInfo is what all rows of a KB say together, whatever the product.
type kbInfo struct {
	wesng, monthly map[int]int            // rows by month
	earliest       map[int]catalog.Date   // earliest day in a month, wesng
	supersedes     map[winver.KB]struct{} // of plain Windows rows
	hasCVE         bool
	date           catalog.Date
	sure           catalog.Sureness
}

// relKB is what the rows of one release say of a KB.
type relKB struct {
	on         catalog.ArchSet
	pairs      map[pairKey]*pair
	supersedes map[winver.KB]struct{}
	kinds      map[string]int // monthly KB types of plain Windows rows
	fixed      map[string]int
	// rows by what they are about
	plain, ie, dotnet, flash, stack, rows int
	feeds                                 uint8
}

type pairKey struct{ cve, component string }

type pair struct {
	on       catalog.ArchSet
	severity catalog.Severity
	impact   catalog.Impact
}

type relInfo struct {
	*release
	kbs map[winver.KB]*relKB
}

type cveInfo struct {
	first  catalog.Date
	score  float64
	vector string
	areas  map[string]int
}

type compiler struct {
	facts    facts
	history  map[string][]historyRow // by "family|release"
	home     map[winver.KB][]string  // lists a KB stands in
	months   map[int]bool            // months the monthly feed covers
	kbs      map[winver.KB]*kbInfo
	rels     map[string]*relInfo
	cves     map[string]*cveInfo
	interned map[string]string
	names    map[string]placed
	stats    Stats
}

func (c *compiler) run(dir fs.FS) (catalog.Content, error) {
	hist, rows, err := readHistory(dir)
	if err != nil {
		return catalog.Content{}, err
	}
	c.history, c.home = map[string][]historyRow{}, map[winver.KB][]string{}
	for _, h := range rows {
		c.history[h.list] = append(c.history[h.list], h)
		if !slices.Contains(c.home[h.kb], h.list) {
			c.home[h.kb] = append(c.home[h.kb], h.list)
		}
	}
	wesng, err := readWesng(dir, func(r row) { c.take(r, catalog.FeedWesng) })
	if err != nil {
		return catalog.Content{}, err
	}
	monthly, months, err := readMonthly(dir, func(r row) { c.take(r, catalog.FeedMonthly) })
	if err != nil {
		return catalog.Content{}, err
	}
	c.months = months
	kevSrc, kev, err := readKEV(dir)
	if err != nil {
		return catalog.Content{}, err
	}
	recSrc, recs, err := readRecords(dir)
	if err != nil {
		return catalog.Content{}, err
	}
	for _, rel := range c.rels {
		c.addFacts(rel)
	}
	c.dateAll()
	hist.Last = c.lastDated(rows)
	content := catalog.Content{Sources: []catalog.Source{wesng, monthly, hist, kevSrc, c.facts.source}, Programs: c.facts.programs}
	if recSrc.ID != "" {
		content.Sources = append(content.Sources, recSrc)
	}
	c.fill(&content, kev, recs)
	return content, nil
}

// take files one feed row.
func (c *compiler) take(r row, from uint8) {
	c.stats.Rows++
	k := c.kbs[r.kb]
	if k == nil {
		k = &kbInfo{wesng: map[int]int{}, monthly: map[int]int{}, earliest: map[int]catalog.Date{}, supersedes: map[winver.KB]struct{}{}}
		c.kbs[r.kb] = k
	}
	m := r.date.Month()
	if from == catalog.FeedMonthly {
		k.monthly[m]++
	} else if r.date != 0 {
		k.wesng[m]++
		if d, ok := k.earliest[m]; !ok || r.date < d {
			k.earliest[m] = r.date
		}
	}
	k.hasCVE = k.hasCVE || r.cve != ""
	at := c.place(r.product)
	if at.release == "" {
		if strings.Contains(r.product, "Windows") {
			c.stats.Uncovered[c.intern(r.product)]++
		}
		return
	}
	if from == catalog.FeedMonthly && at.on&catalog.OnIA64 != 0 && r.date > lastItanium {
		c.stats.Withdrawn++
		return
	}
	c.stats.Kept++
	rel := c.rels[at.release]
	x := rel.kbs[r.kb]
	if x == nil {
		x = &relKB{pairs: map[pairKey]*pair{}, supersedes: map[winver.KB]struct{}{}, kinds: map[string]int{}, fixed: map[string]int{}}
		rel.kbs[r.kb] = x
	}
	x.on |= at.on
	x.feeds |= from
	x.rows++
	switch about := at.component + "\n" + r.area; {
	case r.advisory == "ADV990001" || strings.Contains(about, "Servicing Stack"):
		x.stack++
	case strings.Contains(about, ".NET"):
		x.dotnet++
	case strings.Contains(about, "Flash Player"):
		x.flash++
	case strings.HasPrefix(at.component, "Internet Explorer"), strings.HasPrefix(at.component, "Microsoft Internet Explorer"):
		x.ie++
	case at.component == "":
		x.plain++
	}
	if at.component == "" {
		for _, s := range r.supersedes {
			x.supersedes[s] = struct{}{}
		}
		if r.kind != "" {
			x.kinds[r.kind]++
		}
		if r.fixed != "" {
			x.fixed[r.fixed]++
		}
	} else {
		for _, s := range r.supersedes {
			if at.component != "" {
				x.supersedes[s] = struct{}{}
			}
		}
	}
	if r.cve == "" {
		return
	}
	key := pairKey{c.intern(r.cve), at.component}
	p := x.pairs[key]
	if p == nil {
		p = &pair{}
		x.pairs[key] = p
	}
	p.on |= at.on
	p.severity, p.impact = max(p.severity, r.severity), cmp.Or(p.impact, r.impact)
	v := c.cves[key.cve]
	if v == nil {
		v = &cveInfo{areas: map[string]int{}}
		c.cves[key.cve] = v
	}
	if from == catalog.FeedWesng {
		if r.date != 0 && (v.first == 0 || r.date < v.first) {
			v.first = r.date
		}
		if r.area != "" {
			v.areas[c.intern(r.area)]++
		}
	} else if r.score > v.score {
		v.score, v.vector = r.score, c.intern(r.vector)
	}
}

// place finds release, component and architecture behind a feed's product name. "X on
// Windows Y" is component X of Windows Y.
func (c *compiler) place(name string) placed {
	if p, ok := c.names[name]; ok {
		return p
	}
	var at placed
	text := strings.Join(strings.Fields(name), " ")
	base := strings.ToLower(text)
	on := catalog.OnFull
	if i := strings.Index(base, " (server core installation)"); i >= 0 {
		on = catalog.OnCore
		base, text = base[:i], text[:min(i, len(text))]
	}
	try := func(base, component string) bool {
		p, ok := c.facts.products[strings.TrimPrefix(base, "microsoft ")]
		if ok {
			at = placed{p.release, component, p.arch | on}
		}
		return ok
	}
	if !try(base, "") && len(base) == len(text) {
		if i := strings.LastIndex(base, " on "); i > 0 {
			try(base[i+len(" on "):], strings.TrimSpace(text[:i]))
		}
	}
	c.names[strings.Clone(name)] = at
	return at
}

func (c *compiler) intern(s string) string {
	if t, ok := c.interned[s]; ok {
		return t
	}
	t := strings.Clone(s)
	c.interned[t] = t
	return t
}

// addFacts adds to a release the updates that only the history and the tables know.
func (c *compiler) addFacts(rel *relInfo) {
	touch := func(kb winver.KB, on catalog.ArchSet, feed uint8) {
		x := rel.kbs[kb]
		if x == nil {
			x = &relKB{}
			rel.kbs[kb] = x
		}
		x.on |= on
		x.feeds |= feed
	}
	for _, h := range c.history[rel.history] {
		touch(h.kb, 0, catalog.FeedHistory)
	}
	for _, s := range c.facts.servicing {
		if slices.Contains(s.releases, rel.ID) {
			touch(s.kb, s.arches, catalog.FeedFacts)
		}
	}
}

// fill makes the content out of what was taken.
func (c *compiler) fill(content *catalog.Content, kev map[string]kevEntry, recs map[string]record) {
	ids := slices.Sorted(maps.Keys(c.cves))
	slices.SortFunc(ids, compareCVE)
	index := make(map[string]uint32, len(ids))
	for i, id := range ids {
		index[id] = uint32(i) // #nosec G115 -- thousands
	}
	components := map[string]struct{}{"": {}}
	for _, rel := range c.rels {
		for _, x := range rel.kbs {
			for k := range x.pairs {
				components[k.component] = struct{}{}
			}
		}
	}
	content.Components = slices.Sorted(maps.Keys(components)) // the empty string sorts first
	compIndex := map[string]uint16{}
	for i, n := range content.Components {
		compIndex[n] = uint16(i) // #nosec G115 -- hundreds
	}
	firstFix := map[string]catalog.Date{}
	on := map[string][]catalog.Recorded{}
	for n, id := range slices.Sorted(maps.Keys(c.rels)) {
		rec := c.records(c.rels[id], index, compIndex)
		here := map[string]catalog.Date{}
		for _, f := range rec.Fixes {
			d := rec.Updates[f.Update].Released
			cve := ids[f.CVE]
			if d != 0 && (firstFix[cve] == 0 || d < firstFix[cve]) {
				firstFix[cve] = d
			}
			if _, exploited := kev[cve]; exploited && f.Component == 0 && d != 0 && (here[cve] == 0 || d < here[cve]) {
				here[cve] = d
			}
		}
		for cve, d := range here {
			on[cve] = append(on[cve], catalog.Recorded{Release: uint16(n), Fixed: d}) // #nosec G115 -- dozens
		}
		content.Records = append(content.Records, rec)
		c.stats.Releases++
		c.stats.Updates += len(rec.Updates)
		c.stats.Fixes += len(rec.Fixes)
	}
	for _, id := range ids {
		v := c.cves[id]
		out := catalog.CVE{ID: id, First: v.first, Score: v.score, Vector: v.vector, Area: most(v.areas)}
		if d := firstFix[id]; d != 0 && (out.First == 0 || d < out.First) {
			out.First = d // a feed row's day is the CVE's last revision; its fix came no later than that
		}
		if r, ok := recs[id]; ok && out.Score == 0 {
			out.Score, out.Vector = r.score, r.vector
		}
		if k, ok := kev[id]; ok {
			out.KEV, out.Ransomware, out.On = k.added, k.ransomware, on[id]
		}
		content.CVEs = append(content.CVEs, out)
	}
	c.stats.CVEs = len(content.CVEs)
}

// most gives the key with the highest count, the first in order among equals.
func most(m map[string]int) (best string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if best == "" || m[k] > m[best] {
			best = k
		}
	}
	return best
}

// compareCVE orders CVE-2019-708 before CVE-2019-10000.
func compareCVE(a, b string) int {
	return cmp.Or(cmp.Compare(first(a, 8), first(b, 8)), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// records makes one release's records.
func (c *compiler) records(rel *relInfo, cveIndex map[string]uint32, compIndex map[string]uint16) catalog.Records {
	s := c.sortStreams(rel)
	out := catalog.Records{Release: rel.Release}
	all := catalog.ArchSet(0)
	for _, a := range rel.Arches {
		all |= archByName[a]
	}
	last := map[string]catalog.Date{}
	for _, kb := range slices.Sorted(maps.Keys(rel.kbs)) {
		x := rel.kbs[kb]
		if s.foreign[kb] {
			c.stats.Foreign = append(c.stats.Foreign, fmt.Sprintf("%s on %s", kb, rel.ID))
			continue
		}
		info := c.kbs[kb]
		u := catalog.Update{
			KB: kb, Stream: s.of[kb], Pos: s.pos[kb], Arches: x.on, Feeds: x.feeds,
			Released: s.date[kb], Sure: s.sure[kb], Build: s.build[kb],
			// A history page is shared by releases, one of which may be out of support: before
			// Windows 10 only rows of the release itself count. After that they have holes.
			HasCVE:      len(x.pairs) > 0 || rel.Always && info != nil && info.hasCVE,
			NotInRollup: c.facts.is("not-in-rollup", kb, rel.ID), NextRollup: c.facts.is("next-rollup", kb, rel.ID),
			Supersedes: slices.Sorted(maps.Keys(x.supersedes)),
		}
		if missing := all &^ u.Arches; missing == all || rel.Always && u.Stream == catalog.Cumulative && missing != 0 {
			// Only a history page names it; or the feed lost the rows of an architecture, as of
			// 20H2 on x64 since 2021: a cumulative update comes for all of a release's.
			u.Arches |= all
			for _, p := range x.pairs {
				p.on |= missing
				c.stats.Extended++
			}
		}
		for _, a := range rel.Arches {
			main := u.Stream == catalog.Cumulative || u.Stream == catalog.SecurityOnly || !rel.Always && rel.RollupSince == 0
			if u.Arches&archByName[a] != 0 && u.HasCVE && main && u.Released > last[a] {
				last[a] = u.Released
			}
		}
		for _, k := range slices.SortedFunc(maps.Keys(x.pairs), func(a, b pairKey) int {
			return cmp.Or(compareCVE(a.cve, b.cve), cmp.Compare(a.component, b.component))
		}) {
			p := x.pairs[k]
			out.Fixes = append(out.Fixes, catalog.Fix{
				CVE: cveIndex[k.cve], Update: uint16(len(out.Updates)), Component: compIndex[k.component], // #nosec G115 -- bounded by the writer
				On: p.on, Severity: p.severity, Impact: p.impact,
			})
		}
		out.Updates = append(out.Updates, u)
	}
	rel.LastByArch = last // of the main line: a late single fix is no sign of life
	return out
}
