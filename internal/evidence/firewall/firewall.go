// Package firewall brings the rules of Windows Firewall into one form, from whatever source: the
// registry and netsh write the same rule differently. It is no evidence reader itself.
package firewall

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
)

// protocols are the numbers that rules mostly have:
// https://www.iana.org/assignments/protocol-numbers, read 2026-11-24.
var protocols = map[string]string{"1": "ICMPv4", "2": "IGMP", "6": "TCP", "17": "UDP", "41": "IPv6", "47": "GRE", "58": "ICMPv6", "256": ""}

// Normal brings the lists of a rule into one form: the same rule reads the same from every
// source. What it does not understand it leaves as it is.
func Normal(r *host.FirewallRule) {
	if name, ok := protocols[r.Protocol]; ok {
		r.Protocol = name
	}
	r.Profiles = profiles(r.Profiles)
	r.Local, r.Peer = list(r.Local, address, byAddress), list(r.Peer, address, byAddress)
	r.LocalPort, r.PeerPort = list(r.LocalPort, port, byNumber), list(r.PeerPort, port, byNumber)
	r.ICMP = list(r.ICMP, strings.TrimSpace, byNumber)
	r.Interfaces = list(r.Interfaces, adapter, cmp.Compare[string])
}

// list brings each item of a list into its form, and the list in order, each item once.
func list(s string, form func(string) string, order func(a, b string) int) string {
	if s == "" {
		return ""
	}
	items := strings.Split(s, ",")
	for i := range items {
		items[i] = form(strings.TrimSpace(items[i]))
	}
	items = slices.DeleteFunc(items, func(s string) bool { return s == "" })
	slices.SortStableFunc(items, order)
	return strings.Join(slices.Compact(items), ",")
}

// profiles gives them in one order; all three are as good as none.
func profiles(s string) string {
	var out []string
	for _, p := range []string{"Domain", "Private", "Public"} {
		for item := range strings.SplitSeq(s, ",") {
			if strings.EqualFold(strings.TrimSpace(item), p) && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	if len(out) == 3 {
		return ""
	}
	return strings.Join(out, ",")
}

// addressKeywords are as the registry writes them: MS-GPFAS 2.2.2.13,
// https://learn.microsoft.com/openspecs/windows_protocols/ms-gpfas/2efe0b76-7b4a-41ff-9050-1023f8196d16, read 2026-11-25
var addressKeywords = []string{"LocalSubnet", "DNS", "DHCP", "WINS", "DefaultGateway"}

// address writes an address alone without the length of its prefix, a network with it and not with
// a mask, and a range of one address as that address.
func address(s string) string {
	for _, k := range addressKeywords {
		if strings.EqualFold(k, s) {
			return k
		}
	}
	if first, last, ranged := strings.Cut(s, "-"); ranged {
		a, err1 := netip.ParseAddr(first)
		b, err2 := netip.ParseAddr(last)
		switch {
		case err1 != nil || err2 != nil:
			return s
		case a == b:
			return a.String()
		}
		return a.String() + "-" + b.String()
	}
	head, mask, masked := strings.Cut(s, "/")
	a, err := netip.ParseAddr(head)
	switch {
	case err != nil:
		return s
	case !masked:
		return a.String()
	}
	n, err := strconv.Atoi(mask)
	if m, merr := netip.ParseAddr(mask); err != nil {
		if merr != nil || !m.Is4() || !a.Is4() {
			return s
		}
		b := m.As4()
		ones := binary.BigEndian.Uint32(b[:])
		n = bits.LeadingZeros32(^ones)
		if ones != ^uint32(0)<<(32-n) {
			return s // ones behind a zero
		}
	}
	switch p, err := a.Prefix(n); {
	case err != nil:
		return s
	case p.IsSingleIP():
		return a.String()
	default:
		return p.String()
	}
}

// byAddress orders what is no address behind, and IPv4 before IPv6.
func byAddress(a, b string) int {
	first := func(s string) netip.Addr {
		s, _, _ = strings.Cut(s, "-")
		s, _, _ = strings.Cut(s, "/")
		addr, _ := netip.ParseAddr(s)
		return addr
	}
	x, y := first(a), first(b)
	switch {
	case x.IsValid() != y.IsValid():
		if x.IsValid() {
			return -1
		}
		return 1
	case x.IsValid() && x != y:
		return x.Compare(y)
	}
	return cmp.Compare(a, b)
}

// ports are keywords by all their names. netsh calls the four of IP over HTTPS by one name.
var ports = map[string]string{
	"rpc": "RPC", "rpc-epmap": "RPC-EPMap", "teredo": "Teredo", "iphttps": "IPHTTPS", "iptlsin": "IPHTTPS", "iptlsout": "IPHTTPS", "iphttpsin": "IPHTTPS", "iphttpsout": "IPHTTPS",
	"dhcp": "DHCP", "ply2disc": "Ply2Disc", "mdns": "mDNS",
}

func port(s string) string {
	if k := ports[strings.ToLower(s)]; k != "" {
		return k
	}
	first, last, ranged := strings.Cut(s, "-")
	if ranged && first == last {
		return first
	}
	return s
}

// byNumber orders by the number in front; what has none stands behind.
func byNumber(a, b string) int {
	n := func(s string) int {
		end := strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(s)
		}
		if v, err := strconv.Atoi(s[:end]); err == nil {
			return v
		}
		return 1 << 30
	}
	return cmp.Or(cmp.Compare(n(a), n(b)), cmp.Compare(a, b))
}

// adapters are types by the names of the registry and of netsh.
var adapters = map[string]string{"lan": "LAN", "wireless": "Wireless", "remoteaccess": "RAS", "ras": "RAS"}

func adapter(s string) string {
	if k := adapters[strings.ToLower(s)]; k != "" {
		return k
	}
	return s
}
