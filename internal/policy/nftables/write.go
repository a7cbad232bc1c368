// Package nftables is the dialect of nft, the firewall of Linux: it writes a policy as a rule set
// for a router or a bridge in front of the machine, and reads the rule sets that people wrote and
// that nft lists.
package nftables

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/space"
)

const (
	maxComment = 128 // of bytes; nft refuses more, as TestPeerComment sees
	maxReason  = 400 // of a reason in a line of its own
	maxName    = 48  // of the table; nft takes more, log lines are read by people
	maxInline  = 4   // addresses in a rule; more stand in a set of their own
)

// ErrNoMachine is what Write gives where a policy tells no firewall which traffic is the
// machine's.
var ErrNoMachine = errors.New("the policy names neither an address of the machine nor an interface towards it")

// Write writes the policy as a file for nft -f: one table, which replaces the one loaded
// before in a single step. What a firewall in between cannot see, a program or a service, is left out.
func Write(w io.Writer, p *policy.Policy) error {
	if err := p.Check(); err != nil {
		return err
	}
	if len(p.Own) == 0 && p.Interface == "" {
		return ErrNoMachine
	}
	out := &writer{w: bufio.NewWriter(w), p: p, table: policy.Slug("oldguard", p.Host, maxName), sets: map[string]string{}}
	out.file()
	return out.w.Flush()
}

type writer struct {
	w     *bufio.Writer
	p     *policy.Policy
	table string
	sets  map[string]string // names of sets, by what is in them
}

// line writes one line; Flush tells whether that worked. Text from evidence comes through policy.Plain before.
func (w *writer) line(depth int, format string, args ...any) {
	_, _ = fmt.Fprintf(w.w, strings.Repeat("\t", depth)+format+"\n", args...)
}

func (w *writer) file() {
	p := w.p
	name := policy.Plain(p.Host, maxName)
	if name == "" {
		name = "one machine"
	}
	w.line(0, "#!/usr/sbin/nft -f")
	w.line(0, "# Firewall policy around %s, for a Linux router in front of it; made by oldguard.", name)
	w.line(0, "#")
	for _, c := range [][2]string{
		{"nft -c -f FILE", "tries it, changes nothing"},
		{"nft -f FILE", "loads it; again replaces it, in one step"},
		{"nft list table inet " + w.table, "shows it with its counters"},
		{"nft delete table inet " + w.table, "removes it"},
	} {
		w.line(0, "#   %-*s  %s", len("nft delete table inet ")+len(w.table), c[0], c[1])
	}
	w.line(0, "#")
	for _, s := range w.remarks() {
		w.line(0, "# %s", s)
	}
	for _, s := range p.Notes {
		w.line(0, "# Note: %s", policy.Plain(s, maxReason))
	}
	w.line(0, "")
	w.line(0, "table inet %s", w.table)
	w.line(0, "delete table inet %s", w.table)
	w.line(0, "")
	w.line(0, "table inet %s {", w.table)
	w.addresses()
	w.hooks()
	w.chain(policy.In)
	w.chain(policy.Out)
	if p.Interface != "" && len(p.Own) > 0 {
		w.line(1, "# Behind the interface, and not with an address of the machine.")
		w.line(1, "chain foreign {")
		w.drop("spoof")
		w.line(1, "}")
	}
	w.line(0, "}")
}

