package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
)

// PeerRoles lists what a peer can be to the machine, as the owner may name it.
func PeerRoles() []string {
	return []string{"jump", "domain-controller", "name-server", "time-server", "backup-server", "monitoring-server", "update-server"}
}

// need is what a machine needs from whoever has a role.
type need struct {
	role, service, why string
	dir                policy.Direction
	proto              policy.Proto
	ports              []policy.Ports
	icmp               []policy.ICMPType
	Known
}

var needTable = sync.OnceValue(func() (out []need) {
	for _, f := range rows("needs.txt", 8) {
		n := need{role: f[0], service: f[4], why: f[5], Known: Known{f[6], f[7]}}
		if f[1] == "out" {
			n.dir = policy.Out
		}
		switch f[2] {
		case "tcp":
			n.proto = policy.TCP
		case "udp":
			n.proto = policy.UDP
		case "icmp":
			n.proto = policy.ICMP
		default:
			panic("needs.txt: protocol " + f[2])
		}
		ports, ok := portRange(f[3])
		if !ok {
			panic("needs.txt: ports " + f[3])
		}
		n.ports = []policy.Ports{ports}
		if n.proto == policy.ICMP {
			n.icmp, n.ports = []policy.ICMPType{{Type: uint8(n.ports[0].From), Code: -1}}, nil // #nosec G115 -- of our own table
		}
		out = append(out, n)
	}
	return out
})

// echoRequest6 is ICMPv6's message of type 8 of ICMP:
// https://www.iana.org/assignments/icmpv6-parameters, read 2026-11-25.
const echoRequest6 = 128

// wants is the table as it is for this machine: Remote Desktop at its own port, and what pings over
// IPv4 over IPv6 as well.
func (x *fencer) wants() (out []need) {
	for _, n := range needTable() {
		if n.role == "jump" && n.service == "rdp" {
			if port, err := strconv.ParseUint(x.set("rdp-port"), 10, 16); err == nil {
				n.ports = []policy.Ports{{From: uint16(port), To: uint16(port)}}
			}
		}
		out = append(out, n)
		if n.service == "ping" {
			n.proto, n.icmp = policy.ICMPv6, []policy.ICMPType{{Type: echoRequest6, Code: -1}}
			out = append(out, n)
		}
	}
	return out
}

// of reports whether what is needed can be had over the family of an address.
func (n *need) of(a netip.Addr) bool {
	return (n.proto != policy.ICMP || a.Is4()) && (n.proto != policy.ICMPv6 || a.Is6())
}

// needs adds what the machine needs by role and was not seen to use.
func (x *fencer) needs() {
	for _, n := range x.wants() {
		if n.role == "domain-controller" && x.Role != host.Member {
			continue // of a controller's and a standalone machine's needs the table says nothing
		}
		d := Dependency{
			Dir: n.dir, Proto: n.proto, Ports: n.ports, ICMP: n.icmp, Service: n.service, Decision: Allow, Rule: "need",
			Because: []host.Reason{{Text: "by role, seen or not: " + n.why + " (" + n.Confidence + ")"}},
		}
		switch {
		case len(n.icmp) == 1:
			d.Protocol = ProtocolOf(host.IPProto(n.proto), uint16(n.icmp[0].Type))
		case len(n.ports) == 1 && n.ports[0].From == n.ports[0].To:
			d.Protocol = ProtocolOf(host.IPProto(n.proto), n.ports[0].From)
		}
		d.Name = n.service
		switch {
		case d.Protocol != nil:
			d.Service, d.Name = d.Protocol.ID, d.Protocol.Name
		case n.service == "rpc-dynamic":
			d.Name = "RPC, dynamic ports"
		}
		for a := range x.roles {
			if x.is(a, n.role) && x.place(a) == Inside && !x.own[a] && n.of(a) && !x.allowed(&d, a) {
				d.Peers = append(d.Peers, Talker{Addr: a})
			}
		}
		if len(d.Peers) > 0 {
			slices.SortFunc(d.Peers, func(a, b Talker) int { return a.Addr.Compare(b.Addr) })
			x.Dependencies = append(x.Dependencies, d)
		}
	}
	x.networksOfRoles()
}

