package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

// bound is Decide for the most (or else the least) that may pass, the plain way.
func bound(p *policy.Policy, k policy.Packet, most bool) (policy.Action, int) {
	decide := func(i int) bool {
		r := &p.Rules[i]
		narrow := r.Unsure != "" || r.Action == policy.Drop && r.Program != ""
		return r.Matches(k) && (!narrow || (r.Action == policy.Accept) == most)
	}
	accept := -1
	for i := range p.Rules {
		if !decide(i) {
			continue
		}
		if p.Order == policy.FirstMatch || p.Rules[i].Action == policy.Drop {
			return p.Rules[i].Action, i
		}
		if accept < 0 {
			accept = i
		}
	}
	switch {
	case accept >= 0:
		return policy.Accept, accept
	case k.Dir == policy.Out:
		return p.Out, -1
	}
	return p.In, -1
}

// through are all rules by which the packet may pass, -1 for where none matches.
func through(p *policy.Policy, k policy.Packet) (out []int) {
	one := *p
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.Action != policy.Accept || !r.Matches(k) {
			continue
		}
		// Without those that accept, is it dropped before?
		one.Rules = nil
		for j := range p.Rules {
			if p.Rules[j].Action == policy.Drop && (j < i || p.Order == policy.DropWins) {
				one.Rules = append(one.Rules, p.Rules[j])
			}
		}
		if _, by := bound(&one, k, true); by < 0 {
			out = append(out, i)
		}
	}
	one.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(r policy.Rule) bool { return r.Action == policy.Accept })
	if a, by := bound(&one, k, true); a == policy.Accept && by < 0 {
		out = append(out, -1)
	}
	return out
}

