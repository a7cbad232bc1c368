package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
)

// Tie is one machine that uses another, of those that are moved together: when one of them
// goes, the way between them has to stay open, or the other goes with it.
type Tie struct {
	Client, Server *Migration
	Services       []string // those seen most first, each once
	Times          int      // how often it was seen, by whichever of the two saw more
}

// talks is what a machine was seen to do with others, for Ties.
type talks struct {
	own  []netip.Addr
	with map[talksKey]int // how often it got through
}

type talksKey struct {
	peer  netip.Addr
	out   bool // the machine began
	proto host.IPProto
	port  uint16
}

// talksOf keeps what Ties needs of a host. Messages of ICMP and what never leaves the link tie
// nobody to anybody.
func talksOf(h *host.Host) (t talks) {
	for _, a := range h.Own() {
		t.own = append(t.own, a.Addr)
	}
	if len(t.own) == 0 || h.Traffic.Len() == 0 {
		return t
	}
	t.with = map[talksKey]int{}
	for c := range h.Traffic.Each() {
		k := talksKey{proto: c.Proto, port: c.Port, peer: c.Server, out: true}
		if slices.Contains(t.own, c.Server) {
			k.peer, k.out = c.Client, false
		} else if !slices.Contains(t.own, c.Client) {
			continue
		}
		if linkOnly(k.peer) || c.Proto == host.ICMP || c.Proto == host.ICMPv6 || slices.Contains(t.own, k.peer) {
			continue
		}
		times, refused := 0, 0
		for _, s := range c.Seen {
			times += s.Times
			refused += s.Refused
		}
		if refused < times {
			t.with[k] += times - refused
		}
	}
	return t
}

// Ties says which of the machines use which others of them, by server and client. It knows no
// more than the evidence shows: machines whose addresses no source states are in none, and an
// address that several of them have is left out, and said in unclear.
func Ties(list []*Migration) (ties []Tie, unclear []string) {
	owner := map[netip.Addr]*Migration{}
	twice := map[netip.Addr][]string{}
	for _, m := range list {
		for _, a := range m.talks.own {
			if o := owner[a]; o != nil && o != m {
				if twice[a] == nil {
					twice[a] = []string{o.Host}
				}
				twice[a] = append(twice[a], m.Host)
				continue
			}
			owner[a] = m
		}
	}
	for a, names := range twice {
		delete(owner, a)
		slices.Sort(names)
		unclear = append(unclear, fmt.Sprintf("%s is an address of %s: who of them is meant is not told", a, joinAnd(names)))
	}
	slices.Sort(unclear)

	type pair struct{ client, server *Migration }
	seen := map[pair]map[string]int{} // service → how often
	for _, m := range list {
		mine := map[pair]map[string]int{}
		for k, times := range m.talks.with {
			other := owner[k.peer]
			if other == nil || other == m {
				continue
			}
			p := pair{other, m}
			if k.out {
				p = pair{m, other}
			}
			if mine[p] == nil {
				mine[p] = map[string]int{}
			}
			protocol := ProtocolOf(k.proto, k.port)
			if protocol != nil && protocol.Range() {
				protocol = nil
			}
			_, name := nameOf(policy.Proto(k.proto), k.port, protocol)
			mine[p][name] += times
		}
		for p, services := range mine { // both may have seen the same
			if seen[p] == nil {
				seen[p] = map[string]int{}
			}
			for name, times := range services {
				seen[p][name] = max(seen[p][name], times)
			}
		}
	}
	for p, services := range seen {
		t := Tie{Client: p.client, Server: p.server}
		for name, times := range services {
			t.Services = append(t.Services, name)
			t.Times += times
		}
		slices.SortFunc(t.Services, func(a, b string) int { return cmp.Or(cmp.Compare(services[b], services[a]), cmp.Compare(a, b)) })
		ties = append(ties, t)
	}
	place := map[*Migration]int{}
	for i, m := range list {
		place[m] = i
	}
	slices.SortFunc(ties, func(a, b Tie) int {
		return cmp.Or(cmp.Compare(a.Server.Host, b.Server.Host), cmp.Compare(place[a.Server], place[b.Server]),
			cmp.Compare(a.Client.Host, b.Client.Host), cmp.Compare(place[a.Client], place[b.Client]))
	})
	return ties, unclear
}

// joinAnd names some as "A, B and C".
func joinAnd(names []string) string {
	for i, n := range names {
		names[i] = cmp.Or(n, "a machine without a name")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}
