package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/policy/space"
)

// Traffic is a set of packets that begin conversations of the machine.
type Traffic struct {
	Dir Direction
	Box space.Box
	// Own are the machine's addresses where they are known: what is about them all names
	// none.
	Own space.Addrs
}

// Has reports whether the packet is of the traffic.
func (t *Traffic) Has(k Packet) bool {
	one := boxOf(k)
	return t.Dir == k.Dir && t.Box.Meets(&one)
}

func boxOf(k Packet) space.Box {
	local, remote := space.Addrs{{From: k.Local, To: k.Local}}, space.Addrs{{From: k.Remote, To: k.Remote}}
	b := space.Everything()
	b.Proto = space.One(space.Num(k.Proto))
	b.Src, b.Dst = remote, local
	sport, dport := k.RemotePort, k.LocalPort
	if k.Dir == Out {
		b.Src, b.Dst = local, remote
		sport, dport = dport, sport
	}
	switch {
	case k.Proto.HasPorts():
		b.SPort, b.DPort = space.One(space.Num(sport)), space.One(space.Num(dport))
	case k.Proto == ICMP || k.Proto == ICMPv6:
		b.DPort, b.SPort = space.One(space.Num(k.Type)), space.One(space.Num(k.Code))
	}
	return b
}

// Boxes are the packets that the rule is about, in its direction. Boxes may have packets in
// common.
func (r *Rule) Boxes() []space.Box {
	b := space.Everything()
	switch {
	case r.Proto != Any:
		b.Proto = space.One(space.Num(r.Proto))
	case len(r.Except) > 0:
		var not []space.Span[space.Num]
		for _, p := range r.Except {
			not = append(not, space.Span[space.Num]{From: space.Num(p), To: space.Num(p)})
		}
		b.Proto = b.Proto.Minus(space.SetOf(not...))
	}
	local, remote := addrSet(r.Local), addrSet(r.Remote)
	localPorts, remotePorts := portSet(r.LocalPorts), portSet(r.RemotePorts)
	if r.Dir == Out {
		b.Src, b.Dst, b.SPort, b.DPort = local, remote, localPorts, remotePorts
	} else {
		b.Src, b.Dst, b.SPort, b.DPort = remote, local, remotePorts, localPorts
	}
	if len(r.ICMP) == 0 {
		return tidy(b)
	}
	types := map[int16][]space.Span[space.Num]{} // by code
	var codes []int16
	for _, m := range r.ICMP {
		if types[m.Code] == nil {
			codes = append(codes, m.Code)
		}
		types[m.Code] = append(types[m.Code], space.Span[space.Num]{From: space.Num(m.Type), To: space.Num(m.Type)})
	}
	var out []space.Box
	for _, c := range codes {
		b.DPort, b.SPort = space.SetOf(types[c]...), space.AllNums
		if c >= 0 {
			b.SPort = space.One(space.Num(c))
		}
		out = append(out, tidy(b)...)
	}
	return out
}

func tidy(b space.Box) []space.Box {
	all := space.Everything()
	out, ok := b.And(&all)
	if !ok {
		return nil
	}
	return []space.Box{out}
}

func addrSet(list []netip.Prefix) space.Addrs {
	if len(list) == 0 {
		return space.AllAddrs
	}
	return space.Prefixes(list...)
}

func portSet(list []Ports) space.Nums {
	if len(list) == 0 {
		return space.AllNums
	}
	var spans []space.Span[space.Num]
	for _, p := range list {
		spans = append(spans, space.Span[space.Num]{From: space.Num(p.From), To: space.Num(p.To)})
	}
	return space.SetOf(spans...)
}

// OwnSet is the set of the machine's addresses; empty where none are known.
func OwnSet(own []netip.Addr) space.Addrs {
	var out []space.Span[netip.Addr]
	for _, a := range own {
		out = append(out, space.Span[netip.Addr]{From: a, To: a})
	}
	return space.SetOf(out...)
}

// Within is the traffic in a direction of the machine that has these addresses with others, or of any
// machine where there are none.
func Within(dir Direction, own space.Addrs) space.Box {
	b := space.Everything()
	if len(own) == 0 {
		return b
	}
	if dir == Out {
		b.Src, b.Dst = own, b.Dst.Minus(own)
	} else {
		b.Src, b.Dst = b.Src.Minus(own), own
	}
	out, _ := b.And(&b) // leaves of the other side what families there are
	return out
}