// remarks are what who loads the file has to know.
func (w *writer) remarks() (out []string) {
	p := w.p
	out = append(out, "What another table drops stays dropped. What is not the machine's goes on as before.")
	if p.Interface == "" {
		out = append(out, "Traffic is the machine's by its addresses: with another one it gets round this policy. An",
			"interface of the firewall that leads to nothing else would prevent that.")
		if !hasFamily(p.Own, false) {
			out = append(out, "No IPv6 address of the machine is known: its IPv6 is not covered.")
		}
		if !hasFamily(p.Own, true) {
			out = append(out, "No IPv4 address of the machine is known: its IPv4 is not covered.")
		}
	} else {
		out = append(out, fmt.Sprintf("Traffic is the machine's if it goes through %s, whatever its address.", p.Interface))
	}
	if len(p.Own) > 0 {
		out = append(out, "Conversations from before loading go on until conntrack -D -s ADDRESS and -D -d ADDRESS end them.")
	}
	if p.Interface == "" { // in the chains of inet the bridge stands for its ports
		return append(out,
			"On a bridge instead of a router the file is the same, and filters nothing unless the bridge hands packets on:",
			"ip link set BRIDGE type bridge nf_call_iptables 1 nf_call_ip6tables 1 (with br_netfilter; Linux 5.3).")
	}
	return append(out,
		"On a bridge instead of a router: write bridge for inet in the three lines with table, leave out the chains",
		"input and output, and take the # from the lines for ARP. It needs Linux 5.3 with nf_conntrack_bridge.")
}

func hasFamily(list []netip.Addr, v4 bool) bool {
	return slices.ContainsFunc(list, func(a netip.Addr) bool { return a.Is4() == v4 })
}

// addresses writes the sets: those of the machine, and long lists of peers.
func (w *writer) addresses() {
	for _, v4 := range []bool{true, false} {
		if !hasFamily(w.p.Own, v4) {
			continue
		}
		var own []netip.Prefix
		for _, a := range w.p.Own {
			if a.Is4() == v4 {
				own = append(own, netip.PrefixFrom(a, a.BitLen()))
			}
		}
		w.set(ownSet(v4), v4, tidy(own))
	}
	for _, r := range w.p.Ordered() {
		for _, side := range []struct {
			prefix string
			list   []netip.Prefix
		}{{"peers-", r.Remote}, {"local-", r.Local}} {
			list := tidy(side.list)
			key := elements(list)
			if len(list) <= maxInline || w.sets[key] != "" {
				continue
			}
			name := side.prefix + r.ID
			if len(name) > maxName {
				name = fmt.Sprintf("%s%d", side.prefix, len(w.sets)+1)
			}
			w.sets[key] = name
			w.set(name, list[0].Addr().Is4(), list)
		}
	}
}

func ownSet(v4 bool) string {
	if v4 {
		return "own4"
	}
	return "own6"
}

func (w *writer) set(name string, v4 bool, list []netip.Prefix) {
	kind := "ipv6_addr"
	if v4 {
		kind = "ipv4_addr"
	}
	w.line(1, "set %s {", name)
	w.line(2, "type %s", kind)
	w.line(2, "flags interval")
	w.line(2, "elements = {")
	for part := range slices.Chunk(list, maxInline) {
		w.line(3, "%s,", elements(part))
	}
	w.line(2, "}")
	w.line(1, "}")
	w.line(0, "")
}

