package chain_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/chain"
	"github.com/oldguard/oldguard/internal/policy/policytest"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// The firewall of these tests: a few chains at hooks, a few to be jumped to, with little to match on,
// so that rules meet often.

func random(r *rand.Rand) *chain.Ruleset {
	set := &chain.Ruleset{Answers: true}
	for i := range 1 + r.IntN(2) {
		t := &chain.Table{Name: fmt.Sprintf("t%d", i), V4: true, V6: true}
		switch r.IntN(4) {
		case 0:
			t.V4 = false
		case 1:
			t.V6 = false
		}
		for j, hook := range []string{"forward", "", "", ""} {
			if j == 0 && r.IntN(4) == 0 {
				hook = "prerouting"
			}
			c := &chain.Chain{Name: fmt.Sprintf("c%d", j), Hook: hook, Policy: policy.Action(r.IntN(2))}
			for range r.IntN(5) {
				u := chain.Rule{Match: []space.Box{box(r)}, At: fmt.Sprintf("%s %s %d", t.Name, c.Name, len(c.Rules))}
				if r.IntN(3) == 0 {
					u.Match = append(u.Match, box(r))
				}
				if r.IntN(6) == 0 {
					u.Unsure = "perhaps"
				}
				u.Verdict = chain.Verdict(r.IntN(int(chain.Goto) + 1))
				if r.IntN(3) > 0 && u.Verdict == chain.Unknown {
					u.Verdict = chain.Accept
				}
				if (u.Verdict == chain.Jump || u.Verdict == chain.Goto) && j < 3 {
					u.Target = fmt.Sprintf("c%d", j+1+r.IntN(3-j))
				}
				if u.Target == "" && u.Verdict > chain.Return {
					u.Verdict = chain.Drop
				}
				if r.IntN(8) == 0 {
					u.Through = []chain.Interface{{Out: r.IntN(2) == 0, Names: []string{[]string{"eth1", "eth*", "eth2", "lo"}[r.IntN(4)]}, Not: r.IntN(2) == 0}}
				}
				c.Rules = append(c.Rules, u)
			}
			t.Chains = append(t.Chains, c)
		}
		set.Tables = append(set.Tables, t)
	}
	return set
}

func box(r *rand.Rand) space.Box {
	b := space.Everything()
	pick := func(list ...string) space.Addrs {
		return space.Prefixes(netip.MustParsePrefix(list[r.IntN(len(list))]))
	}
	nets := []string{"192.0.2.10/32", "198.51.100.0/24", "198.51.100.7/32", "2001:db8::10/128", "2001:db8:1::/48", "0.0.0.0/0"}
	if r.IntN(3) == 0 {
		b.Src = pick(nets...)
	}
	if r.IntN(3) == 0 {
		b.Dst = pick(nets...)
	}
	if r.IntN(2) == 0 {
		b.Proto = space.One(6)
		b.DPort = space.Nums{{From: 440, To: space.Num(443 + r.IntN(4))}}
	}
	return b
}

// outcomes are what may become of a packet: what an unsure rule does is tried both ways.
func outcomes(set *chain.Ruleset, k policy.Packet) (accept, drop bool) {
	b := boxOf(k)
	family := func(t *chain.Table) bool { return k.Local.Is4() && t.V4 || !k.Local.Is4() && t.V6 }
	accept = true
	for _, t := range set.Tables {
		for _, c := range t.Chains {
			if c.Hook == "" || !family(t) {
				continue
			}
			a, d := false, false
			walk(t, c, c, 0, nil, k.Dir, &b, func(v policy.Action) {
				if v == policy.Accept {
					a = true
				} else {
					d = true
				}
			})
			// To pass, a packet passes everywhere; to be dropped, one is enough.
			accept, drop = accept && a, drop || d
		}
	}
	return accept, drop
}

// frame is where to go on when a chain ends.
type frame struct {
	c    *chain.Chain
	next int
}

