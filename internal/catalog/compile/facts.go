package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/catalog/data"
	"github.com/oldguard/oldguard/winver"
)

// facts are the project's own tables, read.
type facts struct {
	releases   []*release
	products   map[string]product // by the feeds' name, normalised
	servicing  []servicing
	revisions  []revision
	traps      []trap
	components []component
	programs   []catalog.Program
	source     catalog.Source
}

// release is a catalogue release with what only the compiler needs.
type release struct {
	*catalog.Release
	history string // "family|release" of its update-history list, empty if it has none
}

type product struct {
	release string
	arch    catalog.ArchSet
}

type servicing struct {
	releases []string
	kb       winver.KB
	sha2     bool
	date     string // a day, a month, or empty
	arches   catalog.ArchSet
}

type revision struct {
	release, build       string
	rollup, securityOnly winver.KB // zero where there is none
	released             string    // a day, or a month
}

type trap struct {
	kb       winver.KB
	rule     string
	releases []string // nil means all
}

func (t trap) on(release string) bool {
	return t.releases == nil || slices.Contains(t.releases, release)
}

type component struct {
	name     string
	releases []string
	pkg      winver.KB
	source   string
}

var archByName = map[string]catalog.ArchSet{
	"x86": catalog.OnX86, "amd64": catalog.OnAMD64, "ia64": catalog.OnIA64, "arm": catalog.OnARM, "arm64": catalog.OnARM64,
}

const allArches = catalog.OnX86 | catalog.OnAMD64 | catalog.OnIA64 | catalog.OnARM | catalog.OnARM64

// readFacts reads the tables of package data. Its errors name file and line: they are
// mistakes of ours, found by the tests.
func readFacts(files fs.FS) (f facts, err error) {
	r := tables{files: files, sum: sha256.New()}
	byID := map[string]*release{}
	r.each("releases.txt", 8, func(c []string) {
		rel := &release{Release: &catalog.Release{ID: c[0], Name: c[1], Server: c[2] == "server", BuildText: list(c[3]), Arches: list(c[5])}}
		if c[4] != "none" {
			if _, err := fmt.Sscanf(c[4], "%d", &rel.ServicePack); err != nil {
				r.fail("service pack %q", c[4])
			}
		}
		rel.history = opt(c[6])
		switch c[7] {
		case "-":
		case "always":
			rel.Always = true
		default:
			rel.RollupSince = r.date(c[7] + "-01")
		}
		f.releases = append(f.releases, rel)
		byID[rel.ID] = rel
	})
	known := func(ids []string) []string {
		for _, id := range ids {
			if byID[id] == nil {
				r.fail("no release %q", id)
			}
		}
		return ids
	}
	f.products = map[string]product{}
	r.each("products.txt", 3, func(c []string) {
		known(c[1:2])
		f.products[c[0]] = product{c[1], archByName[c[2]]}
	})
	r.each("lifecycle.txt", 7, func(c []string) {
		known(c[:1])
		if rel := byID[c[0]]; rel != nil {
			rel.Lifecycles = append(rel.Lifecycles, catalog.Lifecycle{
				Editions: words(c[1]), Start: r.date(c[2]), Mainstream: r.date(c[3]), Extended: r.date(c[4]), Confidence: c[5], Source: c[6],
			})
		}
	})
	r.each("programmes.txt", 11, func(c []string) {
		for _, id := range known(list(c[2])) {
			if rel := byID[id]; rel != nil {
				rel.Programmes = append(rel.Programmes, catalog.Programme{
					ID: c[0], Name: c[1], Editions: words(c[3]), Arches: list(c[4]), From: r.date(c[5]), Until: r.date(c[6]),
					How: c[7], Eligibility: opt(c[8]), Confidence: c[9], Source: c[10],
				})
			}
		}
	})
	r.each("servicing.txt", 7, func(c []string) {
		s := servicing{releases: known(list(c[0])), kb: r.kb(c[1]), sha2: c[2] == "sha2", date: opt(c[3]), arches: allArches}
		if c[4] != "*" {
			s.arches = 0
			for _, a := range list(c[4]) {
				s.arches |= archByName[a]
			}
		}
		f.servicing = append(f.servicing, s)
	})
	r.each("revisions.txt", 7, func(c []string) {
		known(c[:1])
		v := revision{release: c[0], build: c[1], rollup: r.kb(c[2]), released: c[4]}
		if c[3] != "-" {
			v.securityOnly = r.kb(c[3])
		}
		f.revisions = append(f.revisions, v)
	})
	r.each("traps.txt", 4, func(c []string) {
		f.traps = append(f.traps, trap{r.kb(c[0]), c[1], known(words(c[2]))})
	})
	each := func(ids string, f func(*release)) {
		for _, id := range known(list(ids)) {
			if rel := byID[id]; rel != nil {
				f(rel)
			}
		}
	}
	r.each("servicepacks.txt", 5, func(c []string) {
		known(c[3:4])
		each(c[0], func(rel *release) {
			rel.NextPack = &catalog.ServicePack{KB: r.kb(c[1]), Released: r.date(c[2]), Becomes: c[3], Source: c[4]}
		})
	})
	r.each("activations.txt", 5, func(c []string) {
		each(c[0], func(rel *release) {
			rel.Activations = append(rel.Activations, catalog.Activation{Programme: c[1], ID: c[2], Confidence: c[3], Source: c[4]})
		})
	})
	r.each("licensing.txt", 6, func(c []string) {
		each(c[0], func(rel *release) {
			rel.Licensing = append(rel.Licensing, catalog.LicensingPackage{KB: r.kb(c[1]), Released: c[2], Confidence: c[4], Source: c[5]})
		})
	})
	r.each("components.txt", 5, func(c []string) {
		x := component{name: c[0], releases: known(list(c[1])), source: c[4]}
		if c[2] == "package" {
			x.pkg = r.kb(c[3])
		}
		f.components = append(f.components, x)
		for _, id := range x.releases {
			if rel := byID[id]; rel != nil {
				rel.Components = append(rel.Components, catalog.Component{Name: x.name, Package: x.pkg, Source: x.source})
			}
		}
	})
	r.each("programs.txt", 7, func(c []string) {
		p := catalog.Program{
			Name: c[0], Match: strings.Split(strings.ToLower(c[1]), "|"), Version: opt(c[2]),
			Ends: r.date(c[3]), Paid: r.date(c[4]), Confidence: c[5], Source: c[6],
		}
		for _, m := range p.Match {
			if _, err := path.Match(m, ""); err != nil {
				r.fail("name %q: %v", m, err)
			}
		}
		f.programs = append(f.programs, p)
	})
	slices.SortFunc(f.releases, func(a, b *release) int { return strings.Compare(a.ID, b.ID) })
	f.source = catalog.Source{
		ID: catalog.SourceFacts, Name: "oldguard's tables of lifecycle, programmes, servicing stacks and revisions",
		Licence: "Apache-2.0", SHA256: hex.EncodeToString(r.sum.Sum(nil)), Last: r.date(data.AsOf),
	}
	return f, r.err
}