// TestCompareIsExact holds Compare against Decide, packet by packet, for policies made by
// chance.
func TestCompareIsExact(t *testing.T) {
	const policies, packets = 300, 200
	kinds := map[string]int{}
	for seed := range uint64(policies) {
		r := rand.New(rand.NewPCG(seed, 7))
		options := func() policytest.Options {
			return policytest.Options{Rules: 8, Drops: r.IntN(4) > 0, Odd: r.IntN(2) == 0, Unsure: r.IntN(2) == 0, Order: policy.Order(r.IntN(2))}
		}
		a, b := policytest.Policy(r, options()), policytest.Policy(r, options())
		if r.IntN(2) == 0 {
			b.Own = policytest.Own()
		}
		if r.IntN(3) == 0 { // alike but for a little
			b.Rules = append(b.Rules[:0:0], a.Rules...)
			if len(b.Rules) > 1 {
				b.Rules = b.Rules[1:]
			}
			b.In, b.Out, b.Order = a.In, a.Out, a.Order
		}
		for _, p := range []*policy.Policy{a, b} {
			if err := p.Check(); err != nil {
				t.Fatal(err)
			}
		}
		c := policy.Compare(a, b)
		if c.Cut != "" {
			t.Fatalf("seed %d: %s", seed, c.Cut)
		}
		both := &policy.Policy{Own: b.Own, Rules: append(append([]policy.Rule{}, a.Rules...), b.Rules...)}
		for _, k := range policytest.Packets(r, packets, both) {
			most, _ := bound(a, k, true)
			least, lby := bound(a, k, false)
			wantLeast, _ := bound(b, k, false)
			var want []string
			if wantLeast == policy.Drop {
				for _, by := range through(a, k) {
					if least == policy.Accept && by >= 0 && a.Rules[by].Unsure != "" {
						continue // told of the rules that make it certain
					}
					want = append(want, fmt.Sprint(policy.LeftOpen, by, -1, least == policy.Accept))
				}
			}
			if least == policy.Drop {
				for _, by := range through(b, k) {
					want = append(want, fmt.Sprint(policy.Breaks, lby, by, most == policy.Drop))
				}
			}
			slices.Sort(want)
			var got []string
			for i := range c.Differences {
				if d := &c.Differences[i]; d.Has(k) {
					got = append(got, fmt.Sprint(d.Kind, d.By, d.Wanted, d.Unsure == ""))
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, %+v (-Decide +Compare):\n%s\nexisting %+v\nwanted %+v", seed, k, diff, a, b)
			}
			for _, w := range want {
				kinds[w[:4]]++
			}
		}
		for i := range c.Differences { // an example is one of its kind
			if d := &c.Differences[i]; !d.Has(d.Example()) {
				t.Fatalf("seed %d: %s has no such packet as %+v", seed, d.String(), d.Example())
			}
		}
	}
	if kinds["left"] < 1000 || kinds["brea"] < 1000 {
		t.Errorf("of %d packets only %v differed: the policies are too much alike to prove anything", policies*packets, kinds)
	}
}

// TestTrafficRules takes rules apart into boxes and puts them together again.
func TestTrafficRules(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 8))
		p := policytest.Policy(r, policytest.Options{Rules: 6, Drops: true, Odd: true})
		if r.IntN(2) == 0 {
			p.Own = policytest.Own()
		}
		q := &policy.Policy{In: p.In, Out: p.Out, Own: p.Own}
		for i := range p.Rules {
			for _, b := range p.Rules[i].Boxes() {
				w := policy.Within(p.Rules[i].Dir, policy.OwnSet(p.Own))
				own, ok := b.And(&w)
				if !ok {
					continue
				}
				traffic := policy.Traffic{Dir: p.Rules[i].Dir, Box: own, Own: policy.OwnSet(p.Own)}
				for _, u := range traffic.Rules() {
					u.ID, u.Action = fmt.Sprintf("r-%d", len(q.Rules)), p.Rules[i].Action
					q.Rules = append(q.Rules, u)
				}
			}
		}
		if err := q.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		policytest.Same(t, p, q, policytest.Packets(r, 300, p))
	}
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func networks(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestCompareSpeaksPlainly looks at the words, and that there are few.
func TestCompareSpeaksPlainly(t *testing.T) {
	wanted := &policy.Policy{
		Own: addrs("192.0.2.10", "2001:db8::10"),
		Rules: []policy.Rule{
			{ID: "in-rdp", Action: policy.Accept, Proto: policy.TCP, Remote: networks("192.0.2.5/32"), LocalPorts: []policy.Ports{{From: 3389, To: 3389}}},
			{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, Remote: networks("198.51.100.0/24"), LocalPorts: []policy.Ports{{From: 445, To: 445}}},
			{ID: "in-ping", Action: policy.Accept, Proto: policy.ICMP, Remote: networks("192.0.2.5/32"), ICMP: []policy.ICMPType{{Type: 8, Code: -1}}},
			{ID: "out-dns", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, Remote: networks("192.0.2.53/32"), RemotePorts: []policy.Ports{{From: 53, To: 53}}},
		},
	}
	for _, tt := range []struct {
		name     string
		existing *policy.Policy
		want     []string
	}{
		{"the_same", wanted, nil},
		{"nothing_passes", &policy.Policy{}, []string{
			"breaks: in tcp 3389 from 192.0.2.5",
			"breaks: in tcp 445 from 198.51.100.0/24",
			"breaks: in icmp type 8 from 192.0.2.5",
			"breaks: out udp 53 to 192.0.2.53",
		}},
		{"out_is_open", &policy.Policy{Out: policy.Accept, Rules: wanted.Rules[:3]}, []string{
			"left open: out any protocol but udp to any",
			"left open: out udp any but 53 to any",
			"left open: out udp 53 to any but 192.0.2.53",
		}},
		{"rdp_from_all", &policy.Policy{Rules: append([]policy.Rule{
			{ID: "x", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 3389, To: 3389}}},
			{ID: "y", Action: policy.Accept, Proto: policy.ICMP, Local: networks("192.0.2.10/32")},
			{ID: "z", Action: policy.Accept, Proto: policy.TCP, Local: networks("192.0.2.99/32")},
		}, wanted.Rules...)}, []string{
			"left open: in tcp 3389 from any but 192.0.2.5",
			"left open: in icmp type any but 8 from any",
			"left open: in icmp type 8 from any but 192.0.2.5",
		}},
		{"not_understood", &policy.Policy{Rules: append([]policy.Rule{
			{ID: "x", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 22, To: 22}}, Unsure: "meta mark 1"},
			{ID: "y", Action: policy.Drop, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 445, To: 445}}, Unsure: "limit"},
		}, wanted.Rules...)}, []string{
			"left open: in tcp 22 from any (perhaps: meta mark 1)",
			"breaks: in tcp 445 from 198.51.100.0/24 (perhaps: limit)",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := policy.Compare(tt.existing, wanted)
			var got []string
			for i := range c.Differences {
				d := &c.Differences[i]
				s := d.Kind.String() + ": " + d.String()
				if d.Unsure != "" {
					s += " (perhaps: " + d.Unsure + ")"
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || c.Cut != "" {
				t.Errorf("(-want +got):\n%s%s", diff, c.Cut)
			}
		})
	}
}

// TestCompareIsBounded meets rules that overlap in more ways than can be told.
func TestCompareIsBounded(t *testing.T) {
	existing := &policy.Policy{Out: policy.Accept}
	for i := range 1500 {
		a, b := uint16(i*20+1), uint16(i*7+1)
		existing.Rules = append(existing.Rules, policy.Rule{
			ID: fmt.Sprintf("r-%d", i), Dir: policy.Out, Proto: policy.TCP,
			Remote:     networks(fmt.Sprintf("10.%d.0.0/%d", i%200, 9+i%7))[:0],
			LocalPorts: []policy.Ports{{From: a, To: a + 9}}, RemotePorts: []policy.Ports{{From: b, To: min(b+30000, 65535)}},
		})
		existing.Rules[i].Remote = append(existing.Rules[i].Remote, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 9+i%7).Masked())
	}
	c := policy.Compare(existing, &policy.Policy{})
	if c.Cut == "" {
		t.Errorf("%d differences and nothing said to be cut", len(c.Differences))
	}
	// What is open by default is told all the same.
	if !slices.ContainsFunc(c.Differences, func(d policy.Difference) bool {
		return d.Kind == policy.LeftOpen && d.By == -1 && d.Unsure != "" && d.String() == "out any protocol to any"
	}) {
		t.Errorf("what was not told apart is not told: %d differences", len(c.Differences))
	}
	c = policy.Compare(&policy.Policy{}, existing)
	if c.Cut == "" || len(c.Differences) == 0 {
		t.Errorf("%d differences, %q", len(c.Differences), c.Cut)
	}
}
