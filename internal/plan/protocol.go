package plan

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
)

// Protocol is a service that is known by its port: what most likely answers there. A port
// proves nothing: anything can listen on it.
type Protocol struct {
	ID   string // "smb"
	Name string // "SMB file sharing"
	// Kind is what it is for: directory, name, time, file, print, remote-management, …
	Kind string
	// Proto and From to To are where it is known; To is From but for ranges. For ICMP and
	// ICMPv6 it is the type of the message, for protocols without ports 0.
	Proto    host.IPProto
	From, To uint16
	// Peer is what a server of it mostly is to a machine that asks it, or that it calls:
	// domain-controller, name-server, time-server, backup-server, …; empty for none.
	Peer string
	// Link is true for what never leaves the link: broadcasts, multicasts, router messages.
	Link bool
	// Risks are of "cleartext" (passwords or contents can be read on the way),
	// "remote-management" (who gets in rules the machine) and "worm" (has been used by worms).
	Risks []string
	// Know is what one should know of it before a rule is made; may be empty.
	Know  string
	Known        // of the port: Source is where it is listed
	Read  string // the day Source was read; empty where it was not
}

// Range reports whether the protocol is known by a range of ports, which says less than a
// port: most of what is seen there may be something else.
func (p *Protocol) Range() bool { return p.From != p.To }

// protocolSources are the short names in the table.
var protocolSources = map[string]string{
	"ms":      "https://learn.microsoft.com/troubleshoot/windows-server/networking/service-overview-and-network-port-requirements",
	"iana":    "https://www.iana.org/assignments/service-names-port-numbers", // in the copy that Wireshark 4.0.17 has
	"icmp":    "https://www.iana.org/assignments/icmp-parameters",            // in the copies that nftables and
	"icmp6":   "https://www.iana.org/assignments/icmpv6-parameters",          // Debian's netbase have
	"ipproto": "https://www.iana.org/assignments/protocol-numbers",
	"maker":   "the maker's default, as it is commonly met",
}

var ipProtos = map[string]host.IPProto{"tcp": host.TCP, "udp": host.UDP, "icmp": host.ICMP, "icmpv6": host.ICMPv6}

// protocolTable is the table in its order: by protocol number, then by port.
var protocolTable = sync.OnceValue(func() (out []*Protocol) {
	for _, f := range rows("protocols.txt", 12) {
		p := &Protocol{
			ID: f[2], Name: f[3], Kind: f[4], Proto: ipProtos[f[0]], Peer: f[5], Link: f[6] == "yes",
			Risks: list(f[7], ","), Know: f[8], Known: Known{f[9], cmp.Or(protocolSources[f[10]], f[10])}, Read: f[11],
		}
		if p.Proto == 0 {
			n, err := strconv.ParseUint(f[0], 10, 8)
			if err != nil {
				panic("protocols.txt: " + err.Error()) // it is embedded
			}
			p.Proto = host.IPProto(n)
		}
		r, ok := portRange(f[1])
		if !ok {
			panic("protocols.txt: no port: " + f[1])
		}
		p.From, p.To = r.From, r.To
		out = append(out, p)
	}
	return out
})

type protocolPort struct {
	proto host.IPProto
	port  uint16
}

// protocolsByPort holds those of a single port, protocolRanges the others.
var protocolsByPort = sync.OnceValue(func() map[protocolPort]*Protocol {
	out := map[protocolPort]*Protocol{}
	for _, p := range protocolTable() {
		if !p.Range() {
			out[protocolPort{p.Proto, p.From}] = p
		}
	}
	return out
})

var protocolRanges = sync.OnceValue(func() (out []*Protocol) {
	for _, p := range protocolTable() {
		if p.Range() {
			out = append(out, p)
		}
	}
	return out
})

// ProtocolOf gives what is known by a protocol and the server's port, nil if nothing is. A
// port goes before a range, and a small range before a large one. For ICMP and ICMPv6 port
// is the type of the message.
func ProtocolOf(proto host.IPProto, port uint16) *Protocol {
	if p := protocolsByPort()[protocolPort{proto, port}]; p != nil {
		return p
	}
	var best *Protocol
	for _, p := range protocolRanges() {
		if p.Proto == proto && p.From <= port && port <= p.To && (best == nil || p.To-p.From < best.To-best.From) {
			best = p
		}
	}
	return best
}

// portRange reads 80 and 5000-5100.
func portRange(s string) (policy.Ports, bool) {
	from, to, has := strings.Cut(strings.TrimSpace(s), "-")
	if !has {
		to = from
	}
	a, err := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	b, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if err != nil || err2 != nil || a > b || b > math.MaxUint16 {
		return policy.Ports{}, false
	}
	return policy.Ports{From: uint16(a), To: uint16(b)}, true
}

// maxRPCRanges bounds how many ranges the setting may have; people set one or two.
const maxRPCRanges = 100

// RPCPorts are the ports on which the machine's own RPC services wait behind port 135: those
// of the setting "rpc-ports", else the dynamic range of its release. They are none where
// neither is known. Because says which; where no evidence shows the setting, it says so, and
// the ports are those of the release.
//
// The default ranges: https://learn.microsoft.com/troubleshoot/windows-server/networking/service-overview-and-network-port-requirements,
// the setting: https://learn.microsoft.com/troubleshoot/windows-server/networking/configure-rpc-dynamic-port-allocation-with-firewalls,
// both read 2026-11-25.
func RPCPorts(h *host.Host) (ports []policy.Ports, because host.Reason) {
	f := h.Settings["rpc-ports"]
	v, known := f.Value()
	if known && v != host.NotSet && !f.Disputed() {
		for _, s := range strings.FieldsFunc(v, func(c rune) bool { return c == ',' || c == ';' || c == '\n' }) {
			if r, ok := portRange(s); ok && len(ports) < maxRPCRanges {
				ports = append(ports, r)
			}
		}
		if len(ports) > 0 {
			return ports, host.Reason{Text: fmt.Sprintf("the registry gives RPC the ports %s", v), From: sourcesOf(f)}
		}
	}
	b, ok := h.Build.Value()
	if !ok {
		return nil, host.Reason{Text: "neither the release nor a setting tells which ports RPC uses"}
	}
	r, since := policy.Ports{From: 49152, To: 65535}, "from Vista and Server 2008 on"
	if b.Major < 6 {
		r, since = policy.Ports{From: 1025, To: 5000}, "before Vista and Server 2008"
	}
	text := fmt.Sprintf("%s is the range of Windows %s", r, since)
	switch {
	case f.Disputed():
		text += "; the evidence contradicts itself about a range of RPC's own"
	case known && v != host.NotSet:
		text += fmt.Sprintf("; the range that the registry gives RPC cannot be read: %.60q", v)
	case !known:
		text += "; no evidence shows whether the registry sets another for RPC"
	}
	return []policy.Ports{r}, host.Reason{Text: text, From: append(sourcesOf(h.Build), sourcesOf(f)...)}
}
