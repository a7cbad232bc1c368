package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/infer"
	"github.com/oldguard/oldguard/winver"
)

// Loss is what a machine had and has no more: an update was removed, a backup or a snapshot
// restored. What only the catalogue sees otherwise is none. It is kept until it is back. The
// zero value is that nothing was lost.
type Loss struct {
	At    time.Time    // something was lost last
	Build winver.Build // that it had; zero where it has it, or a later one
	CVEs  []string     // that were fixed and are not, by number, the latest first
	KBs   []winver.KB  // of updates that were in force and are not, ascending
}

// None tells whether nothing is lost.
func (l *Loss) None() bool { return !l.Build.Known() && len(l.CVEs)+len(l.KBs) == 0 }

func (l *Loss) same(m *Loss) bool {
	return l.At.Equal(m.At) && l.Build == m.Build && slices.Equal(l.CVEs, m.CVEs) && slices.Equal(l.KBs, m.KBs)
}

// namedLost is how many of what was lost are named.
const namedLost = 5

// String says what was lost, for people.
func (l *Loss) String() string {
	var parts []string
	if l.Build.Known() {
		parts = append(parts, "the build was "+l.Build.String())
	}
	if n := len(l.KBs); n > 0 {
		parts = append(parts, "not there any more: "+named(l.KBs, winver.KB.String))
	}
	if n := len(l.CVEs); n > 0 {
		parts = append(parts, "open again: "+named(l.CVEs, func(s string) string { return s }))
	}
	return strings.Join(parts, "; ")
}

func named[T any](list []T, name func(T) string) string {
	var words []string
	for _, v := range list[:min(namedLost, len(list))] {
		words = append(words, name(v))
	}
	if n := len(list) - namedLost; n > 0 {
		return strings.Join(words, ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(words, ", ")
}

// loss gives what a machine lost, by new evidence at a moment or before, and has not got
// back. Earlier is what its evidence said before, d what is different now.
func (u *inUse) loss(before *Placing, earlier *host.Host, as *assess.Assessment, d *assess.Change, cause Cause, now time.Time) (Loss, error) {
	rel := as.Identity.Release
	if d.Release != [2]string{} || rel == nil {
		return Loss{}, nil // it was upgraded, or installed again
	}
	var is, was *infer.Standing // where updates were lost
	if len(d.Removed)+len(before.Loss.KBs) > 0 {
		rec, err := u.Records(rel.ID)
		if err != nil {
			return Loss{}, err
		}
		is, was = infer.Stand(as.Host, rec), infer.Stand(earlier, rec)
	}
	l := before.Loss.left(as, is)
	if cause != CauseEvidence {
		return l, nil
	}
	var cves []string
	for i := range d.New {
		if c := &d.New[i]; c.Before == assess.Fixed && c.Finding.Verdict == assess.Affected {
			cves = append(cves, c.Finding.CVE)
		}
	}
	build := before.Host.Build
	if (len(cves) > 0 || lower(as.Build, build)) && (before.Host.Catalog != u.digest || before.Host.AsOf != as.AsOf) {
		// The catalogue or the day is another too. What the machine did is what differs from
		// its earlier evidence, judged in the same way.
		then := assess.Assess(earlier, u.Catalog, assess.Policy{}, as.AsOf.Time())
		build = then.Build
		verdicts := verdictsBy(then)
		cves = slices.DeleteFunc(cves, func(cve string) bool { return verdicts[cve] != assess.Fixed })
	}
	var kbs []winver.KB
	for _, kb := range d.Removed {
		if i, ok := indexOf(is, kb); ok && was.InForce(i) && is.State[i] == infer.Absent {
			kbs = append(kbs, kb)
		}
	}
	back := lower(as.Build, build)
	if !back && len(cves)+len(kbs) == 0 {
		return l, nil
	}
	l.At = now
	if back && !l.Build.AtLeast(build) {
		l.Build = build
	}
	l.CVEs = append(l.CVEs, cves...)
	slices.SortFunc(l.CVEs, latestCVE)
	l.CVEs = slices.Compact(l.CVEs)
	l.KBs = append(l.KBs, kbs...)
	slices.Sort(l.KBs)
	l.KBs = slices.Compact(l.KBs)
	return l, nil
}

// left gives what of a loss is not back. What cannot be told is not.
func (l *Loss) left(as *assess.Assessment, is *infer.Standing) Loss {
	out := Loss{At: l.At}
	if !as.Build.AtLeast(l.Build) {
		out.Build = l.Build
	}
	if len(l.CVEs) > 0 {
		verdicts := verdictsBy(as)
		for _, cve := range l.CVEs {
			if v, ok := verdicts[cve]; ok && v != assess.Fixed && v != assess.NotAffected {
				out.CVEs = append(out.CVEs, cve)
			}
		}
	}
	for _, kb := range l.KBs {
		if i, ok := indexOf(is, kb); ok && !is.InForce(i) {
			out.KBs = append(out.KBs, kb)
		}
	}
	if out.None() {
		return Loss{}
	}
	return out
}

// indexOf gives the place of an update among those of a release.
func indexOf(is *infer.Standing, kb winver.KB) (int, bool) {
	return slices.BinarySearchFunc(is.Records.Updates, kb, func(u catalog.Update, kb winver.KB) int { return cmp.Compare(u.KB, kb) })
}

func verdictsBy(as *assess.Assessment) map[string]assess.Verdict {
	m := make(map[string]assess.Verdict, len(as.Findings))
	for i := range as.Findings {
		m[as.Findings[i].CVE] = as.Findings[i].Verdict
	}
	return m
}

func latestCVE(a, b string) int {
	x, _ := CVENumber(a)
	y, _ := CVENumber(b)
	return cmp.Or(cmp.Compare(y, x), strings.Compare(a, b))
}

// lower tells whether a build is known to be lower than another. That a revision is not
// known any more is no step back.
func lower(is, was winver.Build) bool {
	if !is.Known() || !was.Known() || is.Base() == was.Base() && !is.HasRevision {
		return false
	}
	return is.Compare(was) < 0
}
