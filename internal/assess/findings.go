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

// findings gives a verdict on every CVE that a record ties to this release and
// architecture by the day. A CVE can concern several components (Windows itself, Internet
// Explorer 9, .NET Framework): the worst verdict stands, and names its component.
func (x *assessor) findings() {
	x.explain()
	x.components = make([]presence, x.cat.Components())
	cves := 0
	for i := range x.rec.Fixes {
		if i == 0 || x.rec.Fixes[i].CVE != x.rec.Fixes[i-1].CVE {
			cves++
		}
	}
	x.Findings = make([]Finding, 0, cves)
	fixes := x.rec.Fixes // by CVE
	for len(fixes) > 0 {
		n := 1
		for n < len(fixes) && fixes[n].CVE == fixes[0].CVE {
			n++
		}
		if int(fixes[0].CVE) < len(x.cves) {
			x.finding(&x.cves[fixes[0].CVE], fixes[:n])
		}
		fixes = fixes[n:]
	}
}

// sortFindings sorts small keys and moves each finding once: a finding is large.
func (x *assessor) sortFindings() {
	type key struct {
		order uint64
		at    int
	}
	keys := make([]key, len(x.Findings))
	for i := range x.Findings {
		keys[i] = key{x.Findings[i].order, i}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(b.order, a.order) })
	sorted := make([]Finding, len(keys))
	for i, k := range keys {
		sorted[i] = x.Findings[k.at]
	}
	x.Findings = sorted
}

// order sorts findings: open before closed, exploited before others, then by severity,
// score and CVE. seq is the finding's place among the CVEs in order.
func order(f *Finding, seq int) uint64 {
	urgency := [...]uint64{Unknown: 3, NotAffected: 0, Fixed: 0, Affected: 6, Unfixable: 6}[f.Verdict]
	if f.KEV == host.Yes {
		urgency++
		if f.Ransomware {
			urgency++
		}
	}
	return urgency<<60 | uint64(f.Severity)<<56 | uint64(f.Score*10)<<40 | uint64(1<<40-1-seq) // #nosec G115 -- none is negative
}

// rank orders verdicts from harmless to bad: the worst of a CVE's components stands.
var rank = [...]int{Unknown: 2, NotAffected: 0, Fixed: 1, Affected: 3, Unfixable: 4}

// partly is the verdict on one component of a CVE.
type partly struct {
	verdict   Verdict
	component uint16
	because   []host.Reason
}

func (x *assessor) finding(v *catalog.CVE, fixes []catalog.Fix) {
	var parts [8]partly // few CVEs concern more than three components
	found := parts[:0]
	elsewhere := false
	for i := range fixes {
		f := &fixes[i]
		if f.On&x.bit == 0 {
			elsewhere = true
			continue
		}
		if u := &x.rec.Updates[f.Update]; u.Released > x.AsOf {
			continue
		}
		if !slices.ContainsFunc(found, func(p partly) bool { return p.component == f.Component }) {
			found = append(found, partly{component: f.Component})
		}
	}
	if len(found) == 0 {
		if elsewhere {
			x.elsewhere(v, fixes)
		}
		return
	}
	worst := 0
	for i := range found {
		x.part(&found[i], fixes)
		if rank[found[i].verdict] > rank[found[worst].verdict] {
			worst = i
		}
	}
	p := found[worst]
	x.count(p.verdict)
	if x.policy.OnlyOpen && (p.verdict == Fixed || p.verdict == NotAffected) {
		return
	}
	out := x.describe(v, p.verdict)
	out.Because = p.because
	if name := x.cat.Component(p.component); name != "" {
		out.Component = name
	}
	for i := range fixes {
		f := &fixes[i]
		u := &x.rec.Updates[f.Update]
		if f.On&x.bit == 0 || f.Component != p.component || u.Released > x.AsOf {
			continue
		}
		out.Severity, out.Impact = max(out.Severity, f.Severity), cmp.Or(out.Impact, f.Impact)
		if !slices.Contains(out.Fixes, u.KB) {
			out.Fixes = append(out.Fixes, u.KB)
		}
		if out.First == 0 || u.Released != 0 && u.Released < out.First {
			out.First = u.Released
		}
		if p.verdict == Affected && out.Needs == nil {
			out.Needs = x.why[f.Update].esu
		}
	}
	x.add(&out)
}

// describe fills in what is known of a CVE whatever the machine.
func (x *assessor) describe(v *catalog.CVE, verdict Verdict) Finding {
	out := Finding{CVE: v.ID, Verdict: verdict, Component: v.Area, Score: v.Score, Vector: v.Vector, KEV: host.No}
	switch {
	case v.KEV != 0 && v.KEV <= x.AsOf:
		out.KEV, out.KEVSince, out.Ransomware = host.Yes, v.KEV, v.Ransomware
	case v.First > x.kevTo:
		out.KEV = host.Unknown // published after the list ends
	}
	return out
}

