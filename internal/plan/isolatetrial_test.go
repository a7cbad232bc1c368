package plan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/winver"
)

// TestTry: what a plan decided is what its policy does, and where it does not, that is said.
func TestTry(t *testing.T) {
	p := isolated(t, fenced(t), plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {prefix("10.1.7.7/32")}}})
	got := p.Try()
	if got.Allowed < 10 || got.Passed != got.Allowed || got.Cut < 5 || got.Stopped != got.Cut || got.Stuck != nil || got.Through != nil {
		t.Errorf("the plan's own policy: %+v", got)
	}
	tcp := func(d policy.Direction, decision plan.Decision, id string, port uint16, peers ...string) plan.Dependency {
		out := plan.Dependency{ID: id, Dir: d, Decision: decision, Proto: policy.TCP, Ports: []policy.Ports{{From: port, To: port}}}
		for _, a := range peers {
			out.Peers = append(out.Peers, plan.Talker{Addr: addr(a)})
		}
		return out
	}
	ranged := tcp(policy.Out, plan.Allow, "half-a-range", 5000, "192.0.2.5")
	ranged.Ports[0].To = 5010
	ping := plan.Dependency{ID: "ping", Decision: plan.Cut, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: -1}}, Peers: []plan.Talker{{Addr: addr("192.0.2.5")}}}
	hand := plan.Isolation{
		Dependencies: []plan.Dependency{
			tcp(policy.In, plan.Allow, "passes", 445, "192.0.2.5", "192.0.2.6"),
			tcp(policy.In, plan.Allow, "no-rule", 446, "192.0.2.5", "192.0.2.6"),
			tcp(policy.In, plan.Allow, "no-address-of-its-family", 445, "2001:db8::1"),
			ranged, ping,
			tcp(policy.In, plan.Cut, "too-wide", 445, "192.0.2.77", "198.51.100.1"),
			tcp(policy.Out, plan.Cut, "stopped", 443, "203.0.113.7"),
		},
		Policy: &policy.Policy{Own: []netip.Addr{addr("192.0.2.10")}, Rules: []policy.Rule{
			{ID: "smb", Dir: policy.In, Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 445, To: 445}}, Remote: []netip.Prefix{prefix("192.0.2.0/24")}},
			{ID: "range", Dir: policy.Out, Action: policy.Accept, Proto: policy.TCP, RemotePorts: []policy.Ports{{From: 5000, To: 5009}}},
			{ID: "ping", Dir: policy.In, Action: policy.Accept, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: -1}}},
		}},
	}
	want := plan.Trial{
		Allowed: 6, Passed: 2, Cut: 4, Stopped: 2,
		Stuck: []plan.Mismatch{
			{Dependency: "no-rule", Peers: 2, First: addr("192.0.2.5")},
			{Dependency: "no-address-of-its-family", Peers: 1, First: addr("2001:db8::1")},
			{Dependency: "half-a-range", Peers: 1, First: addr("192.0.2.5")},
		},
		Through: []plan.Mismatch{
			{Dependency: "ping", Peers: 1, First: addr("192.0.2.5"), Rule: "ping"},
			{Dependency: "too-wide", Peers: 1, First: addr("192.0.2.77"), Rule: "smb"},
		},
	}
	if diff := cmp.Diff(want, hand.Try(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("Try() differs (-want +got):\n%s", diff)
	}
	hand.Policy = nil
	if diff := cmp.Diff(plan.Trial{}, hand.Try(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("without a policy (-want +got):\n%s", diff)
	}
}

// TestPublicAddress: a machine at an address that is not private, whose network no source tells,
// loses all its neighbours, so that the plan asks for it.
func TestPublicAddress(t *testing.T) {
	const question = "which networks are inside"
	h := machine(release(t, "windows-server-2008-sp2"), winver.AMD64)
	h.Addresses = []host.Address{{Addr: addr("192.0.2.10"), Bits: -1}}
	talked(h, "192.0.2.51", "192.0.2.10", host.TCP, 445, 40, 0)
	asked := func(o plan.IsolateOptions) bool {
		return slices.ContainsFunc(isolated(t, h, o).Questions, func(q plan.Question) bool { return q.What == question })
	}
	if !asked(plan.IsolateOptions{}) {
		t.Error("the plan does not ask for the network")
	}
	if asked(plan.IsolateOptions{Inside: []netip.Prefix{prefix("192.0.2.0/24")}}) {
		t.Error("the plan asks for a network that the owner named")
	}
	h.Addresses[0].Bits = 24
	if asked(plan.IsolateOptions{}) {
		t.Error("the plan asks for a network that a source tells")
	}
}

// TestNeedsOfEachFamily: what a role needs is allowed over the family of who has it, pings and Remote
// Desktop at its own port with it, for addresses and for networks.
func TestNeedsOfEachFamily(t *testing.T) {
	h := fenced(t)
	h.Addresses = append(h.Addresses, host.Address{Addr: addr("2001:db8::10"), Bits: 64})
	h.Set("rdp-port", "3390", 1, host.Source{})
	p := isolated(t, h, plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {
		prefix("10.1.7.7/32"), prefix("2001:db8::7/128"), prefix("10.1.8.0/24"), prefix("2001:db8:0:0:8::/80"),
	}}})
	for _, from := range []string{"10.1.7.7", "2001:db8::7", "10.1.8.77", "2001:db8:0:0:8::77"} {
		a := addr(from)
		own, echo := addr("10.1.0.10"), policy.Packet{Proto: policy.ICMP, Type: 8}
		if a.Is6() {
			own, echo = addr("2001:db8::10"), policy.Packet{Proto: policy.ICMPv6, Type: 128}
		}
		echo.Local, echo.Remote = own, a
		rdp := policy.Packet{Proto: policy.TCP, Local: own, Remote: a, LocalPort: 3390, RemotePort: 50000}
		usual := rdp
		usual.LocalPort = 3389
		for name, k := range map[string]struct {
			policy.Packet
			want policy.Action
		}{"ping": {echo, policy.Accept}, "rdp": {rdp, policy.Accept}, "port_that_it_has_not": {usual, policy.Drop}} {
			if got, rule := p.Policy.Decide(k.Packet); got != k.want {
				t.Errorf("%s from %s: %s by rule %d; want %s", name, from, got, rule, k.want)
			}
		}
	}
	if got := p.Try(); got.Passed != got.Allowed || got.Stuck != nil {
		t.Errorf("what is allowed does not pass: %+v", got)
	}
}
