// Package iptables is the dialect of iptables and ip6tables: it writes a policy for their restore
// commands, and reads what their save commands print.
package iptables

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/nftables"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// What iptables takes at most; TestPeerLimits asks it. A chain's name has 28 bytes, and 29 stand
// before a line in the log.
const (
	maxComment = 255 // bytes
	maxPorts   = 15  // of multiport; a range counts twice
	maxName    = 20  // of our chains, which leaves room for what comes behind
)

const (
	maxReason = 400
	maxFlat   = 16 // lines for a rule before it gets chains of its own
)

// Write writes the policy as a script for sh: it loads a file for IPv4 and one for IPv6, and
// leads the machine's traffic there. Loading it again replaces what it loaded; other rules
// stay.
func Write(w io.Writer, p *policy.Policy) error {
	if err := check(p); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	name := chainName(p)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(b, format+"\n", args...) } // Flush tells
	line("#!/bin/sh")
	line("# Firewall policy around %s, for a Linux router in front of it; made by oldguard.", title(p))
	line("#")
	for _, c := range [][2]string{
		{"sh FILE", "loads it, IPv4 and IPv6; again replaces it, other rules stay"},
		{"iptables -nvL " + name + "_to", "shows what was met, and so for " + name + "_from and ip6tables"},
		{"iptables -D FORWARD -j " + name, "takes it out, and so for INPUT, OUTPUT and ip6tables"},
		{"netfilter-persistent save", "keeps it for the next start, on Debian and its kin"},
	} {
		line("#   %-*s  %s", len("iptables -D FORWARD -j ")+len(name), c[0], c[1])
	}
	line("#")
	remarks(b, p)
	line("set -eu")
	for _, v4 := range []bool{true, false} {
		cmd := command(v4)
		line("")
		line("%s-restore --wait 10 --noflush <<'OLDGUARD'", cmd)
		(&writer{w: b, p: p, v4: v4, name: name}).table()
		line("OLDGUARD")
		for _, chain := range []string{"FORWARD", "INPUT", "OUTPUT"} {
			line("%s -w 10 -C %s -j %s 2>/dev/null || %[1]s -w 10 -I %[2]s 1 -j %[3]s", cmd, chain, name)
		}
	}
	return b.Flush()
}

// WriteFamily writes the part of the policy that is IPv4, for iptables-restore --noflush, or IPv6, for
// ip6tables-restore. The jumps to it are for who loads it: they stand in its remarks.
func WriteFamily(w io.Writer, p *policy.Policy, v4 bool) error {
	if err := check(p); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	name, cmd := chainName(p), command(v4)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(b, format+"\n", args...) } // Flush tells
	line("# Firewall policy around %s, for a Linux router in front of it; made by oldguard.", title(p))
	line("#")
	load := cmd + "-restore --noflush < FILE"
	jump := fmt.Sprintf("%s -I FORWARD 1 -j %s", cmd, name)
	line("#   %-*s  loads it; again replaces it, other rules stay", max(len(load), len(jump)), load)
	line("#   %-*s  leads traffic there; once, and so for INPUT and OUTPUT", max(len(load), len(jump)), jump)
	line("#")
	remarks(b, p)
	(&writer{w: b, p: p, v4: v4, name: name}).table()
	return b.Flush()
}

func check(p *policy.Policy) error {
	if err := p.Check(); err != nil {
		return err
	}
	if len(p.Own) == 0 && p.Interface == "" {
		return nftables.ErrNoMachine
	}
	return nil
}

func command(v4 bool) string {
	if v4 {
		return "iptables"
	}
	return "ip6tables"
}

func chainName(p *policy.Policy) string { return policy.Slug("oldguard", p.Host, maxName) }

func title(p *policy.Policy) string {
	if s := policy.Plain(p.Host, 48); s != "" {
		return s
	}
	return "one machine"
}

func remarks(b *bufio.Writer, p *policy.Policy) {
	out := []string{"Its chain comes first: rules that were there before no longer see the machine's traffic."}
	if p.Interface == "" {
		out = append(out, "Traffic is the machine's by its addresses: with another one it gets round this policy.")
		for _, v4 := range []bool{true, false} {
			if !has(p.Own, v4) {
				out = append(out, fmt.Sprintf("No address of the machine is known for %s: that is not covered.", command(v4)))
			}
		}
	} else {
		out = append(out, fmt.Sprintf("Traffic is the machine's if it goes through %s, whatever its address.", p.Interface))
	}
	if len(p.Own) > 0 {
		out = append(out, "Conversations from before loading go on until conntrack -D -s ADDRESS and -D -d ADDRESS end them.")
	}
	out = append(out, "On a bridge it sees packets only with br_netfilter, and net.bridge.bridge-nf-call-iptables set.")
	for _, s := range p.Notes {
		out = append(out, "Note: "+policy.Plain(s, maxReason))
	}
	for _, s := range out {
		_, _ = fmt.Fprintf(b, "# %s\n", s)
	}
}

