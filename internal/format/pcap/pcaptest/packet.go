package pcaptest

import (
	"encoding/binary"
	"net/netip"
)

var be = binary.BigEndian

// TCP flags.
const (
	FIN = 1
	SYN = 2
	RST = 4
	PSH = 8
	ACK = 16
)

// Addr parses an address and port.
func Addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// TCP makes an IP packet with a TCP segment.
func TCP(from, to netip.AddrPort, flags byte, seq uint32, data ...byte) []byte {
	b := be.AppendUint16(nil, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = be.AppendUint32(b, seq)
	b = be.AppendUint32(b, 0)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return IP(from.Addr(), to.Addr(), 6, append(b, data...))
}

// UDP makes an IP packet with a UDP datagram.
func UDP(from, to netip.AddrPort, data ...byte) []byte {
	b := be.AppendUint16(nil, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = be.AppendUint16(b, u16(8+len(data)))
	b = be.AppendUint16(b, 0)
	return IP(from.Addr(), to.Addr(), 17, append(b, data...))
}

// ICMP makes an IP packet with a message of ICMP, or of ICMPv6 between addresses of IPv6. body
// begins behind the checksum.
func ICMP(from, to netip.Addr, kind, code byte, body ...byte) []byte {
	proto := byte(1)
	if from.Is6() {
		proto = 58
	}
	b := append([]byte{kind, code, 0, 0}, body...)
	for len(b) < 8 {
		b = append(b, 0)
	}
	return IP(from, to, proto, b)
}

// IP makes an IP packet of the family of its addresses.
func IP(from, to netip.Addr, proto byte, data []byte) []byte {
	if from.Is6() {
		b := []byte{0x60, 0, 0, 0}
		b = be.AppendUint16(b, u16(len(data)))
		b = append(b, proto, 64)
		b = append(b, from.AsSlice()...)
		b = append(b, to.AsSlice()...)
		return append(b, data...)
	}
	return Fragment(from, to, proto, 0, 0, false, data)
}

// Fragment makes a fragment of an IPv4 packet, of which data begins at offset.
func Fragment(from, to netip.Addr, proto byte, id uint16, offset int, more bool, data []byte) []byte {
	b := []byte{0x45, 0}
	b = be.AppendUint16(b, u16(20+len(data)))
	b = be.AppendUint16(b, id)
	field := u16(offset / 8)
	if more {
		field |= 0x2000
	}
	b = be.AppendUint16(b, field)
	b = append(b, 64, proto, 0, 0)
	b = append(b, from.AsSlice()...)
	b = append(b, to.AsSlice()...)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(be.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	be.PutUint16(b[10:], ^uint16(sum))
	return append(b, data...)
}

// etherType is that of an IP packet.
func etherType(ip []byte) uint16 {
	if len(ip) > 0 && ip[0]>>4 == 6 {
		return 0x86dd
	}
	return 0x0800
}

// Ethernet puts an IP packet into a frame, with a VLAN tag for each of vlans.
func Ethernet(ip []byte, vlans ...uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	for i, v := range vlans {
		tag := uint16(0x8100)
		if i < len(vlans)-1 {
			tag = 0x88a8
		}
		b = be.AppendUint16(b, tag)
		b = be.AppendUint16(b, v)
	}
	b = be.AppendUint16(b, etherType(ip))
	b = append(b, ip...)
	for len(b) < 60 {
		b = append(b, 0) // as short frames are filled up
	}
	return b
}