// networksOfRoles adds what the owner gave a role as a whole network: its members are not
// all seen.
func (x *fencer) networksOfRoles() {
	for _, n := range x.wants() {
		for _, p := range x.options.Roles[n.role] {
			if !p.IsSingleIP() && n.of(p.Addr()) {
				x.networks = append(x.networks, roleNetwork{n, p})
			}
		}
	}
}

// roleNetwork is a network that has a role, and what the machine needs of it or it of the
// machine.
type roleNetwork struct {
	need
	net netip.Prefix
}

// set gives what a setting is set to; empty where not known or disputed.
func (x *fencer) set(name string) string {
	f := x.host.Settings[name]
	if v := f.Or(""); v != host.NotSet && !f.Disputed() {
		return v
	}
	return ""
}

// allowed reports whether the flows already allow all of d with a.
func (x *fencer) allowed(d *Dependency, a netip.Addr) bool {
	for i := range x.Dependencies {
		o := &x.Dependencies[i]
		if o.Decision == Allow && o.Dir == d.Dir && o.Proto == d.Proto && slices.Equal(o.ICMP, d.ICMP) && covers(o.Ports, d.Ports) &&
			slices.ContainsFunc(o.Peers, func(t Talker) bool { return t.Addr == a }) {
			return true
		}
	}
	return false
}

// covers reports whether each range of b lies in one of a.
func covers(a, b []policy.Ports) bool {
	for _, p := range b {
		if !slices.ContainsFunc(a, func(q policy.Ports) bool { return q.From <= p.From && p.To <= q.To }) {
			return false
		}
	}
	return true
}

// maxNetworks bounds the addresses of one rule. A firewall takes more, and no person reads
// them.
const maxNetworks = 256

// rules makes the policy.
func (x *fencer) rules() {
	if x.Why = x.why(); x.Why != "" {
		return
	}
	p := &policy.Policy{Host: x.Host, Interface: x.options.Interface}
	for _, a := range x.Own {
		p.Own = append(p.Own, a.Addr)
	}
	slices.SortFunc(p.Own, netip.Addr.Compare)
	for i := range x.Dependencies {
		if d := &x.Dependencies[i]; d.Decision == Allow {
			x.rulesOf(p, d)
		}
	}
	for i, n := range x.networks {
		r := policy.Rule{
			ID: fmt.Sprintf("%s-%s-%d", n.dir, n.role, i+1), Dir: n.dir, Action: policy.Accept, Proto: n.proto, ICMP: n.icmp,
			Remote: []netip.Prefix{n.net}, Local: x.local(n.net.Addr().Is4()), Comment: n.service + ": the owner says that " + n.net.String() + " is " + n.role,
		}
		if len(r.Local) == 0 {
			continue
		}
		setPorts(&r, n.ports)
		p.Rules = append(p.Rules, r)
	}
	x.Policy = p
}

func setPorts(r *policy.Rule, server []policy.Ports) {
	if r.Dir == policy.In {
		r.LocalPorts = server
	} else {
		r.RemotePorts = server
	}
}