func has(list []netip.Addr, v4 bool) bool {
	return slices.ContainsFunc(list, func(a netip.Addr) bool { return a.Is4() == v4 })
}

// writer writes the table of one family. Chains have to be named before rules: so it gathers
// both.
type writer struct {
	w      *bufio.Writer
	p      *policy.Policy
	v4     bool
	name   string
	chains []string
	lines  []string
}

// chain adds a chain of ours.
func (w *writer) chain(suffix string) string {
	c := w.name + suffix
	w.chains = append(w.chains, c)
	return c
}

func (w *writer) add(chain, format string, args ...any) {
	w.lines = append(w.lines, "-A "+chain+" "+fmt.Sprintf(format, args...))
}

func (w *writer) remark(text string) {
	w.lines = append(w.lines, "# "+policy.Plain(text, maxReason))
}

func (w *writer) table() {
	p := w.p
	base, to, from := w.chain(""), w.chain("_to"), w.chain("_from")
	if p.Interface != "" {
		w.add(base, "-o %s -g %s", p.Interface, to)
		w.add(base, "-i %s -g %s", p.Interface, from)
	} else {
		for _, a := range p.Own {
			if a.Is4() == w.v4 {
				w.add(base, "-d %s -g %s", a, to)
			}
		}
		for _, a := range p.Own {
			if a.Is4() == w.v4 {
				w.add(base, "-s %s -g %s", a, from)
			}
		}
	}
	w.direction(policy.In, to)
	w.direction(policy.Out, from)

	_, _ = fmt.Fprintln(w.w, "*filter")
	for _, c := range w.chains {
		_, _ = fmt.Fprintf(w.w, ":%s - [0:0]\n", c)
	}
	for _, l := range w.lines {
		_, _ = fmt.Fprintln(w.w, l)
	}
	_, _ = fmt.Fprintln(w.w, "COMMIT")
}