// is tells whether a trap's rule holds for a KB on a release.
func (f facts) is(rule string, kb winver.KB, release string) bool {
	for _, t := range f.traps {
		if t.kb == kb && t.rule == rule && t.on(release) {
			return true
		}
	}
	return false
}

func opt(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

func list(s string) []string { return strings.Split(s, ",") }

// words is list, with "*" for no restriction.
func words(s string) []string {
	if s == "*" {
		return nil
	}
	return list(s)
}

// tables reads tab-separated files, keeping the first mistake.
type tables struct {
	files fs.FS
	sum   interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}
	file string
	line int
	err  error
}

func (t *tables) each(name string, columns int, row func([]string)) {
	b, err := fs.ReadFile(t.files, name)
	if err != nil && t.err == nil {
		t.err = err
	}
	_, _ = t.sum.Write(b) // a hash does not fail
	t.file, t.line = name, 0
	for line := range strings.Lines(string(b)) {
		t.line++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c := strings.Split(line, "\t")
		if len(c) != columns {
			t.fail("%d columns, want %d", len(c), columns)
			continue
		}
		row(c)
	}
}

func (t *tables) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("%s:%d: %s", t.file, t.line, fmt.Sprintf(format, args...))
	}
}

func (t *tables) date(s string) catalog.Date {
	if s == "-" {
		return 0
	}
	d, err := catalog.ParseDate(s)
	if err != nil {
		t.fail("%v", err)
	}
	return d
}

func (t *tables) kb(s string) winver.KB {
	kb, err := winver.ParseKB(s)
	if err != nil {
		t.fail("%v", err)
	}
	return kb
}
