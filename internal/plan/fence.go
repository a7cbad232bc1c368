package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/winver"
)

// The figures behind decisions; each is ours, and said with the decision.
const (
	// scanPorts is from how many ports of the machine on, most of which refused, a peer counts
	// as a scanner.
	scanPorts = 20
	// onceSpan is how long somebody must have looked before "seen once" says anything.
	onceSpan = time.Hour
	// shortSpan is how long somebody must have looked for what happens once a month.
	shortSpan = 31 * 24 * time.Hour
	// staleFlows is the age from which flows are said to be old.
	staleFlows = 90 * 24 * time.Hour
	// maxReasonSources bounds the sources of one reason: thousands of peers have as many.
	maxReasonSources = 8
)

// fencer makes an Isolation.
type fencer struct {
	*Isolation
	host    *host.Host
	options IsolateOptions
	own     map[netip.Addr]bool
	ownAt   map[netip.Addr]int // its place in Own
	inside  []netip.Prefix
	names   map[netip.Addr]string
	roles   map[netip.Addr]map[string]string // peer → role → why
	flows   []flow                           // until unused; there may be very many
	// What is asked of the flows later on: how many there were, whether any went beyond the link over IPv6,
	// the gateways that began known ones, and the networks of Roles that were seen.
	count6, countAll int
	callers          map[netip.Addr]bool
	met              map[netip.Prefix]bool
	// watched tells that somebody looked for long enough to speak of "once".
	watched  bool
	scanner  map[netip.Addr]int // ports that a scanner tried
	rpc      map[pair]bool
	talker   map[talkerKey]int // place in Dependency.Peers, where a peer can come again
	ownRPC   []policy.Ports
	networks []roleNetwork
}

type talkerKey struct {
	dependency int
	peer       netip.Addr
}

// flow is one conversation of the machine, seen from it. There may be hundreds of thousands: what
// their sources say stays in the host's Traffic, and is looked at once more in decide.
type flow struct {
	number         int32 // in the order of the host's Traffic
	dependency     int32 // it belongs to
	own            int32 // place of the machine's address in Own
	proto          host.IPProto
	port           uint16
	dir            policy.Direction
	sure           bool
	clock          bool // a source says when
	dynamic        bool // of RPC, behind the mapper on port 135
	peer           netip.Addr
	place          Place
	protocol       *Protocol
	times, refused int
}

// sightings is what the sources of a flow say together.
type sightings struct {
	times, refused int
	packets, bytes uint64
	first, last    time.Time
	sure           bool
	program        string
}

// Isolate plans how to fence a machine in, as of a day. It never fails: where the evidence
// does not show whom the machine talks to, Why says so and there is no policy.
func Isolate(h *host.Host, c *catalog.Catalog, o IsolateOptions, on time.Time) *Isolation {
	a := assess.Assess(h, c, assess.Policy{}, on) // with what is fixed, which hardening asks about
	x := fencer{
		Isolation: &Isolation{
			AsOf: a.AsOf, Host: h.Name.Or(""), ProductID: h.ProductID.Or(""), MachineID: h.MachineID.Or(""), Release: a.Identity.Release, Arch: h.Arch.Or(winver.ArchUnknown), Role: h.Role.Or(""),
			Hardening: Harden(h, a),
		},
		host: h, options: o, own: map[netip.Addr]bool{}, ownAt: map[netip.Addr]int{}, names: map[netip.Addr]string{},
		roles: map[netip.Addr]map[string]string{}, scanner: map[netip.Addr]int{}, rpc: map[pair]bool{},
		talker: map[talkerKey]int{},
	}
	x.ownRPC, _ = RPCPorts(h)
	x.watches()
	x.addresses()
	x.conversations()
	x.peers()
	x.decide()
	x.needs()
	x.unused()
	x.flows = nil
	x.number()
	x.rules()
	x.count()
	x.ask(on)
	return x.Isolation
}