// Rules states the traffic as rules without id and action, as few as can be, for one family and
// one protocol each where they have to.
func (t *Traffic) Rules() (out []Rule) {
	whole := Within(t.Dir, t.Own)
	if t.Box.Src.Equal(whole.Src) && t.Box.Dst.Equal(whole.Dst) || t.icmpOnly(whole) {
		return t.protocols(Rule{Dir: t.Dir})
	}
	for _, v4 := range []bool{true, false} {
		b, ok := t.Box.Family(v4)
		if !ok {
			continue
		}
		w, _ := whole.Family(v4)
		one := Traffic{Dir: t.Dir, Box: b, Own: t.Own}
		r := Rule{Dir: t.Dir}
		list := func(s, all space.Addrs) []netip.Prefix {
			if s.Equal(all) {
				return nil
			}
			out := space.ToPrefixes(s)
			// The machine does not speak with itself: its own addresses may be among the others.
			if with := space.ToPrefixes(s.Or(t.Own.And(familyOf(v4)))); len(with) < len(out) {
				return with
			}
			return out
		}
		src, dst := list(b.Src, w.Src), list(b.Dst, w.Dst)
		if src == nil && dst == nil && !one.icmpOnly(whole) { // all of one family, and only of that
			all := space.ToPrefixes(familyOf(v4))
			if t.Dir == Out {
				dst = all
			} else {
				src = all
			}
		}
		r.Local, r.Remote = dst, src
		if t.Dir == Out {
			r.Local, r.Remote = src, dst
		}
		out = append(out, one.protocols(r)...)
	}
	return out
}

func familyOf(v4 bool) space.Addrs {
	if v4 {
		return space.AllIPv4
	}
	return space.AllIPv6
}

// icmpOnly reports whether the protocol tells the family, and all addresses of that are meant.
func (t *Traffic) icmpOnly(whole space.Box) bool {
	whole.Proto = t.Box.Proto
	all := space.Everything()
	w, ok := whole.And(&all)
	return ok && t.Box.IsICMP() && t.Box.Src.Equal(w.Src) && t.Box.Dst.Equal(w.Dst)
}

// protocols makes of a rule with its addresses one for each protocol, or one for all but some.
func (t *Traffic) protocols(r Rule) (out []Rule) {
	b := &t.Box
	if not := numbers(space.AllProtos.Minus(b.Proto)); len(not) < 128 {
		for _, n := range not {
			r.Except = append(r.Except, Proto(n)) //nolint:gosec // AllProtos are octets
		}
		return []Rule{r}
	}
	ports := func(s space.Nums) (out []Ports) {
		if s.Equal(space.AllNums) {
			return nil
		}
		for _, p := range s {
			out = append(out, Ports{uint16(p.From), uint16(p.To)})
		}
		return out
	}
	for _, n := range numbers(b.Proto) {
		r := r
		r.Proto = Proto(n) //nolint:gosec // AllProtos are octets
		switch {
		case r.Proto.HasPorts() && t.Dir == Out:
			r.LocalPorts, r.RemotePorts = ports(b.SPort), ports(b.DPort)
		case r.Proto.HasPorts():
			r.LocalPorts, r.RemotePorts = ports(b.DPort), ports(b.SPort)
		case r.Proto == ICMP || r.Proto == ICMPv6:
			if b.DPort.Equal(space.AllNums) && b.SPort.Equal(space.AllNums) {
				break
			}
			for _, m := range numbers(octetsOf(b.DPort)) {
				if b.SPort.Equal(space.AllNums) {
					r.ICMP = append(r.ICMP, ICMPType{uint8(m), -1}) //nolint:gosec // octetsOf
					continue
				}
				for _, c := range numbers(b.SPort) {
					r.ICMP = append(r.ICMP, ICMPType{uint8(m), int16(c)}) //nolint:gosec // octetsOf
				}
			}
		}
		out = append(out, r)
	}
	return out
}

func octetsOf(s space.Nums) space.Nums { return s.And(space.Nums{{From: 0, To: 255}}) }

func numbers(s space.Nums) (out []space.Num) {
	for _, p := range s {
		for n := p.From; ; n++ {
			out = append(out, n)
			if n == p.To {
				break
			}
		}
	}
	return out
}

