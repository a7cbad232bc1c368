// Package packet finds the headers of IP and of what it carries in a captured frame. It allocates
// nothing, and what it cannot know it says: a frame may be cut anywhere.
package packet

import (
	"encoding/binary"

	"github.com/oldguard/oldguard/internal/format/pcap"
)

// Addr is an address of either family, one of IPv4 as it is mapped into IPv6.
type Addr = [16]byte

// Packet is what the headers of a packet say. Decode fills all of it.
type Packet struct {
	Src, Dst Addr
	// Proto is the protocol over IP by its number: https://www.iana.org/assignments/protocol-numbers,
	// read 2026-11-24. Extension headers of IPv6 are none.
	Proto uint8
	// SrcPort and DstPort are for TCP and UDP.
	SrcPort, DstPort uint16
	// Type and Code are for ICMP and ICMPv6.
	Type, Code uint8
	// Flags, Seq and Ack are for TCP; where the packet was cut before them they are 0.
	Flags    uint8
	Seq, Ack uint32
	// Length is that of the whole IP packet, its header included, or of the fragment.
	Length int
	// Payload is what UDP or ICMP carry, as far as it was captured. It is part of the frame.
	Payload []byte
	// Broadcast tells that the frame went to all on the link, whatever address IP has.
	Broadcast bool
	// Fragment tells what of a packet in fragments this is; ID is the same in all of them.
	Fragment Fragment
	ID       uint32
}

// Fragment is a part of an IP packet.
type Fragment uint8

// The parts. Later ones have no ports.
const (
	Whole Fragment = iota
	First
	Later
)

// The protocols whose headers are read.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Flags of TCP.
const (
	FIN = 1
	SYN = 2
	RST = 4
	ACK = 16
)

// Outcome says how far Decode came.
type Outcome uint8

// The outcomes. Only with Decoded is the packet of use.
const (
	Decoded     Outcome = iota
	NotIP               // something else: ARP, spanning tree
	UnknownLink         // of a link type that is not read
	Cut                 // captured too short for its headers
	Damaged             // contradicts itself
)

// Bounds of what may lie before IP, and between it and what it carries.
const (
	maxTags       = 8  // of VLANs, and labels of MPLS
	maxExtensions = 12 // of IPv6
)

var be = binary.BigEndian

// EtherTypes: https://www.iana.org/assignments/ieee-802-numbers, read 2026-11-25.
const (
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	etherVLAN  = 0x8100
	etherQinQ  = 0x88a8
	etherQinQ2 = 0x9100 // before 802.1ad
	etherMPLS  = 0x8847
	etherMPLS2 = 0x8848 // upstream-assigned
	etherPPPoE = 0x8864
)

// PPP's numbers of protocols: https://www.iana.org/assignments/ppp-numbers, read 2026-11-25.
const (
	pppIPv4 = 0x0021
	pppIPv6 = 0x0057
)

// Decode reads the headers of a frame. length is that of the frame on the wire. p is filled
// anew.
func Decode(link pcap.LinkType, b []byte, length int, p *Packet) Outcome {
	*p = Packet{}
	beyond := max(length-len(b), 0) // bytes that were not captured
	switch link {                   //nolint:exhaustive // the others are unknown here
	case pcap.LinkEthernet:
		if len(b) < 14 {
			return short(beyond)
		}
		p.Broadcast = b[0] == 0xff && be.Uint32(b[1:]) == 0xffffffff && b[5] == 0xff
		return p.ether(be.Uint16(b[12:]), b[14:], beyond)
	case pcap.LinkSLL:
		if len(b) < 16 {
			return short(beyond)
		}
		p.Broadcast = b[1] == 1 && b[0] == 0
		return p.ether(be.Uint16(b[14:]), b[16:], beyond)
	case pcap.LinkSLL2:
		if len(b) < 20 {
			return short(beyond)
		}
		p.Broadcast = b[10] == 1
		return p.ether(be.Uint16(b), b[20:], beyond)
	case pcap.LinkRaw, pcap.LinkRaw12, pcap.LinkRaw14, pcap.LinkIPv4, pcap.LinkIPv6:
		return p.ip(b, beyond)
	case pcap.LinkNull, pcap.LinkLoop:
		// The family before the packet has another number on every system, in its byte order.
		if len(b) < 4 {
			return short(beyond)
		}
		return p.ip(b[4:], beyond)
	case pcap.LinkPPP:
		if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
			b = b[2:]
		}
		return p.ppp(b, beyond)
	}
	return UnknownLink
}

// short is what a frame is that has too few bytes.
func short(beyond int) Outcome {
	if beyond > 0 {
		return Cut
	}
	return Damaged
}

// ether reads what stands behind an EtherType.
func (p *Packet) ether(kind uint16, b []byte, beyond int) Outcome {
	for range maxTags {
		switch {
		case kind == etherIPv4, kind == etherIPv6:
			return p.ip(b, beyond)
		case kind == etherVLAN, kind == etherQinQ, kind == etherQinQ2:
			if len(b) < 4 {
				return short(beyond)
			}
			kind, b = be.Uint16(b[2:]), b[4:]
		case kind == etherMPLS, kind == etherMPLS2:
			return p.mpls(b, beyond)
		case kind == etherPPPoE:
			if len(b) < 6 {
				return short(beyond)
			}
			return p.ppp(b[6:], beyond)
		case kind <= 1500: // a length: 802.3 with LLC, of which SNAP may carry IP
			if len(b) < 8 {
				return short(beyond)
			}
			if b[0] != 0xaa || b[1] != 0xaa || b[2] != 3 || b[3]|b[4]|b[5] != 0 {
				return NotIP
			}
			if kind = be.Uint16(b[6:]); kind <= 1500 {
				return NotIP
			}
			b = b[8:]
		default:
			return NotIP
		}
	}
	return Damaged
}

