package explain

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
)

// release answers about a release, by its id or by words of its name.
func (a *asker) release(q string) (bool, error) {
	found := matching(a.cat, q)
	if len(found) == 0 {
		return false, nil
	}
	words := func(rel *catalog.Release) int { return len(wordsOf(rel.Name)) }
	if len(found) > 1 && words(found[0]) == words(found[1]) {
		var ids []string
		for _, rel := range found {
			ids = append(ids, rel.ID)
		}
		return false, &QuestionError{Query: q, Why: "more than one release", Near: ids}
	}
	rel := found[0]
	for _, other := range found[1:] {
		a.Near = append(a.Near, other.ID)
	}
	return true, a.describe(rel)
}

// matching gives the releases whose names hold every word of q, those with the fewest other
// words first.
func matching(c *catalog.Catalog, q string) (out []*catalog.Release) {
	want := wordsOf(q)
	if len(want) == 0 {
		return nil
	}
	for _, rel := range c.Releases() {
		if strings.EqualFold(rel.ID, q) {
			return []*catalog.Release{rel}
		}
		have := wordsOf(rel.Name)
		if !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(have, w) }) {
			out = append(out, rel)
		}
	}
	slices.SortStableFunc(out, func(x, y *catalog.Release) int {
		return cmp.Compare(len(wordsOf(x.Name)), len(wordsOf(y.Name)))
	})
	return out
}

// wordsOf cuts a name into the words that tell releases apart.
func wordsOf(name string) []string {
	name = strings.ToLower(name)
	for _, r := range []struct{ from, to string }{
		{"service pack ", "sp"}, {"®", ""}, {"™", ""}, {",", " "}, {"-", " "},
	} {
		name = strings.ReplaceAll(name, r.from, r.to)
	}
	return slices.DeleteFunc(strings.Fields(name), func(w string) bool {
		return w == "microsoft" || w == "windows" || w == "version"
	})
}

// nearReleases lists releases that share a word with what was not understood.
func nearReleases(c *catalog.Catalog, q string) (out []string) {
	want := wordsOf(q)
	for _, rel := range c.Releases() {
		have := wordsOf(rel.Name)
		if slices.ContainsFunc(want, func(w string) bool { return w != "server" && slices.Contains(have, w) }) {
			out = append(out, rel.ID)
		}
	}
	return out[:min(len(out), 5)]
}

func (a *asker) describe(rel *catalog.Release) error {
	rec, err := a.cat.Records(rel.ID)
	if err != nil {
		return err
	}
	cves, err := a.cat.CVEs()
	if err != nil {
		return err
	}
	a.snippet = rel.ID == focus
	a.Title = rel.Name + " (" + rel.ID + ")"
	a.section("What it is")
	a.say("builds", "%s", strings.Join(rel.BuildText, ", "))
	if len(rel.BuildText) > 1 {
		a.say("", "One product with more than one build number: explain %s tells why", lastNumber(rel.BuildText))
	}
	if rel.ServicePack > 0 {
		a.say("service pack", "%d", rel.ServicePack)
	}
	for _, arch := range rel.Arches {
		last := "no update is recorded for it"
		if d := rel.LastByArch[arch]; d != 0 {
			last = "last update recorded on " + d.String()
		}
		a.say("architecture", "%s, %s", arch, last)
	}
	switch {
	case rel.Always:
		a.say("updates", "every update is cumulative")
	case rel.RollupSince != 0:
		a.say("updates", "monthly rollups since %s; before, single fixes", rel.RollupSince.Time().Format("2006-01"))
	default:
		a.say("updates", "single fixes; there never was a rollup")
	}
	a.section("Support on %s", a.on)
	a.support(rel, "state")
	a.lifecycles(rel)
	a.programmes(rel)
	a.latest(rec)
	a.counts(rec, cves)
	a.uses(catalog.SourceUpdates, catalog.SourceHistory, catalog.SourceKEV, catalog.SourceFacts)
	return nil
}

func lastNumber(builds []string) string {
	b := builds[len(builds)-1]
	return b[strings.LastIndexByte(b, '.')+1:]
}

