//nolint:gosec // addresses, ports and lengths here are made by the test itself
package prooftest

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/iptables"
	"github.com/oldguard/oldguard/internal/policy/netnstest"
	"github.com/oldguard/oldguard/internal/policy/nftables"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

// Firewall is what the router runs.
type Firewall int

// The firewalls.
const (
	Nftables Firewall = iota
	Iptables
)

// Options say how a policy is proven. The zero value is a whole proof with nftables.
type Options struct {
	Firewall Firewall
	// Quick looks at ports at the edges of the rules only, and not at common ones and all
	// 65,535 of TCP.
	Quick bool
	// Change changes what is loaded, for tests that a proof finds what is wrong; nil for none.
	Change func(rules string) string
}

// Result is what a proof looked at.
type Result struct {
	Flows  int // allowed conversations that were had with sockets
	Probes int // packets that were sent to see whether they arrive
	Passed int // those of them that arrived, each one allowed
	// Untested are allowed packets that cannot pass a router whatever its policy, such as
	// broadcasts, and why.
	Untested []string
}

// Bounds of a proof.
const (
	maxPeers   = 200 // addresses on the other side; all ports are tried with two of each family, one that most is allowed to and a stranger
	maxFlows   = 400 // conversations with sockets
	maxMissing = 5   // that an error names
)

// world is the machine, the firewall, peers that some rule names, and strangers, each in a
// namespace of its own.
type world struct {
	t       testing.TB
	p       *policy.Policy
	o       Options
	rules   string // as loaded
	machine *netnstest.NS
	router  *netnstest.NS
	peers   *netnstest.NS
	far     *netnstest.NS
	own     []netip.Addr
	known   []netip.Addr // at peers
	strange []netip.Addr // at far
	result  Result
}

// Prove loads the policy and checks three things: each of the allowed packets begins a
// conversation that works both ways; of packets on all ports, both ways, exactly those that
// the policy accepts arrive; and traffic of others passes as before. Allowed packets that the policy
// drops are an error as well.
func Prove(t testing.TB, p *policy.Policy, allowed []policy.Packet, o Options) Result {
	t.Helper()
	w := &world{t: t, p: p, o: o}
	w.choose(allowed)
	w.build()
	w.load()
	w.conversations(allowed)
	w.others()
	w.routerItself()
	w.reload(allowed)
	w.scan()
	return w.result
}

// usable reports whether an address can be a machine's, and a router passes it on.
func usable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && a != netip.MustParseAddr("255.255.255.255") && !netip.MustParsePrefix("0.0.0.0/8").Contains(a) &&
		!netip.MustParsePrefix("240.0.0.0/4").Contains(a) && !netip.MustParsePrefix("169.254.0.0/16").Contains(a)
}

// choose picks the addresses: those of the allowed packets, and the edges of the rules'
// networks with their neighbours outside.
func (w *world) choose(allowed []policy.Packet) {
	w.own = slices.Clone(w.p.Own)
	if len(w.own) == 0 {
		w.own = policytest.Own()
	}
	w.own = slices.DeleteFunc(w.own, func(a netip.Addr) bool { return !usable(a) })
	named := func(a netip.Addr) bool {
		return slices.ContainsFunc(w.p.Rules, func(r policy.Rule) bool {
			return r.Action == policy.Accept && slices.ContainsFunc(r.Remote, func(q netip.Prefix) bool { return q.Contains(a) })
		})
	}
	seen := map[netip.Addr]bool{}
	add := func(a netip.Addr, isKnown bool) {
		if seen[a] || !usable(a) || slices.Contains(w.own, a) || len(seen) >= maxPeers {
			return
		}
		seen[a] = true
		if isKnown {
			w.known = append(w.known, a)
		} else {
			w.strange = append(w.strange, a)
		}
	}
	for _, s := range []string{"203.0.113.77", "2001:db8:ffff::77", "198.18.0.1"} {
		a := netip.MustParseAddr(s)
		add(a, named(a))
	}
	for _, k := range allowed {
		add(k.Remote, true)
	}
	for _, r := range w.p.Rules {
		for _, q := range r.Remote {
			first, last := q.Addr(), lastOf(q)
			for _, a := range []netip.Addr{first, last, first.Prev(), last.Next(), first.Next(), last.Prev()} {
				add(a, named(a))
			}
		}
	}
}

