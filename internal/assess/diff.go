package assess

import (
	"cmp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// Snapshot is what a comparison needs of an earlier assessment: it can be had from a live
// one or from a stored report.
type Snapshot struct {
	Name     string
	Release  string
	AsOf     catalog.Date
	Build    string
	Verdicts map[string]Verdict // by CVE; a report of open findings holds no others
	Exploit  map[string]bool    // CVEs that were marked as exploited
	Missing  []winver.KB
	Listed   []winver.KB // installed updates
	Sources  map[string]catalog.Date
}

// Snapshot takes what a later comparison needs.
func (a *Assessment) Snapshot() Snapshot {
	s := Snapshot{
		Name: a.Host.Name.Or(""), AsOf: a.AsOf, Build: a.Build.String(),
		Verdicts: map[string]Verdict{}, Exploit: map[string]bool{}, Sources: map[string]catalog.Date{},
	}
	if a.Identity.Release != nil {
		s.Release = a.Identity.Release.ID
	}
	for _, f := range a.Findings {
		s.Verdicts[f.CVE] = f.Verdict
		s.Exploit[f.CVE] = f.KEVSince != 0
	}
	for _, it := range a.Updates.Missing {
		s.Missing = append(s.Missing, it.KB)
	}
	s.Listed = a.Host.Updates.All()
	for _, src := range a.Sources {
		s.Sources[src.ID] = src.Last
	}
	return s
}

// Changed is a vulnerability whose verdict, or mark as exploited, is another than before.
type Changed struct {
	Finding      Finding
	Before       Verdict
	NewExploited bool   // open, exploited, and it was not both before
	Why          string // what made the difference, as far as it can be told
}

// Change is what is different between two assessments of one machine.
type Change struct {
	Since   catalog.Date
	Build   [2]string // before and now, where they differ
	Release [2]string
	// New is open now and was not; Closed was open and is not; Marked was open and is, and
	// has come to be exploited. All sorted as findings are.
	New, Closed, Marked []Changed
	// Missing came to be missing, Settled is missing no more; Installed and Removed are
	// updates that came and went.
	Missing, Settled, Installed, Removed []winver.KB
}

// Empty reports whether nothing changed.
func (c *Change) Empty() bool {
	return c.Build == [2]string{} && c.Release == [2]string{} &&
		len(c.New)+len(c.Closed)+len(c.Marked)+len(c.Missing)+len(c.Settled)+len(c.Installed)+len(c.Removed) == 0
}

// NewExploited lists the vulnerabilities that are open and exploited now and were not both
// before: what an alert is for.
func (c *Change) NewExploited() (out []Changed) {
	for _, l := range [][]Changed{c.New, c.Marked} {
		for _, f := range l {
			if f.NewExploited {
				out = append(out, f)
			}
		}
	}
	return out
}

func openVerdict(v Verdict) bool { return v == Affected || v == Unfixable }

// Diff says what is different now. A finding that the earlier assessment did not hold
// counts as not open then.
func Diff(before Snapshot, now *Assessment) *Change {
	c := &Change{Since: before.AsOf}
	after := now.Snapshot()
	if before.Build != after.Build {
		c.Build = [2]string{before.Build, after.Build}
	}
	if before.Release != after.Release {
		c.Release = [2]string{before.Release, after.Release}
	}
	c.Missing, c.Settled = minus(after.Missing, before.Missing), minus(before.Missing, after.Missing)
	c.Installed, c.Removed = minus(after.Listed, before.Listed), minus(before.Listed, after.Listed)
	for _, f := range now.Findings {
		old, known := before.Verdicts[f.CVE]
		was := known && openVerdict(old)
		is := openVerdict(f.Verdict)
		d := Changed{Finding: f, Before: old, NewExploited: is && f.KEVSince != 0 && (!was || !before.Exploit[f.CVE])}
		switch {
		case is && !was:
			d.Why = whyNew(before, now, c, &f, known)
			c.New = append(c.New, d)
		case !is && was:
			d.Why = whyClosed(c, &f)
			c.Closed = append(c.Closed, d)
		case is && d.NewExploited:
			d.Why = "it entered the list of exploited vulnerabilities on " + f.KEVSince.String()
			c.Marked = append(c.Marked, d)
		}
	}
	// Findings that are gone: the assessment may hold open ones only, or the release changed.
	for _, cve := range gone(before, after) {
		c.Closed = append(c.Closed, Changed{Finding: Finding{CVE: cve, Verdict: Fixed}, Before: before.Verdicts[cve], Why: "it is no longer among the open findings"})
	}
	return c
}

func gone(before, after Snapshot) (cves []string) {
	for cve, v := range before.Verdicts {
		if _, still := after.Verdicts[cve]; !still && openVerdict(v) {
			cves = append(cves, cve)
		}
	}
	slices.SortFunc(cves, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	return cves
}

func whyNew(before Snapshot, now *Assessment, c *Change, f *Finding, known bool) string {
	switch {
	case len(c.Removed) > 0:
		return "updates were removed: " + kbList(c.Removed)
	case known:
		return "it was " + before.Verdicts[f.CVE].String() + " before; the evidence tells more now"
	}
	for _, src := range now.Sources {
		if old, ok := before.Sources[src.ID]; ok && src.ID == catalog.SourceUpdates && src.Last > old {
			return "published, or recorded for this release, since the update data of " + old.String()
		}
	}
	if now.AsOf > before.AsOf {
		return "published between " + before.AsOf.String() + " and " + now.AsOf.String()
	}
	return "it was not among the open findings before"
}

func whyClosed(c *Change, f *Finding) string {
	switch {
	case len(c.Installed) > 0:
		return "installed since: " + kbList(c.Installed)
	case c.Build != [2]string{}:
		return "the build went from " + c.Build[0] + " to " + c.Build[1]
	}
	return "it is " + f.Verdict.String() + " now"
}

func kbList(kbs []winver.KB) string {
	names := make([]string, len(kbs))
	for i, kb := range kbs {
		names[i] = kb.String()
	}
	if len(names) > 5 {
		return strings.Join(names[:5], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// minus gives what a holds and b does not, ascending.
func minus(a, b []winver.KB) (out []winver.KB) {
	for _, kb := range a {
		if !slices.Contains(b, kb) {
			out = append(out, kb)
		}
	}
	slices.Sort(out)
	return out
}
