package explain

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

// update answers about a KB.
func (a *asker) update(q string) (bool, error) {
	kb, err := winver.ParseKB(q)
	if err != nil {
		return false, nil
	}
	return true, a.kb(kb)
}

// kb writes the answer about an update. It may come after sections already there.
func (a *asker) kb(kb winver.KB) error {
	f, err := tables()
	if err != nil {
		return err
	}
	a.Title = kb.String()
	parts, err := a.published(kb, f)
	if err != nil {
		return err
	}
	article, isArticle := f.articles[kb]
	other := a.otherRoles(kb)
	switch {
	case len(parts) > 0:
		a.titleOf(kb, parts)
		for _, p := range parts {
			a.section("For %s", strings.Join(p.releases, ", "))
			a.add(p.lines...)
		}
		a.uses(catalog.SourceUpdates, catalog.SourceMonthly, catalog.SourceHistory, catalog.SourceKEV, catalog.SourceFacts)
	case isArticle:
		a.Title += ": " + article.what
		a.section("What it is")
		a.add(Line{Text: "It is " + article.what, Confidence: article.confidence, Source: article.source})
		a.uses(catalog.SourceFacts)
	case len(other) > 0:
		a.Title += ": " + other[0].Text
		a.uses(catalog.SourceFacts)
	default:
		a.Title += " is not in the catalogue"
		a.unknown("No source names %s as an update for a Windows release covered here. That does not mean that there is no such update: drivers, other products and much without security content are not covered", kb)
		if a.Near, err = a.nearKBs(kb); err != nil {
			return err
		}
	}
	if len(other) > 0 {
		a.section("What it is for")
		a.add(other...)
	}
	if notes := f.notes[kb]; len(notes) > 0 {
		a.section("To know")
		a.add(notes...)
	}
	if files := f.files[kb]; len(files) > 0 {
		a.section("Files")
		for _, x := range files {
			said := x.name
			if x.sha256 != "" {
				said += ", " + x.size + " bytes, SHA-256 " + x.sha256
			}
			a.add(Line{Label: x.arch, Text: said, Confidence: x.confidence, Source: x.source})
		}
		a.say("", "A name proves nothing, and other revisions of the package have other digests: oldguard verify checks the file itself")
	}
	return nil
}

// part is what is said of an update for one or more releases.
type part struct {
	releases []string
	kind     string
	released catalog.Date
	lines    []Line
}

