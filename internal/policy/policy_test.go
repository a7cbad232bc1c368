package policy

import (
	"net/netip"
	"strings"
	"testing"
)

func nets(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestDecide(t *testing.T) {
	p := Policy{
		Out: Accept,
		Rules: []Rule{
			{ID: "a", Action: Accept, Proto: TCP, Remote: nets("192.0.2.0/24"), LocalPorts: []Ports{{445, 445}}},
			{ID: "b", Action: Drop, Proto: Any, Remote: nets("192.0.2.9/32")},
			{ID: "c", Action: Accept, Proto: ICMP, ICMP: []ICMPType{{8, -1}, {3, 4}}},
			{ID: "d", Dir: Out, Action: Drop, Proto: UDP, RemotePorts: []Ports{{137, 139}}},
		},
	}
	packet := func(dir Direction, proto Proto, remote string, port uint16) Packet {
		k := Packet{Dir: dir, Proto: proto, Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr(remote), LocalPort: port, RemotePort: 50000}
		if dir == Out {
			k.LocalPort, k.RemotePort = k.RemotePort, k.LocalPort
		}
		return k
	}
	echo := Packet{Proto: ICMP, Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr("198.51.100.1"), Type: 8}
	needed := echo
	needed.Type, needed.Code = 3, 1
	for _, tt := range []struct {
		name   string
		order  Order
		packet Packet
		want   Action
		rule   int
	}{
		{"allowed", FirstMatch, packet(In, TCP, "192.0.2.8", 445), Accept, 0},
		{"other_port", FirstMatch, packet(In, TCP, "192.0.2.8", 446), Drop, -1},
		{"first_match_wins", FirstMatch, packet(In, TCP, "192.0.2.9", 445), Accept, 0},
		{"drop_wins", DropWins, packet(In, TCP, "192.0.2.9", 445), Drop, 1},
		{"icmp_any_code", FirstMatch, echo, Accept, 2},
		{"icmp_other_code", FirstMatch, needed, Drop, -1},
		{"out_by_default", FirstMatch, packet(Out, UDP, "198.51.100.1", 53), Accept, -1},
		{"out_dropped", FirstMatch, packet(Out, UDP, "198.51.100.1", 138), Drop, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p.Order = tt.order
			if got, rule := p.Decide(tt.packet); got != tt.want || rule != tt.rule {
				t.Errorf("Decide() = %s by rule %d; want %s by %d", got, rule, tt.want, tt.rule)
			}
		})
	}
}

func TestCheckOfTheWhole(t *testing.T) {
	for name, p := range map[string]Policy{
		"interface_with_syntax":  {Interface: `eth0"; drop`},
		"interface_of_any":       {Interface: "eth+"},
		"interface_too_long":     {Interface: "abcdefghijklmnop"},
		"address_of_no_family":   {Own: []netip.Addr{{}}},
		"address_with_interface": {Own: []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}},
	} {
		if p.Check() == nil {
			t.Errorf("%s: Check() finds nothing wrong", name)
		}
	}
	if err := (&Policy{Interface: "br-lan.10", Own: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []Rule
		want  string // of the error; empty for none
	}{
		{"well", []Rule{{ID: "in-1", Proto: TCP, LocalPorts: []Ports{{1, 2}}, Local: nets("192.0.2.0/24")}}, ""},
		{"no_id", []Rule{{}}, "is no id"},
		{"id_with_syntax", []Rule{{ID: `a"; drop`}}, "is no id"},
		{"id_twice", []Rule{{ID: "a"}, {ID: "a"}}, "is there twice"},
		{"ports_of_any", []Rule{{ID: "a", LocalPorts: []Ports{{1, 1}}}}, "has no ports"},
		{"types_of_tcp", []Rule{{ID: "a", Proto: TCP, ICMP: []ICMPType{{8, -1}}}}, "has no types"},
		{"range_backwards", []Rule{{ID: "a", Proto: TCP, RemotePorts: []Ports{{2, 1}}}}, "from 2 to 1"},
		{"host_bits", []Rule{{ID: "a", Remote: nets("192.0.2.1/24")}}, "is no network"},
		{"addresses_of_the_other", []Rule{{ID: "a", Proto: ICMP, Remote: nets("2001:db8::/64")}}, "has no such address"},
		{"exception_of_one", []Rule{{ID: "a", Proto: TCP, Except: []Proto{UDP}}}, "no protocol but its own"},
		{"two_families", []Rule{{ID: "a", Remote: nets("192.0.2.0/24"), Local: nets("2001:db8::/64")}}, "both families"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := (&Policy{Rules: tt.rules}).Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check() = %v; want %q", err, tt.want)
			}
		})
	}
}