func (w *writer) direction(dir policy.Direction, chain string) {
	p := w.p
	word, flag, end, found := "in", "-d", p.In, []int{134, 135, 136}
	if dir == policy.Out {
		word, flag, end, found = "out", "-s", p.Out, []int{133, 135, 136}
	}
	w.add(chain, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
	w.add(chain, "-m conntrack --ctstate INVALID -j DROP")
	if !w.v4 {
		w.remark("Without neighbour discovery there is no IPv6 on the link; no router passes it on.")
		for _, n := range found {
			w.add(chain, "-p ipv6-icmp -m icmp6 --icmpv6-type %d -m hl --hl-eq 255 -j ACCEPT", n)
		}
	}
	if p.Interface != "" && len(p.Own) > 0 {
		own := w.chain("_own_" + word)
		w.remark("Behind the interface, and not with an address of the machine.")
		w.add(chain, "-j %s", own)
		for _, a := range p.Own {
			if a.Is4() == w.v4 {
				w.add(own, "%s %s -j RETURN", flag, a)
			}
		}
		w.drop(own, "spoof")
	}
	for _, r := range p.Ordered() {
		if r.Dir == dir {
			w.rule(chain, r)
		}
	}
	if end == policy.Accept {
		w.add(chain, `-m comment --comment "what no rule names" -j ACCEPT`)
	} else {
		w.drop(chain, word)
	}
}

// drop ends a chain: a few lines in the log, and nothing passes.
func (w *writer) drop(chain, word string) {
	w.add(chain, `-m limit --limit 10/min --limit-burst 20 -j LOG --log-prefix "%s %s: "`, w.name, word)
	w.add(chain, "-j DROP")
}

// rule writes a rule: a line for each combination of its conditions, or, where these are many, chains of
// its own.
func (w *writer) rule(chain string, r *policy.Rule) {
	list := slices.Concat(r.Local, r.Remote)
	if len(list) > 0 && list[0].Addr().Is4() != w.v4 || r.Proto == policy.ICMP && !w.v4 || r.Proto == policy.ICMPv6 && w.v4 {
		return
	}
	why := policy.Plain(r.Comment, maxReason)
	if why != "" {
		w.remark(r.ID + ": " + why)
	}
	if r.Program+r.Service != "" {
		w.remark("for " + strings.TrimSpace(r.Program+" "+r.Service) + "; the firewall does not see programs")
	}
	if r.Unsure != "" {
		w.remark("not sure: " + r.Unsure)
	}
	comment := policy.Plain(strings.TrimSuffix(r.ID+": "+why, ": "), maxComment)
	source, destination := r.Remote, r.Local
	if r.Dir == policy.Out {
		source, destination = destination, source
	}
	verdict := "ACCEPT"
	if r.Action == policy.Drop {
		verdict = "DROP"
	}
	if len(r.Except) > 1 {
		sub := w.chain(fmt.Sprintf("_%d", len(w.chains)))
		for _, x := range r.Except {
			w.add(sub, "-p %d -j RETURN", uint8(x))
		}
		w.add(sub, "-j %s", verdict)
		verdict = sub
	}
	what := w.protocol(r)
	if len(what) == 0 {
		return
	}
	levels := [][]string{what}
	for _, side := range []struct {
		flag string
		list []netip.Prefix
	}{{"-s ", source}, {"-d ", destination}} {
		if len(side.list) == 0 {
			continue
		}
		var conditions []string
		for _, p := range space.ToPrefixes(space.Prefixes(side.list...)) {
			conditions = append(conditions, side.flag+p.String())
		}
		levels = append(levels, conditions)
	}
	lines := 1
	for _, l := range levels {
		lines *= len(l)
	}
	mark := fmt.Sprintf(`-m comment --comment "%s"`, comment)
	if lines <= maxFlat || len(levels) == 1 {
		w.flat(chain, levels, nil, mark+" -j "+verdict)
		return
	}
	for i, l := range levels {
		next := verdict
		if i < len(levels)-1 {
			next = w.chain(fmt.Sprintf("_%d", len(w.chains)))
		}
		for _, c := range l {
			if i == 0 {
				w.add(chain, "%s", join(c, mark, "-j "+next))
			} else {
				w.add(chain, "%s", join(c, "-j "+next))
			}
		}
		chain = next
	}
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

func (w *writer) flat(chain string, levels [][]string, so []string, end string) {
	if len(levels) == 0 {
		w.add(chain, "%s", join(append(so, end)...))
		return
	}
	for _, c := range levels[0] {
		w.flat(chain, levels[1:], append(slices.Clone(so), c), end)
	}
}

// protocol gives the ways to write protocol and ports, or messages; any of them matches.
func (w *writer) protocol(r *policy.Rule) (out []string) {
	service, source := r.LocalPorts, r.RemotePorts
	if r.Dir == policy.Out {
		service, source = source, service
	}
	switch {
	case r.Proto == policy.Any && len(r.Except) == 1:
		return []string{fmt.Sprintf("! -p %d", uint8(r.Except[0]))}
	case r.Proto == policy.Any:
		return []string{""}
	case r.Proto.HasPorts():
		for _, d := range ports(r.Proto, "dport", service) {
			for _, s := range ports(r.Proto, "sport", source) {
				out = append(out, join("-p "+r.Proto.String(), d, s))
			}
		}
		return out
	case len(r.ICMP) == 0:
		return []string{fmt.Sprintf("-p %d", uint8(r.Proto))}
	}
	option := "-p icmp -m icmp --icmp-type "
	if r.Proto == policy.ICMPv6 {
		option = "-p ipv6-icmp -m icmp6 --icmpv6-type "
	}
	for _, m := range r.ICMP {
		switch {
		case m.Type == 255 && w.v4: // to iptables that is any type
			w.remark("ICMP type 255 is left out: to iptables it means any")
		case m.Code < 0:
			out = append(out, fmt.Sprintf("%s%d", option, m.Type))
		default:
			out = append(out, fmt.Sprintf("%s%d/%d", option, m.Type, m.Code))
		}
	}
	return out
}

// ports gives conditions of which any matches, as many ports in each as multiport takes.
func ports(proto policy.Proto, option string, list []policy.Ports) (out []string) {
	if len(list) == 0 {
		return []string{""}
	}
	var spans []space.Span[space.Num]
	for _, p := range list {
		spans = append(spans, space.Span[space.Num]{From: space.Num(p.From), To: space.Num(p.To)})
	}
	var cur []string
	used := 0
	flush := func() {
		switch {
		case len(cur) == 1:
			out = append(out, fmt.Sprintf("-m %s --%s %s", proto, option, cur[0]))
		case len(cur) > 1:
			out = append(out, fmt.Sprintf("-m multiport --%ss %s", option, strings.Join(cur, ",")))
		}
		cur, used = nil, 0
	}
	for _, s := range space.SetOf(spans...) {
		text, n := fmt.Sprint(s.From), 1
		if s.From != s.To {
			text, n = fmt.Sprintf("%d:%d", s.From, s.To), 2
		}
		if used+n > maxPorts {
			flush()
		}
		cur, used = append(cur, text), used+n
	}
	flush()
	return out
}
