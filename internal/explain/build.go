package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/winver"
)

// releasedBuild answers about a version whose build is of a released Windows.
func (a *asker) releasedBuild(q string) (bool, error) {
	v, err := winver.Parse(q)
	if err != nil || !v.Build.Line().Known() || strayBytes(q) {
		return false, nil //nolint:nilerr // then it is something else
	}
	return true, a.version(v)
}

// build answers about any other version, such as that of a beta.
func (a *asker) build(q string) (bool, error) {
	v, err := winver.Parse(q)
	if err != nil || !v.Build.Known() || strayBytes(q) || allDigits(q) && len(q) > 5 {
		return false, nil //nolint:nilerr // then it is something else
	}
	return true, a.version(v)
}

// strayBytes: a name such as "KB4493730 6003" has a build in it and is no version.
func strayBytes(q string) bool { return strings.Contains(strings.ToLower(q), "kb") }

func allDigits(s string) bool {
	return strings.Trim(s, "0123456789") == "" && s != ""
}

func (a *asker) version(v winver.Version) error {
	f, err := tables()
	if err != nil {
		return err
	}
	b := v.Build
	line := b.Line()
	releases := a.releasesOf(b)
	a.Title = b.String()
	if line.Known() {
		a.Title += ": " + line.String()
	} else {
		a.Title += ": no build of a released Windows that is known here"
	}
	a.snippet = winver.IsServer2008SP2(b)
	a.section("What it is")
	a.stated(v)
	for _, rel := range releases {
		kind := "client"
		if rel.Server {
			kind = "server"
		}
		a.say("release", "%s (%s; %s)", rel.Name, kind, strings.Join(rel.Arches, ", "))
	}
	if len(releases) > 1 {
		a.say("", "The build alone does not tell which: the product type does (WMI ProductType, registry ProductOptions)")
	}
	number := strconv.FormatUint(uint64(b.Number), 10)
	begun := false
	for _, x := range f.builds {
		if b.Major != 6 || b.Minor != 0 || !slices.Contains(x.builds, number) {
			continue
		}
		if !begun {
			a.section("What %s means", number)
			begun = true
		}
		a.add(x.line)
	}
	if len(releases) == 0 {
		a.unknown("%s has no release in the catalogue, which covers Windows from Vista and Server 2008 on", b)
		return nil
	}
	begin := len(a.Sections)
	for _, rel := range releases {
		lines, err := a.revisions(rel, b, f)
		if err != nil {
			return err
		}
		same := func(s Section) bool { return slices.Equal(s.Lines, lines) }
		if i := slices.IndexFunc(a.Sections[begin:], same); i >= 0 {
			a.Sections[begin+i].Heading += ", " + rel.Name
		} else if len(lines) > 0 {
			a.Sections = append(a.Sections, Section{Heading: "Revisions of " + rel.Name, Lines: lines})
		}
	}
	a.section("Support on %s", a.on)
	for _, rel := range releases {
		a.support(rel, strings.TrimPrefix(rel.Name, "Windows "))
	}
	a.uses(catalog.SourceUpdates, catalog.SourceHistory, catalog.SourceFacts)
	return nil
}

// stated repeats in words what the text itself says.
func (a *asker) stated(v winver.Version) {
	line := v.Build.Line()
	a.say("version", "%d.%d, build %d", v.Build.Major, v.Build.Minor, v.Build.Number)
	if v.Build.HasRevision {
		a.say("revision", "%d", v.Build.Revision)
	}
	if line.ServicePack > 0 {
		a.say("service pack", "%d", line.ServicePack)
	}
	branches := map[winver.Branch]string{
		winver.RTM:    "as released, or as released with the service pack",
		winver.GDR:    "GDR: security fixes only, until the rollup model",
		winver.LDR:    "LDR: all fixes; its revisions are higher than those of GDR and not for that reason newer",
		winver.Escrow: "LDR, frozen for release: the rollups of Server 2008 SP2 come from it",
	}
	if s, ok := branches[v.Branch]; ok {
		name := ""
		if v.BranchName != "" {
			name = v.BranchName + ", "
		}
		a.say("branch", "%s%s", name, s)
	}
	if v.Arch != winver.ArchUnknown {
		a.say("architecture", "%s", v.Arch)
	}
	if !v.Compiled.IsZero() {
		a.say("compiled", "%s by the clock of the build lab", v.Compiled.Format("2006-01-02 15:04"))
	}
	if v.Checked {
		a.say("", "It is a checked (debug) build")
	}
}

