package update

import (
	"cmp"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/format/mum"
	"github.com/oldguard/oldguard/winver"
)

// Product is something that an update is for.
type Product struct {
	Name        string `json:"name"`                   // Windows Server 2008
	Version     string `json:"version"`                // 6.0
	ServicePack int    `json:"service_pack,omitempty"` // the one it wants; 0 if it names none
}

// foundations are the versions of the packages that make up a release, where the line of that
// build names more products than they are for. Vista was released as 6000, Server 2008 as 6001,
// and their foundation packages kept these numbers through all service packs.
var foundations = map[string][]Product{
	"6.0.6000.16386": {{Name: "Windows Vista", Version: "6.0"}},
	"6.0.6001.18000": {{Name: "Windows Server 2008", Version: "6.0"}},
}

// servicePacks are the packages of service packs, by article.
// https://support.microsoft.com/help/936330, /948465 and /976932.
var servicePacks = map[winver.KB]int{936330: 1, 948465: 2, 976932: 1}

// products follows the packages below m: each names as parents the foundation of a release or
// a service pack, or is a part of one that does.
func products(m *manifest, all []manifest) []Product {
	byName := map[string]*manifest{}
	for i := range all {
		if all[i].in == m.in {
			byName[all[i].Identity.String()] = &all[i]
		}
	}
	found := map[Product]bool{}
	seen := map[*manifest]bool{}
	var follow func(m *manifest, of []Product, sp int)
	follow = func(m *manifest, of []Product, sp int) {
		if m.Package == nil || seen[m] { // a package in two places is in both for the same products
			return
		}
		seen[m] = true
		own := parents(m.Package)
		for kb, n := range servicePacks {
			if slices.ContainsFunc(m.Package.Parents, func(p mum.Parent) bool {
				return slices.ContainsFunc(p.Packages, func(i mum.Identity) bool { return kbOf(i.Name) == kb })
			}) {
				sp = n
			}
		}
		switch {
		case len(of) == 0:
			of = own
		case len(own) > 0:
			of = slices.DeleteFunc(slices.Clone(of), func(p Product) bool { return !slices.Contains(own, p) })
		}
		leaf := true
		for _, u := range m.Package.Updates {
			for _, i := range u.Packages {
				if next := byName[i.String()]; next != nil && !seen[next] {
					leaf = false
					follow(next, of, sp)
				}
			}
		}
		if leaf {
			for _, p := range of {
				p.ServicePack = max(p.ServicePack, sp)
				found[p] = true
			}
		}
	}
	follow(m, nil, 0)
	var list []Product
	for p := range found {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Product) int {
		return cmp.Or(strings.Compare(a.Version, b.Version), strings.Compare(a.Name, b.Name), a.ServicePack-b.ServicePack)
	})
	return list
}

// parents gives the products whose foundations a package names.
func parents(p *mum.Package) (list []Product) {
	for _, parent := range p.Parents {
		for _, i := range parent.Packages {
			if kbOf(i.Name) != 0 {
				continue
			}
			for _, p := range productsOf(i.Version) {
				if !slices.Contains(list, p) {
					list = append(list, p)
				}
			}
		}
	}
	return list
}

func productsOf(version string) (list []Product) {
	if only, ok := foundations[version]; ok {
		return only
	}
	b, ok := build(version)
	line := b.Line()
	if !ok || !line.Known() {
		return nil
	}
	short := winver.Build{Major: b.Major, Minor: b.Minor}.String()
	short = strings.TrimSuffix(short, ".0")
	for _, name := range [...]string{line.Client, line.Server} {
		if name != "" {
			list = append(list, Product{Name: name, Version: short, ServicePack: max(0, line.ServicePack)})
		}
	}
	return list
}
