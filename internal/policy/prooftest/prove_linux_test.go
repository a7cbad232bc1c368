package prooftest_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/policytest"
	"github.com/oldguard/oldguard/internal/policy/prooftest"
)

// server is a policy as a plan would make it, for both families, and what it is to allow.
func server(own []netip.Addr, iface string) (*policy.Policy, []policy.Packet) {
	net := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	port := func(from, to uint16) policy.Ports { return policy.Ports{From: from, To: to} }
	p := &policy.Policy{
		Host: "FS01", Own: own, Interface: iface,
		Rules: []policy.Rule{
			{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{port(139, 139), port(445, 445)}, Remote: net("198.51.100.0/29", "198.51.100.20/32"), Comment: policytest.Hostile()[1]},
			{ID: "in-smb6", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{port(445, 445)}, Remote: net("2001:db8:1::/64")},
			{ID: "in-rdp", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{port(3389, 3389)}, Remote: net("198.51.100.5/32")},
			{ID: "in-rpc", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{port(49152, 49200)}, Remote: net("198.51.100.20/32")},
			{ID: "in-snmp", Action: policy.Accept, Proto: policy.UDP, LocalPorts: []policy.Ports{port(161, 161)}, Remote: net("198.51.100.5/32", "198.51.100.7/32", "198.51.100.9/32", "198.51.100.11/32", "198.51.100.13/32")},
			{ID: "in-ping", Action: policy.Accept, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: 0}}, Remote: net("198.51.100.5/32")},
			{ID: "in-ping6", Action: policy.Accept, Proto: policy.ICMPv6, ICMP: []policy.ICMPType{{Type: 128, Code: -1}}, Remote: net("2001:db8:1::5/128")},
			{ID: "out-dns", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, RemotePorts: []policy.Ports{port(53, 53)}, Remote: net("198.51.100.53/32")},
			{ID: "out-ntp", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, RemotePorts: []policy.Ports{port(123, 123)}, LocalPorts: []policy.Ports{port(123, 123)}, Remote: net("198.51.100.53/32")},
			{ID: "out-ldap6", Dir: policy.Out, Action: policy.Accept, Proto: policy.TCP, RemotePorts: []policy.Ports{port(389, 389), port(636, 636)}, Remote: net("2001:db8:1::53/128")},
			{ID: "out-backup", Dir: policy.Out, Action: policy.Accept, Proto: policy.TCP, RemotePorts: []policy.Ports{port(10000, 10009)}, Local: net("192.0.2.11/32"), Remote: net("198.51.100.30/32")},
			{ID: "out-gre", Dir: policy.Out, Action: policy.Accept, Proto: 47, Remote: net("198.51.100.30/32")},
		},
	}
	a := netip.MustParseAddr
	k := func(dir policy.Direction, proto policy.Proto, local, remote string, localPort, remotePort uint16) policy.Packet {
		return policy.Packet{Dir: dir, Proto: proto, Local: a(local), Remote: a(remote), LocalPort: localPort, RemotePort: remotePort}
	}
	ping := k(policy.In, policy.ICMP, "192.0.2.10", "198.51.100.5", 0, 0)
	ping.Type = 8
	ping6 := k(policy.In, policy.ICMPv6, "2001:db8::10", "2001:db8:1::5", 0, 0)
	ping6.Type = 128
	return p, []policy.Packet{
		k(policy.In, policy.TCP, "192.0.2.10", "198.51.100.1", 445, 50000),
		k(policy.In, policy.TCP, "192.0.2.11", "198.51.100.20", 139, 50000),
		k(policy.In, policy.TCP, "192.0.2.10", "198.51.100.5", 3389, 0),
		k(policy.In, policy.TCP, "192.0.2.10", "198.51.100.20", 49200, 0),
		k(policy.In, policy.TCP, "2001:db8::10", "2001:db8:1::5", 445, 0),
		k(policy.In, policy.UDP, "192.0.2.10", "198.51.100.9", 161, 0),
		ping, ping6,
		k(policy.Out, policy.UDP, "192.0.2.10", "198.51.100.53", 0, 53),
		k(policy.Out, policy.UDP, "192.0.2.10", "198.51.100.53", 123, 123),
		k(policy.Out, policy.TCP, "2001:db8::10", "2001:db8:1::53", 50000, 636),
		k(policy.Out, policy.TCP, "192.0.2.11", "198.51.100.30", 0, 10009),
	}
}

func TestPeerProofOfAllPorts(t *testing.T) {
	p, allowed := server(policytest.Own(), "eth1")
	r := prooftest.Prove(t, p, allowed, prooftest.Options{})
	t.Logf("%d conversations, %d probes, %d passed", r.Flows, r.Probes, r.Passed)
	if r.Flows != len(allowed) || r.Probes < 8*65535 || r.Passed < 70 {
		t.Errorf("%+v", r)
	}
}

// TestPeerProofByAddress is without an interface of the machine's own.
func TestPeerProofByAddress(t *testing.T) {
	p, allowed := server(policytest.Own(), "")
	r := prooftest.Prove(t, p, allowed, prooftest.Options{Quick: true})
	t.Logf("%+v", r)
	if r.Flows != len(allowed) || r.Passed < 70 {
		t.Errorf("%+v", r)
	}
}

func TestPeerProofOfIptables(t *testing.T) {
	p, allowed := server(policytest.Own(), "eth1")
	r := prooftest.Prove(t, p, allowed, prooftest.Options{Firewall: prooftest.Iptables, Quick: true})
	t.Logf("%+v", r)
	if r.Flows != len(allowed) || r.Passed < 70 {
		t.Errorf("%+v", r)
	}
}

// recorder takes the errors of a proof that is to fail.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Error(args ...any) { r.errors = append(r.errors, fmt.Sprint(args...)) }

func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }

// TestPeerProofFindsHoles loads something else than the policy that is to be proven.
func TestPeerProofFindsHoles(t *testing.T) {
	p, allowed := server(policytest.Own(), "eth1")
	for _, tt := range []struct {
		name, from, to string
		want           string
	}{
		{"one_port_to_all", "\tchain to_machine {", "\tchain to_machine {\n\t\ttcp dport 22 accept", "in tcp, machine 192.0.2.10:22, other 198.18.0.1:50001 arrived and is not allowed"},
		{"a_flow_is_missing", "udp dport 161 counter accept", "udp dport 162 counter accept", "in udp, machine 192.0.2.10:161, other 198.51.100.9:0 is allowed, and does not work"},
		{"any_address_behind_it", "ip saddr != @own4 goto foreign", "", "machine 192.0.2.200:50001, other 198.51.100.53:53 arrived and is not allowed"},
		{"the_router_itself", "hook input priority filter; policy accept;", "hook input priority filter; policy accept; tcp dport 4712 accept", "which is the router"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t}
			prooftest.Prove(r, p, allowed, prooftest.Options{Quick: true, Change: func(rules string) string {
				changed := strings.Replace(rules, tt.from, tt.to, 1)
				if changed == rules {
					t.Fatalf("the rules have no %q", tt.from)
				}
				return changed
			}})
			if got := strings.Join(r.errors, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
		})
	}
}
