package capture

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/format/packet"
	"github.com/oldguard/oldguard/internal/format/pcap"
	"github.com/oldguard/oldguard/internal/host"
)

// Bounds of the names that are kept, and of what one packet may say.
const (
	maxNames        = 20_000
	maxNamesOfOne   = 16 // address
	maxAnswers      = 64 // of a packet
	maxNameLength   = 253
	maxNameLabels   = 127 // and pointers, so that none leads in a circle
	maxDHCPOptions  = 64
	maxDHCPHostname = 63
)

var be = binary.BigEndian

// names are those that packets give to addresses. Whoever sent them may have lied: they are a
// help for reading, and nothing follows from them.
type names struct {
	input string
	list  []host.PeerName
	known map[nameKey]struct{}
	of    map[packet.Addr]uint8
	lost  uint64
}

type nameKey struct {
	addr packet.Addr
	name string
}

// look finds names in a packet of UDP.
func (n *names) look(p *packet.Packet, number uint64) {
	switch {
	case p.SrcPort == 53, p.SrcPort == 5353, p.SrcPort == 5355:
		n.dns(p.Payload, number)
	case p.SrcPort == 137, p.DstPort == 137:
		n.netbios(p.Payload, number)
	case p.SrcPort == 67, p.SrcPort == 68:
		n.dhcp(p.Payload, number)
	}
}

// add keeps a name, unless it is none or there are too many.
func (n *names) add(addr packet.Addr, name, at string) {
	if !isName(name) || addr == (packet.Addr{}) || addr == (packet.Addr{10: 0xff, 11: 0xff}) || isGroup(&addr) {
		return
	}
	k := nameKey{addr, name}
	if _, ok := n.known[k]; ok {
		return
	}
	if len(n.list) >= maxNames || n.of[addr] >= maxNamesOfOne {
		n.lost++
		return
	}
	if n.known == nil {
		n.known, n.of = map[nameKey]struct{}{}, map[packet.Addr]uint8{}
	}
	k.name = strings.Clone(name)
	n.known[k] = struct{}{}
	n.of[addr]++
	n.list = append(n.list, host.PeerName{Addr: addrOf(addr), Name: k.name, From: host.Source{Reader: readerName, Input: n.input, At: at}})
}

// isName reports whether s is made of what names of machines are made of: no escapes, no
// markup, no quotes.
func isName(s string) bool {
	if s == "" || len(s) > maxNameLength {
		return false
	}
	letter := false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			letter = true
		case c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return letter
}

func place(what string, number uint64) string {
	return what + " in packet " + strconv.FormatUint(number, 10)
}

// The types of records and the bits of the head: RFC 1035, RFC 3596, RFC 1002.
const (
	typeA, typePTR, typeAAAA = 1, 12, 28
	typeCNAME                = 5
	typeNB                   = 32
	classIN                  = 1
	bitResponse              = 0x8000
	maskOpcode               = 0x7800
	maskCode                 = 0x000f
)

// record is one of DNS; data is part of the packet.
type record struct {
	name string
	kind uint16
	at   int // of the data
	data []byte
}

// dns reads the answers in a packet.
func (n *names) dns(b []byte, number uint64) {
	if len(b) < 12 || be.Uint16(b[2:])&(bitResponse|maskOpcode|maskCode) != bitResponse {
		return
	}
	questions, answers := be.Uint16(b[4:]), int(be.Uint16(b[6:]))
	if questions > 1 || answers == 0 {
		return
	}
	asked, at := "", 12
	if questions == 1 {
		var ok bool
		if asked, at, ok = dnsName(b, at); !ok || at+4 > len(b) {
			return
		}
		at += 4
	}
	alias := false // what was asked for goes by another name
	for range min(answers, maxAnswers) {
		r, next, ok := dnsRecord(b, at)
		if !ok {
			return
		}
		at = next
		name := r.name
		if alias {
			name = asked
		}
		switch {
		case r.kind == typeCNAME:
			alias = alias || r.name == asked && asked != ""
		case r.kind == typeA && len(r.data) == 4:
			n.add(packet.Addr{10: 0xff, 11: 0xff, 12: r.data[0], 13: r.data[1], 14: r.data[2], 15: r.data[3]}, name, place("DNS answer", number))
		case r.kind == typeAAAA && len(r.data) == 16:
			n.add(packet.Addr(r.data), name, place("DNS answer", number))
		case r.kind == typePTR:
			addr, ok := reverse(r.name)
			if name, _, whole := dnsName(b, r.at); ok && whole {
				n.add(addr, name, place("DNS answer", number))
			}
		}
	}
}

// dnsRecord reads a record, and where the next one begins.
func dnsRecord(b []byte, at int) (r record, next int, ok bool) {
	if r.name, at, ok = dnsName(b, at); !ok || at+10 > len(b) {
		return r, 0, false
	}
	r.kind, r.at = be.Uint16(b[at:]), at+10
	next = r.at + int(be.Uint16(b[at+8:]))
	if next > len(b) {
		return r, 0, false
	}
	if be.Uint16(b[at+2:])&0x7fff != classIN { // the upper bit is multicast DNS's
		r.kind = 0
	}
	r.data = b[r.at:next]
	return r, next, true
}

// dnsName reads a name, in lower case, and where it ends.
func dnsName(b []byte, at int) (name string, end int, ok bool) {
	var out [maxNameLength + 1]byte
	n := 0
	for range maxNameLabels {
		if at >= len(b) {
			return "", 0, false
		}
		size := int(b[at])
		switch {
		case size == 0:
			if end == 0 {
				end = at + 1
			}
			return string(out[:max(n-1, 0)]), end, true
		case size >= 0xc0:
			if at+2 > len(b) {
				return "", 0, false
			}
			if end == 0 {
				end = at + 2
			}
			to := int(be.Uint16(b[at:]) & 0x3fff)
			if to >= at { // they lead backwards
				return "", 0, false
			}
			at = to
			continue
		case size > 63, at+1+size > len(b), n+size+1 > len(out):
			return "", 0, false
		}
		for _, c := range b[at+1 : at+1+size] {
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c == '.' {
				c = ' ' // such a name is not kept
			}
			out[n] = c
			n++
		}
		out[n] = '.'
		n++
		at += 1 + size
	}
	return "", 0, false
}

