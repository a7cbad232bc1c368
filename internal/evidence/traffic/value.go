// Package traffic is what the readers of logs and lists of network traffic share: addresses,
// ports, protocols and times as such files write them, read from bytes without a copy since
// the files have millions of lines, and what port numbers tell.
//
// It reads no files; each kind of file has its reader. For those only.
package traffic

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/oldguard/oldguard/internal/host"
)

// maxAddr is the length of the longest text of an address, with a zone.
const maxAddr = 80

// Addr reads an address, IPv4 or IPv6, the latter also with a zone or in brackets.
func Addr(b []byte) (a netip.Addr, ok bool) {
	if v4, ok := addr4(b); ok {
		return v4, true
	}
	if len(b) < 2 || len(b) > maxAddr || bytes.IndexByte(b, ':') < 0 {
		return a, false
	}
	if b[0] == '[' && b[len(b)-1] == ']' {
		b = b[1 : len(b)-1]
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap().WithZone(""), err == nil
}

// addr4 reads an IPv4 address. Numbers with leading zeros are refused, as netip does: some
// programs take them for octal.
func addr4(b []byte) (a netip.Addr, ok bool) {
	var v [4]byte
	part, digits, n := 0, 0, 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			if digits > 0 && n == 0 || digits == 3 {
				return a, false
			}
			n, digits = n*10+int(c-'0'), digits+1
		case c == '.' && digits > 0 && part < 3 && n < 256:
			v[part] = byte(n & 0xff)
			part, digits, n = part+1, 0, 0
		default:
			return a, false
		}
	}
	if part != 3 || digits == 0 || n > 255 {
		return a, false
	}
	v[3] = byte(n & 0xff)
	return netip.AddrFrom4(v), true
}

// Number reads a whole number of at most 19 digits.
func Number(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// Port reads the number of a port.
func Port(b []byte) (uint16, bool) {
	n, ok := Number(b)
	return uint16(n & 0xffff), ok && n <= 0xffff
}

// protocols are names by which logs call the protocols over IP, beside their numbers:
// https://www.iana.org/assignments/protocol-numbers, read 2026-11-25; icmp6 is nfdump's, v6icmp
// that of some firewalls.
var protocols = map[string]host.IPProto{
	"hopopt": 0, "icmp": host.ICMP, "icmp4": host.ICMP, "icmpv4": host.ICMP, "igmp": 2, "ggp": 3, "ipip": 4, "ipv4": 4, "tcp": host.TCP, "egp": 8,
	"udp": host.UDP, "dccp": 33, "ipv6": 41, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "icmp6": host.ICMPv6, "icmpv6": host.ICMPv6,
	"ipv6-icmp": host.ICMPv6, "icmp-v6": host.ICMPv6, "v6icmp": host.ICMPv6, "ipv6icmp": host.ICMPv6, "eigrp": 88, "ospf": 89, "ospfigp": 89, "ospfv3": 89,
	"etherip": 97, "pim": 103, "ipcomp": 108, "vrrp": 112, "carp": 112, "l2tp": 115, "sctp": 132, "udplite": 136, "udp-lite": 136,
}

// Proto reads a protocol by number or by name, whatever the case.
func Proto(b []byte) (host.IPProto, bool) {
	if n, ok := Number(b); ok {
		return host.IPProto(n & 0xff), n <= 0xff
	}
	var lower [12]byte
	if len(b) > len(lower) {
		return 0, false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	p, ok := protocols[string(lower[:len(b)])]
	return p, ok
}

// HasPorts reports whether a protocol has ports.
func HasPorts(p host.IPProto) bool {
	return p == host.TCP || p == host.UDP || p == 33 || p == 132 || p == 136 // DCCP, SCTP, UDP-Lite
}

// Clock reads a time of day, 15:04:05 with an optional fraction.
func Clock(b []byte) (d time.Duration, ok bool) {
	if len(b) < 7 {
		return 0, false
	}
	if b[1] == ':' { // 9:04:05
		b = append([]byte{'0'}, b...)
	}
	h, ok1 := two(b, 0)
	m, ok2 := two(b, 3)
	s, ok3 := two(b, 6)
	if !ok1 || !ok2 || !ok3 || b[2] != ':' || b[5] != ':' || h > 23 || m > 59 || s > 60 {
		return 0, false
	}
	d = time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second
	frac, ok := Fraction(b[8:])
	return d + frac, ok
}

// Fraction reads a fraction of a second with its point; nothing is none.
func Fraction(b []byte) (d time.Duration, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	if b[0] != '.' && b[0] != ',' || len(b) == 1 {
		return 0, false
	}
	step := time.Second
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		step /= 10
		d += time.Duration(c-'0') * step
	}
	return d, true
}

// Day reads a date, 2006-01-02 or 2006/01/02, as midnight in UTC fields.
func Day(b []byte) (t time.Time, ok bool) {
	if len(b) != 10 || b[4] != '-' && b[4] != '/' || b[7] != b[4] {
		return t, false
	}
	century, ok1 := two(b, 0)
	year, ok2 := two(b, 2)
	month, ok3 := two(b, 5)
	day, ok4 := two(b, 8)
	if !ok1 || !ok2 || !ok3 || !ok4 || month < 1 || month > 12 || day < 1 || day > 31 {
		return t, false
	}
	year += century * 100
	t = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t, year >= 1980 && t.Day() == day // 31 April is no date
}

func two(b []byte, at int) (n int, ok bool) {
	if len(b) < at+2 || b[at] < '0' || b[at] > '9' || b[at+1] < '0' || b[at+1] > '9' {
		return 0, false
	}
	return int(b[at]-'0')*10 + int(b[at+1]-'0'), true
}
