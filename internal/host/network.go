package host

import (
	"cmp"
	"encoding/binary"
	mathbits "math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// MaxTalks bounds the conversations a host keeps. A server with tens of thousands of
// clients on a few ports stays far below it; a scan of the network does not. What is over
// is counted in Traffic.Lost.
const MaxTalks = 200_000

// IPProto is a protocol over IP, by its number:
// https://www.iana.org/assignments/protocol-numbers, read 2026-11-24.
type IPProto uint8

// The protocols that rules and lists name.
const (
	ICMP   IPProto = 1
	TCP    IPProto = 6
	UDP    IPProto = 17
	ICMPv6 IPProto = 58
)

// Talk is a conversation: who asked whom, on what. The zero Port is that of protocols
// without ports; for ICMP and ICMPv6 it is the type of the message.
type Talk struct {
	Client, Server netip.Addr // without a zone, and never IPv4 mapped into IPv6
	Proto          IPProto
	Port           uint16 // the server's
}

// Sighting is what one source saw of a conversation.
type Sighting struct {
	From Source
	// Times is how often a connection was begun, as far as the source can tell: connections
	// in a capture, lines in a log, records of flows, lines of one netstat.
	Times int
	// Refused is how many of Times a firewall or the other side refused.
	Refused        int
	Packets, Bytes uint64    // both directions, 0 where the source does not count
	First, Last    time.Time // zero where the source has no clock
	// Sure tells that the source shows who began; else it was taken from the port numbers.
	Sure bool
	// PID and Program are the process at this machine's end; 0 and empty where not shown.
	PID     uint32
	Program string
}

// Conversation is a Talk with all that was seen of it.
type Conversation struct {
	Talk
	Seen []Sighting
}

// Watch says how long and how a source looked at the network: what was not said while
// nobody looked is not known.
type Watch struct {
	From Source
	// Kind is "capture", "netstat", "firewall-log" or "flow-records".
	Kind        string
	First, Last time.Time // zero where the source has no clock
	Records     uint64    // packets, lines or flows that were read; of netstat, how often it was asked
	// Skipped are records that could not be understood, were no IP, or were cut.
	Skipped uint64
	// Limits says, one sentence each, what the source could not see: a capture that was
	// cut, a list of connections without UDP peers.
	Limits []string
}

// Address is an address that a source shows to be the machine's own.
type Address struct {
	Addr netip.Addr
	Bits int // length of the network's prefix; -1 where not shown
	From Source
}

// Listener is a port on which the machine waits.
type Listener struct {
	Proto   IPProto
	Addr    netip.Addr // unspecified for all of the family
	Port    uint16
	PID     uint32
	Program string // empty where not shown
	From    Source
}

// Process is a process that ran when the source was made.
type Process struct {
	PID      uint32
	Image    string   // sqlservr.exe
	Services []string // the services in it, by their short names
	From     Source
}

// Route is a line of the routing table.
type Route struct {
	To     netip.Prefix
	Via    netip.Addr // not valid for what is on the link
	Metric int
	From   Source
}

// PeerName is a name that a source shows for an address: an answer of a name server in a
// capture, a column of a log.
type PeerName struct {
	Addr netip.Addr
	Name string
	From Source
}

// Network is what the evidence shows of whom a machine talks to.
type Network struct {
	Traffic   Traffic
	Watches   []Watch
	Addresses []Address
	Listeners []Listener
	Processes []Process
	Routes    []Route
	Names     []PeerName
}

// Shown reports whether anything of the network is known.
func (n *Network) Shown() bool {
	return n.Traffic.Len() > 0 || len(n.Watches)+len(n.Addresses)+len(n.Listeners)+len(n.Processes)+len(n.Routes) > 0
}

func (n *Network) merge(o *Network) {
	n.Names = append(n.Names, o.Names...)
	n.Traffic.Merge(o.Traffic)
	n.Watches = append(n.Watches, o.Watches...)
	n.Addresses = append(n.Addresses, o.Addresses...)
	n.Listeners = append(n.Listeners, o.Listeners...)
	n.Processes = append(n.Processes, o.Processes...)
	n.Routes = append(n.Routes, o.Routes...)
}

// Own returns the machine's own addresses, in order and each once: what sources state, and those of
// its adapters. Loopback and unspecified addresses are left out; so are link-local ones,
// which mean nothing beyond the link.
func (h *Host) Own() []Address {
	all := slices.Clone(h.Addresses)
	for _, a := range h.Adapters {
		for _, s := range a.Addresses {
			if addr, bits, ok := AdapterAddress(s); ok {
				all = append(all, Address{Addr: addr, Bits: bits, From: a.From})
			}
		}
	}
	all = slices.DeleteFunc(all, func(a Address) bool {
		return !a.Addr.IsValid() || a.Addr.IsLoopback() || a.Addr.IsUnspecified() || a.Addr.IsMulticast() || a.Addr.IsLinkLocalUnicast()
	})
	for i := range all {
		all[i].Addr = plain(all[i].Addr)
	}
	// Of several sources the one that knows the network comes first.
	slices.SortStableFunc(all, func(a, b Address) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(b.Bits, a.Bits)) })
	return slices.CompactFunc(all, func(a, b Address) bool { return a.Addr == b.Addr })
}

// AdapterAddress reads an address as Adapter.Addresses has it: 192.0.2.11/255.255.255.0,
// 192.0.2.11/24, 2001:db8::11/64 or the address alone, with bits -1.
func AdapterAddress(s string) (addr netip.Addr, bits int, ok bool) {
	head, mask, has := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(head)
	if err != nil {
		return addr, 0, false
	}
	addr, bits = plain(addr), -1
	if !has {
		return addr, bits, true
	}
	if p, err := netip.ParsePrefix(addr.String() + "/" + mask); err == nil {
		return addr, p.Bits(), true
	}
	if m, err := netip.ParseAddr(mask); err == nil && m.Is4() {
		b := m.As4()
		ones := binary.BigEndian.Uint32(b[:])
		if n := mathbits.LeadingZeros32(^ones); ones == ^uint32(0)<<(32-n) { // no ones behind a zero
			bits = n
		}
	}
	return addr, bits, true
}