func lastOf(q netip.Prefix) netip.Addr {
	b := q.Addr().AsSlice()
	for i := q.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// lan is the router's interface towards the machine.
func (w *world) lan() string { return cmp.Or(w.p.Interface, "lan0") }

// build connects the namespaces. Each has eth0 towards the router; routes go by the link's own
// addresses, so that the machine's need not be neighbours of anything.
func (w *world) build() {
	t := w.t
	t.Helper()
	w.router, w.machine, w.peers, w.far = netnstest.New(t), netnstest.New(t), netnstest.New(t), netnstest.New(t)
	for _, ns := range []*netnstest.NS{w.router, w.machine, w.peers, w.far} {
		for _, s := range []string{"default", "all"} {
			ns.Set("ipv6/conf/"+s+"/accept_dad", "0")
			ns.Set("ipv4/conf/"+s+"/rp_filter", "0")
		}
	}
	w.router.Set("ipv4/ip_forward", "1")
	w.router.Set("ipv6/conf/all/forwarding", "1")
	for _, s := range []string{"netfilter/nf_conntrack_tcp_timeout_syn_sent", "netfilter/nf_conntrack_udp_timeout", "netfilter/nf_conntrack_tcp_timeout_close"} {
		w.router.Set(s, "5") // a scan makes many
	}
	for _, a := range routers {
		w.router.IP("addr", "add", netip.PrefixFrom(a, a.BitLen()).String(), "dev", "lo")
	}
	for i, l := range w.links() {
		var router, end strings.Builder
		fmt.Fprintf(&router, "link add %s type veth peer name eth0 netns %s\nlink set %[1]s up\n", l.at, l.ns.Path())
		fmt.Fprintf(&router, "addr add 169.254.%d.1/32 dev %s\naddr add fe80::1/64 dev %[2]s nodad\n", i, l.at)
		fmt.Fprintf(&end, "link set eth0 up\naddr add 169.254.%d.2/32 dev eth0\naddr add fe80::2/64 dev eth0 nodad\n", i)
		fmt.Fprintf(&end, "route add 169.254.%d.1 dev eth0\nroute add default via 169.254.%[1]d.1 dev eth0 onlink\n", i)
		for _, a := range l.addrs {
			fmt.Fprintf(&end, "addr add %s dev %s%s\n", netip.PrefixFrom(a, a.BitLen()), map[bool]string{true: "eth0", false: "lo"}[l.ns == w.machine], map[bool]string{true: " nodad"}[a.Is6()])
			switch {
			case l.ns == w.machine: // the router asks for each address: neighbours are found through the policy
				fmt.Fprintf(&router, "route add %s dev %s\n", a, l.at)
			case a.Is4():
				fmt.Fprintf(&router, "route add %s via 169.254.%d.2 dev %s onlink\n", a, i, l.at)
			default:
				fmt.Fprintf(&router, "route add %s via fe80::2 dev %s\n", a, l.at)
			}
		}
		end.WriteString("route add ::/0 via fe80::1 dev eth0\n")
		w.router.Run(router.String(), "ip", "-batch", "-")
		l.ns.Run(end.String(), "ip", "-batch", "-")
	}
}

// link is a namespace and the router's interface towards it.
type link struct {
	ns    *netnstest.NS
	at    string
	addrs []netip.Addr
}

func (w *world) links() []link {
	return []link{{w.machine, w.lan(), w.own}, {w.peers, "peers0", w.known}, {w.far, "far0", w.strange}}
}

// load loads the policy, as the dialect writes it.
func (w *world) load() {
	w.t.Helper()
	var b bytes.Buffer
	var err error
	if w.o.Firewall == Iptables {
		err = iptables.Write(&b, w.p)
	} else {
		err = nftables.Write(&b, w.p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if w.rules = b.String(); w.o.Change != nil {
		w.rules = w.o.Change(w.rules)
	}
	w.reloadRules()
}

func (w *world) reloadRules() {
	w.t.Helper()
	if w.o.Firewall == Iptables {
		w.router.Run(w.rules, "sh")
	} else {
		w.router.Run(w.rules, "nft", "-f", "-")
	}
}

// side is the namespace in which an address of the other side is.
func (w *world) side(a netip.Addr) *netnstest.NS {
	if slices.Contains(w.known, a) {
		return w.peers
	}
	return w.far
}

// conversations has each allowed one.
func (w *world) conversations(allowed []policy.Packet) {
	w.t.Helper()
	done := map[policy.Packet]bool{}
	for _, k := range allowed {
		if a, i := w.p.Decide(k); a != policy.Accept {
			w.t.Errorf("%s is to be allowed, and is dropped by rule %d", describe(k), i)
			continue
		}
		why := ""
		switch {
		case !usable(k.Local) || !usable(k.Remote) || !slices.Contains(w.own, k.Local) || !slices.Contains(slices.Concat(w.known, w.strange), k.Remote):
			why = "such addresses pass no router"
		case k.Proto == policy.ICMP && k.Type != 8 || k.Proto == policy.ICMPv6 && k.Type != 128:
			why = "such messages begin no conversation"
		case !k.Proto.HasPorts() && k.Proto != policy.ICMP && k.Proto != policy.ICMPv6:
			why = "no program here speaks it"
		case k.Dir == policy.In && k.Proto.HasPorts() && k.LocalPort == 0 || k.Dir == policy.Out && k.Proto.HasPorts() && k.RemotePort == 0:
			why = "port 0"
		case len(done) >= maxFlows:
			why = "there are too many"
		}
		if why != "" {
			w.result.Untested = append(w.result.Untested, describe(k)+": "+why)
			continue
		}
		if done[k] {
			continue
		}
		done[k] = true
		from, to := w.side(k.Remote), w.machine
		if k.Dir == policy.Out {
			from, to = to, from
		}
		c := converse(from, to, k)
		if c.err != nil {
			w.t.Errorf("%s is allowed, and does not work: %v", describe(k), c.err)
		}
		c.close()
		w.result.Flows++
	}
}

// others has two strangers talk through the router: a policy is about its machine only.
func (w *world) others() {
	w.t.Helper()
	for _, a := range w.known {
		for _, b := range w.strange {
			if a.Is4() != b.Is4() {
				continue
			}
			k := policy.Packet{Proto: policy.TCP, Remote: a, Local: b, LocalPort: 4711}
			c := converse(w.peers, w.far, k)
			if c.err != nil {
				w.t.Errorf("%s with %s, which are not the machine: %v", a, b, c.err)
			}
			c.close()
			return
		}
	}
}

// The router's own addresses.
var routers = []netip.Addr{netip.MustParseAddr("203.0.113.250"), netip.MustParseAddr("2001:db8:fffe::250")}

// routerItself has the machine and the router ask each other: to the policy it is as any other.
func (w *world) routerItself() {
	w.t.Helper()
	for _, r := range routers {
		for _, own := range w.own {
			if own.Is4() != r.Is4() {
				continue
			}
			for _, dir := range []policy.Direction{policy.In, policy.Out} {
				k := policy.Packet{Dir: dir, Proto: policy.TCP, Local: own, Remote: r, LocalPort: 4712, RemotePort: 50003}
				client, server, from, to := netip.AddrPortFrom(r, 50003), netip.AddrPortFrom(own, 4712), w.router, w.machine
				if dir == policy.Out {
					k.LocalPort, k.RemotePort = 50003, 4712
					client, server, from, to = netip.AddrPortFrom(own, 50003), netip.AddrPortFrom(r, 4712), to, from
				}
				c := &conversation{}
				c.tcp(from, to, client, server, impatience)
				c.close()
				if a, _ := w.p.Decide(k); (a == policy.Accept) != (c.err == nil) {
					w.t.Errorf("%s, which is the router: %v; the policy says %s", describe(k), c.err, a)
				}
			}
			break
		}
	}
}

// reload loads the policy again while a conversation is open: it goes on.
func (w *world) reload(allowed []policy.Packet) {
	w.t.Helper()
	for _, k := range allowed {
		if k.Proto != policy.TCP || !slices.Contains(w.own, k.Local) || !slices.Contains(slices.Concat(w.known, w.strange), k.Remote) || k.LocalPort == 0 || k.RemotePort == 0 {
			continue
		}
		from, to := w.side(k.Remote), w.machine
		if k.Dir == policy.Out {
			from, to = to, from
		}
		c := converse(from, to, k)
		if c.err == nil {
			w.reloadRules()
			c.err = c.again()
		}
		if c.err != nil {
			w.t.Errorf("%s while the policy was loaded again: %v", describe(k), c.err)
		}
		c.close()
		return
	}
}

// scan sends packets both ways, and compares what arrives with what is accepted.
func (w *world) scan() {
	w.t.Helper()
	s := newScanner(w)
	defer s.close()
	edges := ports(w.p, common)
	if w.o.Quick {
		edges = ports(w.p, nil)
	}
	for _, dir := range []policy.Direction{policy.In, policy.Out} {
		for _, v4 := range []bool{true, false} {
			w.scanFamily(s, dir, v4, edges)
		}
	}
	s.audit()
}

func (w *world) scanFamily(s *scanner, dir policy.Direction, v4 bool, edges []uint16) {
	full := map[netip.Addr]bool{}
	for _, list := range [][]netip.Addr{w.known, w.strange} {
		best, most := netip.Addr{}, -1
		for _, a := range list {
			if n := w.rulesFor(dir, a); a.Is4() == v4 && n > most {
				best, most = a, n
			}
		}
		full[best] = !w.o.Quick
	}
	first := true
	var list []policy.Packet
	for _, local := range w.own {
		if local.Is4() != v4 {
			continue
		}
		for _, remote := range slices.Concat(w.known, w.strange) {
			if remote.Is4() != v4 {
				continue
			}
			k := policy.Packet{Dir: dir, Local: local, Remote: remote}
			service, client := &k.LocalPort, &k.RemotePort
			if dir == policy.Out {
				service, client = client, service
			}
			// From the most unlikely port, and from one that rules ask for.
			clients := []uint16{50001}
			for _, r := range w.p.Rules {
				for _, q := range map[policy.Direction][]policy.Ports{policy.In: r.RemotePorts, policy.Out: r.LocalPorts}[dir] {
					if r.Dir == dir && len(clients) < 8 {
						clients = append(clients, q.From, q.To)
					}
				}
			}
			for _, *client = range clients {
				tried := edges
				if !first { // what differs from the first address is at the edges of rules
					tried = ports(w.p, nil)
				}
				for _, *service = range tried {
					k.Proto = policy.TCP
					list = append(list, k)
					k.Proto = policy.UDP
					list = append(list, k)
				}
			}
			if full[remote] && first {
				k.Proto, *client = policy.TCP, 50002
				for n := range 65535 {
					*service = uint16(n + 1)
					list = append(list, k)
				}
			}
			list = append(list, portless(policy.Packet{Dir: dir, Local: local, Remote: remote})...)
		}
		first = false
	}
	// Behind an interface the machine has no other address.
	if w.p.Interface != "" && len(w.p.Own) > 0 && dir == policy.Out {
		alien := netip.MustParseAddr("192.0.2.200")
		if !v4 {
			alien = netip.MustParseAddr("2001:db8::200")
		}
		for _, remote := range slices.Concat(w.known, w.strange) {
			if remote.Is4() != v4 || slices.Contains(w.own, alien) {
				continue
			}
			for _, n := range edges {
				list = append(list,
					policy.Packet{Dir: dir, Proto: policy.TCP, Local: alien, Remote: remote, LocalPort: 50001, RemotePort: n},
					policy.Packet{Dir: dir, Proto: policy.UDP, Local: alien, Remote: remote, LocalPort: 50001, RemotePort: n})
			}
		}
	}
	s.run(dir, list)
}

// rulesFor counts the rules about another's address.
func (w *world) rulesFor(dir policy.Direction, a netip.Addr) (n int) {
	for _, r := range w.p.Rules {
		if r.Dir == dir && (len(r.Remote) == 0 || slices.ContainsFunc(r.Remote, func(q netip.Prefix) bool { return q.Contains(a) })) {
			n++
		}
	}
	return n
}

// common are ports that services of Windows and of networks are known by.
var common = []uint16{
	7, 9, 13, 17, 19, 20, 21, 22, 23, 25, 42, 53, 67, 68, 69, 79, 80, 88, 110, 111, 119, 123, 135, 137, 138, 139, 143, 161, 162, 389, 427, 443,
	445, 464, 500, 514, 520, 543, 593, 623, 631, 636, 873, 902, 993, 995, 1080, 1194, 1433, 1434, 1521, 1645, 1646, 1701, 1723, 1812, 1813,
	1900, 2049, 2179, 3128, 3260, 3268, 3269, 3306, 3343, 3389, 3478, 3544, 3702, 4500, 5000, 5004, 5005, 5060, 5353, 5355, 5357, 5358, 5432,
	5722, 5900, 5985, 5986, 6000, 6129, 7680, 8000, 8080, 8443, 8530, 8531, 9389, 10000, 10161, 11211, 17500, 27017, 33848, 47001, 49152,
	49153, 49154, 49155, 49156, 49157, 65535,
}

// ports are those at the edges of the policy's rules and next to them, and others.
func ports(p *policy.Policy, others []uint16) []uint16 {
	out := append([]uint16{1, 22, 53, 65535}, others...)
	for _, r := range p.Rules {
		for _, q := range slices.Concat(r.LocalPorts, r.RemotePorts) {
			out = append(out, q.From, q.To, q.From-1, q.To+1)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) > 600 {
		rand.New(rand.NewPCG(1, 1)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		out = out[:600]
	}
	return slices.DeleteFunc(out, func(n uint16) bool { return n == 0 })
}

// portless are messages of ICMP, and other protocols.
func portless(k policy.Packet) (out []policy.Packet) {
	k.Proto = policy.ICMP
	if k.Local.Is6() {
		k.Proto = policy.ICMPv6
	}
	for n := range 256 {
		k.Type = uint8(n)
		out = append(out, k)
	}
	for c := range 5 {
		k.Type, k.Code = 8, uint8(c+1)
		if k.Local.Is6() {
			k.Type = 128
		}
		out = append(out, k)
	}
	k.Type, k.Code = 0, 0
	for _, n := range []policy.Proto{2, 4, 41, 46, 47, 50, 88, 89, 94, 103, 112, 115, 254} {
		k.Proto = n
		if k.Local.Is6() && n == 50 { // to IPv6 that is a header among others
			continue
		}
		out = append(out, k)
	}
	return out
}

func describe(k policy.Packet) string {
	s := fmt.Sprintf("%s %s", k.Dir, k.Proto)
	switch {
	case k.Proto.HasPorts():
		local, remote := netip.AddrPortFrom(k.Local, k.LocalPort), netip.AddrPortFrom(k.Remote, k.RemotePort)
		return fmt.Sprintf("%s, machine %s, other %s", s, local, remote)
	case k.Proto == policy.ICMP || k.Proto == policy.ICMPv6:
		s += fmt.Sprintf(" %d/%d", k.Type, k.Code)
	}
	return fmt.Sprintf("%s, machine %s, other %s", s, k.Local, k.Remote)
}
