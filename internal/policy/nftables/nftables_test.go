package nftables_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/nftables"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

func write(t testing.TB, p *policy.Policy) string {
	t.Helper()
	var b bytes.Buffer
	if err := nftables.Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// plain takes out what a firewall in between does not see.
func plain(p *policy.Policy) {
	for i := range p.Rules {
		p.Rules[i].Program = ""
	}
}

func read(t testing.TB, text string, v policy.View) *policy.Policy {
	t.Helper()
	p, err := nftables.Read(text, v)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := p.Check(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// sure fails the test if anything of what was read was not understood.
func sure(t *testing.T, p *policy.Policy) {
	t.Helper()
	for i := range p.Rules {
		if p.Rules[i].Unsure != "" {
			t.Fatalf("%s: %+v", p.Rules[i].Unsure, p.Rules[i])
		}
	}
	for _, n := range p.Notes {
		if strings.Contains(n, "not understood") {
			t.Fatal(n)
		}
	}
}

// random gives a policy that belongs to a machine, by its addresses, its interface, or both.
func random(seed uint64) *policy.Policy {
	r := rand.New(rand.NewPCG(seed, 9))
	o := policytest.Options{Rules: 9, Drops: seed%3 == 0, Odd: seed%2 == 0, Order: policy.Order(r.IntN(2))}
	switch seed % 4 {
	case 0:
		o.Own = policytest.Own()
	case 1:
		o.Own = policytest.Own()[:2]
	case 2:
		o.Interface = "eth1"
	case 3:
		o.Own, o.Interface = policytest.Own(), "eth1"
	}
	return policytest.Policy(r, o)
}

// TestWrittenAndReadBack is the same policy, packet by packet, and stays the same text.
func TestWrittenAndReadBack(t *testing.T) {
	const policies, packets = 60, 170
	for seed := range uint64(policies) {
		p := random(seed)
		text := write(t, p)
		q := read(t, text, policy.View{File: "f", Own: p.Own, Interface: p.Interface})
		sure(t, q)
		policytest.Same(t, p, q, policytest.Packets(rand.New(rand.NewPCG(seed, 10)), packets, p))

		q.Host = p.Host
		again := read(t, write(t, q), policy.View{File: "f", Own: p.Own, Interface: p.Interface})
		policytest.Same(t, p, again, policytest.Packets(rand.New(rand.NewPCG(seed, 11)), packets, p))
		plain(p)
		if c := policy.Compare(q, p); len(c.Differences) > 0 || c.Cut != "" {
			t.Fatalf("seed %d: %s %s", seed, c.Differences[0].String(), c.Cut)
		}
		if !nftables.Sniff([]byte(text)) {
			t.Fatalf("not recognised:\n%s", text)
		}
	}
}

// TestOtherAddressesDoNotPass: behind an interface, the machine has no address but its own.
func TestOtherAddressesDoNotPass(t *testing.T) {
	p := &policy.Policy{Own: policytest.Own(), Interface: "eth1", In: policy.Accept, Out: policy.Accept}
	q := read(t, write(t, p), policy.View{File: "f", Interface: "eth1"})
	for _, tt := range []struct {
		local string
		want  policy.Action
	}{{"192.0.2.10", policy.Accept}, {"192.0.2.12", policy.Drop}, {"2001:db8::10", policy.Accept}, {"2001:db8::11", policy.Drop}} {
		for _, dir := range []policy.Direction{policy.In, policy.Out} {
			k := policy.Packet{Dir: dir, Proto: policy.TCP, Local: netip.MustParseAddr(tt.local), Remote: netip.MustParseAddr("198.51.100.1"), LocalPort: 1, RemotePort: 2}
			if k.Local.Is6() {
				k.Remote = netip.MustParseAddr("2001:db8:1::1")
			}
			if got, _ := q.Decide(k); got != tt.want {
				t.Errorf("%s with %s: %s; want %s", dir, tt.local, got, tt.want)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	if err := nftables.Write(&bytes.Buffer{}, &policy.Policy{}); !errors.Is(err, nftables.ErrNoMachine) {
		t.Errorf("a policy of no machine: %v", err)
	}
	if err := nftables.Write(&bytes.Buffer{}, &policy.Policy{Interface: `eth0" accept`}); err == nil {
		t.Error("an interface with syntax in its name")
	}
}

func example() *policy.Policy {
	port := func(n uint16) []policy.Ports { return []policy.Ports{{From: n, To: n}} }
	net := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	return &policy.Policy{
		Host: "FS01", Own: policytest.Own(), Interface: "eth1",
		Notes: []string{"DHCP is not in it: give the machine a fixed address"},
		Rules: []policy.Rule{
			{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, LocalPorts: port(445), Remote: net("198.51.100.0/24", "198.51.100.7/32", "203.0.113.1/32", "203.0.113.3/32", "203.0.113.5/32", "203.0.113.7/32"), Comment: "file shares, 12 peers, seen 3141 times in 14 days"},
			{ID: "in-rdp", Action: policy.Accept, Proto: policy.TCP, LocalPorts: port(3389), Remote: net("198.51.100.5/32"), Comment: "management from the jump host"},
			{ID: "in-ping", Action: policy.Accept, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: -1}, {Type: 3, Code: 4}}, Remote: net("198.51.100.5/32")},
			{ID: "in-ping6", Action: policy.Accept, Proto: policy.ICMPv6, ICMP: []policy.ICMPType{{Type: 128, Code: -1}}},
			{ID: "in-odd", Action: policy.Accept, Proto: policy.UDP, LocalPorts: []policy.Ports{{From: 4711, To: 4720}, {From: 4721, To: 4722}, {From: 99, To: 99}}, Local: net("2001:db8::10/128"), Remote: net("::/0"), Program: `C:\old "app"\x.exe`, Comment: "\"; accept\nadd rule inet filter x accept \\"},
			{ID: "out-dns", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, RemotePorts: port(53), Remote: net("198.51.100.53/32", "198.51.100.54/32")},
			{ID: "out-gre", Dir: policy.Out, Action: policy.Accept, Proto: 47, Remote: net("198.51.100.9/32")},
			{ID: "out-rest", Dir: policy.Out, Action: policy.Drop, Proto: policy.Any, Except: []policy.Proto{policy.TCP, policy.UDP}},
		},
	}
}

func TestGolden(t *testing.T) {
	p := example()
	golden.Check(t, "testdata/interface.nft", []byte(write(t, p)))
	p.Interface, p.Own, p.Rules = "", p.Own[:1], p.Rules[:1]
	golden.Check(t, "testdata/addresses.nft", []byte(write(t, p)))
}

// TestReadByHand reads what people write, and looks at single packets.
func TestReadByHand(t *testing.T) {
	text, err := os.ReadFile("testdata/byhand.nft")
	if err != nil {
		t.Fatal(err)
	}
	p := read(t, string(text), policy.View{File: "byhand.nft", Own: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}, Interface: "eth1"})
	packet := func(dir policy.Direction, proto policy.Proto, remote string, port uint16) policy.Packet {
		k := policy.Packet{Dir: dir, Proto: proto, Local: netip.MustParseAddr("192.0.2.10"), Remote: netip.MustParseAddr(remote)}
		if k.Remote.Is6() {
			k.Local = netip.MustParseAddr("2001:db8::10")
		}
		switch {
		case !proto.HasPorts():
			k.Type = uint8(port)
		case dir == policy.Out:
			k.LocalPort, k.RemotePort = 50000, port
		default:
			k.LocalPort, k.RemotePort = port, 50000
		}
		return k
	}
	for _, tt := range []struct {
		name   string
		packet policy.Packet
		want   policy.Action
		unsure bool
	}{
		{"variable_in_a_set", packet(policy.In, policy.TCP, "198.51.100.5", 3389), policy.Accept, false},
		{"not_in_the_set", packet(policy.In, policy.TCP, "198.51.100.6", 3389), policy.Drop, false},
		{"named_set_filled_later", packet(policy.In, policy.TCP, "203.0.113.9", 445), policy.Accept, false},
		{"interval_of_a_set", packet(policy.In, policy.TCP, "198.51.100.130", 445), policy.Accept, false},
		{"behind_the_interval", packet(policy.In, policy.TCP, "198.51.100.141", 445), policy.Drop, false},
		{"return_before_accept", packet(policy.In, policy.TCP, "198.51.100.13", 139), policy.Drop, false},
		{"others_accepted", packet(policy.In, policy.TCP, "198.51.100.14", 139), policy.Accept, false},
		{"service_by_name", packet(policy.In, policy.TCP, "198.51.100.20", 443), policy.Accept, false},
		{"verdict_map", packet(policy.In, policy.TCP, "198.51.100.20", 23), policy.Drop, false},
		{"concatenation", packet(policy.In, policy.UDP, "198.51.100.30", 161), policy.Accept, false},
		{"concatenation_crossed", packet(policy.In, policy.UDP, "198.51.100.30", 162), policy.Drop, false},
		{"concatenation_of_ranges", packet(policy.In, policy.UDP, "198.51.100.33", 6000), policy.Accept, false},
		{"reject_is_a_drop", packet(policy.In, policy.TCP, "198.51.100.20", 25), policy.Drop, false},
		{"condition_not_understood", packet(policy.In, policy.TCP, "198.51.100.20", 8080), policy.Accept, true},
		{"limited", packet(policy.In, policy.ICMP, "198.51.100.20", 8), policy.Accept, true},
		{"ipv6", packet(policy.In, policy.TCP, "2001:db8:1::5", 22), policy.Accept, false},
		{"syn_flags", packet(policy.In, policy.TCP, "198.51.100.20", 9090), policy.Accept, false},
		{"not_syn", packet(policy.In, policy.TCP, "198.51.100.20", 9091), policy.Drop, false},
		{"inline_chain", packet(policy.In, policy.TCP, "198.51.100.20", 7001), policy.Accept, false},
		{"other_table_drops", packet(policy.In, policy.TCP, "198.51.100.66", 443), policy.Drop, false},
		{"hidden_behind_a_remark", packet(policy.In, policy.TCP, "198.51.100.20", 5900), policy.Accept, true},
		{"other_table_drops_perhaps", packet(policy.In, policy.TCP, "198.51.100.67", 443), policy.Drop, true},
		{"set_that_is_not_there", packet(policy.In, policy.TCP, "198.51.100.68", 443), policy.Drop, true},
		{"comparison", packet(policy.In, policy.UDP, "198.51.100.20", 60001), policy.Accept, false},
		{"comparison_at_its_edge", packet(policy.In, policy.UDP, "198.51.100.20", 60000), policy.Drop, false},
		{"out_accepted_by_policy", packet(policy.Out, policy.TCP, "198.51.100.20", 443), policy.Accept, false},
		{"out_dropped_by_goto", packet(policy.Out, policy.TCP, "198.51.100.20", 25), policy.Drop, false},
		{"other_interface", packet(policy.Out, policy.UDP, "198.51.100.20", 53), policy.Accept, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, i := p.Decide(tt.packet)
			unsure := i >= 0 && p.Rules[i].Unsure != ""
			if got != tt.want || unsure != tt.unsure {
				t.Errorf("Decide() = %s by %d, unsure %v; want %s, %v", got, i, unsure, tt.want, tt.unsure)
				if i >= 0 {
					t.Logf("%+v", p.Rules[i])
				}
			}
		})
	}
	golden.Check(t, "testdata/byhand.notes", []byte(strings.Join(slices.Concat(p.Notes, p.Remarks), "\n")+"\n"))
}

// TestIncludes: what another file holds may change what passes, so nothing around it is sure.
func TestIncludes(t *testing.T) {
	const rules = "table inet t {\nchain f {\ntype filter hook forward priority 0; policy drop;\nct state established accept\ntcp dport 1 accept\n%s\ntcp dport 2 accept\ntcp dport 3 drop\n}\n}\n"
	wanted := &policy.Policy{Rules: []policy.Rule{
		{ID: "a", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 1, To: 2}}},
		{ID: "b", Dir: policy.Out, Action: policy.Accept, Proto: policy.TCP, RemotePorts: []policy.Ports{{From: 1, To: 2}}},
	}}
	for _, tt := range []struct {
		name, text  string
		sure, doubt int
	}{
		{"none", fmt.Sprintf(rules, ""), 0, 0},
		// Ports 1 and 2 may be dropped there, both ways.
		{"at_the_top", "include \"x\"\n" + fmt.Sprintf(rules, ""), 0, 2},
		{"in_a_table", strings.Replace(fmt.Sprintf(rules, ""), "chain f", "include \"x\"\nchain f", 1), 0, 2},
		// Port 2 may be dropped, and all but 1 and 2 accepted: other protocols, other ports.
		{"in_a_chain", fmt.Sprintf(rules, `include "x"`), 0, 6},
	} {
		p := read(t, tt.text, policy.View{File: "f"})
		sure, doubt := 0, 0
		c := policy.Compare(p, wanted)
		for i := range c.Differences {
			if c.Differences[i].Unsure == "" {
				sure++
			} else {
				doubt++
			}
		}
		if sure != tt.sure || doubt != tt.doubt || (len(p.Notes) > 0) != (doubt > 0) {
			t.Errorf("%s: %d differences and %d perhaps; want %d and %d; %q", tt.name, sure, doubt, tt.sure, tt.doubt, p.Notes)
		}
	}
}

