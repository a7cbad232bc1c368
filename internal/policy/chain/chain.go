// Package chain is the rule set of a Linux firewall, chains of rules that packets walk through, and
// what it means for one machine: a policy. The readers of nftables and iptables build it; it
// knows no syntax.
package chain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// Verdict is what a rule does with what it matches.
type Verdict uint8

// The verdicts.
const (
	Unknown Verdict = iota // accepts it, drops it or lets it go on: not understood
	Accept
	Drop
	Return
	Jump // to Target, and on behind the rule from where that ends
	Goto // to Target, and back to where this chain was jumped to from
)

// Rule is one rule with a verdict.
type Rule struct {
	// Match are the packets it is about, those of any of the boxes. Only packets that begin
	// a conversation count; a rule about others has no boxes.
	Match []space.Box
	// Through are interfaces it asks for, all of them.
	Through []Interface
	// Unsure says what of it was not understood: it matches at most the above.
	Unsure  string
	Verdict Verdict
	Target  string // chain of the same table
	At      string
	Comment string
}

// Interface is a question about the interface that a packet comes through, or goes out through.
type Interface struct {
	Out   bool
	Names []string // a star at the end stands for any rest
	Not   bool
}

// Chain is a list of rules.
type Chain struct {
	Name string
	// Hook is where packets enter it: prerouting, input, forward, output, postrouting.
	// Empty for one that is only jumped to.
	Hook   string
	Policy policy.Action // at its end, with a hook
	Rules  []Rule
}

// Table is chains that may jump to each other, for packets of some families.
type Table struct {
	Name   string
	V4, V6 bool
	Chains []*Chain
}

// Chain gives the chain of a name; nil if there is none.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Ruleset is all tables of a firewall.
type Ruleset struct {
	Tables []*Table
	// Silent4 and Silent6 tell that what was read says nothing of IPv4, or of IPv6.
	Silent4, Silent6 bool
	// Unread says what may drop more, and was not read.
	Unread string
	// Answers tells that some rule accepts what belongs to a conversation accepted before.
	Answers bool
	Notes   []string
}

// Bounds. The kernel refuses more than 16 jumps in each other (NFT_JUMP_STACK_SIZE,
// https://github.com/torvalds/linux/blob/master/include/net/netfilter/nf_tables.h, read 2026-11-25).
const (
	maxDepth   = 64
	maxEntries = 1 << 16 // what a rule set unfolds to
	maxBoxes   = 1 << 12 // of one rule, once others were taken out of it
)

// where are the hooks that a packet passes, the main one first: through the firewall, or where
// that has no rules for it, into the machine and out of it.
var (
	through = []string{"forward", "prerouting", "postrouting"}
	into    = []string{"input", "prerouting"}
	outOf   = []string{"output", "postrouting"}
)

// Policy is what the rules mean for the machine that the view is of. It fails where the rules
// unfold to more than can be held.
func (s *Ruleset) Policy(v policy.View) (*policy.Policy, error) {
	p := &policy.Policy{Own: v.Own, Interface: v.Interface, Notes: slices.Clone(s.Notes)}
	forward, own := s.used("forward"), s.used("input") || s.used("output")
	between := forward || !own
	switch {
	case forward && own:
		p.Remarks = append(p.Remarks, "chains of the hooks input and output are about the firewall itself and were not compared")
	case own:
		p.Remarks = append(p.Remarks, "no chain of the hook forward has rules: input and output were read, as on the machine itself")
	case !forward && !s.used("prerouting") && !s.used("postrouting"):
		p.Notes = append(p.Notes, "no chain with rules is at a hook: as far as this was read, everything passes")
	}
	drops := false
	for _, dir := range []policy.Direction{policy.In, policy.Out} {
		w := &walker{set: s, view: v, dir: dir, between: between, own: policy.OwnSet(v.Own)}
		hooks := through
		switch {
		case between:
		case dir == policy.Out:
			hooks = outOf
		default:
			hooks = into
		}
		list, rest, err := w.unfold(hooks)
		if err != nil {
			return nil, err
		}
		if dir == policy.Out {
			p.Out = rest
		} else {
			p.In = rest
		}
		drops = drops || rest == policy.Drop
		if s.Unread != "" {
			list = append([]entry{{box: policy.Within(dir, w.own), action: policy.Drop, unsure: s.Unread, at: v.File}}, list...)
		}
		for _, e := range list {
			t := policy.Traffic{Dir: dir, Box: e.box, Own: w.own}
			for _, r := range t.Rules() {
				r.ID = fmt.Sprintf("%s-%d", dir, len(p.Rules)+1)
				r.Action, r.Unsure, r.At, r.Comment = e.action, e.unsure, e.at, e.comment
				p.Rules = append(p.Rules, r)
			}
		}
		if len(p.Rules) > maxEntries {
			return nil, fmt.Errorf("the rules unfold to more than %d", maxEntries)
		}
	}
	if drops && !s.Answers && (forward || own) {
		p.Notes = append(p.Notes, "no rule accepts established connections: answers need rules of their own there, which was not looked at")
	}
	return p, nil
}

