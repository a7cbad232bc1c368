package nftables

import (
	"fmt"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// Names that nft has for numbers, as `nft describe` of 1.0.6 prints them; TestPeerNames asks it.
var (
	icmpTypes = map[string]space.Num{
		"echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
		"router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
		"timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16, "address-mask-request": 17,
		"address-mask-reply": 18,
	}
	icmpv6Types = map[string]space.Num{
		"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4, "echo-request": 128,
		"echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131, "mld-listener-done": 132,
		"mld-listener-reduction": 132, "nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135,
		"nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138, "ind-neighbor-solicit": 141,
		"ind-neighbor-advert": 142, "mld2-listener-report": 143,
	}
	icmpCodes = map[string]space.Num{
		"net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
		"net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
	}
	icmpv6Codes = map[string]space.Num{
		"no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5, "reject-route": 6,
	}
	etherTypes = map[string]space.Num{"ip": 0x800, "arp": 0x806, "ip6": 0x86dd, "8021q": 0x8100, "8021ad": 0x88a8, "vlan": 0x8100}
	nfProtos   = map[string]space.Num{"ipv4": 2, "ipv6": 10}
	ctStates   = map[string]space.Num{"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 0x40}
	tcpFlags   = map[string]space.Num{"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
)

// messageName names a type of ICMP or ICMPv6, where it has a name.
func messageName(p policy.Proto, n uint8) string {
	names := icmpTypes
	if p == policy.ICMPv6 {
		names = icmpv6Types
	}
	best := fmt.Sprint(n)
	for name, m := range names {
		if m == space.Num(n) && (best[0] <= '9' || name < best) {
			best = name
		}
	}
	return best
}