// elsewhere handles a CVE that is recorded for this release on another architecture only.
// A missing record is not "not affected": after the last update for this architecture it
// may just mean that nobody looked any more.
func (x *assessor) elsewhere(v *catalog.CVE, fixes []catalog.Fix) {
	last, ok := x.rec.Release.LastByArch[x.arch.String()]
	if !ok || v.First <= last || last >= lastOf(x.rec.Release) {
		return
	}
	f := &fixes[0]
	u := &x.rec.Updates[f.Update]
	if u.Released > x.AsOf || f.Component != 0 {
		return
	}
	x.count(Unknown)
	out := x.describe(v, Unknown)
	out.Severity, out.Impact = f.Severity, f.Impact
	out.Because = []host.Reason{{Text: fmt.Sprintf(
		"fixed on other architectures by %s; nothing was published for %s after %s, so no record says whether it is affected", x.name(u.KB), x.arch, last)}}
	x.add(&out)
}

// part decides one component of a CVE.
func (x *assessor) part(p *partly, fixes []catalog.Fix) {
	there := x.there(p.component)
	if there.is == host.No {
		p.verdict, p.because = NotAffected, there.why
		return
	}
	force, absent, open := -1, -1, -1 // a fix in force, one proven absent, an undecided one
	on, days := catalog.ArchSet(0), 0
	// mayBe: a fix that decides may be there after all, or one that may have replaced the
	// single fix whose package is known to be idle.
	mayBe, single := false, true
	var day catalog.Date
	for i := range fixes {
		f := &fixes[i]
		u := &x.rec.Updates[f.Update]
		if f.Component != p.component || f.On&x.bit == 0 || u.Released > x.AsOf {
			continue
		}
		on |= f.On
		if u.Released != day {
			day, days = u.Released, days+1
		}
		j := int(f.Update)
		switch {
		case x.st.InForce(j):
			if force < 0 || x.st.State[j] == infer.Present {
				force = j
			}
		case x.st.State[j] == infer.Absent && x.why[j].group == "":
			absent = j
			single = single && u.Stream == catalog.Other
		default:
			open = j
			mayBe = mayBe || x.why[j].group == ""
		}
	}
	if absent >= 0 && open >= 0 && (mayBe || single) {
		absent = -1
	}
	switch {
	case force >= 0 && days > 1:
		p.verdict, p.because = Fixed, x.inForce(force, true)
	case force >= 0:
		p.verdict, p.because = Fixed, x.inForce(force, false)
	case absent >= 0 && there.is == host.Unknown:
		p.because = there.why
	case absent >= 0 && x.core == host.Yes && on&catalog.OnCore == 0:
		p.because = whyFullOnly
	case absent >= 0:
		p.verdict, p.because = Affected, x.notInForce(absent)
	case open >= 0:
		p.because = x.notInForce(open)
	}
}

var whyFullOnly = []host.Reason{{Text: "Microsoft lists it for the full installation only, and this is Server Core"}}

// why holds what is said of an update in the reasons of findings, each once it is asked
// for: thousands of findings share a few hundred updates.
type why struct {
	// group is why its absence from a whole list does not mean that its fix is absent,
	// empty where it does: see assessor.group.
	group                string
	force, several, open []host.Reason
	esu                  []Need
}

// explain prepares why, for every update.
func (x *assessor) explain() {
	x.why = make([]why, len(x.rec.Updates))
	for i := range x.why {
		w, u := &x.why[i], &x.rec.Updates[i]
		w.group = x.group(u)
		if n, ok := x.esuNeed(u); ok {
			w.esu = []Need{n}
		}
	}
}

func (x *assessor) inForce(i int, several bool) []host.Reason {
	r := &x.why[i].force
	if several {
		r = &x.why[i].several
	}
	if *r == nil {
		*r = []host.Reason{x.whyForce(i, several)}
	}
	return *r
}

func (x *assessor) notInForce(i int) []host.Reason {
	w := &x.why[i]
	if w.open == nil {
		w.open = []host.Reason{x.whyOpen(i, w.group)}
	}
	return w.open
}

func (x *assessor) whyForce(i int, several bool) host.Reason {
	u := &x.rec.Updates[i]
	suffix := ""
	if several {
		suffix = " (one of several fixes present; they have different dates)"
	}
	if x.st.State[i] == infer.Contained {
		return host.Reason{Text: x.name(u.KB) + " fixes it and is contained in " + x.name(x.st.By[i]) + suffix, From: x.Host.Updates.Sources(x.st.By[i])}
	}
	if x.st.ByRevision && x.Host.Updates.Sources(u.KB) == nil {
		return host.Reason{Text: fmt.Sprintf("the machine is at %s, which %s leads to%s", x.Build, x.name(u.KB), suffix), From: sourcesOf(x.Host.Build)}
	}
	return host.Reason{Text: x.name(u.KB) + " is installed" + suffix, From: x.Host.Updates.Sources(u.KB)}
}