// used reports whether a chain with a hook does anything.
func (s *Ruleset) used(hook string) bool {
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			if c.Hook == hook && (len(c.Rules) > 0 || c.Policy == policy.Drop) {
				return true
			}
		}
	}
	return false
}

// entry is a rule once the chains are unfolded: the first that matches decides.
type entry struct {
	box                 space.Box
	action              policy.Action
	unsure, at, comment string
}

// walker unfolds the chains for one direction.
type walker struct {
	set     *Ruleset
	view    policy.View
	dir     policy.Direction
	between bool
	own     space.Addrs

	table *Table
	base  *Chain
	out   []entry
}

// unfold gives the rules and what happens to the rest.
func (w *walker) unfold(hooks []string) ([]entry, policy.Action, error) {
	type part struct {
		box    space.Box
		silent bool
		stages [][]entry
	}
	whole := policy.Within(w.dir, w.own)
	parts := []part{{box: whole}}
	if w.set.split(hooks) {
		parts = nil
		for _, v4 := range []bool{true, false} {
			if b, ok := whole.Family(v4); ok {
				parts = append(parts, part{box: b, silent: v4 && w.set.Silent4 || !v4 && w.set.Silent6})
			}
		}
	}
	var list, ends []entry
	for i := range parts {
		g := &parts[i]
		for _, t := range w.set.Tables {
			if len(g.box.Src.And(space.AllIPv4)) > 0 && !t.V4 || len(g.box.Src.And(space.AllIPv6)) > 0 && !t.V6 {
				continue
			}
			for _, c := range t.Chains {
				if !slices.Contains(hooks, c.Hook) || c.Hook != hooks[0] && !t.mayDrop(c, 0) {
					continue
				}
				w.table, w.base, w.out = t, c, nil
				if _, err := w.walk(c, []region{{boxes: []space.Box{g.box}}}, 0); err != nil {
					return nil, 0, fmt.Errorf("table %s, chain %s: %w", t.Name, c.Name, err)
				}
				w.emit(c.Policy, []region{{boxes: []space.Box{g.box}}}, "", "policy of chain "+c.Name, "")
				g.stages = append(g.stages, w.out)
			}
		}
		rules, end, err := join(g.stages, g.box)
		if err != nil {
			return nil, 0, err
		}
		// Nothing comes behind a rule about everything. One that drops is what others call a policy.
		for j := range rules {
			if e := &rules[j]; e.unsure == "" && len(g.box.Minus(&e.box)) == 0 {
				if e.action == policy.Drop {
					rules, end = rules[:j], entry{box: g.box, action: policy.Drop}
				} else {
					rules = rules[:j+1]
				}
				break
			}
		}
		if g.silent {
			why := "what was read says nothing of IPv6"
			if len(g.box.Src.And(space.AllIPv4)) > 0 {
				why = "what was read says nothing of IPv4"
			}
			rules = append(rules, entry{box: g.box, action: policy.Accept, unsure: why, at: w.view.File})
			end = entry{box: g.box, action: policy.Drop, unsure: ""}
		}
		list, ends = append(list, rules...), append(ends, end)
	}
	rest := policy.Accept
	for _, e := range ends {
		if e.action == policy.Drop {
			rest = policy.Drop
		}
	}
	for _, e := range ends {
		if e.action != rest {
			list = append(list, e)
		}
	}
	return list, rest, nil
}

// split reports whether the families have to be looked at each for itself.
func (s *Ruleset) split(hooks []string) bool {
	if s.Silent4 || s.Silent6 {
		return true
	}
	for _, t := range s.Tables {
		if t.V4 != t.V6 && slices.ContainsFunc(t.Chains, func(c *Chain) bool { return slices.Contains(hooks, c.Hook) }) {
			return true
		}
	}
	return false
}

