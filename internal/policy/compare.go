package policy

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/oldguard/oldguard/internal/policy/space"
)

// Kind says on which side two policies differ.
type Kind uint8

// The kinds.
const (
	LeftOpen Kind = iota // what is there lets it through, what is wanted does not
	Breaks               // what is wanted lets it through, what is there does not
)

func (k Kind) String() string {
	if k == Breaks {
		return "breaks"
	}
	return "left open"
}

// Difference is traffic that two policies decide differently.
type Difference struct {
	Kind Kind
	Traffic
	// By is a rule of the existing policy: one that lets the traffic through, whatever others do
	// so as well, or the one that drops it. Wanted is one of the wanted policy that would let
	// through what breaks. They are indexes; -1 is what happens where no rule matches, and for
	// Wanted of what is left open, none.
	By, Wanted int
	// Unsure says why the existing policy may after all decide as is wanted: a part of it that
	// could not be read, or a rule that is about one program. Empty for what is certain.
	Unsure string
}

// Comparison is what two policies decide differently.
type Comparison struct {
	// Differences are what is left open, then what breaks; of each first what is certain, in
	// the order of the existing rules.
	Differences []Difference
	// Cut says why not everything could be told apart; empty if it was. A difference that was not
	// is told of all that a rule is about, as unsure, or there are more than are told.
	Cut   string
	Notes []string // what was not compared
}

// Bounds of a comparison. Rules that overlap without end fall into ever smaller boxes.
const (
	maxBoxes       = 1 << 13 // of one rule at a time
	maxSteps       = 1 << 28 // pairs of boxes looked at, a few seconds
	maxDifferences = 2000
)

// Compare tells exactly what an existing policy decides otherwise than a wanted one. It looks
// at traffic of the addresses that the wanted policy owns with others, and at all where it owns none. What is unsure
// in either policy counts for the worse each time: an existing rule that accepts perhaps leaves open,
// one that drops perhaps breaks. Rules about programs accept for all, as in Decide; those that drop
// do so for some program only, and so are unsure.
func Compare(existing, wanted *Policy) *Comparison {
	c := &comparer{out: &Comparison{}, own: OwnSet(wanted.Own), steps: maxSteps}
	if n := len(c.own); n > 0 {
		if c.own[0].From.Is6() {
			c.out.Notes = append(c.out.Notes, "no IPv4 address of the machine is known: IPv4 is not compared")
		}
		if c.own[n-1].From.Is4() {
			c.out.Notes = append(c.out.Notes, "no IPv6 address of the machine is known: IPv6 is not compared")
		}
	}
	for _, dir := range []Direction{In, Out} {
		c.leftOpen(existing, wanted, dir)
		c.breaks(existing, wanted, dir)
	}
	slices.SortStableFunc(c.out.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(min(len(a.Unsure), 1), min(len(b.Unsure), 1)))
	})
	if n := len(c.out.Differences); n > maxDifferences {
		c.out.Differences = c.out.Differences[:maxDifferences]
		c.cut(fmt.Sprintf("%d differences more", n-maxDifferences))
	}
	return c.out
}

// comparer holds what both questions share.
type comparer struct {
	out   *Comparison
	own   space.Addrs
	steps int
	// gaveUp tells that something since it was last reset could not be worked out.
	gaveUp bool
}

// Why a difference is told of all that a rule is about.
const tooMany = "rules overlap in too many ways to tell which of this it is"

// entry is a rule as the comparison sees it, or what happens where none matches.
type entry struct {
	boxes  []space.Box
	action Action
	index  int    // of the rule, -1 for none
	narrow string // why it may match less than its boxes
}

// entries are the rules in the order in which they decide, the first that matches, and what
// happens to the rest. Rules that are not about the addresses compared are left out.
func (c *comparer) entries(p *Policy, dir Direction) (out []entry) {
	whole := Within(dir, c.own)
	add := func(i int) {
		r := &p.Rules[i]
		e := entry{action: r.Action, index: i, narrow: r.Unsure}
		if r.Action == Drop && r.Unsure == "" && r.Program+r.Service != "" {
			e.narrow = "it is about one program"
		}
		for _, b := range r.Boxes() {
			if own, ok := b.And(&whole); ok {
				e.boxes = append(e.boxes, own)
			}
		}
		if r.Dir == dir && len(e.boxes) > 0 {
			out = append(out, e)
		}
	}
	for _, now := range []Action{Drop, Accept} {
		for i := range p.Rules {
			if p.Order == FirstMatch && now == Drop || p.Order == DropWins && p.Rules[i].Action == now {
				add(i)
			}
		}
	}
	rest := entry{boxes: []space.Box{whole}, action: p.In, index: -1}
	if dir == Out {
		rest.action = p.Out
	}
	return append(out, rest)
}

// certain leaves out entries of the action that may match less than they state: without those that
// drop, the rest is the most that may pass; without those that accept, the least.
func certain(list []entry, action Action) (out, left []entry) {
	for _, e := range list {
		if e.action == action && e.narrow != "" {
			left = append(left, e)
		} else {
			out = append(out, e)
		}
	}
	return out, left
}

// accepted is what entries accept, the first that matches deciding.
func (c *comparer) accepted(list []entry) (out []space.Box) {
	for i, e := range list {
		if e.action != Accept {
			continue
		}
		rest := e.boxes
		for _, before := range list[:i] {
			if before.action == Drop {
				rest = c.minus(rest, before.boxes)
			}
		}
		out = append(out, rest...)
	}
	return out
}