func TestSniff(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       bool
	}{
		{"listed", "table inet filter {\n}\n", true},
		{"script", "#!/usr/sbin/nft -f\n\n", true},
		{"with_env", "#!/usr/bin/env -S nft -f\n", true},
		{"flushed", "# rules\nflush ruleset\n", true},
		{"added", "add table ip filter\n", true},
		{"indented", "\ttable ip6 x {", true},
		{"iptables", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", false},
		{"csv", "id,direction\n", false},
		{"prose", "the table is set\n", false},
		{"netsh", "Rule Name: table inet\n", false},
	} {
		if got := nftables.Sniff([]byte(tt.text)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	loop := "table ip t {\nchain a { jump b\n}\nchain b { jump a\n}\nchain f { type filter hook forward priority 0; jump a\n}\n}\n"
	if _, err := nftables.Read(loop, policy.View{}); err == nil {
		t.Error("chains in a circle are no error")
	}
	var b strings.Builder // each chain jumps twice to the next: 2^40 ways
	b.WriteString("table ip t {\n")
	for i := range 40 {
		n := string(rune('A'+i/26)) + string(rune('a'+i%26))
		next := string(rune('A'+(i+1)/26)) + string(rune('a'+(i+1)%26))
		b.WriteString("chain " + n + " { tcp dport 1 accept\njump " + next + "\njump " + next + "\n}\n")
	}
	b.WriteString("chain f { type filter hook forward priority 0; jump Aa\n}\n}\n")
	if _, err := nftables.Read(b.String(), policy.View{}); err == nil {
		t.Error("chains without end are no error")
	}
	bomb := "define a = { 1.1.1.1, 1.1.1.2 }\n"
	for i := 'b'; i < 'z'; i++ {
		bomb += "define " + string(i) + " = { $" + string(i-1) + ", $" + string(i-1) + ", $" + string(i-1) + " }\n"
	}
	if p, err := nftables.Read(bomb+"table ip t { chain f { type filter hook forward priority 0; policy drop; ip saddr $y accept\n}\n}\n", policy.View{}); err != nil {
		t.Log(err)
	} else if len(p.Rules) > 10 {
		t.Errorf("%d rules of one", len(p.Rules))
	}
}

func FuzzRead(f *testing.F) {
	for _, rule := range []string{
		"ip saddr { 192.0.2.1, 198.51.100.0/24 } tcp dport 22-23 accept", "ct state vmap { established : accept, new : jump g }",
		"iifname . tcp dport vmap { \"eth0\" . 22 : drop }", "tcp flags & (syn|ack) == syn log prefix \"x\" drop", "udp dport != { 53, ntp } return",
		"ip saddr @s . th dport counter goto g", "icmpv6 type { 133 } ip6 hoplimit 255 accept",
	} {
		f.Add("table inet t {\nset s { type ipv4_addr; elements = { 192.0.2.1 }; }\nchain g { drop; }\nchain f { type filter hook forward priority 0; policy drop; " + rule + "; }\n}\n")
	}
	for seed := range uint64(4) {
		f.Add(write(f, random(seed)))
	}
	for _, name := range []string{"testdata/byhand.nft", "testdata/interface.nft"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		nftables.Sniff([]byte(text))
		for _, v := range []policy.View{{File: "f"}, {File: "f", Own: policytest.Own(), Interface: "eth1"}} {
			p, err := nftables.Read(text, v)
			if err != nil {
				continue
			}
			if err := p.Check(); err != nil {
				t.Fatal(err)
			}
			if v.Own == nil || len(p.Rules) > 100 {
				continue
			}
			// What was understood is written and read the same.
			for i := range p.Rules {
				p.Rules[i].Unsure = ""
			}
			p.Notes = nil
			q := read(t, write(t, p), v)
			if diff := cmp.Diff(0, len(policy.Compare(q, p).Differences)); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