// walk is what the kernel does, but for trying both ways at what is unsure.
func walk(t *chain.Table, base, c *chain.Chain, i int, stack []frame, dir policy.Direction, b *space.Box, end func(policy.Action)) {
	back := func() {
		if len(stack) == 0 {
			end(base.Policy)
			return
		}
		f := stack[len(stack)-1]
		walk(t, base, f.c, f.next, stack[:len(stack)-1], dir, b, end)
	}
	if i == len(c.Rules) {
		back()
		return
	}
	r := &c.Rules[i]
	matches := slices.ContainsFunc(r.Match, func(m space.Box) bool { return m.Meets(b) })
	unsure := r.Unsure != ""
	for _, f := range r.Through {
		toMachine := f.Out == (dir == policy.In)
		name := f.Names[0]
		switch {
		case name == "lo":
			matches = matches && f.Not
		case toMachine: // it is eth1
			matches = matches && (name == "eth1" || name == "eth*") != f.Not
		case name == "eth1": // the other side is not
			matches = matches && f.Not
		default:
			unsure = true
		}
	}
	goOn := func() { walk(t, base, c, i+1, stack, dir, b, end) }
	if !matches {
		goOn()
		return
	}
	if unsure {
		goOn()
	}
	switch r.Verdict {
	case chain.Accept:
		end(policy.Accept)
	case chain.Drop:
		end(policy.Drop)
	case chain.Return:
		back()
	case chain.Jump:
		walk(t, base, t.Chain(r.Target), 0, append(slices.Clone(stack), frame{c, i + 1}), dir, b, end)
	case chain.Goto:
		walk(t, base, t.Chain(r.Target), 0, stack, dir, b, end)
	case chain.Unknown:
		end(policy.Accept)
		end(policy.Drop)
		goOn()
	}
}

func boxOf(k policy.Packet) space.Box {
	b := space.Everything()
	local, remote := space.Addrs{{From: k.Local, To: k.Local}}, space.Addrs{{From: k.Remote, To: k.Remote}}
	b.Src, b.Dst, b.Proto = remote, local, space.One(space.Num(k.Proto))
	if k.Dir == policy.Out {
		b.Src, b.Dst = local, remote
	}
	if k.Proto.HasPorts() {
		port := k.LocalPort
		if k.Dir == policy.Out {
			port = k.RemotePort
		}
		b.DPort = space.One(space.Num(port))
	}
	return b
}

// may is what a policy says may become of a packet.
func may(p *policy.Policy, k policy.Packet) (accept, drop bool) {
	for i := range p.Rules {
		r := &p.Rules[i]
		if !r.Matches(k) {
			continue
		}
		if r.Action == policy.Accept {
			accept = true
		} else {
			drop = true
		}
		if r.Unsure == "" {
			break
		}
		// It decides or not: what follows may as well.
	}
	if !slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Unsure == "" && r.Matches(k) }) {
		rest := p.In
		if k.Dir == policy.Out {
			rest = p.Out
		}
		accept, drop = accept || rest == policy.Accept, drop || rest == policy.Drop
	}
	return accept, drop
}

