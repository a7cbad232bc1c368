package explain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
)

var cveForm = regexp.MustCompile(`(?i)^CVE[-_ ]?(\d{4})[-_ ](\d{4,7})$`)

// focus is the release this program is about: a vulnerability that is recorded for its
// relatives and not for it gets a warning of its own.
const focus = "windows-server-2008-sp2"

// relatives share most of the focus's code: what is recorded for them probably concerns it.
var relatives = []string{"windows-vista-sp2", "windows-7-sp1", "windows-server-2008-r2-sp1"}

// cve answers about a vulnerability.
func (a *asker) cve(q string) (bool, error) {
	m := cveForm.FindStringSubmatch(q)
	if m == nil {
		return false, nil
	}
	id := "CVE-" + m[1] + "-" + m[2]
	cves, err := a.cat.CVEs()
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(cves, func(v catalog.CVE) bool { return v.ID == id })
	if i < 0 {
		a.Title = id + " is not in the catalogue"
		a.unknown("No record ties an update for a Windows release covered here to %s. A missing record is not \"not affected\": it may be about another product, newer than the data, or nobody looked", id)
		return true, nil
	}
	v := &cves[i]
	a.Title = id
	if v.Area != "" {
		a.Title += ": " + v.Area
	}
	a.uses(catalog.SourceUpdates, catalog.SourceMonthly, catalog.SourceKEV)
	a.about(v)
	return true, a.recorded(uint32(i), v) // #nosec G115 -- an index of a table of some ten thousand
}

// about says what is known of a vulnerability whatever the release.
func (a *asker) about(v *catalog.CVE) {
	a.section("What it is")
	if v.Area != "" {
		a.say("part", "%s", v.Area)
	}
	if v.First != 0 {
		a.say("published", "%s is the earliest day a feed shows for it", v.First)
		if v.First > a.on {
			a.say("", "That is after %s, the day asked about", a.on)
		}
	}
	switch {
	case v.Score > 0 && v.Vector != "":
		a.say("CVSS", "%.1f, %s", v.Score, v.Vector)
	case v.Score > 0:
		a.say("CVSS", "%.1f", v.Score)
	default:
		a.say("CVSS", "no score in the feeds")
	}
	kev, _ := a.cat.Source(catalog.SourceKEV)
	switch {
	case v.KEV != 0 && v.KEV <= a.on && v.Ransomware:
		a.say("exploited", "yes, on CISA's list since %s, and used in ransomware campaigns", v.KEV)
	case v.KEV != 0 && v.KEV <= a.on:
		a.say("exploited", "yes, on CISA's list since %s", v.KEV)
	case v.KEV != 0:
		a.say("exploited", "not on CISA's list on %s; it entered it on %s", a.on, v.KEV)
	case v.First > kev.Last:
		a.say("exploited", "not known: it was published after the list held here ends (%s)", kev.Last)
	default:
		a.say("exploited", "not on CISA's list, known until %s", kev.Last)
	}
}

// recorded lists the fixes per release, and warns where a record is missing.
func (a *asker) recorded(index uint32, v *catalog.CVE) error {
	a.section("Fixed by")
	found := map[string]catalog.ArchSet{}
	windows := false
	for _, rel := range a.cat.Releases() {
		rec, err := a.cat.Records(rel.ID)
		if err != nil {
			return err
		}
		lo, _ := slices.BinarySearchFunc(rec.Fixes, index, func(f catalog.Fix, i uint32) int { return int(int64(f.CVE) - int64(i)) })
		fixes := rec.Fixes[lo:]
		n := 0
		for n < len(fixes) && fixes[n].CVE == index {
			n++
		}
		if fixes = fixes[:n]; n == 0 {
			continue
		}
		for _, l := range a.fixesIn(rec, fixes) {
			a.add(l)
		}
		for _, x := range fixes {
			found[rel.ID] |= x.On
			windows = windows || x.Component == 0
		}
	}
	if len(found) == 0 {
		a.say("", "no update for a release covered here")
	}
	a.missing(v, found, windows)
	return nil
}

// fixesIn gives a release's fixes, one line for each component.
func (a *asker) fixesIn(rec *catalog.Records, fixes []catalog.Fix) (lines []Line) {
	var components []uint16
	for _, x := range fixes {
		if !slices.Contains(components, x.Component) {
			components = append(components, x.Component)
		}
	}
	for _, c := range components {
		var said []string
		var on catalog.ArchSet
		severity, impact := catalog.SeverityNone, catalog.Impact(0)
		for _, x := range fixes {
			if x.Component != c {
				continue
			}
			on |= x.On
			severity, impact = max(severity, x.Severity), max(impact, x.Impact)
			if s := dated(rec.Release, &rec.Updates[x.Update]); !slices.Contains(said, s) {
				said = append(said, s)
			}
		}
		const most = 6
		if len(said) > most {
			said = append(said[:most], fmt.Sprintf("and %d more", len(said)-most))
		}
		text := ""
		if name := a.cat.Component(c); name != "" {
			text = name + ": "
		}
		text += strings.Join(said, ", ") + "; on " + strings.Join(archesOf(on, rec.Release), ", ")
		if on&catalog.OnCore != 0 && on&catalog.OnFull == 0 {
			text += " (recorded for Server Core only)"
		}
		for _, w := range []string{severity.String(), impact.String()} {
			if w != "" {
				text += "; " + w
			}
		}
		lines = append(lines, Line{Label: strings.TrimPrefix(rec.Release.Name, "Windows "), Text: text})
	}
	return lines
}

// missing says where a record is missing although one might be expected.
func (a *asker) missing(v *catalog.CVE, found map[string]catalog.ArchSet, windows bool) {
	rel, err := a.cat.Release(focus)
	if err != nil || !windows {
		return // a catalogue without it, or a vulnerability of a component that has updates of its own
	}
	warn := func(format string, args ...any) {
		if a.Sections[len(a.Sections)-1].Heading != "What is not recorded" {
			a.section("What is not recorded")
		}
		a.add(Line{Text: fmt.Sprintf(format, args...), Confidence: "unknown"})
	}
	last := catalog.Date(0)
	for _, d := range rel.LastByArch {
		last = max(last, d)
	}
	on, ok := found[focus]
	var kin []string
	for _, id := range relatives {
		if r, err := a.cat.Release(id); err == nil && found[id] != 0 {
			kin = append(kin, r.Name)
		}
	}
	switch {
	case !ok && v.First > last:
		warn("No record names %s: no update was published for it after %s, so none could. It may well be affected, and nothing will ever say", rel.Name, last)
	case !ok && len(kin) > 0:
		warn("No record names %s, though there are records for %s, whose code is much the same. A missing record is not \"not affected\"", rel.Name, strings.Join(kin, " and "))
	case !ok:
		warn("No record names %s. A missing record is not \"not affected\"; here it may just be that the part does not exist in 6.0", rel.Name)
	}
	for _, name := range rel.Arches {
		if !ok || slices.Contains(archesOf(on, rel), name) {
			continue
		}
		warn("No record names %s for %s, for which the last update came on %s", rel.Name, name, orNever(rel.LastByArch[name]))
	}
}

func orNever(d catalog.Date) string {
	if d == 0 {
		return "no known day"
	}
	return d.String()
}