// watches orders the sources and finds their span.
func (x *fencer) watches() {
	x.Watches = slices.Clone(x.host.Watches)
	span := func(w host.Watch) time.Duration { return w.Last.Sub(w.First) }
	slices.SortStableFunc(x.Watches, func(a, b host.Watch) int {
		return cmp.Or(cmp.Compare(span(b), span(a)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.From.Input, b.From.Input))
	})
	for _, w := range x.Watches {
		if w.First.IsZero() || w.Last.IsZero() {
			continue
		}
		if x.First.IsZero() || w.First.Before(x.First) {
			x.First = w.First
		}
		if w.Last.After(x.Last) {
			x.Last = w.Last
		}
	}
	x.watched = x.Last.Sub(x.First) >= onceSpan
}

// addresses finds the machine's own addresses: what the owner says, what sources state, and
// without either the one that all of the traffic has in common.
func (x *fencer) addresses() {
	for _, a := range x.options.Own {
		x.Own = append(x.Own, host.Address{Addr: a, Bits: -1, From: host.Source{Reader: "owner"}})
	}
	for _, a := range x.host.Own() {
		if !slices.Contains(x.options.Own, a.Addr) {
			x.Own = append(x.Own, a)
		}
	}
	if len(x.Own) == 0 {
		x.guess()
	}
	for i, a := range x.Own {
		x.own[a.Addr], x.ownAt[a.Addr] = true, i
	}
	x.inside = slices.Concat(privateNetworks, x.options.Inside)
	for _, a := range x.Own {
		if a.Bits > 0 {
			if p, err := a.Addr.Prefix(a.Bits); err == nil {
				x.inside = append(x.inside, p)
			}
		}
	}
	for _, r := range x.host.Routes {
		if r.To.Bits() > 0 && !r.To.Addr().IsMulticast() && !r.To.Addr().IsLoopback() {
			x.inside = append(x.inside, r.To.Masked())
		}
	}
}

// privateNetworks are inside everywhere: RFC 1918, RFC 6598 and RFC 4193.
var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// guess takes as the machine's own the one address, of each family, that is in every conversation.
// Of two machines that talked to nobody else neither is it.
func (x *fencer) guess() {
	for _, four := range []bool{true, false} {
		count := map[netip.Addr]int{}
		n := 0
		var from host.Source
		for t := range x.host.Traffic.Each() {
			if t.Client.Is4() != four || linkOnly(t.Server) || linkOnly(t.Client) || t.Client == t.Server {
				continue
			}
			n++
			count[t.Client]++
			count[t.Server]++
			from = t.Seen[0].From
		}
		var found []netip.Addr
		for a, times := range count {
			if times == n {
				found = append(found, a)
			}
		}
		if len(found) == 1 {
			from.At = ""
			x.Own = append(x.Own, host.Address{Addr: found[0], Bits: -1, From: from})
			x.OwnGuessed = true
		}
	}
}