// tidy gives networks in order, without those that lie in others: nft refuses overlaps.
func tidy(list []netip.Prefix) (out []netip.Prefix) {
	list = slices.Clone(list)
	slices.SortFunc(list, netip.Prefix.Compare)
	for _, p := range list {
		if n := len(out); n == 0 || !out[n-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}

func elements(list []netip.Prefix) string {
	var s []string
	for _, p := range list {
		if p.IsSingleIP() {
			s = append(s, p.Addr().String())
		} else {
			s = append(s, p.String())
		}
	}
	return strings.Join(s, ", ")
}

// hooks writes the chains where packets enter.
func (w *writer) hooks() {
	in, out := w.which("oifname", "daddr"), w.which("iifname", "saddr")
	hook := func(name, remark string, rules ...string) {
		w.line(1, "# %s", remark)
		w.line(1, "chain %s {", name)
		w.line(2, "type filter hook %s priority filter; policy accept;", name)
		for _, r := range rules {
			w.line(2, "%s", r)
		}
		w.line(1, "}")
		w.line(0, "")
	}
	var both []string
	for _, s := range in {
		both = append(both, s+" goto to_machine")
	}
	for _, s := range out {
		both = append(both, s+" goto from_machine")
	}
	hook("forward", "What passes the firewall.", both...)
	hook("input", "What the machine wants of the firewall itself.", both[len(in):]...)
	hook("output", "What the firewall itself wants of the machine.", both[:len(in)]...)
}

// which gives the conditions that make traffic the machine's.
func (w *writer) which(iface, addr string) (out []string) {
	if w.p.Interface != "" {
		return []string{fmt.Sprintf("%s %q", iface, w.p.Interface)}
	}
	if hasFamily(w.p.Own, true) {
		out = append(out, fmt.Sprintf("ip %s @own4", addr))
	}
	if hasFamily(w.p.Own, false) {
		out = append(out, fmt.Sprintf("ip6 %s @own6", addr))
	}
	return out
}

func (w *writer) chain(dir policy.Direction) {
	p := w.p
	name, own, found, end, short := "to_machine", "daddr", "nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert", p.In, "in"
	if dir == policy.Out {
		name, own, found, end, short = "from_machine", "saddr", "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert", p.Out, "out"
	}
	w.line(1, "chain %s {", name)
	w.line(2, "ct state vmap { established : accept, related : accept, invalid : drop }")
	w.line(2, "# Without neighbour discovery there is no IPv6 on the link; no router passes it on.")
	w.line(2, "icmpv6 type { %s } ip6 hoplimit 255 accept", found)
	w.line(2, "# ether type arp accept")
	if p.Interface != "" && len(p.Own) > 0 {
		for _, v4 := range []bool{true, false} {
			family := map[bool]string{true: "ip", false: "ip6"}[v4]
			switch {
			case hasFamily(p.Own, v4):
				w.line(2, "%s %s != @%s goto foreign", family, own, ownSet(v4))
			case v4:
				w.line(2, "meta nfproto ipv4 goto foreign")
			default:
				w.line(2, "meta nfproto ipv6 goto foreign")
			}
		}
	}
	for _, r := range p.Ordered() {
		if r.Dir == dir {
			w.rule(r)
		}
	}
	w.line(0, "")
	w.line(2, "# The rest.")
	if end == policy.Accept {
		w.line(2, `counter accept comment "what no rule names"`)
	} else {
		w.drop(short)
	}
	w.line(1, "}")
	w.line(0, "")
}

// drop writes the end of a chain: a few lines in the log, and nothing passes.
func (w *writer) drop(what string) {
	w.line(2, `limit rate 10/minute burst 20 packets log prefix "%s %s: "`, w.table, what)
	w.line(2, "counter drop")
}

func (w *writer) rule(r *policy.Rule) {
	why := policy.Plain(r.Comment, maxReason)
	w.line(0, "")
	if why != "" {
		w.line(2, "# %s: %s", r.ID, why)
	}
	if r.Program+r.Service != "" {
		w.line(2, "# for %s; the firewall does not see programs", policy.Plain(strings.TrimSpace(r.Program+" "+r.Service), maxReason))
	}
	if r.Unsure != "" {
		w.line(2, "# not sure: %s", policy.Plain(r.Unsure, maxReason))
	}
	comment := policy.Plain(r.ID+": "+why, maxComment)
	if why == "" {
		comment = policy.Plain(r.ID, maxComment)
	}
	for _, m := range w.messages(r) {
		parts := slices.Concat(w.family(r), w.list(r.Remote, r.Dir == policy.In), w.list(r.Local, r.Dir == policy.Out), m)
		w.line(2, `%s`, strings.Join(append(parts, "counter", r.Action.String(), fmt.Sprintf(`comment "%s"`, comment)), " "))
	}
}

// family writes what tells the family of a rule, where nothing else of it does.
func (w *writer) family(r *policy.Rule) []string {
	list := slices.Concat(r.Local, r.Remote)
	switch {
	case len(list) > 0 && whole(r.Local) && whole(r.Remote): // every address of a family
		if list[0].Addr().Is4() {
			return []string{"meta nfproto ipv4"}
		}
		return []string{"meta nfproto ipv6"}
	case len(list) > 0 || len(r.ICMP) > 0:
	case r.Proto == policy.ICMP:
		return []string{"meta nfproto ipv4"}
	case r.Proto == policy.ICMPv6:
		return []string{"meta nfproto ipv6"}
	}
	return nil
}

// whole reports whether the list does not narrow a rule of its family.
func whole(list []netip.Prefix) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Bits() == 0 })
}

