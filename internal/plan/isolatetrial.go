package plan

import (
	"net/netip"

	"github.com/oldguard/oldguard/internal/policy"
)

// Trial is what came of putting every conversation of an isolation to its policy: whether the
// rules do what was decided. It tells nothing of what nobody saw, nor of the firewall into
// which the rules go.
type Trial struct {
	Allowed, Passed int // of dependencies that are allowed, a peer each; those that the policy lets through
	Cut, Stopped    int // of those that are cut; those that it stops
	// Stuck are dependencies that are allowed and do not pass, with no more than their first
	// peers; Through are those that are cut and pass all the same, since a rule for something
	// else lets them.
	Stuck, Through []Mismatch
}

// Mismatch is a dependency that the policy does not treat as was decided.
type Mismatch struct {
	Dependency string // its id
	Peers      int    // how many of its peers it is about
	First      netip.Addr
	Rule       string // of the policy, that lets the first through; empty where none does
}

// Try puts all conversations to the policy. Without one there is nothing to try, and the
// result is zero.
func (p *Isolation) Try() (t Trial) {
	if p.Policy == nil {
		return t
	}
	for i := range p.Dependencies {
		d := &p.Dependencies[i]
		wrong := Mismatch{Dependency: d.ID}
		for _, peer := range d.Peers {
			passes, rule := p.passes(d, peer.Addr)
			if d.Decision == Allow {
				t.Allowed++
			} else {
				t.Cut++
			}
			switch {
			case passes && d.Decision == Allow:
				t.Passed++
				continue
			case !passes && d.Decision != Allow:
				t.Stopped++
				continue
			case wrong.Peers == 0:
				wrong.First, wrong.Rule = peer.Addr, rule
			}
			wrong.Peers++
		}
		switch {
		case wrong.Peers == 0:
		case d.Decision == Allow:
			t.Stuck = append(t.Stuck, wrong)
		default:
			t.Through = append(t.Through, wrong)
		}
	}
	return t
}

// passes reports whether the policy lets a conversation of the dependency through, at both ends of
// each of its ranges of ports, and by which rule. Of what is cut one that passes is enough.
func (p *Isolation) passes(d *Dependency, peer netip.Addr) (passes bool, rule string) {
	for _, k := range d.packets(p.Policy.Own, peer) {
		action, at := p.Policy.Decide(k)
		switch {
		case action != policy.Accept && d.Decision == Allow:
			return false, ""
		case action == policy.Accept && at >= 0:
			passes, rule = true, p.Policy.Rules[at].ID
		}
	}
	return passes, rule
}

// client is a port such as clients take.
const client = 50000

// packets are samples of a dependency with a peer; none where the machine has no address of
// the peer's family.
func (d *Dependency) packets(own []netip.Addr, peer netip.Addr) (out []policy.Packet) {
	k := policy.Packet{Dir: d.Dir, Proto: d.Proto, Remote: peer}
	for _, a := range own {
		if a.Is4() == peer.Is4() {
			k.Local = a
			break
		}
	}
	if !k.Local.IsValid() {
		return nil
	}
	for _, r := range d.Ports {
		for _, port := range []uint16{r.From, r.To} {
			k.LocalPort, k.RemotePort = port, client
			if d.Dir == policy.Out {
				k.LocalPort, k.RemotePort = client, port
			}
			out = append(out, k)
		}
	}
	for _, m := range d.ICMP {
		k.Type = m.Type
		out = append(out, k)
	}
	if len(d.Ports)+len(d.ICMP) == 0 {
		out = append(out, k)
	}
	return out
}