// local are the machine's addresses of one family, as networks.
func (x *fencer) local(four bool) (out []netip.Prefix) {
	for _, a := range x.Own {
		if a.Addr.Is4() == four {
			out = append(out, netip.PrefixFrom(a.Addr, a.Addr.BitLen()))
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// rulesOf makes the rules of a dependency: one for each family.
func (x *fencer) rulesOf(p *policy.Policy, d *Dependency) {
	for _, four := range []bool{true, false} {
		var peers []netip.Addr
		for _, t := range d.Peers {
			if t.Addr.Is4() == four {
				peers = append(peers, t.Addr)
			}
		}
		local := x.local(four)
		if len(peers) == 0 || len(local) == 0 {
			continue
		}
		id := d.ID
		if !four {
			id += "-v6"
		}
		nets, added := networks(peers, maxNetworks)
		r := policy.Rule{
			ID: id, Dir: d.Dir, Action: policy.Accept, Proto: d.Proto, ICMP: d.ICMP, Local: local, Remote: nets, Comment: x.comment(d, len(peers)),
		}
		setPorts(&r, d.Ports)
		if d.Rule == "dhcp" {
			r.Local = nil // before it has an address it asks from none
		}
		if added > 0 {
			x.Widened = append(x.Widened, Widening{Rule: id, Seen: len(peers), Networks: len(nets), Addresses: added})
		}
		p.Rules = append(p.Rules, r)
		d.Rules = append(d.Rules, id)
	}
}

// comment is a rule's reason in one line.
func (x *fencer) comment(d *Dependency, peers int) string {
	words := []string{d.Name}
	if name := x.names[d.Peers[0].Addr]; peers == 1 && name != "" {
		words = append(words, name)
	}
	if d.Times > 0 {
		seen := fmt.Sprintf("seen %d times", d.Times)
		if d.Times == 1 {
			seen = "seen once"
		}
		if !d.Last.IsZero() {
			seen += ", last " + d.Last.Format(time.DateOnly)
		}
		words = append(words, seen+" by "+strings.Join(d.Readers, " and "))
	}
	return strings.Join(append(words, d.Because[0].Text), "; ")
}

// networks gives at most limit networks that hold all addresses, which are of one family and in
// order, and how many other addresses they hold as well. They are as small as one length
// for all allows.
func networks(list []netip.Addr, limit int) (out []netip.Prefix, added float64) {
	bits := list[0].BitLen()
	for n := bits; n > 0; n-- {
		out = out[:0]
		for _, a := range list {
			p := netip.PrefixFrom(a, n).Masked()
			if len(out) == 0 || out[len(out)-1] != p {
				out = append(out, p)
			}
		}
		if joined := joinHalves(out); len(joined) <= limit {
			for _, p := range joined {
				added += float64Pow2(bits - p.Bits())
			}
			return joined, added - float64(len(list))
		}
	}
	return []netip.Prefix{netip.PrefixFrom(list[0], 0).Masked()}, float64Pow2(bits)
}

func float64Pow2(n int) float64 {
	f := 1.0
	for range n {
		f *= 2
	}
	return f
}

// joinHalves joins two halves of a network to the network, as long as there are any. The list
// is in order and stays so.
func joinHalves(list []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, p)
		for len(out) > 1 {
			a, b := out[len(out)-2], out[len(out)-1]
			if a.Bits() != b.Bits() || a.Bits() == 0 {
				break
			}
			whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
			if whole.Addr() != a.Addr() || !whole.Contains(b.Addr()) {
				break
			}
			out = append(out[:len(out)-2], whole)
		}
	}
	return out
}

// why says why there can be no policy; empty if there can.
func (x *fencer) why() string {
	records, kinds := uint64(0), []string{}
	for _, w := range x.Watches {
		records += w.Records
		kinds = append(kinds, strings.ReplaceAll(w.Kind, "-", " "))
	}
	slices.Sort(kinds)
	switch {
	case x.host.Traffic.Len() == 0 && len(x.Watches) == 0:
		return "no evidence shows whom the machine talks to: a policy made of nothing would cut all that it is there for"
	case x.host.Traffic.Len() == 0:
		return fmt.Sprintf("the evidence (%s) shows no conversation in %d records: nobody was there, or it was taken in the wrong place",
			strings.Join(slices.Compact(kinds), ", "), records)
	case len(x.Own) == 0:
		return "it is not known which of the addresses in the evidence is the machine's"
	case x.countAll == 0:
		var own []string
		for _, a := range x.Own {
			own = append(own, a.Addr.String())
		}
		none := fmt.Sprintf("none of the %d conversations in the evidence is of %s", x.host.Traffic.Len(), strings.Join(own, ", "))
		if x.host.Traffic.Len() == 1 {
			none = "the only conversation in the evidence is not of " + strings.Join(own, ", ")
		}
		return none + ": it is another machine's, or the address is translated (NAT) between the machine and where it was taken" + x.busiest()
	}
	return ""
}

// gapsOfFlows are the gaps that matter for whom the machine talks to, and for who it is; no more
// than maxGaps are listed.
var gapsOfFlows = []string{"file", "traffic", "connections", "routes", "adapters", "names", "firewall rules", "firewall profiles", "rows"}

const maxGaps = 20

// busiest says which address is in most conversations, where one is in more than half of them: it
// is likely that of the machine of which they are.
func (x *fencer) busiest() string {
	count, n := map[netip.Addr]int{}, 0
	for t := range x.host.Traffic.Each() {
		n++
		for _, a := range []netip.Addr{t.Client, t.Server} {
			if !linkOnly(a) {
				count[a]++
			}
		}
	}
	var top netip.Addr
	shared := false // with another one
	for a, times := range count {
		if times > count[top] {
			top, shared = a, false
		} else {
			shared = shared || times == count[top]
		}
	}
	if shared || 2*count[top] <= n {
		return ""
	}
	return fmt.Sprintf("; %s is in %d of %d", top, count[top], n)
}

// manySettings is how many settings are better shown by one collection than one by one.
const manySettings = 5

// ask says what was not known, and what one has to know beside the rules.
func (x *fencer) ask(on time.Time) {
	ask := func(what, why, tell string) { x.Questions = append(x.Questions, Question{what, why, tell}) }
	note := func(format string, args ...any) { x.Notes = append(x.Notes, fmt.Sprintf(format, args...)) }
	kinds := map[string]bool{}
	for _, w := range x.Watches {
		kinds[w.Kind] = true
		for _, l := range w.Limits {
			note("%s: %s", w.From.Input, l)
		}
	}
	gaps := 0
	for _, g := range x.host.Gaps {
		if !slices.Contains(gapsOfFlows, g.What) {
			continue
		}
		if gaps++; gaps > maxGaps {
			continue
		}
		what := g.What + ": "
		if g.What == "file" {
			what = "not read: "
		}
		note("%s: %s%s", g.From.Input, what, g.Why)
	}
	if gaps > maxGaps {
		note("What else could not be read: %d. oldguard inspect lists it.", gaps-maxGaps)
	}
	const watch = "netstat -ano 60 >> netstat.txt, a capture at the switch's mirror port, or the firewall's log, over a month and a month's end"
	switch span := x.Last.Sub(x.First); {
	case x.host.Traffic.Len() == 0:
		ask("whom it talks to", "no flows were seen", watch)
	case x.First.IsZero():
		ask("what happens at other times", "no source says when it looked, or for how long", watch)
	case span < shortSpan:
		ask("what happens less often", fmt.Sprintf("the evidence spans %s: a backup at the weekend, a run at the end of a month or a failover may not be in it", spanWords(span)), watch)
	}
	if !x.Last.IsZero() && on.Sub(x.Last) > staleFlows {
		ask("what changed since", fmt.Sprintf("the newest look at the network is of %s", x.Last.Format(time.DateOnly)), watch)
	}
	if kinds["netstat"] && len(kinds) == 1 {
		ask("conversations over UDP and short ones", "netstat shows neither whom UDP goes to nor what begins and ends between two looks", "a capture, or the log of Windows Firewall: netsh advfirewall set allprofiles logging allowedconnections enable")
	}
	if len(x.Own) == 0 {
		ask("the machine's addresses", "no source states them", "ipconfig /all, or --address")
	}
	for _, a := range x.Own {
		if a.Bits <= 0 && !slices.ContainsFunc(x.inside, func(p netip.Prefix) bool { return p.Contains(a.Addr) }) {
			ask("which networks are inside", fmt.Sprintf("%s is no private address and no source tells its network: its neighbours count as the internet and are cut", a.Addr), "ipconfig /all, or --inside NETWORK")
			break
		}
	}
	if len(x.host.Listeners) == 0 {
		ask("what it offers and nobody used", "no source lists the ports on which it waits", "netstat -ano > netstat.txt & tasklist /svc > tasklist.txt")
	}
	if unseenSettings(x.host) >= manySettings {
		ask("how the machine is set", "no evidence shows several of its settings",
			"oldguard collect --script -o oldguard-collect.cmd, run on the machine as administrator: it shows nearly all of them at once")
	}
	if len(x.options.Roles["jump"]) == 0 {
		ask("the jump host", "without one nobody may manage the machine over the network: only at its console", "--jump ADDRESS")
	}
	if x.Role == host.Member && !slices.ContainsFunc(x.Peers, func(p Peer) bool { return slices.Contains(p.Roles, "domain-controller") }) {
		ask("its domain controllers", "it is a member of a domain, and none was seen", "nltest /dclist:DOMAIN, or --role domain-controller=ADDRESS")
	}
	if x.Role == "" {
		ask("whether it is in a domain", "no source tells its role", "systeminfo > systeminfo.txt")
	}
	for _, r := range []string{"backup-server", "monitoring-server", "update-server"} {
		for _, p := range x.options.Roles[r] {
			if !x.met[p] {
				ask("what "+r+" "+p.String()+" needs", "it was named and never seen with the machine, and products differ in their ports", watch)
			}
		}
	}
	if x.Role == host.DomainController {
		note("It is a domain controller: whoever is in the domain must reach it, so it cannot be fenced in. Take the role from it first (see the hardening list).")
	}
	if x.OwnGuessed {
		note("No source states the machine's addresses: %s is the one that all conversations have in common.", x.Own[0].Addr)
	}
	x.cautions(note)
}

// cautions says what follows from the flows.
func (x *fencer) cautions(note func(string, ...any)) {
	if x.Foreign > 0 && x.countAll > 0 {
		note("Conversations in the evidence that are of other machines, and were left out: %d.", x.Foreign)
	}
	if n := x.host.Traffic.Lost; n > 0 {
		note("%d sightings were left out: the evidence holds more conversations than are kept (%d). What is missing among them is cut.", n, host.MaxTalks)
	}
	var nat []string
	for _, p := range x.Peers {
		if x.callers[p.Addr] {
			nat = append(nat, p.Addr.String())
		}
	}
	if len(nat) > 0 {
		note("Conversations begin at the gateway %s: others may stand behind it with translated addresses (NAT), and a rule for it lets all of them in.", strings.Join(nat, ", "))
	}
	for _, a := range x.Own {
		if a.Addr.Is6() && x.count6 == 0 {
			note("It has IPv6 addresses, and nothing beyond the link was seen over IPv6: the policy lets none of it through.")
			break
		}
	}
	for _, w := range slices.SortedFunc(slices.Values(x.Widened), func(a, b Widening) int { return cmp.Compare(b.Addresses, a.Addresses) }) {
		note("%s was seen with %d addresses, too many to list: its %d networks let %.0f others through as well.", w.Rule, w.Seen, w.Networks, w.Addresses)
	}
	if x.options.Interface == "" && slices.ContainsFunc(x.host.Adapters, func(a host.Adapter) bool { return a.DHCP }) {
		note("An adapter gets its address by DHCP: reserve it, or name the firewall's interface (--interface), since the rules go by the address.")
	}
	if len(x.scanner) > 0 {
		var who []string
		for a := range x.scanner {
			who = append(who, a.String())
		}
		slices.Sort(who)
		note("%s tried %d ports or more that refused: ask whose scanner that is.", strings.Join(who[:min(len(who), 5)], ", "), scanPorts)
	}
}

// spanWords says how long somebody looked.
func spanWords(d time.Duration) string {
	switch {
	case d < time.Second:
		return "less than a second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f seconds", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}