// Example is one packet of the traffic: at the lower end of its parts, with a remote port of a
// client where there is a choice.
func (t *Traffic) Example() Packet {
	b, v4 := t.Box.Family(true)
	if !v4 {
		b, _ = t.Box.Family(false)
	}
	proto := b.Proto
	if both := proto.And(space.Nums{{From: 6, To: 6}, {From: 17, To: 17}}); len(both) > 0 {
		proto = both
	} else if v4 {
		proto = proto.Minus(space.One(space.Num(ICMPv6)))
	} else {
		proto = proto.Minus(space.One(space.Num(ICMP)))
	}
	first := func(s space.Addrs) netip.Addr {
		if a := netip.MustParseAddr("198.51.100.1"); v4 && s.Has(a) {
			return a
		}
		if a := netip.MustParseAddr("2001:db8::1"); !v4 && s.Has(a) {
			return a
		}
		return s[0].From
	}
	port := func(s space.Nums, like space.Num) uint16 {
		if s.Has(like) {
			return uint16(like)
		}
		if s[0].From == 0 && s[0].To > 0 {
			return 1
		}
		return uint16(s[0].From)
	}
	k := Packet{Dir: t.Dir, Proto: Proto(proto[0].From), Local: first(b.Dst), Remote: first(b.Src)} //nolint:gosec // AllProtos are octets
	if t.Dir == Out {
		k.Local, k.Remote = k.Remote, k.Local
	}
	switch {
	case k.Proto.HasPorts():
		k.LocalPort, k.RemotePort = port(b.DPort, 445), port(b.SPort, 50000)
		if t.Dir == Out {
			k.LocalPort, k.RemotePort = k.RemotePort, k.LocalPort
		}
	case k.Proto == ICMP || k.Proto == ICMPv6:
		k.Type, k.Code = uint8(b.DPort[0].From), uint8(b.SPort[0].From) //nolint:gosec // octets, or all from 0
	}
	return k
}

// maxNamed is how many ports or addresses are named before the rest is counted.
const maxNamed = 6

// Protocol names the protocols: "tcp", "any protocol but tcp and udp".
func (t *Traffic) Protocol() string {
	name := func(list []space.Num) string {
		var names []string
		for _, n := range list {
			s := Proto(n).String() //nolint:gosec // AllProtos are octets
			if s[0] >= '0' && s[0] <= '9' {
				s = "protocol " + s
			}
			names = append(names, s)
		}
		if n := len(names) - 1; n > 0 {
			return strings.Join(names[:n], ", ") + " and " + names[n]
		}
		return strings.Join(names, "")
	}
	not := numbers(space.AllProtos.Minus(t.Box.Proto))
	switch {
	case len(not) == 0:
		return "any protocol"
	case len(not) <= maxNamed:
		return "any protocol but " + name(not)
	}
	is := numbers(t.Box.Proto)
	if len(is) <= maxNamed {
		return name(is)
	}
	return "protocols " + spans(t.Box.Proto, space.AllProtos, func(n space.Num) string { return fmt.Sprint(n) })
}

// Service names what is asked for: ports of the side that answers, or messages of ICMP. It is
// empty for any.
func (t *Traffic) Service() string {
	b := &t.Box
	if !b.IsICMP() {
		return portWords(b.DPort)
	}
	if b.DPort.Equal(space.AllNums) && b.SPort.Equal(space.AllNums) {
		return ""
	}
	num := func(n space.Num) string { return fmt.Sprint(n) }
	s := "type " + spans(octetsOf(b.DPort), space.Nums{{From: 0, To: 255}}, num)
	if !b.SPort.Equal(space.AllNums) {
		s += " code " + spans(octetsOf(b.SPort), space.Nums{{From: 0, To: 255}}, num)
	}
	return s
}

// SourcePorts names the ports of the side that asks; empty for any.
func (t *Traffic) SourcePorts() string {
	if t.Box.IsICMP() {
		return ""
	}
	return portWords(t.Box.SPort)
}