// mpls passes over labels. What they carry is not told; IP tells itself by its version.
func (p *Packet) mpls(b []byte, beyond int) Outcome {
	for range maxTags {
		if len(b) < 5 {
			return short(beyond)
		}
		last := b[2]&1 != 0
		b = b[4:]
		switch {
		case !last:
		case b[0]>>4 == 4, b[0]>>4 == 6:
			return p.ip(b, beyond)
		default:
			return NotIP
		}
	}
	return Damaged
}

// ppp reads what stands behind PPP's address: a protocol of one byte or two.
func (p *Packet) ppp(b []byte, beyond int) Outcome {
	if len(b) < 2 {
		return short(beyond)
	}
	kind, n := be.Uint16(b), 2
	if b[0]&1 != 0 { // compressed
		kind, n = uint16(b[0]), 1
	}
	if kind != pppIPv4 && kind != pppIPv6 {
		return NotIP
	}
	return p.ip(b[n:], beyond)
}

// ip reads a packet of either family, told by its version.
func (p *Packet) ip(b []byte, beyond int) Outcome {
	if len(b) < 1 {
		return short(beyond)
	}
	switch b[0] >> 4 {
	case 4:
		return p.ip4(b, beyond)
	case 6:
		return p.ip6(b, beyond)
	}
	return Damaged
}

func (p *Packet) ip4(b []byte, beyond int) Outcome {
	if len(b) < 20 {
		return short(beyond)
	}
	head, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if total == 0 && (b[9] == TCP || b[9] == UDP) { // as a network card is given what it is to cut up by itself
		total = len(b) + beyond
	}
	if head < 20 || total < head {
		return Damaged
	}
	if len(b) < head {
		return short(beyond)
	}
	p.Length, p.Proto, p.ID = total, b[9], uint32(be.Uint16(b[4:]))
	p.Src, p.Dst = mapped(b[12:]), mapped(b[16:])
	switch field := be.Uint16(b[6:]); {
	case field&0x1fff != 0:
		p.Fragment = Later
		return Decoded
	case field&0x2000 != 0:
		p.Fragment = First
	}
	if total < len(b) { // what fills up the frame
		b, beyond = b[:total], 0
	}
	return p.transport(b[head:], beyond)
}

func mapped(b []byte) Addr {
	return Addr{10: 0xff, 11: 0xff, 12: b[0], 13: b[1], 14: b[2], 15: b[3]}
}

// The extension headers: https://www.iana.org/assignments/ipv6-parameters, read 2026-11-25. Those of
// IPsec are protocols of their own here: a firewall lets them through by number.
const (
	extHop      = 0
	extRouting  = 43
	extFragment = 44
	extOptions  = 60
	extMobility = 135
	extHIP      = 139
	extShim     = 140
)

func (p *Packet) ip6(b []byte, beyond int) Outcome {
	if len(b) < 40 {
		return short(beyond)
	}
	total := int(be.Uint16(b[4:])) + 40
	if total == 40 { // a jumbogram, or one that a network card is to cut up by itself
		total = len(b) + beyond
	}
	p.Length, p.Src, p.Dst = total, Addr(b[8:]), Addr(b[24:])
	next := b[6]
	if total < len(b) {
		b, beyond = b[:total], 0
	}
	b = b[40:]
	for range maxExtensions {
		switch next {
		case extHop, extRouting, extOptions, extMobility, extHIP, extShim:
			if len(b) < 2 {
				return short(beyond)
			}
			n := int(b[1])*8 + 8
			if next, b = b[0], b[min(n, len(b)):]; len(b) == 0 && beyond > 0 {
				return Cut
			}
		case extFragment:
			if len(b) < 8 {
				return short(beyond)
			}
			field := be.Uint16(b[2:])
			next, p.ID, b = b[0], be.Uint32(b[4:]), b[8:]
			if field&0xfff8 != 0 {
				p.Fragment, p.Proto = Later, next
				return Decoded
			}
			if field&1 != 0 {
				p.Fragment = First
			}
		default:
			p.Proto = next
			return p.transport(b, beyond)
		}
	}
	return Damaged
}

// transport reads the header of what IP carries.
func (p *Packet) transport(b []byte, beyond int) Outcome {
	switch p.Proto {
	case TCP:
		if len(b) < 4 {
			return short(beyond)
		}
		p.SrcPort, p.DstPort = be.Uint16(b), be.Uint16(b[2:])
		if len(b) >= 14 {
			p.Seq, p.Ack, p.Flags = be.Uint32(b[4:]), be.Uint32(b[8:]), b[13]
		}
	case UDP:
		if len(b) < 4 {
			return short(beyond)
		}
		p.SrcPort, p.DstPort = be.Uint16(b), be.Uint16(b[2:])
		p.Payload = b[min(8, len(b)):]
	case ICMP, ICMPv6:
		if len(b) < 2 {
			return short(beyond)
		}
		p.Type, p.Code = b[0], b[1]
		p.Payload = b[min(8, len(b)):]
	}
	return Decoded
}

// Quoted reads the beginning of a packet that a message of ICMP or ICMPv6 sends back, which is
// behind the first 8 bytes of the message: Payload of a Packet.
func Quoted(b []byte, p *Packet) Outcome {
	*p = Packet{}
	return p.ip(b, 1<<16) // it is cut by its nature
}
