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
	inside  []netip.Prefix
	names   map[netip.Addr]string
	roles   map[netip.Addr]map[string]string // peer → role → why
	flows   []flow
	// watched tells that somebody looked for long enough to speak of "once".
	watched  bool
	scanner  map[netip.Addr]int // ports that a scanner tried
	rpc      map[[2]netip.Addr]bool
	talker   map[talkerKey]int // place in Dependency.Peers, where a peer can come again
	ownRPC   []policy.Ports
	networks []roleNetwork
}

type talkerKey struct {
	dependency int
	peer       netip.Addr
}

// flow is one conversation of the machine, seen from it.
type flow struct {
	*host.Conversation
	dir            policy.Direction
	peer           netip.Addr
	place          Place
	protocol       *Protocol
	dynamic        bool // of RPC, behind the mapper on port 135
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
		host: h, options: o, own: map[netip.Addr]bool{}, names: map[netip.Addr]string{},
		roles: map[netip.Addr]map[string]string{}, scanner: map[netip.Addr]int{}, rpc: map[[2]netip.Addr]bool{},
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
	for _, a := range x.Own {
		x.own[a.Addr] = true
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
		for _, t := range x.host.Traffic.All() {
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
	all := x.host.Traffic.All()
	refusedPorts := map[netip.Addr]int{}
	x.flows = make([]flow, 0, len(all)) // there may be very many
	for i := range all {
		t := &all[i]
		if answer(t.Talk) {
			continue
		}
		f := flow{Conversation: t, dir: policy.In, peer: t.Client}
		switch server, client := x.own[t.Server], x.own[t.Client]; {
		case server && client, t.Client.IsLoopback() && t.Server.IsLoopback():
			continue // the machine with itself
		case client:
			f.dir, f.peer = policy.Out, t.Server
		case server:
		case linkOnly(t.Server), linkOnly(t.Client), x.place(t.Server) == OnLink:
			continue // what others shout on the link is for nobody in particular
		default:
			x.Foreign++
			continue
		}
		f.place = x.place(f.peer)
		f.count()
		for _, s := range t.Seen {
			f.sure = f.sure || s.Sure
			f.first, f.last = widest(f.first, f.last, s.First, s.Last)
			if f.program == "" {
				f.program = x.program(s.PID, s.Program)
			}
		}
		if t.Port == 135 && f.refused < f.times {
			x.rpc[[2]netip.Addr{t.Client, t.Server}] = true
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
		if f.protocol = ProtocolOf(f.Proto, f.Port); f.protocol != nil && f.protocol.Range() {
			f.protocol = nil // a range says too little
		}
		if f.protocol != nil && f.protocol.Link {
			f.place = OnLink
		}
		if rpc := x.dynamicPorts(f); f.Proto == host.TCP && x.rpc[[2]netip.Addr{f.Client, f.Server}] &&
			slices.ContainsFunc(rpc, func(p policy.Ports) bool { return p.Has(f.Port) }) {
			f.dynamic = true
		}
	}
}

// count adds up what each reader saw, and takes the most that one of them did: a capture and
// a log of the same days see the same connections. One that got through anywhere did.
func (f *flow) count() {
	through := 0
	for i, s := range f.Seen {
		if slices.ContainsFunc(f.Seen[:i], func(o host.Sighting) bool { return o.From.Reader == s.From.Reader }) {
			continue // counted with the first of its reader
		}
		var times, refused int
		var packets, bytes uint64
		for _, o := range f.Seen[i:] {
			if o.From.Reader == s.From.Reader {
				times += o.Times
				refused += o.Refused
				packets += o.Packets
				bytes += o.Bytes
			}
		}
		f.times, through = max(f.times, times), max(through, times-refused)
		f.packets, f.bytes = max(f.packets, packets), max(f.bytes, bytes)
	}
	f.refused = f.times - through
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
		if f.dir == policy.Out && f.Proto == host.TCP && f.protocol == nil && x.is(f.peer, "domain-controller") &&
			slices.ContainsFunc(x.dynamicPorts(f), func(p policy.Ports) bool { return p.Has(f.Port) }) {
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
			return f.dir == policy.Out && f.Proto == host.UDP && f.Port == 67 && f.place != Internet
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
func (x *fencer) once(f *flow) bool { return x.watched && f.times == 1 && !f.first.IsZero() }

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
	index := map[key]int{}
	for i := range x.flows {
		f := &x.flows[i]
		rule := slices.IndexFunc(fenceRules, func(r fenceRule) bool { return r.fits(x, f) })
		k := key{f.dir, f.Proto, f.Port, f.dynamic, rule, x.once(f), !f.sure}
		if f.dynamic {
			k.port = 0
		}
		if fenceRules[rule].decision == Cut { // how sure it is matters for what passes
			k.once, k.guessed = false, false
		}
		at, ok := index[k]
		if !ok {
			at = len(x.Dependencies)
			index[k] = at
			x.Dependencies = append(x.Dependencies, x.dependency(f, &fenceRules[rule], k.once, k.guessed))
		}
		x.add(at, f)
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
		Dir: f.dir, Proto: policy.Proto(f.Proto), Protocol: f.protocol, Decision: rule.decision, Rule: rule.id,
		Because: []host.Reason{{Text: rule.because}}, Once: once, Guessed: guessed,
	}
	switch {
	case f.dynamic:
		d.Ports = x.dynamicPorts(f)
		d.Service, d.Name = "rpc-dynamic", "RPC, dynamic ports"
		d.Because = append(d.Because, host.Reason{Text: "behind the mapper on port 135, which hands these ports out anew after each start: the same two talked to it, or the peer is a domain controller"})
	case d.Proto.HasPorts():
		d.Ports = []policy.Ports{{From: f.Port, To: f.Port}}
		d.Service, d.Name = nameOf(d.Proto, f.Port, f.protocol)
	case d.Proto == policy.ICMP || d.Proto == policy.ICMPv6:
		d.ICMP = []policy.ICMPType{{Type: uint8(f.Port), Code: -1}} // #nosec G115 -- the type of a message is a byte
		d.Service, d.Name = fmt.Sprintf("%s-%d", d.Proto, f.Port), fmt.Sprintf("%s type %d", strings.ToUpper(d.Proto.String()), f.Port)
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

// add counts a flow in.
func (x *fencer) add(at int, f *flow) {
	d := &x.Dependencies[at]
	d.Times += f.times
	d.Refused += f.refused
	d.Packets += f.packets
	d.Bytes += f.bytes
	d.First, d.Last = widest(d.First, d.Last, f.first, f.last)
	if d.Program == "" {
		d.Program = f.program
	}
	for _, s := range f.Seen {
		if !slices.Contains(d.Readers, s.From.Reader) {
			d.Readers = append(d.Readers, s.From.Reader)
		}
		if r := &d.Because[0]; len(r.From) < maxReasonSources && !slices.Contains(r.From, s.From) {
			r.From = append(r.From, s.From)
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
	t.Times += f.times
	t.Refused += f.refused
	t.Packets += f.packets
	t.Bytes += f.bytes
	t.First, t.Last = widest(t.First, t.Last, f.first, f.last)
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
			p := policy.Proto(f.Proto)
			if used[p] == nil {
				used[p] = map[uint16]bool{}
			}
			used[p][f.Port] = true
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
	byAddr := map[netip.Addr]int{}
	peer := func(a netip.Addr) *Peer {
		at, ok := byAddr[a]
		if !ok {
			at = len(x.Peers)
			byAddr[a] = at
			p := Peer{Addr: a, Name: x.names[a], Place: x.place(a)}
			for _, role := range slices.Sorted(maps.Keys(x.roles[a])) {
				p.Roles = append(p.Roles, role)
				p.Because = append(p.Because, x.roles[a][role])
			}
			x.Peers = append(x.Peers, p)
		}
		return &x.Peers[at]
	}
	for a := range x.roles {
		peer(a)
	}
	for i := range x.Dependencies {
		d := &x.Dependencies[i]
		for _, t := range d.Peers {
			if p := peer(t.Addr); d.Decision == Allow {
				p.Allowed++
			} else {
				p.Cut++
			}
		}
	}
	slices.SortFunc(x.Peers, func(a, b Peer) int { return a.Addr.Compare(b.Addr) })
}
