package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
)

func TestWindowsFirewall(t *testing.T) {
	if WindowsFirewall(&host.Host{}) != nil {
		t.Error("a policy of nothing")
	}
	h := &host.Host{}
	h.Name.Say("FS01", 1, host.Source{})
	h.Adapters = []host.Adapter{{Addresses: []string{"192.0.2.10/255.255.255.0"}, Gateways: []string{"192.0.2.1"}, NameServers: []string{"198.51.100.53"}}}
	at := host.Source{Input: "system.hiv", At: `HKLM\…\{1}`}
	h.FirewallRules = []host.FirewallRule{
		{ID: "{1}", Name: "share", Active: true, Allow: true, Protocol: "TCP", LocalPort: "139,445,5000-5010", Peer: "LocalSubnet", From: at},
		{Name: "share", Active: true, Allow: true, Protocol: "TCP", LocalPort: "139,445,5000-5010", Peer: "LocalSubnet"}, // the same, as netsh printed it
		{Name: "off", Allow: true, Protocol: "UDP"},
		{Name: "ping", Active: true, Allow: true, Protocol: "ICMPv4", ICMP: "3:4,8:*"},
		{Name: "igmp", Active: true, Allow: true, Out: true, Protocol: "IGMP"},
		{Name: "dns", Active: true, Allow: true, Out: true, Protocol: "UDP", Peer: "DNS,DefaultGateway", PeerPort: "53"},
		{Name: "bad peer", Active: true, Peer: "203.0.113.0/24"},
		{Name: "office", Active: true, Allow: true, Protocol: "TCP", LocalPort: "80", Profiles: "Domain"},
		{Name: "scanner", Active: true, Allow: true, Secure: "Bypass Authenticate"},
		{Name: "odd", Active: true, Allow: true, Protocol: "ICMPv4", ICMP: "x"},
	}
	for _, s := range []string{"firewall-domain", "firewall-private", "firewall-public", "firewall-domain-out", "firewall-private-out", "firewall-public-out"} {
		h.Set(s, "1", 1, host.Source{})
	}
	p := WindowsFirewall(h)
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if p.Host != "FS01" || p.Order != policy.DropWins || p.In != policy.Drop || p.Out != policy.Drop || len(p.Rules) != 8 || p.Rules[0].At != `system.hiv, HKLM\…\{1}` {
		t.Errorf("%+v", p)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "there may be more") }) {
		t.Errorf("notes %q", p.Notes)
	}
	for _, r := range p.Rules {
		if unsure := slices.Contains([]string{"office", "scanner", "odd"}, r.ID); unsure != (r.Unsure != "") {
			t.Errorf("%s: unsure %q", r.ID, r.Unsure)
		}
	}
	packet := func(dir policy.Direction, proto policy.Proto, remote string, port uint16) policy.Packet {
		k := policy.Packet{Dir: dir, Proto: proto, Local: netip.MustParseAddr("192.0.2.10"), Remote: netip.MustParseAddr(remote), LocalPort: port, RemotePort: 50000, Type: 8}
		if dir == policy.Out {
			k.LocalPort, k.RemotePort = k.RemotePort, k.LocalPort
		}
		return k
	}
	// The rule for what IPsec has authenticated counts for all: it is unsure.
	p.Rules = slices.DeleteFunc(p.Rules, func(r policy.Rule) bool { return r.ID == "scanner" })
	for _, tt := range []struct {
		name   string
		packet policy.Packet
		want   policy.Action
	}{
		{"share_from_here", packet(policy.In, policy.TCP, "192.0.2.77", 5005), policy.Accept},
		{"share_from_elsewhere", packet(policy.In, policy.TCP, "198.51.100.77", 445), policy.Drop},
		{"ping", packet(policy.In, policy.ICMP, "198.51.100.77", 0), policy.Accept},
		{"blocked", packet(policy.In, policy.ICMP, "203.0.113.7", 0), policy.Drop},
		{"disabled", packet(policy.In, policy.UDP, "192.0.2.77", 53), policy.Drop},
		{"names", packet(policy.Out, policy.UDP, "198.51.100.53", 53), policy.Accept},
		{"other_names", packet(policy.Out, policy.UDP, "198.51.100.54", 53), policy.Drop},
		{"groups", packet(policy.Out, 2, "224.0.0.22", 0), policy.Accept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, i := p.Decide(tt.packet); got != tt.want {
				t.Errorf("%s by %d, want %s", got, i, tt.want)
			}
		})
	}
	h.Set("policy-firewall-domain", "0", 1, host.Source{})
	h.Set("policy-firewall-private", "0", 1, host.Source{})
	h.Set("policy-firewall-public", "0", 1, host.Source{})
	if p := WindowsFirewall(h); p.In != policy.Accept || p.Out != policy.Accept || len(p.Rules) != 0 {
		t.Errorf("switched off by group policy: %+v", p)
	}
}