func (a *asker) lifecycles(rel *catalog.Release) {
	a.section("Lifecycle")
	for _, l := range rel.Lifecycles {
		label := "dates"
		if len(l.Editions) > 0 {
			label = strings.Join(l.Editions, ", ")
		}
		a.add(Line{
			Label: label, Confidence: l.Confidence, Source: l.Source,
			Text: "start " + orUnknown(l.Start) + ", mainstream support until " + orUnknown(l.Mainstream) + ", extended support until " + orUnknown(l.Extended),
		})
	}
}

func orUnknown(d catalog.Date) string {
	if d == 0 {
		return "not known"
	}
	return d.String()
}

func (a *asker) programmes(rel *catalog.Release) {
	if len(rel.Programmes) > 0 {
		a.section("Programmes after support")
	}
	for _, p := range rel.Programmes {
		state := "open"
		switch {
		case p.From != 0 && a.on < p.From:
			state = "not started"
		case p.Until != 0 && a.on > p.Until:
			state = "ended"
		}
		said := p.Name + ", " + orUnknown(p.From) + " to " + orOpen(p.Until) + ", " + strings.Join(p.Arches, ", ") + ": " + state
		if p.Eligibility != "" {
			said += ". For " + p.Eligibility
		}
		a.add(Line{Label: p.ID, Text: said, Confidence: p.Confidence, Source: p.Source})
	}
	if len(rel.Licensing) > 0 {
		a.section("ESU licensing preparation packages, in order")
	}
	for _, l := range rel.Licensing {
		a.add(Line{Label: l.KB.String(), Text: l.Released, Confidence: l.Confidence, Source: l.Source})
	}
	if len(rel.Activations) > 0 {
		a.section("ESU activation ids (they detect, they unlock nothing)")
	}
	for _, x := range rel.Activations {
		a.add(Line{Label: x.Programme, Text: x.ID, Confidence: x.Confidence, Source: x.Source})
	}
}

// latest names the newest update of each stream by the day.
func (a *asker) latest(rec *catalog.Records) {
	a.section("Newest updates on %s", a.on)
	begun := len(a.Sections[len(a.Sections)-1].Lines)
	for _, s := range []struct {
		stream catalog.Stream
		label  string
	}{
		{catalog.Cumulative, "cumulative"},
		{catalog.SecurityOnly, "security-only"},
		{catalog.ServicingStack, "servicing stack"},
		{catalog.SHA2, "SHA-2 support"},
		{catalog.IE, "IE"},
	} {
		var best *catalog.Update
		for i := range rec.Updates {
			u := &rec.Updates[i]
			if u.Stream == s.stream && u.Released != 0 && u.Released <= a.on && (best == nil || u.Released > best.Released || u.Released == best.Released && u.Pos > best.Pos) {
				best = u
			}
		}
		if best != nil {
			a.add(Line{Label: s.label, Text: dated(rec.Release, best), Confidence: confidenceOf(best.Sure)})
		}
	}
	if len(a.Sections[len(a.Sections)-1].Lines) == begun {
		a.say("", "none by then")
	}
}

// counts says how much was published.
func (a *asker) counts(rec *catalog.Records, cves []catalog.CVE) {
	fixed, exploited := map[uint32]bool{}, map[uint32]bool{}
	for _, x := range rec.Fixes {
		if rec.Updates[x.Update].Released > a.on || int(x.CVE) >= len(cves) {
			continue
		}
		fixed[x.CVE] = true
		if k := cves[x.CVE].KEV; k != 0 && k <= a.on {
			exploited[x.CVE] = true
		}
	}
	n := 0
	for i := range rec.Updates {
		if rec.Updates[i].Released <= a.on {
			n++
		}
	}
	a.section("What is recorded by %s", a.on)
	a.say("updates", "%d", n)
	a.say("vulnerabilities", "%d fixed, %d of them known to be exploited", len(fixed), len(exploited))
	if src, ok := a.cat.Source(catalog.SourceUpdates); ok && a.on > src.Last {
		a.say("", "The updates are known until %s, %d days before the day asked about: what came since is not known", src.Last, a.on-src.Last)
	}
	if len(rec.Release.Components) > 0 {
		byName := map[string]bool{}
		for _, c := range rec.Release.Components {
			byName[c.Name] = true
		}
		a.say("parts", "with updates of their own: %s", strings.Join(slices.Sorted(maps.Keys(byName)), ", "))
	}
}
