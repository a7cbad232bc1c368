package space

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Protocols that shape what a packet has besides addresses:
// https://www.iana.org/assignments/protocol-numbers, read 2026-11-25.
const (
	icmp   = 1
	tcp    = 6
	udp    = 17
	icmpv6 = 58
)

// The whole of each kind.
var (
	AllProtos = Nums{{1, 255}}
	AllNums   = Nums{{0, 65535}} // ports, or types or codes
	AllIPv4   = Addrs{span("0.0.0.0", "255.255.255.255")}
	AllIPv6   = Addrs{span("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}
	AllAddrs  = AllIPv4.Or(AllIPv6)

	icmps  = Nums{{icmp, icmp}, {icmpv6, icmpv6}}
	ported = Nums{{tcp, tcp}, {udp, udp}}
	octets = Nums{{0, 255}}
)

func span(from, to string) Span[netip.Addr] {
	return Span[netip.Addr]{netip.MustParseAddr(from), netip.MustParseAddr(to)}
}

// One is the set of one number.
func One(n Num) Nums { return Nums{{n, n}} }

// Prefixes is the set of the addresses of networks. IPv6 networks hold no IPv4 address.
func Prefixes(list ...netip.Prefix) Addrs {
	spans := make([]Span[netip.Addr], 0, len(list))
	for _, p := range list {
		p = p.Masked()
		spans = append(spans, Span[netip.Addr]{p.Addr(), last(p)})
	}
	return SetOf(spans...)
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	a, from := p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		from += 96
	}
	if from%8 != 0 {
		a[from/8] |= 0xff >> (from % 8)
	}
	for i := (from + 7) / 8; i < len(a); i++ {
		a[i] = 0xff
	}
	if p.Addr().Is4() {
		return netip.AddrFrom16(a).Unmap()
	}
	return netip.AddrFrom16(a)
}

// ToPrefixes gives the fewest networks that together are the set, in order.
func ToPrefixes(s Addrs) (out []netip.Prefix) {
	for _, p := range s {
		for from := p.From; ; {
			q := netip.PrefixFrom(from, from.BitLen())
			for q.Bits() > 0 {
				wider := netip.PrefixFrom(from, q.Bits()-1)
				if wider.Masked().Addr() != from || last(wider).Compare(p.To) > 0 {
					break
				}
				q = wider
			}
			out = append(out, q)
			if last(q).Compare(p.To) >= 0 {
				break
			}
			from = last(q).Next()
		}
	}
	return out
}

// Box is a set of packets: those of which each part is in the set for it. Ports are for TCP
// and UDP; for ICMP and ICMPv6 the type stands in DPort and the code in SPort; other
// protocols have neither. Parts that are narrower than AllNums there make a box with
// protocols of one of these kinds only.
//
// A packet has its addresses of one family, ICMP is IPv4's and ICMPv6 is IPv6's: what else a
// box could hold by its parts is not there.
type Box struct {
	Proto        Nums
	Src, Dst     Addrs
	DPort, SPort Nums
}

// Everything is the box of all packets.
func Everything() Box { return Box{AllProtos, AllAddrs, AllAddrs, AllNums, AllNums} }

// tidy takes out of the parts what no packet of the box has, and reports whether any packet
// is left.
func (b *Box) tidy() bool {
	v4 := len(b.Src) > 0 && b.Src[0].From.Is4() && len(b.Dst) > 0 && b.Dst[0].From.Is4()
	v6 := len(b.Src) > 0 && b.Src[len(b.Src)-1].From.Is6() && len(b.Dst) > 0 && b.Dst[len(b.Dst)-1].From.Is6()
	if len(b.Proto.Minus(icmps)) == 0 { // ICMP, ICMPv6 or both
		v4, v6 = v4 && b.Proto.Has(icmp), v6 && b.Proto.Has(icmpv6)
		switch {
		case v4 && !v6:
			b.Proto = One(icmp)
		case v6 && !v4:
			b.Proto = One(icmpv6)
		}
		b.DPort, b.SPort = clip(b.DPort), clip(b.SPort)
	}
	switch {
	case !v4 && !v6 || len(b.Proto) == 0 || len(b.DPort) == 0 || len(b.SPort) == 0:
		return false
	case !v6:
		b.Src, b.Dst = family(b.Src, true), family(b.Dst, true)
	case !v4:
		b.Src, b.Dst = family(b.Src, false), family(b.Dst, false)
	}
	return true
}

// clip leaves of numbers what fits an octet; all of that is AllNums.
func clip(s Nums) Nums {
	if len(s) > 0 && s[len(s)-1].To > 255 && !s.Equal(AllNums) {
		s = s.And(octets)
	}
	if s.Equal(octets) {
		return AllNums
	}
	return s
}

func family(s Addrs, v4 bool) Addrs {
	i, _ := slices.BinarySearchFunc(s, true, func(p Span[netip.Addr], _ bool) int {
		if p.From.Is4() {
			return -1
		}
		return 0
	})
	if v4 {
		return s[:i:i]
	}
	return s[i:]
}

// Family is the part of the box that is IPv4, or IPv6; false if there is none.
func (b Box) Family(v4 bool) (Box, bool) {
	b.Src, b.Dst = family(b.Src, v4), family(b.Dst, v4)
	ok := b.tidy()
	return b, ok
}

// Meets reports whether the boxes have a packet in common.
func (b *Box) Meets(o *Box) bool {
	if !b.DPort.Meets(o.DPort) || !b.Src.Meets(o.Src) || !b.Dst.Meets(o.Dst) || !b.Proto.Meets(o.Proto) || !b.SPort.Meets(o.SPort) {
		return false
	}
	_, ok := b.And(o)
	return ok
}

// And is the box of the packets of both; false if there are none.
func (b *Box) And(o *Box) (Box, bool) {
	out := Box{b.Proto.And(o.Proto), b.Src.And(o.Src), b.Dst.And(o.Dst), b.DPort.And(o.DPort), b.SPort.And(o.SPort)}
	ok := out.tidy()
	return out, ok
}

// Minus gives boxes without a packet in common, of the packets of b that are not of o. What
// differs is told first by protocol, then by the port of the service, for that is how people
// speak of it.
func (b *Box) Minus(o *Box) (out []Box) {
	if !b.Meets(o) {
		return []Box{*b}
	}
	rest := *b
	piece := func(p Box, some bool) {
		if some && p.tidy() {
			out = append(out, p)
		}
	}
	// Each piece is outside in one part and inside in those before it.
	p := rest
	p.Proto = rest.Proto.Minus(o.Proto)
	piece(p, len(p.Proto) > 0)
	rest.Proto = rest.Proto.And(o.Proto)

	p = rest
	p.DPort = rest.DPort.Minus(o.DPort)
	piece(p, len(p.DPort) > 0)
	rest.DPort = rest.DPort.And(o.DPort)

	p = rest
	p.Src = rest.Src.Minus(o.Src)
	piece(p, len(p.Src) > 0)
	rest.Src = rest.Src.And(o.Src)

	p = rest
	p.Dst = rest.Dst.Minus(o.Dst)
	piece(p, len(p.Dst) > 0)
	rest.Dst = rest.Dst.And(o.Dst)

	p = rest
	p.SPort = rest.SPort.Minus(o.SPort)
	piece(p, len(p.SPort) > 0)
	return out
}

// HasPorts reports whether all packets of the box have ports.
func (b *Box) HasPorts() bool { return len(b.Proto.Minus(ported)) == 0 }

// IsICMP reports whether all packets of the box have types and codes.
func (b *Box) IsICMP() bool { return len(b.Proto.Minus(icmps)) == 0 }

// Minus takes the box away from each of the list. Past limit boxes it gives up: false.
func Minus(list []Box, o *Box, limit int) ([]Box, bool) {
	i := slices.IndexFunc(list, func(b Box) bool { return b.Meets(o) })
	if i < 0 {
		return list, true
	}
	out := slices.Clone(list[:i])
	for ; i < len(list); i++ {
		out = append(out, list[i].Minus(o)...)
		if len(out) > limit {
			return nil, false
		}
	}
	return out, true
}

// Merge joins boxes that differ in one part, and one of IPv4 with one of IPv6 that differ in
// nothing else, as long as there are such. Together they hold the same packets as before.
func Merge(list []Box) []Box {
	list = slices.Clone(list)
	for changed := true; changed; {
		changed = false
		for part := range parts {
			seen := map[string]int{}
			out := list[:0]
			for _, b := range list {
				k := b.without(part)
				if i, ok := seen[k]; ok && out[i].mayJoin(&b, part) {
					out[i].join(&b, part)
					changed = true
					continue
				}
				seen[k] = len(out)
				out = append(out, b)
			}
			list = out
		}
	}
	return list
}

// The parts of a box in which two of them may differ.
const (
	proto = iota
	src
	dst
	dport
	sport
	both // addresses, as those of IPv4 and IPv6 do
	parts
)

// without tells all parts but one.
func (b *Box) without(part int) string {
	var k []byte
	nums := func(i int, s Nums) {
		if i == part {
			return
		}
		k = binary.BigEndian.AppendUint32(k, uint32(len(s))) //nolint:gosec // at most 65536
		for _, p := range s {
			k = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(k, uint16(p.From)), uint16(p.To))
		}
	}
	addrs := func(i int, s Addrs) {
		if i == part || part == both {
			return
		}
		v4 := family(s, true) // these are 8 bytes, the others 32
		k = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, uint64(len(v4))), uint64(len(s)))
		for _, p := range s {
			k = append(append(k, p.From.AsSlice()...), p.To.AsSlice()...)
		}
	}
	nums(proto, b.Proto)
	addrs(src, b.Src)
	addrs(dst, b.Dst)
	nums(dport, b.DPort)
	nums(sport, b.SPort)
	return string(k)
}

// mayJoin reports whether boxes that agree but for one part are a box together.
func (b *Box) mayJoin(o *Box, part int) bool {
	switch part {
	case proto: // ports and types are not alike
		return b.DPort.Equal(AllNums) && b.SPort.Equal(AllNums) || b.HasPorts() && o.HasPorts()
	case both:
		return len(family(b.Src, true)) == 0 && len(family(o.Src, false)) == 0 || len(family(b.Src, false)) == 0 && len(family(o.Src, true)) == 0
	}
	return true
}

func (b *Box) join(o *Box, part int) {
	switch part {
	case proto:
		b.Proto = b.Proto.Or(o.Proto)
	case src:
		b.Src = b.Src.Or(o.Src)
	case dst:
		b.Dst = b.Dst.Or(o.Dst)
	case dport:
		b.DPort = b.DPort.Or(o.DPort)
	case sport:
		b.SPort = b.SPort.Or(o.SPort)
	case both:
		b.Src, b.Dst = b.Src.Or(o.Src), b.Dst.Or(o.Dst)
	}
	if b.IsICMP() {
		b.DPort, b.SPort = clip(b.DPort), clip(b.SPort)
	}
}
