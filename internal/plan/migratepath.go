package plan

import (
	"cmp"
	"embed"
	"slices"
	"strings"
	"sync"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/winver"
)

// The ways from release to release, what stops them, and what roles need, each row with
// its source: see the first lines of each file.
//
//go:embed data
var tables embed.FS

// Known says where a statement comes from.
type Known struct {
	Confidence string // documented, inferred, …
	Source     string // empty where the statement is ours
}

// HopKind is the way of one hop.
type HopKind string

// The ways.
const (
	InPlace HopKind = "in-place"     // an upgrade of the installation
	Rolling HopKind = "rolling"      // of a cluster, node by node
	Pack    HopKind = "service-pack" // makes one release of the catalogue another
)

// Hop goes from one release to another, with the same architecture, language and
// installation option.
type Hop struct {
	Kind                 HopKind
	From, To             string // release ids
	FromEdition, Edition string // such as "standard"
	Known
}

// Path is a chain of hops.
type Path []Hop

// way is a row of the table of upgrades.
type way struct {
	kind          HopKind
	from, edition string
	to            string
	editions      []string
	Known
}

// upgradeArch is the only architecture the table is for: each row is of an x64 release or
// one that exists for x64 alone.
const upgradeArch = winver.AMD64

// maxHops bounds a path. The longest shortest one has three hops after a service pack.
const maxHops = 6

// rows reads a table: lines of tab-separated fields, "-" for an empty one.
func rows(name string, fields int) (out [][]string) {
	b, err := tables.ReadFile("data/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != fields {
			panic(name + ": a row has another number of fields: " + line)
		}
		for i := range f {
			if f[i] == "-" {
				f[i] = ""
			}
		}
		out = append(out, f)
	}
	return out
}

func list(s, sep string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, sep)
}

var ways = sync.OnceValue(func() (out []way) {
	for _, f := range rows("upgrades.txt", 7) {
		out = append(out, way{HopKind(f[0]), f[1], f[2], f[3], list(f[4], ","), Known{f[5], f[6]}})
	}
	return out
})

// hops lists where one can go from a release with an edition, the smallest edition first.
func hops(c *catalog.Catalog, kind HopKind, release, edition string) (out []Hop) {
	for _, w := range ways() {
		if w.kind != kind || w.from != release || w.kind == InPlace && w.edition != edition {
			continue
		}
		if w.kind == Rolling {
			if slices.Contains(w.editions, edition) {
				out = append(out, Hop{kind, release, w.to, edition, edition, w.Known})
			}
			continue
		}
		for _, e := range w.editions {
			out = append(out, Hop{kind, release, w.to, edition, e, w.Known})
		}
	}
	if rel, err := c.Release(release); err == nil && rel.NextPack != nil {
		out = append(out, Hop{Pack, release, rel.NextPack.Becomes, edition, edition, Known{"documented", rel.NextPack.Source}})
	}
	return out
}

// shortest gives the shortest chains of hops of a kind from a release to another: one for
// each sequence of releases, with the smallest editions; the one whose stops are supported
// longest first. Service packs count as hops. Hops that are refused are not taken; refused
// may be nil.
func shortest(c *catalog.Catalog, kind HopKind, from, edition, to string, refused func(Hop) bool) (best []Path) {
	seen := map[string]bool{}
	var walk func(p Path, release, edition string)
	walk = func(p Path, release, edition string) {
		switch {
		case release == to:
			if len(best) > 0 && len(p) < len(best[0]) {
				best, seen = nil, map[string]bool{}
			}
			if !seen[p.stops()] {
				seen[p.stops()] = true
				best = append(best, slices.Clone(p))
			}
			return
		case len(p) == maxHops, len(best) > 0 && len(p) >= len(best[0]):
			return
		}
		for _, h := range hops(c, kind, release, edition) {
			if refused == nil || !refused(h) {
				walk(append(p, h), h.To, h.Edition)
			}
		}
	}
	if from != to {
		walk(nil, from, edition)
	}
	slices.SortStableFunc(best, func(a, b Path) int { return cmp.Compare(b.ends(c), a.ends(c)) })
	return best
}

func (p Path) stops() string {
	var b strings.Builder
	for _, h := range p {
		b.WriteString(h.To + " ")
	}
	return b.String()
}

// ends is the sum of the ends of support of the stops.
func (p Path) ends(c *catalog.Catalog) (sum int64) {
	for _, h := range p {
		if rel, err := c.Release(h.To); err == nil {
			sum += int64(supportEnd(rel))
		}
	}
	return sum
}

// Targets lists the releases that the table leads to in place, as ids in ascending order.
func Targets() (ids []string) {
	for _, w := range ways() {
		ids = append(ids, w.to)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// editionWords are what names of editions are known by, the telling ones first: of
// "Windows Storage Server 2012 R2 Standard" it is "storage" that tells. Every word has to be
// there; "_" is a blank in one.
var editionWords = []struct{ all, edition string }{
	{"eval", "evaluation"},
	{"storage workgroup", "storage-workgroup"},
	{"storage standard", "storage-standard"},
	{"storage", "storage"},
	{"hyper-v_server", "hyper-v"},
	{"serverhyper", "hyper-v"},
	{"small_business", "small-business"},
	{"sbs", "small-business"},
	{"essentials", "essentials"},
	{"serversolution", "essentials"},
	{"foundation", "foundation"},
	{"multipoint", "multipoint"},
	{"embedded", "embedded"},
	{"azure", "azure"},
	{"turbine", "azure"},
	{"acor", "semi-annual"},
	{"hpc", "hpc"},
	{"cluster", "hpc"},
	{"itanium", "itanium"},
	{"ia64", "itanium"},
	{"web", "web"},
	{"enterprise", "enterprise"},
	{"datacenter", "datacenter"},
	{"standard", "standard"},
}

// EditionOf gives the edition of a server in the words of the table of upgrades, or of none
// of its rows, such as "foundation"; empty where it is not known.
func EditionOf(h *host.Host) string {
	name := strings.ToLower(h.Edition.Or("") + " " + h.Product.Or(""))
	for _, w := range editionWords {
		if !slices.ContainsFunc(strings.Fields(w.all), func(word string) bool { return !strings.Contains(name, strings.ReplaceAll(word, "_", " ")) }) {
			return w.edition
		}
	}
	return ""
}