// list writes a condition on the source or the destination.
func (w *writer) list(list []netip.Prefix, source bool) []string {
	if whole(list) {
		return nil
	}
	list = tidy(list)
	field := "ip6"
	if list[0].Addr().Is4() {
		field = "ip"
	}
	if source {
		field += " saddr "
	} else {
		field += " daddr "
	}
	text := elements(list)
	switch {
	case w.sets[text] != "":
		return []string{field + "@" + w.sets[text]}
	case len(list) == 1:
		return []string{field + text}
	}
	return []string{field + "{ " + text + " }"}
}

// messages writes the protocol with its ports, or with its messages, for which it may take
// more than one line.
func (w *writer) messages(r *policy.Rule) (out [][]string) {
	service, source := r.LocalPorts, r.RemotePorts
	if r.Dir == policy.Out {
		service, source = source, service
	}
	switch {
	case r.Proto == policy.Any && len(r.Except) == 0:
		return [][]string{nil}
	case r.Proto == policy.Any:
		var not []string
		for _, x := range r.Except {
			not = append(not, l4(x))
		}
		return [][]string{{"meta l4proto != " + choice(not)}}
	case r.Proto.HasPorts() && len(service)+len(source) > 0:
		var parts []string
		if len(service) > 0 {
			parts = append(parts, r.Proto.String()+" dport "+ports(service))
		}
		if len(source) > 0 {
			parts = append(parts, r.Proto.String()+" sport "+ports(source))
		}
		return [][]string{parts}
	case len(r.ICMP) == 0:
		return [][]string{{fmt.Sprintf("meta l4proto %s", l4(r.Proto))}}
	}
	var types, pairs []string
	for _, m := range r.ICMP {
		if m.Code < 0 {
			types = append(types, messageName(r.Proto, m.Type))
		} else {
			pairs = append(pairs, fmt.Sprintf("%s . %d", messageName(r.Proto, m.Type), m.Code))
		}
	}
	if len(types) > 0 {
		out = append(out, []string{r.Proto.String() + " type " + choice(types)})
	}
	if len(pairs) > 0 {
		slices.Sort(pairs)
		out = append(out, []string{fmt.Sprintf("%s type . %[1]s code { %s }", r.Proto, strings.Join(slices.Compact(pairs), ", "))})
	}
	return out
}

func l4(p policy.Proto) string {
	switch p {
	case policy.TCP, policy.UDP, policy.ICMP:
		return p.String()
	case policy.ICMPv6:
		return "ipv6-icmp"
	case policy.Any:
	}
	return fmt.Sprint(uint8(p))
}

func choice(list []string) string {
	slices.Sort(list)
	if list = slices.Compact(list); len(list) == 1 {
		return list[0]
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// ports writes ranges as nft lists them: in order, those that touch as one.
func ports(list []policy.Ports) string {
	var spans []space.Span[space.Num]
	for _, p := range list {
		spans = append(spans, space.Span[space.Num]{From: space.Num(p.From), To: space.Num(p.To)})
	}
	var out []string
	for _, s := range space.SetOf(spans...) {
		out = append(out, policy.Ports{From: uint16(s.From), To: uint16(s.To)}.String())
	}
	if len(out) == 1 {
		return out[0]
	}
	return "{ " + strings.Join(out, ", ") + " }"
}