// reverse reads the address in a name as 11.2.0.192.in-addr.arpa has it.
func reverse(name string) (a packet.Addr, ok bool) {
	if s, four := strings.CutSuffix(name, ".in-addr.arpa"); four {
		parts := strings.Split(s, ".")
		slices.Reverse(parts)
		addr, err := netip.ParseAddr(strings.Join(parts, "."))
		return addr.As16(), err == nil && addr.Is4()
	}
	s, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(s) != 63 {
		return a, false
	}
	for i := range 32 {
		digit, err := strconv.ParseUint(s[2*i:2*i+1], 16, 8)
		if err != nil || i > 0 && s[2*i-1] != '.' {
			return a, false
		}
		place := 31 - i
		a[place/2] |= byte(digit) << (4 * (1 - place%2))
	}
	return a, true
}

// netbios reads registrations of names and answers to queries: RFC 1002, 4.2.
func (n *names) netbios(b []byte, number uint64) {
	const (
		query, registration, refresh, refreshToo = 0, 5, 8, 9
		bitGroup                                 = 0x8000
	)
	if len(b) < 12 {
		return
	}
	flags := be.Uint16(b[2:])
	what := "NetBIOS registration"
	switch opcode := flags & maskOpcode >> 11; {
	case flags&maskCode != 0:
		return
	case opcode == query && flags&bitResponse != 0:
		what = "NetBIOS answer"
	case opcode == registration || opcode == refresh || opcode == refreshToo:
	default:
		return
	}
	at := 12
	for range min(be.Uint16(b[4:]), 1) {
		_, end, ok := dnsName(b, at)
		if !ok || end+4 > len(b) {
			return
		}
		at = end + 4
	}
	records := int(be.Uint16(b[6:])) + int(be.Uint16(b[8:])) + int(be.Uint16(b[10:]))
	for range min(records, maxAnswers) {
		r, next, ok := dnsRecord(b, at)
		if !ok {
			return
		}
		at = next
		name, ok := netbiosName(r.name)
		if r.kind != typeNB || !ok {
			continue
		}
		for d := r.data; len(d) >= 6; d = d[6:] {
			if be.Uint16(d)&bitGroup == 0 {
				n.add(packet.Addr{10: 0xff, 11: 0xff, 12: d[2], 13: d[3], 14: d[4], 15: d[5]}, name, place(what, number))
			}
		}
	}
}

// netbiosName undoes the first-level encoding of a name, which dnsName put in lower case. Only names of
// machines are names: the sixteenth byte tells the service, and is 0 for workstations and 0x20 for
// file servers.
func netbiosName(s string) (string, bool) {
	s, _, _ = strings.Cut(s, ".") // a scope
	if len(s) != 32 {
		return "", false
	}
	var b [16]byte
	for i := range b {
		hi, lo := s[2*i]-'a', s[2*i+1]-'a'
		if hi > 15 || lo > 15 {
			return "", false
		}
		b[i] = hi<<4 | lo
	}
	return strings.TrimRight(string(b[:15]), " "), b[15] == 0 || b[15] == 0x20
}

// dhcp reads the host name that a client states, or is given, with its address: RFC 2131, 2132
// and 4702.
func (n *names) dhcp(b []byte, number uint64) {
	const (
		head                                                = 240
		optPad, optHost, optAsked, optKind, optFQDN, optEnd = 0, 12, 50, 53, 81, 255
		request, ack, inform                                = 3, 5, 8
	)
	if len(b) < head || be.Uint32(b[236:]) != 0x63825363 || b[1] != 1 {
		return
	}
	var kind byte
	var name, full string
	client, asked := b[12:16], []byte(nil) // ciaddr
	o := b[head:]
	for range maxDHCPOptions {
		if len(o) == 0 || o[0] == optEnd {
			break
		}
		if o[0] == optPad {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			break
		}
		v := o[2 : 2+int(o[1])]
		switch {
		case o[0] == optKind && len(v) == 1:
			kind = v[0]
		case o[0] == optHost && len(v) <= maxDHCPHostname:
			name = strings.TrimRight(string(v), "\x00")
		case o[0] == optAsked && len(v) == 4:
			asked = v
		case o[0] == optFQDN && len(v) > 3:
			if v[0]&4 == 0 { // as text
				full = strings.TrimRight(string(v[3:]), "\x00.")
			} else if s, _, ok := dnsName(v[3:], 0); ok {
				full = s
			}
		}
		o = o[2+int(o[1]):]
	}
	addr, what := client, "DHCP request"
	switch kind {
	case request:
		if asked != nil {
			addr = asked
		}
	case inform:
	case ack:
		addr, what = b[16:20], "DHCP answer" // yiaddr
	default:
		return
	}
	for _, s := range []string{full, name} {
		if s != "" {
			n.add(packet.Addr{10: 0xff, 11: 0xff, 12: addr[0], 13: addr[1], 14: addr[2], 15: addr[3]}, s, place(what, number))
			return // the full name says all that the other does
		}
	}
}

// sortedLinks gives the link types in order.
func sortedLinks(m map[pcap.LinkType]uint64) (out []pcap.LinkType) {
	for link := range m {
		out = append(out, link)
	}
	slices.Sort(out)
	return out
}
