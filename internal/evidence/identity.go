package evidence

import (
	"cmp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
)

// identity is what tells one machine from another. Empty fields are not known.
type identity struct {
	name, domain     string // lower case; name without its domain
	product, machine string
}

// identityOf copies what it takes, which may be parts of the whole text of a file.
func identityOf(h *host.Host) identity {
	lower := func(s string) string { return strings.ToLower(strings.Clone(s)) }
	id := identity{
		name:    lower(h.Name.Or("")),
		domain:  lower(h.Domain.Or("")),
		product: strings.Clone(h.ProductID.Or("")),
		machine: lower(h.MachineID.Or("")),
	}
	if short, domain, ok := strings.Cut(id.name, "."); ok && short != "" {
		id.name = short
		if id.domain == "" {
			id.domain = domain
		}
	}
	return id
}

// fits reports whether a and b may be one machine: nothing that both state differs. A
// product id differs after a reinstallation or an upgrade to another release, and what
// was evidence of the machine before says nothing about the one after.
func (a identity) fits(b identity) bool {
	same := func(x, y string) bool { return x == "" || y == "" || x == y }
	return same(a.name, b.name) && sameDomain(a.domain, b.domain) && same(a.product, b.product) && same(a.machine, b.machine)
}

// sameDomain allows for the short and the long name of a domain: corp, corp.example.com.
func sameDomain(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == "" || a == b || strings.HasPrefix(b, a) && b[len(a)] == '.'
}

func (a *identity) merge(b identity) {
	a.name, a.domain = cmp.Or(a.name, b.name), cmp.Or(a.domain, b.domain)
	a.product, a.machine = cmp.Or(a.product, b.product), cmp.Or(a.machine, b.machine)
}

// item is one thing that was read, as grouping sees it: a file, or one machine's part of it.
type item struct {
	id     identity
	folder string
	blank  bool // nothing is known but gaps: nobody understood the file
	file   int  // which file
	part   int  // which part of the file
}

// machine is a group of items.
type machine struct {
	id    identity
	items []item
	gap   string // why it is not known which machine this is; usually empty
}

// group joins the items of one machine. Items that state a name come first, the more
// exact ones before the others, so that the order of files does not decide. An item
// without a name joins by machine GUID or product id if exactly one machine has it, else
// the only machine of its folder, or of the nearest folder above that holds any machine: so
// hives, of which one has the name and another the ids, find each other.
// What is left is a machine of its own, with a gap; what nobody understood is gathered
// in one for each folder.
func group(items []item) []*machine {
	g := grouping{byName: map[string][]*machine{}, byID: map[string][]*machine{}, byFolder: map[string]map[*machine]bool{}}
	var vague, nameless []item
	for _, it := range items {
		switch {
		case it.id.name == "":
			nameless = append(nameless, it)
		case it.id.product == "" && it.id.machine == "":
			vague = append(vague, it)
		default:
			g.named(it)
		}
	}
	// A name with its domain says more than a bare name.
	slices.SortStableFunc(vague, func(a, b item) int {
		return cmp.Compare(min(len(b.id.domain), 1), min(len(a.id.domain), 1))
	})
	for _, it := range vague {
		g.named(it)
	}
	named := len(g.machines)
	rest := map[string]*machine{}
	// Those with an id come first: they may be the only machine of their folder.
	slices.SortStableFunc(nameless, func(a, b item) int {
		return cmp.Compare(min(len(b.id.machine+b.id.product), 1), min(len(a.id.machine+a.id.product), 1))
	})
	for _, it := range nameless {
		m, why := g.whose(it, named)
		switch {
		case m != nil:
		case it.blank && rest[it.folder] != nil:
			m = rest[it.folder]
		default:
			m = g.add(it)
			if it.blank {
				rest[it.folder] = m
			} else {
				m.gap = why
			}
		}
		if it.id != (identity{}) {
			g.known(m, it)
		}
		m.items = append(m.items, it)
	}
	for _, m := range g.machines {
		slices.SortFunc(m.items, func(a, b item) int {
			return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.part, b.part))
		})
	}
	slices.SortStableFunc(g.machines, func(a, b *machine) int {
		return cmp.Or(
			cmp.Compare(min(len(b.id.name), 1), min(len(a.id.name), 1)), // those without a name last
			cmp.Compare(a.id.name, b.id.name),
			cmp.Compare(a.id.domain, b.id.domain),
			cmp.Compare(a.items[0].file, b.items[0].file),
			cmp.Compare(a.items[0].part, b.items[0].part),
		)
	})
	return g.machines
}

type grouping struct {
	machines     []*machine
	byName, byID map[string][]*machine
	byFolder     map[string]map[*machine]bool
}

func (g *grouping) add(it item) *machine {
	m := &machine{id: it.id}
	g.machines = append(g.machines, m)
	return m
}

// named puts an item that states a name to the only machine it fits, to the only such
// machine of its folder if there are several, or else to a new one.
func (g *grouping) named(it item) {
	var m *machine
	var fit, here []*machine
	for _, c := range g.byName[it.id.name] {
		if c.id.fits(it.id) {
			fit = append(fit, c)
		}
	}
	if len(fit) > 1 {
		for _, c := range fit {
			if g.byFolder[it.folder][c] {
				here = append(here, c)
			}
		}
	}
	switch {
	case len(fit) == 1:
		m = fit[0]
	case len(here) == 1:
		m = here[0]
	default:
		m = g.add(it)
		g.byName[it.id.name] = append(g.byName[it.id.name], m)
		if len(fit) > 1 {
			m.gap = "several machines have this name, and nothing in the file tells which one it is about"
		}
	}
	m.items = append(m.items, it)
	g.known(m, it)
}

// known records what an item says about its machine, and where it lies.
func (g *grouping) known(m *machine, it item) {
	m.id.merge(it.id)
	if g.byFolder[it.folder] == nil {
		g.byFolder[it.folder] = map[*machine]bool{}
	}
	g.byFolder[it.folder][m] = true
	for _, id := range []string{it.id.machine, it.id.product} {
		if id != "" && !slices.Contains(g.byID[id], m) && len(g.byID[id]) < 2 {
			g.byID[id] = append(g.byID[id], m)
		}
	}
}

// whose finds the machine of an item without a name, or says why it cannot.
func (g *grouping) whose(it item, named int) (m *machine, why string) {
	for _, id := range []string{it.id.machine, it.id.product} {
		if c := g.byID[id]; id != "" && len(c) == 1 && c[0].id.fits(it.id) {
			return c[0], ""
		}
	}
	for folder := it.folder; ; folder = folder[:max(0, strings.LastIndexByte(folder, '/'))] {
		c := g.byFolder[folder]
		if len(c) == 1 {
			for m := range c {
				if m.id.fits(it.id) {
					return m, ""
				}
			}
		}
		switch {
		case len(c) > 0:
			return nil, "the file names no machine, and its folder holds evidence of others or of more than one"
		case folder == "" && named == 0:
			return nil, "the file names no machine, and no other file beside it does"
		case folder == "":
			return nil, "the file names no machine, and its folder holds evidence of none"
		}
	}
}