// published gives what the catalogue says of an update, releases with the same statements
// together. An update that came after the day asked about is still described.
func (a *asker) published(kb winver.KB, f *facts) (parts []part, err error) {
	for _, rel := range a.cat.Releases() {
		rec, err := a.cat.Records(rel.ID)
		if err != nil {
			return nil, err
		}
		u, ok := rec.Update(kb)
		if !ok {
			continue
		}
		p := part{[]string{rel.Name}, KindOf(rel, u), u.Released, nil}
		if p.lines, err = a.inRelease(rec, u, f); err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(parts, func(o part) bool { return slices.Equal(o.lines, p.lines) }); i >= 0 {
			parts[i].releases = append(parts[i].releases, rel.Name)
			continue
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (a *asker) titleOf(kb winver.KB, parts []part) {
	var releases []string
	for _, p := range parts {
		releases = append(releases, p.releases...)
	}
	where := strings.Join(releases, ", ")
	if len(releases) > 3 {
		where = fmt.Sprintf("%s and %d more releases", strings.Join(releases[:2], ", "), len(releases)-2)
	}
	a.Title = fmt.Sprintf("%s: %s for %s", kb, parts[0].kind, where)
	if d := parts[0].released; d != 0 {
		a.Title += ", " + d.String()
	}
}

// KindOf says in words what an update is.
func KindOf(rel *catalog.Release, u *catalog.Update) string {
	switch u.Stream {
	case catalog.Cumulative:
		switch {
		case rel.Always:
			return "cumulative update"
		case u.HasCVE:
			return "monthly rollup"
		}
		return "preview of a monthly rollup"
	case catalog.SecurityOnly:
		return "security-only update"
	case catalog.IE:
		return "cumulative update for Internet Explorer"
	case catalog.DotNet:
		return "update for the .NET Framework"
	case catalog.Flash:
		return "update for Adobe Flash Player"
	case catalog.ServicingStack:
		return "servicing stack update"
	case catalog.SHA2:
		return "SHA-2 code signing support"
	case catalog.Other:
	}
	if u.HasCVE {
		return "single security fix"
	}
	return "update without a recorded vulnerability"
}

// containment says per stream what a member contains.
var containment = map[catalog.Stream]string{
	catalog.Cumulative:     "It contains every earlier one of its kind, and from the start of the rollup model the security-only updates, Internet Explorer updates and single fixes up to its day",
	catalog.SecurityOnly:   "It contains itself alone: not the security-only updates of earlier months",
	catalog.IE:             "It contains every earlier one of its kind",
	catalog.Flash:          "It contains every earlier one of its kind",
	catalog.ServicingStack: "It replaces every earlier servicing stack, is in no rollup, and cannot be removed",
	catalog.SHA2:           "No rollup contains it",
	catalog.DotNet:         "Rollups of Windows do not contain it; which .NET Framework it is for decides whether it applies",
}

// sureness says how a date is known.
var sureness = map[catalog.Sureness]string{
	catalog.Undated:  "not before this day: its place in the chain is known, its day is not",
	catalog.Bounded:  "not after this day, which is that of the next in the chain",
	catalog.MonthOf:  "the month is known; the day is its Patch Tuesday",
	catalog.DayKnown: "the feeds agree on the day",
}

// nearly says in a word before the date what sureness says in a sentence.
var nearly = map[catalog.Sureness]string{catalog.Undated: "not before ", catalog.Bounded: "by "}

func confidenceOf(s catalog.Sureness) string {
	if s == catalog.DayKnown {
		return ""
	}
	return "inferred"
}

// inRelease gives the statements about an update of one release.
func (a *asker) inRelease(rec *catalog.Records, u *catalog.Update, f *facts) (lines []Line, err error) {
	rel := rec.Release
	say := func(label, format string, args ...any) {
		lines = append(lines, Line{Label: label, Text: fmt.Sprintf(format, args...)})
	}
	kind := Line{Label: "kind", Text: KindOf(rel, u)}
	if c := containment[u.Stream]; c != "" {
		kind.Text += ". " + c
	}
	if c, ok := f.servicing[u.KB]; ok && slices.Contains(strings.Split(c.release, ","), rel.ID) {
		kind.Confidence, kind.Source = c.confidence, c.source
	}
	lines = append(lines, kind)
	say("architectures", "%s", strings.Join(archesOf(u.Arches, rel), ", "))
	switch u.Released {
	case 0:
		lines = append(lines, Line{Label: "released", Text: "the day is not known", Confidence: "unknown"})
	default:
		lines = append(lines, Line{Label: "released", Text: u.Released.String() + ", " + sureness[u.Sure], Confidence: confidenceOf(u.Sure)})
	}
	if u.Released > a.on {
		say("", "That is after %s, the day asked about", a.on)
	}
	if u.Build.Known() {
		c := f.revisions[u.KB]
		if c.release != rel.ID {
			c = credit{}
		}
		lines = append(lines, Line{Label: "leads to build", Text: u.Build.String(), Confidence: c.confidence, Source: c.source})
	}
	lines = append(lines, contained(rec, u)...)
	if len(u.Supersedes) > 0 {
		caveat := ""
		if u.Stream == catalog.SecurityOnly {
			caveat = ", by the feeds: it does not contain the rollups among them"
		}
		say("supersedes", "%s%s", names(u.Supersedes, 12), caveat)
	}
	lines = append(lines, a.needs(rec, u)...)
	fixed, err := a.fixed(rec, u)
	if err != nil {
		return nil, err
	}
	lines = append(lines, fixed...)
	for _, t := range f.traps[u.KB] {
		if t.releases == "*" || slices.Contains(strings.Split(t.releases, ","), rel.ID) {
			lines = append(lines, Line{Label: "trap", Text: trapText[t.rule] + ": " + t.why, Confidence: "documented", Source: "oldguard's table of exceptions, found by comparing the rules with real machines", Conflict: t.rule == "foreign"})
		}
	}
	return lines, nil
}

var trapText = map[string]string{
	"not-cumulative":  "It looks like a member of the rollup chain and is none",
	"not-in-rollup":   "No rollup contains it",
	"next-rollup":     "The rollup of the same month does not contain it",
	"servicing-stack": "It is a servicing stack update that no feed types as one",
	"foreign":         "It stands among this release's rows and is another release's",
}

// archesOf names a set of architectures.
func archesOf(s catalog.ArchSet, rel *catalog.Release) (out []string) {
	for _, arch := range []winver.Arch{winver.X86, winver.AMD64, winver.IA64, winver.ARM, winver.ARM64} {
		if s.Has(arch) && (rel == nil || slices.Contains(rel.Arches, arch.String())) {
			out = append(out, arch.String())
		}
	}
	if len(out) == 0 {
		return []string{"not known"}
	}
	return out
}

// with gives how the updates of a release stand on a machine that has u alone.
func with(rec *catalog.Records, u *catalog.Update) *infer.Standing {
	var h host.Host
	h.Updates.Add(u.KB, host.Source{})
	return infer.Stand(&h, rec)
}

// contained says what an update contains, and the next and the newest that contain it.
func contained(rec *catalog.Records, u *catalog.Update) (lines []Line) {
	say := func(label, format string, args ...any) {
		lines = append(lines, Line{Label: label, Text: fmt.Sprintf(format, args...)})
	}
	st := with(rec, u)
	count := map[string]int{}
	var kinds []string
	for i := range rec.Updates {
		if st.State[i] == infer.Contained {
			k := KindOf(rec.Release, &rec.Updates[i])
			if count[k]++; count[k] == 1 {
				kinds = append(kinds, k)
			}
		}
	}
	if len(kinds) > 0 {
		slices.SortFunc(kinds, func(x, y string) int { return cmp.Or(count[y]-count[x], strings.Compare(x, y)) })
		for i, k := range kinds {
			kinds[i] = fmt.Sprintf("%d × %s", count[k], k)
		}
		say("contains", "%s", strings.Join(kinds, ", "))
	}
	switch first, last := holdersOf(rec, u); first {
	case nil:
		say("contained in", "nothing that is known")
	case last:
		say("contained in", "%s", dated(rec.Release, first))
	default:
		say("contained in", "%s; the newest is %s", dated(rec.Release, first), dated(rec.Release, last))
	}
	return lines
}

// holdersOf gives the first and the newest update that contain u, nil if none does: among
// the later members of its stream, and rollups.
func holdersOf(rec *catalog.Records, u *catalog.Update) (first, last *catalog.Update) {
	at := slices.IndexFunc(rec.Updates, func(v catalog.Update) bool { return v.KB == u.KB })
	var later []*catalog.Update
	for i := range rec.Updates {
		v := &rec.Updates[i]
		if v.KB != u.KB && v.Arches&u.Arches != 0 && (v.Stream == catalog.Cumulative || v.Stream == u.Stream) && v.Released >= u.Released {
			later = append(later, v)
		}
	}
	slices.SortFunc(later, func(x, y *catalog.Update) int {
		return cmp.Or(cmp.Compare(x.Released, y.Released), cmp.Compare(x.Pos, y.Pos), cmp.Compare(x.KB, y.KB))
	})
	holds := func(v *catalog.Update) bool { return with(rec, v).State[at] == infer.Contained }
	i := slices.IndexFunc(later, holds)
	if i < 0 {
		return nil, nil
	}
	for j := len(later) - 1; j > i; j-- {
		if holds(later[j]) {
			return later[i], later[j]
		}
	}
	return later[i], later[i]
}

func dated(rel *catalog.Release, u *catalog.Update) string {
	s := u.KB.String() + " (" + KindOf(rel, u)
	if u.Released != 0 {
		s += ", " + nearly[u.Sure] + u.Released.String()
	}
	return s + ")"
}

// fixed says which vulnerabilities rows of this very update fix.
func (a *asker) fixed(rec *catalog.Records, u *catalog.Update) (lines []Line, err error) {
	cves, err := a.cat.CVEs()
	if err != nil {
		return nil, err
	}
	var own []*catalog.CVE
	for i := range rec.Fixes { // by CVE
		x := &rec.Fixes[i]
		if rec.Updates[x.Update].KB != u.KB || int(x.CVE) >= len(cves) {
			continue
		}
		if v := &cves[x.CVE]; len(own) == 0 || own[len(own)-1] != v {
			own = append(own, v)
		}
	}
	if len(own) == 0 {
		lines = append(lines, Line{Label: "fixes", Text: "no vulnerability that a feed ties to it for this release"})
		return lines, nil
	}
	var exploited []string
	ransom := 0
	for _, v := range own {
		if v.KEV != 0 && v.KEV <= a.on {
			exploited = append(exploited, v.ID)
		}
		if v.KEV != 0 && v.KEV <= a.on && v.Ransomware {
			ransom++
		}
	}
	said := plural(len(own), "vulnerability", "vulnerabilities") + " by rows of its own"
	if u.Stream == catalog.Cumulative {
		said += ", and those of what it contains"
	}
	lines = append(lines, Line{Label: "fixes", Text: said})
	if n := len(exploited); n > 0 {
		list := strings.Join(exploited[:min(n, 10)], ", ")
		if n > 10 {
			list += fmt.Sprintf(" and %d more", n-10)
		}
		said = fmt.Sprintf("%d of them known to be exploited: %s", n, list)
		if ransom > 0 {
			said += fmt.Sprintf("; %d in ransomware campaigns", ransom)
		}
		lines = append(lines, Line{Label: "exploited", Text: said})
	} else {
		lines = append(lines, Line{Label: "exploited", Text: "none of them on the list of exploited vulnerabilities, which ends " + a.until(catalog.SourceKEV)})
	}
	return lines, nil
}

// sha2Only is the day from which updates for 6.0 and 6.1 are signed with SHA-2 alone:
// "July 2019 or later", https://support.microsoft.com/help/4472027.
const sha2Only = "2019-07-09"

// needs says what an update requires.
func (a *asker) needs(rec *catalog.Records, u *catalog.Update) (lines []Line) {
	rel := rec.Release
	add := func(confidence, source, format string, args ...any) {
		lines = append(lines, Line{Label: "needs", Text: fmt.Sprintf(format, args...), Confidence: confidence, Source: source})
	}
	since, _ := catalog.ParseDate(sha2Only)
	if sha2 := newest(rec, catalog.SHA2, 0); sha2 != nil && u.KB != sha2.KB && u.Released >= since && u.Released != 0 {
		add("documented", "https://support.microsoft.com/help/4472027", "SHA-2 support, %s, and a servicing stack that reads it: it is signed with SHA-2 alone", sha2.KB)
	}
	if !rel.Always && (u.Stream == catalog.Cumulative || u.Stream == catalog.SecurityOnly) && u.Released != 0 {
		if s := newest(rec, catalog.ServicingStack, u.Released); s != nil {
			add("inferred", "", "the servicing stack %s, the newest known not later than it", s.KB)
		}
	}
	end := extended(rel)
	if end == 0 || u.Released <= end || u.Stream == catalog.ServicingStack || u.Stream == catalog.SHA2 {
		return lines
	}
	for _, p := range rel.Programmes {
		if (p.From == 0 || u.Released >= p.From) && (p.Until == 0 || u.Released <= p.Until) {
			add(p.Confidence, p.Source, "%s (%s to %s): it came after support ended on %s. That it is installed does not prove a licence", p.Name, p.From, orOpen(p.Until), end)
		}
	}
	if len(rel.Licensing) > 0 && len(lines) > 0 {
		l := rel.Licensing[len(rel.Licensing)-1]
		add(l.Confidence, l.Source, "for an ESU key: the licensing preparation package, newest known %s (%s)", l.KB, l.Released)
	}
	return lines
}

func orOpen(d catalog.Date) string {
	if d == 0 {
		return "an end not known"
	}
	return d.String()
}

// newest gives the last member of a stream published by the day, nil if there is none.
// Day 0 is any day.
func newest(rec *catalog.Records, stream catalog.Stream, by catalog.Date) (best *catalog.Update) {
	for i := range rec.Updates {
		u := &rec.Updates[i]
		if u.Stream == stream && (by == 0 || u.Released != 0 && u.Released <= by) && (best == nil || u.Pos > best.Pos) {
			best = u
		}
	}
	return best
}

// extended is the last day of support of the editions that no row names.
func extended(rel *catalog.Release) catalog.Date {
	for _, l := range rel.Lifecycles {
		if len(l.Editions) == 0 {
			return l.Extended
		}
	}
	return 0
}

// otherRoles says what an update is for where it is no fix: ESU licensing, a component.
func (a *asker) otherRoles(kb winver.KB) (lines []Line) {
	add := func(l Line) {
		if !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	for _, rel := range a.cat.Releases() {
		for i, l := range rel.Licensing {
			if l.KB != kb {
				continue
			}
			after := "; the newest known"
			if i+1 < len(rel.Licensing) {
				after = "; followed by " + rel.Licensing[i+1].KB.String()
			}
			add(Line{Text: "ESU licensing preparation package for " + rel.Name + ", " + l.Released + after, Confidence: l.Confidence, Source: l.Source})
		}
		for _, c := range rel.Components {
			if c.Package == kb {
				add(Line{Text: "brings " + c.Name + " to " + rel.Name, Source: c.Source})
			}
		}
	}
	return lines
}

// nearKBs lists known updates whose numbers differ in one digit, or in two neighbours
// changed over: slips of the hand.
func (a *asker) nearKBs(kb winver.KB) (out []string, err error) {
	want := kb.String()
	found := map[winver.KB]bool{}
	for _, rel := range a.cat.Releases() {
		rec, err := a.cat.Records(rel.ID)
		if err != nil {
			return nil, err
		}
		for i := range rec.Updates {
			if k := rec.Updates[i].KB; slip(want, k.String()) {
				found[k] = true
			}
		}
	}
	for k := range found {
		out = append(out, k.String())
	}
	slices.Sort(out)
	return out[:min(len(out), 8)], nil
}

// slip reports whether b is a with one character changed, left out or put in, or with two
// neighbours changed over.
func slip(a, b string) bool {
	switch len(a) - len(b) {
	case 0:
		i := 0
		for i < len(a) && a[i] == b[i] {
			i++
		}
		if i == len(a) {
			return false
		}
		if a[i+1:] == b[i+1:] {
			return true
		}
		return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		for i := range a {
			if a[:i]+a[i+1:] == b {
				return true
			}
		}
	case -1:
		return slip(b, a)
	}
	return false
}