// mayDrop reports whether a packet may end in the chain.
func (t *Table) mayDrop(c *Chain, depth int) bool {
	if c == nil || depth > maxDepth || c.Hook != "" && c.Policy == policy.Drop {
		return true
	}
	return slices.ContainsFunc(c.Rules, func(r Rule) bool {
		return len(r.Match) > 0 && (r.Verdict == Drop || r.Verdict == Unknown ||
			(r.Verdict == Jump || r.Verdict == Goto) && t.mayDrop(t.Chain(r.Target), depth+1))
	})
}

// region is packets that may come to a rule, and why it is not sure that they do.
type region struct {
	boxes  []space.Box
	unsure string
}

// reasons joins two, either of which may be empty.
func reasons(a, b string) string {
	switch {
	case b == "" || a == b:
		return a
	case a == "":
		return b
	}
	return a + ", " + b
}

// walk emits what the chain does with packets that come to it, and gives those that fall through
// it. Of packets that surely come, it emits in the order of the rules, so that the first that matches
// decides, and they need not be taken out when they are decided.
//
// Of a rule that matches perhaps, both ways are emitted: what it leads to, as unsure, and what
// follows it. Where it would have left the chain, what follows is unsure as well.
func (w *walker) walk(c *Chain, in []region, depth int) (left []region, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d jumps in each other", maxDepth)
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		may, why := w.through(r.Through)
		if !may {
			continue
		}
		unsure := reasons(r.Unsure, why)
		target, verdict := w.table.Chain(r.Target), r.Verdict
		if (verdict == Jump || verdict == Goto) && target == nil {
			verdict, unsure = Unknown, reasons(unsure, "no chain "+r.Target)
		}
		var next []region
		for _, g := range in {
			matched := meet([]region{g}, r.Match, unsure)
			if len(matched) == 0 {
				next = append(next, g)
				continue
			}
			back := matched
			switch verdict {
			case Accept, Drop:
				action := policy.Accept
				if verdict == Drop {
					action = policy.Drop
				}
				w.emit(action, matched, "", r.At, r.Comment)
				back = nil
			case Jump, Goto:
				if back, err = w.walk(target, matched, depth+1); err != nil {
					return nil, err
				}
			case Return:
			case Unknown:
				why := unsure
				if why == "" {
					why = "what becomes of it"
				}
				w.emit(policy.Accept, matched, why, r.At, r.Comment)
				w.emit(policy.Drop, matched, why, r.At, r.Comment)
			}
			if len(w.out) > maxEntries {
				return nil, fmt.Errorf("the rules unfold to more than %d", maxEntries)
			}
			leaves := verdict == Return || verdict == Goto
			if leaves && c == w.base {
				w.emit(c.Policy, back, "", r.At, r.Comment)
				back = nil
			}
			switch {
			case leaves:
				left = append(left, back...)
				if c == w.base && unsure != "" {
					next = append(next, g)
					continue
				}
				rest, err := leave(g, r.Match, unsure)
				if err != nil {
					return nil, err
				}
				next = append(next, rest...)
			case unsure == "" && g.unsure != "" && verdict != Unknown:
				// They come perhaps; if they do, this is surely what becomes of them.
				rest, err := leave(g, r.Match, "")
				if err != nil { // it only would have been more precise
					next = append(next, g)
					continue
				}
				next = append(append(next, rest...), back...)
			default:
				next = append(next, g)
			}
		}
		if in = next; len(in) > maxBoxes {
			return nil, fmt.Errorf("chains return in more than %d ways", maxBoxes)
		}
	}
	return append(left, in...), nil
}

// meet gives the packets of the regions that match.
func meet(in []region, match []space.Box, unsure string) (out []region) {
	for _, g := range in {
		var both []space.Box
		for i := range g.boxes {
			for j := range match {
				if b, ok := g.boxes[i].And(&match[j]); ok {
					both = append(both, b)
				}
			}
		}
		if len(both) > 0 {
			out = append(out, region{both, reasons(g.unsure, unsure)})
		}
	}
	return out
}

// leave takes what matches out of a region; where that is unsure it stays, as unsure.
func leave(g region, match []space.Box, unsure string) (out []region, err error) {
	rest := g.boxes
	for i := range match {
		var ok bool
		if rest, ok = space.Minus(rest, &match[i], maxBoxes); !ok {
			return nil, fmt.Errorf("chains return in more than %d ways", maxBoxes)
		}
	}
	if len(rest) > 0 {
		out = append(out, region{rest, g.unsure})
	}
	if unsure != "" {
		out = append(out, meet([]region{g}, match, unsure)...)
	}
	return out, nil
}