func (a *asker) releasesOf(b winver.Build) (out []*catalog.Release) {
	for _, rel := range a.cat.Releases() {
		if slices.Contains(rel.Builds, b.Base()) {
			out = append(out, rel)
		}
	}
	return out
}

// revisions names the updates around a revision, or the first and the newest known.
func (a *asker) revisions(rel *catalog.Release, b winver.Build, f *facts) (lines []Line, err error) {
	rec, err := a.cat.Records(rel.ID)
	if err != nil {
		return nil, err
	}
	var known []*catalog.Update
	for i := range rec.Updates {
		if u := &rec.Updates[i]; u.Build.HasRevision && u.Build.Base() == b.Base() && u.Stream == catalog.Cumulative {
			known = append(known, u)
		}
	}
	if len(known) == 0 {
		return nil, nil
	}
	slices.SortFunc(known, func(x, y *catalog.Update) int {
		return cmp.Or(x.Build.Compare(y.Build), cmp.Compare(x.Released, y.Released), cmp.Compare(x.KB, y.KB))
	})
	is := func(label string, u *catalog.Update) {
		c := f.revisions[u.KB]
		if c.release != rel.ID {
			c = credit{}
		}
		lines = append(lines, Line{Label: label, Text: u.Build.String() + " is " + dated(rel, u), Confidence: c.confidence, Source: c.source})
	}
	if !b.HasRevision {
		is("first known", known[0])
		is("newest known", known[len(known)-1])
		return lines, nil
	}
	exact, below, above := false, -1, -1
	for i, u := range known {
		switch c := u.Build.Compare(b); {
		case c == 0:
			is("leads to it", u)
			exact = true
		case c < 0:
			below = i
		case above < 0:
			above = i
		}
	}
	if !exact {
		lines = append(lines, Line{Label: "leads to it", Text: "no update that is known"})
	}
	if below >= 0 {
		is("nearest below", known[below])
	}
	if above >= 0 {
		is("nearest above", known[above])
	} else {
		lines = append(lines, Line{Label: "nearest above", Text: "none is known"})
	}
	if !rel.Always {
		lines = append(lines, Line{Text: "The revision of one file is a lower bound: an update that left the file alone does not raise it"})
	}
	return lines, nil
}

// support says how a release stands on the day, in one line for each lifecycle row.
func (a *asker) support(rel *catalog.Release, label string) {
	if len(rel.Lifecycles) == 0 {
		a.say(label, "the catalogue holds no lifecycle for it")
	}
	open := ""
	ended := catalog.Date(0)
	for _, p := range rel.Programmes {
		if (p.From == 0 || a.on >= p.From) && (p.Until == 0 || a.on <= p.Until) {
			open = p.Name
		}
		ended = max(ended, p.Until)
	}
	for _, l := range rel.Lifecycles {
		var said string
		switch {
		case l.Extended == 0:
			said = "the end of support is not known"
		case l.Start != 0 && a.on < l.Start:
			said = "support starts on " + l.Start.String()
		case a.on <= l.Extended && l.Mainstream != 0 && a.on > l.Mainstream:
			said = fmt.Sprintf("in extended support until %s", l.Extended)
		case a.on <= l.Extended:
			said = fmt.Sprintf("supported until %s", l.Extended)
		case open != "":
			said = fmt.Sprintf("support ended on %s; %s still runs", l.Extended, open)
		case ended != 0:
			said = fmt.Sprintf("support ended on %s, the last programme after it on %s", l.Extended, ended)
		default:
			said = fmt.Sprintf("support ended on %s", l.Extended)
		}
		if len(l.Editions) > 0 {
			said = "editions with " + strings.Join(l.Editions, " or ") + " in the name: " + said
		}
		a.add(Line{Label: label, Text: said, Confidence: l.Confidence, Source: l.Source})
	}
}