// TestUnfolded holds the policy against a walk through the chains, packet by packet. What may
// become of a packet is told whole; where all is understood also nothing else, and elsewhere hardly ever.
func TestUnfolded(t *testing.T) {
	packets, more := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 3))
		set := random(r)
		v := policy.View{File: "f", Interface: "eth1"}
		local := []string{"192.0.2.10", "2001:db8::10", "198.51.100.9"}
		if r.IntN(2) == 0 {
			v.Own = []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}
			local = local[:2]
		}
		p, err := set.Policy(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(set.Tables, func(t *chain.Table) bool { return t.Chain("c0").Hook == "forward" }) {
			continue
		}
		for range 60 {
			k := policy.Packet{
				Dir: policy.Direction(r.IntN(2)), Proto: []policy.Proto{policy.TCP, policy.UDP, 47}[r.IntN(3)],
				Local: netip.MustParseAddr(local[r.IntN(len(local))]), LocalPort: uint16(439 + r.IntN(9)), RemotePort: uint16(439 + r.IntN(9)),
			}
			k.Remote = netip.MustParseAddr([]string{"198.51.100.7", "198.51.100.8", "203.0.113.1"}[r.IntN(3)])
			if k.Local.Is6() {
				k.Remote = netip.MustParseAddr([]string{"2001:db8:1::1", "2001:db8:2::1"}[r.IntN(2)])
			}
			if !k.Proto.HasPorts() {
				k.LocalPort, k.RemotePort = 0, 0
			}
			accept, drop := outcomes(set, k)
			gotAccept, gotDrop := may(p, k)
			certain := !slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Unsure != "" })
			if gotAccept != accept || gotDrop != drop {
				more++
			}
			if accept && !gotAccept || drop && !gotDrop || certain && (gotAccept != accept || gotDrop != drop) {
				for i := range p.Rules {
					if p.Rules[i].Matches(k) {
						t.Logf("%+v", p.Rules[i])
					}
				}
				for _, tab := range set.Tables {
					for _, c := range tab.Chains {
						t.Logf("%s %+v", tab.Name, *c)
					}
				}
				t.Fatalf("seed %d, %+v: may pass %v, may be dropped %v; want %v, %v", seed, k, gotAccept, gotDrop, accept, drop)
			}
			packets++
		}
	}
	if packets < 10000 || more > packets/1000 {
		t.Errorf("of %d packets the policy says more than there is of %d", packets, more)
	}
}

// TestNotes says what was not looked at.
func TestNotes(t *testing.T) {
	accept := chain.Rule{Match: []space.Box{space.Everything()}, Verdict: chain.Accept}
	hooked := func(hook string, p policy.Action, rules ...chain.Rule) *chain.Chain {
		return &chain.Chain{Name: hook, Hook: hook, Policy: p, Rules: rules}
	}
	for _, tt := range []struct {
		name    string
		chains  []*chain.Chain
		in, out policy.Action
		want    string
	}{
		{"nothing", nil, policy.Accept, policy.Accept, "no chain with rules is at a hook"},
		{"forward_and_own", []*chain.Chain{hooked("forward", policy.Drop), hooked("input", policy.Accept, accept)}, policy.Drop, policy.Drop, "about the firewall itself"},
		{"machine_itself", []*chain.Chain{hooked("forward", policy.Accept), hooked("input", policy.Drop)}, policy.Drop, policy.Accept, "as on the machine itself"},
		{"no_answers", []*chain.Chain{hooked("forward", policy.Drop)}, policy.Drop, policy.Drop, "answers need rules of their own"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := &chain.Ruleset{Tables: []*chain.Table{{Name: "t", V4: true, V6: true, Chains: tt.chains}}}
			p, err := set.Policy(policy.View{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]policy.Action{tt.in, tt.out}, []policy.Action{p.In, p.Out}); diff != "" || !strings.Contains(strings.Join(slices.Concat(p.Notes, p.Remarks), "\n"), tt.want) {
				t.Errorf("%s %v", diff, p.Notes)
			}
		})
	}
}

// TestSilence: a family of which nothing was read may pass and may not.
func TestSilence(t *testing.T) {
	set := &chain.Ruleset{Silent6: true, Answers: true, Tables: []*chain.Table{{Name: "t", V4: true, Chains: []*chain.Chain{{Name: "f", Hook: "forward", Policy: policy.Drop}}}}}
	p, err := set.Policy(policy.View{Own: policytest.Own()})
	if err != nil {
		t.Fatal(err)
	}
	k := policy.Packet{Proto: policy.TCP, Local: netip.MustParseAddr("2001:db8::10"), Remote: netip.MustParseAddr("2001:db8:1::1")}
	if accept, drop := may(p, k); !accept || !drop {
		t.Errorf("IPv6 may pass %v, may be dropped %v", accept, drop)
	}
	k.Local, k.Remote = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("198.51.100.1")
	if accept, drop := may(p, k); accept || !drop {
		t.Errorf("IPv4 may pass %v, may be dropped %v", accept, drop)
	}
}