// linkOnly reports whether an address means something on one link only.
func linkOnly(a netip.Addr) bool {
	return a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.IsLoopback() || a == broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// place says where an address is.
func (x *fencer) place(a netip.Addr) Place {
	if linkOnly(a) {
		return OnLink
	}
	for _, o := range x.Own {
		if o.Bits > 0 && o.Bits < 31 && o.Addr.Is4() && a == lastOfNetwork(netip.PrefixFrom(o.Addr, o.Bits)) {
			return OnLink // the broadcast address of its network
		}
	}
	if slices.ContainsFunc(x.inside, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return Inside
	}
	return Internet
}

// lastOfNetwork is the broadcast address of an IPv4 network.
func lastOfNetwork(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := range 32 - p.Bits() {
		b[3-i/8] |= 1 << (i % 8)
	}
	return netip.AddrFrom4(b)
}

// conversations takes those of the machine, and counts the others.
func (x *fencer) conversations() {
	refusedPorts := map[netip.Addr]int{}
	x.flows = make([]flow, 0, x.host.Traffic.Len())
	number := int32(-1)
	for t := range x.host.Traffic.Each() {
		number++
		if answer(t.Talk) {
			continue
		}
		f := flow{number: number, proto: t.Proto, port: t.Port, dir: policy.In, peer: t.Client}
		switch server, client := x.own[t.Server], x.own[t.Client]; {
		case server && client, t.Client.IsLoopback() && t.Server.IsLoopback():
			continue // the machine with itself
		case client:
			f.dir, f.peer, f.own = policy.Out, t.Server, int32(x.ownAt[t.Client]) // #nosec G115 -- a machine has few
		case server:
			f.own = int32(x.ownAt[t.Server]) // #nosec G115 -- a machine has few
		case linkOnly(t.Server), linkOnly(t.Client), x.place(t.Server) == OnLink:
			continue // what others shout on the link is for nobody in particular
		default:
			x.Foreign++
			continue
		}
		f.place = x.place(f.peer)
		s := x.sum(t.Seen)
		f.times, f.refused, f.sure, f.clock = s.times, s.refused, s.sure, !s.first.IsZero()
		if f.port == 135 && f.refused < f.times {
			x.rpc[f.pair()] = true
		}
		if f.dir == policy.In && f.refused > 0 && f.refused >= f.times {
			refusedPorts[f.peer]++
		}
		x.flows = append(x.flows, f)
	}
	for peer, n := range refusedPorts {
		if n >= scanPorts {
			x.scanner[peer] = n
		}
	}
	for i := range x.flows {
		f := &x.flows[i]
		if f.protocol = ProtocolOf(f.proto, f.port); f.protocol != nil && f.protocol.Range() {
			f.protocol = nil // a range says too little
		}
		if f.protocol != nil && f.protocol.Link {
			f.place = OnLink
		}
		if rpc := x.dynamicPorts(f); f.proto == host.TCP && x.rpc[f.pair()] &&
			slices.ContainsFunc(rpc, func(p policy.Ports) bool { return p.Has(f.port) }) {
			f.dynamic = true
		}
	}
}

// pair is who talks to whom.
type pair struct {
	own  int32
	peer netip.Addr
	dir  policy.Direction
}

func (f *flow) pair() pair { return pair{f.own, f.peer, f.dir} }

// sum adds up what each reader saw, and takes the most that one of them did: a capture and
// a log of the same days see the same connections. One that got through anywhere did.
func (x *fencer) sum(seen []host.Sighting) (sum sightings) {
	through := 0
	for i, s := range seen {
		sum.sure = sum.sure || s.Sure
		sum.first, sum.last = widest(sum.first, sum.last, s.First, s.Last)
		if sum.program == "" {
			sum.program = x.program(s.PID, s.Program)
		}
		if slices.ContainsFunc(seen[:i], func(o host.Sighting) bool { return o.From.Reader == s.From.Reader }) {
			continue // counted with the first of its reader
		}
		var times, refused int
		var packets, bytes uint64
		for _, o := range seen[i:] {
			if o.From.Reader == s.From.Reader {
				times += o.Times
				refused += o.Refused
				packets += o.Packets
				bytes += o.Bytes
			}
		}
		sum.times, through = max(sum.times, times), max(through, times-refused)
		sum.packets, sum.bytes = max(sum.packets, packets), max(sum.bytes, bytes)
	}
	sum.refused = sum.times - through
	return sum
}

// answer reports whether a message of ICMP is an answer or an error about another
// conversation, which a firewall passes with that one, or belongs to the link.
// https://www.iana.org/assignments/icmp-parameters and icmpv6-parameters, read 2026-11-25.
func answer(t host.Talk) bool {
	return t.Proto == host.ICMP && slices.Contains([]uint16{0, 3, 4, 5, 9, 10, 11, 12, 14, 16, 18}, t.Port) ||
		t.Proto == host.ICMPv6 && (t.Port <= 4 || t.Port >= 129 && t.Port <= 137 || t.Port == 143)
}

// peerRPC are the ports of RPC on a machine of which nothing is known: those before Vista and
// Server 2008, and those since.
var peerRPC = []policy.Ports{{From: 1025, To: 5000}, {From: 49152, To: 65535}}

// dynamicPorts are those on which the server of a flow offers RPC. What a peer runs is not
// known: it may be older than Vista.
func (x *fencer) dynamicPorts(f *flow) []policy.Ports {
	if f.dir == policy.In && len(x.ownRPC) > 0 {
		return x.ownRPC
	}
	return peerRPC
}

// program names a process: what the source shows, else by its number.
func (x *fencer) program(pid uint32, shown string) string {
	if pid != 0 {
		for _, p := range x.host.Processes {
			if p.PID == pid {
				return strings.TrimSpace(p.Image + " " + strings.Join(p.Services, " "))
			}
		}
	}
	return shown
}

// known says that a peer has a role. The first reason stays.
func (x *fencer) known(a netip.Addr, role, why string) {
	if x.roles[a] == nil {
		x.roles[a] = map[string]string{}
	}
	if x.roles[a][role] == "" {
		x.roles[a][role] = why
	}
}

// peers finds out what the others are to the machine.
func (x *fencer) peers() {
	for _, n := range x.host.Names {
		if x.names[n.Addr] == "" {
			x.names[n.Addr] = n.Name
		}
	}
	for _, a := range x.host.Adapters {
		for _, s := range a.NameServers {
			if addr, err := netip.ParseAddr(s); err == nil && !linkOnly(addr) {
				x.known(addr.Unmap().WithZone(""), "name-server", "a network adapter asks it for names")
			}
		}
		for _, s := range a.Gateways {
			if addr, err := netip.ParseAddr(s); err == nil {
				x.known(addr.Unmap().WithZone(""), "gateway", "a network adapter has it as its gateway")
			}
		}
	}
	for _, r := range x.host.Routes {
		if r.Via.IsValid() && r.To.Bits() == 0 {
			x.known(r.Via, "gateway", "it is the way to everywhere else in the routing table")
		}
	}
	for i := range x.flows {
		f := &x.flows[i]
		if p := f.protocol; p != nil && f.dir == policy.Out && p.Peer != "" && f.refused < f.times && f.place == Inside {
			x.known(f.peer, p.Peer, "it serves the machine "+p.Name)
		} else if p != nil && f.dir == policy.In && (p.Peer == "backup-server" || p.Peer == "monitoring-server") && f.refused < f.times && f.place == Inside {
			x.known(f.peer, p.Peer, "it calls the machine on "+p.Name)
		}
	}
	x.countAll, x.callers, x.met = len(x.flows), map[netip.Addr]bool{}, map[netip.Prefix]bool{}
	for i := range x.flows {
		f := &x.flows[i]
		if f.peer.Is6() && f.place != OnLink {
			x.count6++
		}
		if f.dir == policy.In && f.protocol != nil && x.is(f.peer, "gateway") {
			x.callers[f.peer] = true
		}
	}
	defer x.behindControllers()
	for role, list := range x.options.Roles {
		for _, p := range list {
			if p.IsSingleIP() {
				x.known(p.Addr(), role, "the owner says so")
			}
		}
		for i := range x.flows {
			f := &x.flows[i]
			for _, p := range list {
				if p.Contains(f.peer) {
					x.met[p] = true
					x.known(f.peer, role, "the owner says so of "+p.String())
				}
			}
		}
	}
}

// behindControllers takes the high ports of domain controllers for RPC: the mapper is asked
// once and for a moment, which a list of connections does not show.
func (x *fencer) behindControllers() {
	for i := range x.flows {
		f := &x.flows[i]
		if f.dir == policy.Out && f.proto == host.TCP && f.protocol == nil && x.is(f.peer, "domain-controller") &&
			slices.ContainsFunc(x.dynamicPorts(f), func(p policy.Ports) bool { return p.Has(f.port) }) {
			f.dynamic = true
		}
	}
}

// is reports whether a peer has the role.
func (x *fencer) is(a netip.Addr, role string) bool {
	_, ok := x.roles[a][role]
	return ok
}

// fenceRule decides about flows.
type fenceRule struct {
	id       string
	decision Decision
	fits     func(x *fencer, f *flow) bool
	because  string
}

// fenceRules decide: the first that fits. The last fits all.
var fenceRules = []fenceRule{
	{
		"dhcp", Allow, func(_ *fencer, f *flow) bool {
			return f.dir == policy.Out && f.proto == host.UDP && f.port == 67 && f.place != Internet
		},
		"it gets its address so",
	},
	{
		"link", Cut, func(_ *fencer, f *flow) bool { return f.place == OnLink },
		"it goes to everyone on the link or stays there: no router passes it on, and a firewall between need not",
	},
	{
		"scan", Cut, func(x *fencer, f *flow) bool { return f.dir == policy.In && x.scanner[f.peer] > 0 && f.times <= 1 },
		fmt.Sprintf("the peer tried %d ports or more that refused: it looks like a scan", scanPorts),
	},
	{
		"refused", Cut, func(_ *fencer, f *flow) bool { return f.times > 0 && f.refused >= f.times },
		"nobody got through: every attempt was refused or stayed without an answer",
	},
	{
		"internet", Cut, func(_ *fencer, f *flow) bool { return f.place == Internet },
		"the machine leaves the internet",
	},
	{
		"jump", Allow, func(x *fencer, f *flow) bool { return manages(f) && f.dir == policy.In && x.is(f.peer, "jump") },
		"management from a jump host that the owner named",
	},
	{
		"management", Cut, func(_ *fencer, f *flow) bool { return manages(f) && f.dir == policy.In },
		"management comes from a named jump host only",
	},
	{
		"management-out", Cut, func(_ *fencer, f *flow) bool { return manages(f) },
		"from a machine without support nothing else is managed: whoever takes it would go on from there",
	},
	{
		"once", Cut, func(x *fencer, f *flow) bool { return x.once(f) && x.options.Once == Cut },
		"it was seen one single time, and the owner wants that cut",
	},
	{
		"role", Allow, func(x *fencer, f *flow) bool {
			return f.protocol != nil && f.protocol.Peer != "" && x.is(f.peer, f.protocol.Peer)
		},
		"the peer has that role for the machine",
	},
	{"seen", Allow, func(*fencer, *flow) bool { return true }, "it was seen, inside, and got through"},
}

// manages reports whether a flow is of remote management.
func manages(f *flow) bool { return f.protocol != nil && f.protocol.Kind == "remote-management" }

// once reports whether a flow was seen one single time by somebody who looked for a while.
func (x *fencer) once(f *flow) bool { return x.watched && f.times == 1 && f.clock }

// decide sorts the flows into dependencies.
func (x *fencer) decide() {
	type key struct {
		dir     policy.Direction
		proto   host.IPProto
		port    uint16 // 0 where dynamic
		dynamic bool
		rule    int
		once    bool
		guessed bool
	}
	type group struct {
		key
		first, flows int
	}
	index := map[key]int32{}
	var groups []group
	for i := range x.flows {
		f := &x.flows[i]
		rule := slices.IndexFunc(fenceRules, func(r fenceRule) bool { return r.fits(x, f) })
		k := key{f.dir, f.proto, f.port, f.dynamic, rule, x.once(f), !f.sure}
		if f.dynamic {
			k.port = 0
		}
		if fenceRules[rule].decision == Cut { // how sure it is matters for what passes
			k.once, k.guessed = false, false
		}
		at, ok := index[k]
		if !ok {
			at = int32(len(groups)) // #nosec G115 -- no more than flows
			index[k] = at
			groups = append(groups, group{key: k, first: i})
		}
		f.dependency = at
		groups[at].flows++
	}
	clear(index) // a scan makes as many as there are flows
	x.Dependencies = make([]Dependency, len(groups))
	for i, g := range groups {
		x.Dependencies[i] = x.dependency(&x.flows[g.first], &fenceRules[g.rule], g.once, g.guessed)
		x.Dependencies[i].Peers = make([]Talker, 0, g.flows)
	}
	rest, number := x.flows, int32(-1)
	for t := range x.host.Traffic.Each() {
		if number++; len(rest) > 0 && rest[0].number == number {
			x.add(&rest[0], t.Seen)
			rest = rest[1:]
		}
	}
	for i := range x.Dependencies {
		d := &x.Dependencies[i]
		slices.SortFunc(d.Peers, func(a, b Talker) int { return a.Addr.Compare(b.Addr) })
		slices.Sort(d.Readers)
	}
}

// dependency begins one for flows like f.
func (x *fencer) dependency(f *flow, rule *fenceRule, once, guessed bool) Dependency {
	d := Dependency{
		Dir: f.dir, Proto: policy.Proto(f.proto), Protocol: f.protocol, Decision: rule.decision, Rule: rule.id,
		Because: []host.Reason{{Text: rule.because}}, Once: once, Guessed: guessed,
	}
	switch {
	case f.dynamic:
		d.Ports = x.dynamicPorts(f)
		d.Service, d.Name = "rpc-dynamic", "RPC, dynamic ports"
		d.Because = append(d.Because, host.Reason{Text: "behind the mapper on port 135, which hands these ports out anew after each start: the same two talked to it, or the peer is a domain controller"})
	case d.Proto.HasPorts():
		d.Ports = []policy.Ports{{From: f.port, To: f.port}}
		d.Service, d.Name = nameOf(d.Proto, f.port, f.protocol)
	case d.Proto == policy.ICMP || d.Proto == policy.ICMPv6:
		d.ICMP = []policy.ICMPType{{Type: uint8(f.port), Code: -1}} // #nosec G115 -- the type of a message is a byte
		d.Service, d.Name = fmt.Sprintf("%s-%d", d.Proto, f.port), fmt.Sprintf("%s type %d", strings.ToUpper(d.Proto.String()), f.port)
		if f.protocol != nil {
			d.Service, d.Name = f.protocol.ID, f.protocol.Name
		}
	default:
		d.Service, d.Name = nameOf(d.Proto, 0, f.protocol)
	}
	return d
}

// nameOf names a service for ids and for people.
func nameOf(proto policy.Proto, port uint16, p *Protocol) (id, name string) {
	switch {
	case p != nil && !p.Range():
		return p.ID, p.Name
	case proto.HasPorts():
		return "", fmt.Sprintf("%s %d", proto, port)
	}
	return "", "IP protocol " + strconv.Itoa(int(proto))
}

// add counts a flow in, which was seen so.
func (x *fencer) add(f *flow, seen []host.Sighting) {
	at := int(f.dependency)
	d, s := &x.Dependencies[at], x.sum(seen)
	d.Times += s.times
	d.Refused += s.refused
	d.Packets += s.packets
	d.Bytes += s.bytes
	d.First, d.Last = widest(d.First, d.Last, s.first, s.last)
	if d.Program == "" {
		d.Program = s.program
	}
	for _, o := range seen {
		if !slices.Contains(d.Readers, o.From.Reader) {
			d.Readers = append(d.Readers, o.From.Reader)
		}
		if r := &d.Because[0]; len(r.From) < maxReasonSources && !slices.Contains(r.From, o.From) {
			r.From = append(r.From, o.From)
		}
	}
	i, ok := 0, false
	if f.dynamic || len(x.Own) > 1 { // else no peer comes again: with another port, or to another address
		k := talkerKey{at, f.peer}
		if i, ok = x.talker[k]; !ok {
			x.talker[k] = len(d.Peers)
		}
	}
	if !ok {
		i = len(d.Peers)
		d.Peers = append(d.Peers, Talker{Addr: f.peer})
	}
	t := &d.Peers[i]
	t.Times += s.times
	t.Refused += s.refused
	t.Packets += s.packets
	t.Bytes += s.bytes
	t.First, t.Last = widest(t.First, t.Last, s.first, s.last)
}

// widest is the span of two spans; zero ends are not known.
func widest(first, last, first2, last2 time.Time) (from, to time.Time) {
	if first.IsZero() || !first2.IsZero() && first2.Before(first) {
		first = first2
	}
	if last2.After(last) {
		last = last2
	}
	return first, last
}

// number gives dependencies their order and their ids.
func (x *fencer) number() {
	slices.SortStableFunc(x.Dependencies, func(a, b Dependency) int {
		return cmp.Or(cmp.Compare(a.Decision, b.Decision), cmp.Compare(a.Dir, b.Dir), cmp.Compare(a.Proto, b.Proto), comparePorts(a.Ports, b.Ports),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(boolInt(a.Once), boolInt(b.Once)), cmp.Compare(boolInt(a.Guessed), boolInt(b.Guessed)))
	})
	taken := map[string]int{}
	for i := range x.Dependencies {
		d := &x.Dependencies[i]
		id := d.Dir.String() + "-" + d.Proto.String()
		switch {
		case d.Service != "":
			id = d.Dir.String() + "-" + d.Service
			if d.Proto == policy.UDP && !strings.Contains(d.Service, "udp") {
				id += "-udp"
			}
		case len(d.Ports) > 0:
			id += "-" + d.Ports[0].String()
		}
		taken[id]++
		if n := taken[id]; n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		d.ID = id
	}
}

func comparePorts(a, b []policy.Ports) int {
	return slices.CompareFunc(a, b, func(a, b policy.Ports) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// unused lists what the machine offers and nobody was seen to use.
func (x *fencer) unused() {
	used := map[policy.Proto]map[uint16]bool{}
	for i := range x.flows {
		f := &x.flows[i]
		if f.dir == policy.In && f.refused < f.times || f.dir == policy.In && f.times == 0 {
			p := policy.Proto(f.proto)
			if used[p] == nil {
				used[p] = map[uint16]bool{}
			}
			used[p][f.port] = true
		}
	}
	type port struct {
		proto policy.Proto
		port  uint16
	}
	seen := map[port]int{}
	for _, l := range x.host.Listeners {
		p := port{policy.Proto(l.Proto), l.Port}
		if used[p.proto][p.port] {
			continue
		}
		loop := l.Addr.IsLoopback()
		if at, ok := seen[p]; ok {
			x.Unused[at].Loopback = x.Unused[at].Loopback && loop
			continue
		}
		seen[p] = len(x.Unused)
		_, name := nameOf(p.proto, p.port, ProtocolOf(l.Proto, l.Port))
		x.Unused = append(x.Unused, Offer{
			Proto: p.proto, Port: p.port, Name: name, Program: x.program(l.PID, l.Program), Loopback: loop,
			Because: host.Reason{Text: "it waits there", From: []host.Source{l.From}},
		})
	}
	slices.SortStableFunc(x.Unused, func(a, b Offer) int { return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port)) })
}

// count lists the peers with the numbers of what they are in.
func (x *fencer) count() {
	addrs := slices.Collect(maps.Keys(x.roles))
	n := len(addrs)
	for i := range x.Dependencies {
		n += len(x.Dependencies[i].Peers)
	}
	addrs = slices.Grow(addrs, n-len(addrs))
	for i := range x.Dependencies {
		for _, t := range x.Dependencies[i].Peers {
			addrs = append(addrs, t.Addr)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	x.Peers = make([]Peer, len(addrs))
	for i, a := range addrs {
		p := &x.Peers[i]
		p.Addr, p.Name, p.Place = a, x.names[a], x.place(a)
		for _, role := range slices.Sorted(maps.Keys(x.roles[a])) {
			p.Roles = append(p.Roles, role)
			p.Because = append(p.Because, x.roles[a][role])
		}
	}
	for i := range x.Dependencies {
		d, at := &x.Dependencies[i], 0
		for _, t := range d.Peers { // both are in order
			next, _ := slices.BinarySearchFunc(addrs[at:], t.Addr, netip.Addr.Compare) // it is there
			at += next
			if d.Decision == Allow {
				x.Peers[at].Allowed++
			} else {
				x.Peers[at].Cut++
			}
		}
	}
}