// minus takes boxes out of others. Where that becomes too many it gives up, says so, and gives
// nothing.
func (c *comparer) minus(list, gone []space.Box) []space.Box {
	for i := range gone {
		if len(list) == 0 {
			return nil
		}
		if c.steps -= len(list); c.steps < 0 {
			c.cut("the policies are too large to be compared whole")
			return nil
		}
		var ok bool
		if list, ok = space.Minus(list, &gone[i], maxBoxes); !ok {
			c.cut("some rules overlap in too many ways to be compared whole")
			return nil
		}
	}
	return list
}

// cut gives up on what is under way.
func (c *comparer) cut(why string) {
	c.gaveUp = true
	if c.out.Cut == "" {
		c.out.Cut = why
	}
}

// and gives the packets of both lists.
func (c *comparer) and(list, with []space.Box) (out []space.Box) {
	if c.steps -= len(list) * len(with); c.steps < 0 {
		c.cut("the policies are too large to be compared whole")
		return nil
	}
	for i := range list {
		for j := range with {
			if b, ok := list[i].And(&with[j]); ok {
				out = append(out, b)
			}
		}
	}
	return out
}

// apart gives the boxes without a packet in common.
func (c *comparer) apart(list []space.Box) (out []space.Box) {
	for i := range list {
		out = append(out, c.minus(list[i:i+1], list[:i])...)
	}
	return out
}

func (c *comparer) leftOpen(existing, wanted *Policy, dir Direction) {
	all := c.entries(existing, dir)
	most, left := certain(all, Drop)
	least, unread := certain(all, Accept)
	wantedLeast, _ := certain(c.entries(wanted, dir), Accept)
	c.gaveUp = false
	want := c.accepted(wantedLeast)
	blind := c.gaveUp // it wants more than is known
	var sure []space.Box
	if len(left)+len(unread) > 0 {
		sure = c.accepted(least)
	}
	for i, e := range most {
		if e.action != Accept {
			continue
		}
		c.gaveUp = blind
		rest := c.minus(c.apart(e.boxes), want)
		for _, before := range most[:i] {
			if before.action == Drop {
				rest = c.minus(rest, before.boxes)
			}
		}
		if c.gaveUp {
			c.add(LeftOpen, dir, e.index, -1, e.boxes, tooMany)
			continue
		}
		if len(left)+len(unread) == 0 {
			c.add(LeftOpen, dir, e.index, -1, rest, "")
			continue
		}
		doubt := c.minus(rest, sure)
		open := c.minus(rest, doubt)
		if c.gaveUp {
			c.add(LeftOpen, dir, e.index, -1, rest, tooMany)
			continue
		}
		if e.narrow == "" { // else it is certain by other rules, and told of them
			c.add(LeftOpen, dir, e.index, -1, open, "")
		}
		c.doubt(LeftOpen, dir, e, -1, doubt, left)
	}
}

func (c *comparer) breaks(existing, wanted *Policy, dir Direction) {
	all := c.entries(existing, dir)
	least, left := certain(all, Accept)
	most, unread := certain(all, Drop)
	var perhaps []space.Box
	c.gaveUp = false
	if len(left)+len(unread) > 0 {
		perhaps = c.accepted(most)
	}
	blind := c.gaveUp // it may let through more than is known
	want, _ := certain(c.entries(wanted, dir), Drop)
	for i, w := range want {
		if w.action != Accept {
			continue
		}
		c.gaveUp = blind
		rest := c.apart(w.boxes)
		for _, before := range want[:i] {
			if before.action == Drop {
				rest = c.minus(rest, before.boxes)
			}
		}
		for _, e := range least {
			if c.gaveUp || len(rest) == 0 {
				break
			}
			if e.action == Drop {
				part := c.and(rest, c.apart(e.boxes))
				broken := c.minus(part, perhaps)
				doubt := c.minus(part, broken)
				if c.gaveUp {
					continue
				}
				c.add(Breaks, dir, e.index, w.index, broken, "")
				c.doubt(Breaks, dir, e, w.index, doubt, left)
			}
			rest = c.minus(rest, e.boxes)
		}
		if c.gaveUp {
			c.add(Breaks, dir, -1, w.index, w.boxes, tooMany)
		}
	}
}

// doubt adds differences that the existing policy may not have: for the reason of the rule
// that decides, or for that of one before it that may decide.
func (c *comparer) doubt(kind Kind, dir Direction, e entry, wanted int, list []space.Box, left []entry) {
	if e.narrow != "" {
		c.add(kind, dir, e.index, wanted, list, e.narrow)
		return
	}
	for _, l := range left {
		part := c.and(list, c.apart(l.boxes))
		if len(part) == 0 {
			continue
		}
		rest := c.minus(list, part)
		if c.gaveUp {
			break
		}
		c.add(kind, dir, e.index, wanted, part, l.narrow)
		list = rest
	}
	c.add(kind, dir, e.index, wanted, list, "a rule before it may decide")
}

func (c *comparer) add(kind Kind, dir Direction, by, wanted int, list []space.Box, unsure string) {
	for _, b := range space.Merge(list) {
		c.out.Differences = append(c.out.Differences, Difference{
			Kind: kind, Traffic: Traffic{Dir: dir, Box: b, Own: c.own}, By: by, Wanted: wanted, Unsure: unsure,
		})
	}
}