func (w *walker) emit(a policy.Action, list []region, unsure, at, comment string) {
	for _, g := range list {
		for _, b := range space.Merge(g.boxes) {
			w.out = append(w.out, entry{b, a, reasons(g.unsure, unsure), at, comment})
		}
	}
}

// through reports whether packets of this direction may pass such interfaces, and if it is not
// sure, why.
func (w *walker) through(list []Interface) (may bool, why string) {
	for _, f := range list {
		// The machine is behind the interface that its own packets come in through.
		towards := f.Out == (w.dir == policy.In)
		known := w.between && w.view.Interface != ""
		has := slices.ContainsFunc(f.Names, func(n string) bool { return matches(n, w.view.Interface) })
		others := slices.ContainsFunc(f.Names, func(n string) bool { return n != "lo" })
		switch {
		case !others: // the loopback, which nothing of what the machine does with others uses
			if !f.Not {
				return false, ""
			}
		case known && towards:
			if has == f.Not {
				return false, ""
			}
		case known && has && len(f.Names) == 1 && !strings.HasSuffix(f.Names[0], "*"):
			// What comes from the machine does not go back to it.
			if !f.Not {
				return false, ""
			}
		default:
			s := "from"
			if f.Out {
				s = "to"
			}
			if f.Not {
				s += " others than"
			}
			why = reasons(why, s+" interface "+strings.Join(f.Names, ", "))
		}
	}
	return true, why
}

func matches(pattern, name string) bool {
	if p, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, p)
	}
	return pattern == name
}

// join makes one list of rules of several that a packet passes all, and gives its end. The
// longest stays as it is; of the others, what they drop goes before it.
func join(stages [][]entry, whole space.Box) (list []entry, end entry, err error) {
	if len(stages) == 0 {
		return nil, entry{box: whole, action: policy.Accept, comment: "no chain"}, nil
	}
	last := 0
	for i := range stages {
		if len(stages[i]) > len(stages[last]) {
			last = i
		}
	}
	for i, s := range stages {
		if i == last {
			continue
		}
		drops, err := dropped(s)
		if err != nil {
			return nil, end, err
		}
		list = append(list, drops...)
	}
	n := len(stages[last]) - 1
	return append(list, stages[last][:n]...), stages[last][n], nil
}

// dropped gives what a list of rules drops, as rules that drop.
func dropped(list []entry) (out []entry, err error) {
	accepts, why := false, "a rule before it"
	for i, e := range list {
		if e.action == policy.Accept {
			accepts = true
			continue
		}
		rest := []space.Box{e.box}
		var doubt []space.Box
		for _, before := range list[:i] {
			if !accepts {
				break
			}
			if before.action != policy.Accept {
				continue
			}
			if before.unsure != "" {
				for j := range rest {
					if b, ok := rest[j].And(&before.box); ok {
						doubt, why = append(doubt, b), before.unsure
					}
				}
			} else {
				var ok bool
				if doubt, ok = space.Minus(doubt, &before.box, maxBoxes); !ok {
					return nil, fmt.Errorf("rules overlap in more than %d ways", maxBoxes)
				}
			}
			var ok bool
			if rest, ok = space.Minus(rest, &before.box, maxBoxes); !ok {
				return nil, fmt.Errorf("rules overlap in more than %d ways", maxBoxes)
			}
		}
		for _, b := range space.Merge(rest) {
			out = append(out, entry{b, policy.Drop, e.unsure, e.at, e.comment})
		}
		for _, b := range space.Merge(doubt) {
			out = append(out, entry{b, policy.Drop, reasons(e.unsure, why), e.at, e.comment})
		}
	}
	return out, nil
}

// Messages of ICMPv6 that stay on a link: multicast listeners, neighbours, and their kin.
// https://www.rfc-editor.org/rfc/rfc4890#section-4.4.1, read 2026-11-25
var onLink = space.Box{
	Proto: space.One(58), Src: space.AllIPv6, Dst: space.AllIPv6, SPort: space.AllNums,
	DPort: space.Nums{{From: 130, To: 137}, {From: 141, To: 143}, {From: 148, To: 149}, {From: 151, To: 153}},
}

// OnLink reports whether boxes hold nothing but messages of ICMPv6 that stay on a link. A rule that
// accepts them with the hop limit they have, 255 or 1, lets nothing through a firewall.
func OnLink(boxes []space.Box) bool {
	return !slices.ContainsFunc(boxes, func(b space.Box) bool { return len(b.Minus(&onLink)) > 0 })
}