// whyOpen says why update i is not in force, or why nothing can be told about it.
func (x *assessor) whyOpen(i int, group string) host.Reason {
	u := &x.rec.Updates[i]
	switch group {
	case groupDotNet:
		return host.Reason{Text: "no evidence tells which .NET Framework versions are installed and at which level"}
	case groupOlder:
		return host.Reason{Text: x.name(u.KB) + " is older than the rollup model and is not listed; a later single fix may have replaced it"}
	case groupStandAlone:
		return host.Reason{Text: x.name(u.KB) + " stands alone: a list does not tell whether something else brought it"}
	case groupFlash:
		return host.Reason{Text: "no evidence tells whether Adobe Flash Player is there"}
	case groupIE:
		return host.Reason{Text: "no evidence tells which Internet Explorer is there"}
	}
	return x.whyAbsent(i)
}

// presence is whether a component is on the machine, and why.
type presence struct {
	known bool // worked out already
	is    host.Tri
	why   []host.Reason
}

// there tells whether a component of a CVE is on the machine.
func (x *assessor) there(i uint16) *presence {
	p := &x.components[i]
	if !p.known {
		is, why := x.component(i)
		*p = presence{true, is, []host.Reason{why}}
	}
	return p
}

func (x *assessor) component(i uint16) (host.Tri, host.Reason) {
	name := x.cat.Component(i)
	if name == "" {
		return host.Yes, host.Reason{}
	}
	if strings.HasPrefix(name, "Internet Explorer") && x.core == host.Yes {
		return host.No, host.Reason{Text: "Server Core has no Internet Explorer", From: sourcesOf(x.Host.Installation)}
	}
	if is, why := x.explorer(name); is != host.Unknown {
		return is, why
	}
	for _, c := range x.rec.Release.Components {
		if c.Name != name {
			continue
		}
		if c.Package == 0 {
			return host.Yes, host.Reason{}
		}
		switch x.Host.Updates.Has(c.Package) {
		case host.Yes:
			return host.Yes, host.Reason{Text: name + " is installed (" + c.Package.String() + ")", From: x.Host.Updates.Sources(c.Package)}
		case host.No:
			return host.No, host.Reason{Text: name + " is not installed: " + c.Package.String() + " is not in the list, which is whole: " + x.st.Whole.Why, From: []host.Source{x.st.Whole.From}}
		case host.Unknown:
			return host.Unknown, host.Reason{Text: "no evidence tells whether " + name + " (" + c.Package.String() + ") is installed"}
		}
	}
	return host.Unknown, host.Reason{Text: "no evidence tells whether " + name + " is installed"}
}

// explorer tells from the version that the registry states whether a component is the
// Internet Explorer of the machine: there is one version of it at a time.
func (x *assessor) explorer(component string) (host.Tri, host.Reason) {
	number, ok := strings.CutPrefix(strings.TrimPrefix(component, "Microsoft "), "Internet Explorer ")
	if !ok {
		return host.Unknown, host.Reason{}
	}
	number, _, _ = strings.Cut(number, " ")
	for _, p := range x.Host.Programs {
		if p.Name != "Internet Explorer" || p.Version == "" {
			continue
		}
		major, _, _ := strings.Cut(p.Version, ".")
		why := host.Reason{Text: "Internet Explorer is at version " + p.Version, From: []host.Source{p.From}}
		if major == number {
			return host.Yes, why
		}
		return host.No, why
	}
	return host.Unknown, host.Reason{}
}

func (x *assessor) count(v Verdict) {
	s := &x.Summary
	switch v {
	case Affected:
		s.Affected++
	case Unfixable:
		s.Unfixable++
	case Unknown:
		s.Unknown++
	case Fixed:
		s.Fixed++
	case NotAffected:
		s.NotAffected++
	}
}

// add files a finding and counts what is open and bad.
func (x *assessor) add(f *Finding) {
	f.order = order(f, len(x.Findings))
	x.tally(f)
	x.Findings = append(x.Findings, *f)
}

func (x *assessor) tally(f *Finding) {
	if f.Verdict != Affected && f.Verdict != Unfixable {
		return
	}
	if f.KEV == host.Yes {
		x.Summary.Exploited++
	}
	if f.Ransomware {
		x.Summary.Ransomware++
	}
	if f.Severity == catalog.Critical {
		x.Summary.CriticalAffected++
	}
}

// kbNames joins KB numbers for a sentence.
func kbNames(items []Item) string {
	names := make([]string, len(items))
	for i, it := range items {
		names[i] = winver.KB(it.KB).String()
	}
	return strings.Join(names, ", ")
}
