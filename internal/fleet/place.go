package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Which machine evidence is about. What tells machines apart, the most reliable first:
//
//  1. The machine id. A machine of that id, and of no other name, it is. A machine of that
//     id and another name is not: either one was cloned without sysprep, or it was
//     renamed, and nobody but its owner knows which. Evidence becomes a machine of its
//     own, and the two are shown as a conflict.
//  2. The name with the domain, where neither machine id nor product id say otherwise. A
//     name of one machine with the ids of none, or of another, is shown as a conflict
//     likewise: it was installed again or upgraded, or there are two.
//  3. Without a name, the product id, if one machine has it; many share the id of a volume
//     licence.
//
// A machine that nothing names but its machine id or product id is one without a name.
// What has no id at all is given to none, unless the sender says whose it is.

// placement is where evidence belongs.
type placement struct {
	at        *Placing // nil is a new machine, or none
	none      bool
	conflicts []Conflict
}

// place finds the machine for evidence that states id.
func place(id Identity, candidates []Placing) (p placement) {
	var clones []*Placing
	key := id.Key()
	if id.MachineID != "" {
		for i := range candidates {
			c := &candidates[i]
			switch k := c.Host.Key(); {
			case c.Host.MachineID != id.MachineID:
			case k == key || k == "" || key == "":
				if p.at == nil || k == key {
					p.at = c
				}
			default:
				clones = append(clones, c)
			}
		}
	}
	defer func() { // whatever else it is
		for _, c := range clones {
			p.conflicts = append(p.conflicts, Conflict{
				Kind: ConflictCloned, Other: c.Host.ID,
				Text: fmt.Sprintf("%s and %s state the same machine id, %s: one is a clone, or it was renamed", shown(id), shown(c.Host.Identity), id.MachineID),
			})
		}
	}()
	switch {
	case p.at != nil:
		return p
	case key == "":
		return placeNameless(id, candidates, &p)
	}
	var named, fit []*Placing
	for i := range candidates {
		c := &candidates[i]
		if c.Host.Key() == key && sameDomain(id.Domain, c.Host.Domain) {
			named = append(named, c)
			if fits(id, c.Host.Identity) {
				fit = append(fit, c)
			}
		}
	}
	fit = best(fit, func(c *Placing) bool { return strings.EqualFold(c.Host.Domain, id.Domain) })
	fit = best(fit, func(c *Placing) bool { return id.ProductID != "" && c.Host.ProductID == id.ProductID })
	switch {
	case len(fit) == 1:
		p.at = fit[0]
	case len(fit) > 1:
		return unplaced(fmt.Sprintf("it names %s, and %d machines have that name", shown(id), len(fit)), ConflictAmbiguous, fit)
	default:
		for _, c := range named {
			p.conflicts = append(p.conflicts, Conflict{
				Kind: ConflictTwins, Other: c.Host.ID,
				Text: fmt.Sprintf("two machines are named %s and state different ids: it was installed again or upgraded, or there are two", shown(id)),
			})
		}
	}
	return p
}

func placeNameless(id Identity, candidates []Placing, p *placement) placement {
	var fit []*Placing
	for i := range candidates {
		c := &candidates[i]
		if id.ProductID != "" && c.Host.ProductID == id.ProductID && fits(id, c.Host.Identity) {
			fit = append(fit, c)
		}
	}
	switch {
	case len(fit) == 1:
		p.at = fit[0]
	case len(fit) > 1:
		return unplaced(fmt.Sprintf("it names no machine, and %d machines have its product id", len(fit)), ConflictAmbiguous, fit)
	case id.MachineID == "" && id.ProductID == "":
		return unplaced("it names no machine", ConflictNameless, nil)
	}
	return *p
}

func unplaced(why string, kind ConflictKind, fit []*Placing) placement {
	c := Conflict{Kind: kind, Text: why}
	if len(fit) > 0 {
		c.Other = fit[0].Host.ID
	}
	return placement{none: true, conflicts: []Conflict{c}}
}

// best gives those of a list that are better, or all if none is.
func best(list []*Placing, better func(*Placing) bool) []*Placing {
	var out []*Placing
	for _, c := range list {
		if better(c) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return list
	}
	return out
}

// fits reports whether no id that both state differs.
func fits(a, b Identity) bool {
	same := func(x, y string) bool { return x == "" || y == "" || x == y }
	return same(a.MachineID, b.MachineID) && same(a.ProductID, b.ProductID)
}

// sameDomain allows for the short and the long name of a domain: corp, corp.example.com.
func sameDomain(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == "" || a == b || strings.HasPrefix(b, a) && b[len(a)] == '.'
}

func shown(id Identity) string {
	switch {
	case id.Name == "":
		return "a machine without a name"
	case id.Domain == "":
		return id.Name
	}
	return id.Name + " (" + id.Domain + ")"
}

// sameVisit is how long before the newest evidence that states which Windows this is other
// evidence may have been taken to count beside it.
const sameVisit = 24 * time.Hour

// maxCurrent bounds the evidence that counts at the same time.
const maxCurrent = 32

// picture chooses the evidence that counts: the newest that states which Windows this is
// (the base), and what was taken with it, up to a day before, or later. Of two by the same
// readers the newer counts. What is older is history: it may say of an update that it is
// there, and it is there no more. The result is the oldest first, and the same in whatever
// order evidence came.
func picture(parts []Part) (current []int) {
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return parts[a].Seen.Compare(parts[b].Seen) })
	slices.Reverse(order)
	var since time.Time
	for _, i := range order {
		if parts[i].Base {
			since = parts[i].Seen.Add(-sameVisit)
			break
		}
	}
	var seen []string
	for _, i := range order {
		p := &parts[i]
		if p.Seen.Before(since) || len(current) >= maxCurrent {
			break
		}
		fresh := slices.ContainsFunc(p.Readers, func(r string) bool { return !slices.Contains(seen, r) })
		if !fresh && len(current) > 0 {
			continue
		}
		current = append(current, i)
		seen = append(seen, p.Readers...)
	}
	slices.Reverse(current)
	return current
}