// Remote names the other side.
func (t *Traffic) Remote() string {
	s := t.Box.Src
	if t.Dir == Out {
		s = t.Box.Dst
	}
	families := t.families()
	// The machine does not speak with itself: its own addresses are named only if that is shorter.
	for _, v4 := range []bool{true, false} {
		f := familyOf(v4)
		if here := s.And(f); len(here) > 0 {
			if with := here.Or(t.Own.And(f)); len(with) < len(here) || len(f.Minus(with)) < len(f.Minus(here)) {
				s = s.Or(with)
			}
		}
	}
	return addrWords(s, families)
}

// Local names addresses of the machine; empty for all of them.
func (t *Traffic) Local() string {
	s, all := t.Box.Dst, t.Own
	if t.Dir == Out {
		s = t.Box.Src
	}
	if len(all) == 0 {
		all = space.AllAddrs
	}
	// The other side tells the family already.
	for _, f := range []space.Addrs{space.AllIPv4, space.AllIPv6} {
		if len(s.And(f)) == 0 {
			all = all.Minus(f)
		}
	}
	if s.Equal(all) {
		return ""
	}
	return addrWords(s, space.AllAddrs)
}

// families are those that the traffic could be of, by what is known of the machine and by
// the protocol: what is of all of these needs no word for it.
func (t *Traffic) families() space.Addrs {
	whole := Within(t.Dir, t.Own)
	if t.Box.IsICMP() {
		whole.Proto = t.Box.Proto
	}
	w, _ := whole.And(&whole)
	out := space.Addrs{}
	if len(w.Src.And(space.AllIPv4)) > 0 {
		out = out.Or(space.AllIPv4)
	}
	if len(w.Src.And(space.AllIPv6)) > 0 {
		out = out.Or(space.AllIPv6)
	}
	return out
}

// String tells the traffic in a line: "in tcp 3389 from any but 192.0.2.5".
func (t *Traffic) String() string {
	var s strings.Builder
	s.WriteString(t.Dir.String() + " " + t.Protocol())
	if w := t.Service(); w != "" {
		s.WriteString(" " + w)
	}
	prep := [2]string{" from ", " to "}
	if t.Dir == Out {
		slices.Reverse(prep[:])
	}
	s.WriteString(prep[0] + t.Remote())
	if w := t.Local(); w != "" {
		s.WriteString(prep[1] + w)
	}
	if w := t.SourcePorts(); w != "" {
		s.WriteString(", source port " + w)
	}
	return s.String()
}

func portWords(s space.Nums) string {
	if s.Equal(space.AllNums) {
		return ""
	}
	return spans(s, space.AllNums, func(n space.Num) string { return fmt.Sprint(n) })
}

// addrWords names addresses; all those of the families are any.
func addrWords(s, families space.Addrs) string {
	of := []struct {
		name string
		set  space.Addrs
	}{{"any", families}, {"any IPv4", space.AllIPv4}, {"any IPv6", space.AllIPv6}}
	best, named := "", 1<<30
	consider := func(prefix string, list space.Addrs) {
		if len(list) >= named {
			return
		}
		named, best = len(list), prefix
		if len(list) > 0 {
			best += listed(list, netip.Addr.String)
		}
	}
	consider("", s)
	for _, f := range of {
		if len(s.Minus(f.set)) > 0 {
			continue
		}
		not := f.set.Minus(s)
		if len(not) == 0 {
			return f.name
		}
		consider(f.name+" but ", not)
	}
	return best
}

// spans names the numbers of a set, or those it leaves out of all where these are fewer.
func spans(s, all space.Nums, name func(space.Num) string) string {
	if not := all.Minus(s); len(not) < len(s) {
		return "any but " + listed(not, name)
	}
	return listed(s, name)
}

func listed[T space.Point[T]](s space.Set[T], name func(T) string) string {
	var out []string
	for i, p := range s {
		if i == maxNamed && len(s) > maxNamed+1 {
			return strings.Join(out, ", ") + fmt.Sprintf(" and %d more", len(s)-maxNamed)
		}
		if a, ok := any(p.From).(netip.Addr); ok {
			to, _ := any(p.To).(netip.Addr)
			if q := space.ToPrefixes(space.Addrs{{From: a, To: to}}); len(q) == 1 && a != to {
				out = append(out, q[0].String())
				continue
			}
		}
		if p.From == p.To {
			out = append(out, name(p.From))
		} else {
			out = append(out, name(p.From)+"-"+name(p.To))
		}
	}
	return strings.Join(out, ", ")
}
