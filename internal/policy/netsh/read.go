package netsh

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// maxRules bounds the rules of a policy that is read.
const maxRules = 20_000

// command finds a command that makes rules or sets profiles.
var command = regexp.MustCompile(`(?mi)^[^\r\n]*\bnetsh(?:\.exe)?"?\s+advfirewall\s+(?:firewall\s+(?:add|set|delete)\s+rule|set\s+\w+profiles?\s)`)

// Sniff reports whether a text, or its beginning, is for Read.
func Sniff(text []byte) bool { return command.Match(text) || !netsh.Parse(string(text)).Empty() }

// Known is what the text does not show and somebody may know.
type Known struct {
	// Profile is the one in force. Without it a rule that is not for all is unsure.
	Profile netsh.Word
	// Keywords are the addresses that LocalSubnet, DNS and the like stand for, by those names. A rule
	// with another is about any address, and unsure.
	Keywords map[string][]netip.Prefix
}

// Read reads what netsh advfirewall firewall show rule and netsh advfirewall show allprofiles
// print, one, the other or both, in any display language; or a command file. What could not be
// understood is in the policy's notes, and on the rules concerned. A text that is neither is an error.
func Read(text string, v policy.View) (*policy.Policy, error) {
	if command.MatchString(text) {
		return readCommands(text, v), nil
	}
	out := netsh.Parse(text)
	if out.Empty() && len(out.Unread) == 0 {
		return nil, fmt.Errorf("%s holds neither rules nor profiles of Windows Firewall, as netsh prints them or sets them", v.File)
	}
	p := From(out.Rules, out.Profiles, v, Known{})
	for _, line := range out.Unread {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: the rule in line %d was not understood.", v.File, line))
	}
	if len(out.Rules) > 0 && !out.Ended {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: the list of rules does not end as netsh ends it, and may have been cut.", v.File))
	}
	if out.Cut {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: there are more rules than are read.", v.File))
	}
	return p, nil
}

// readCommands reads a command file: what it leaves where nothing was before.
func readCommands(text string, v policy.View) *policy.Policy {
	s := netsh.ParseCommands(text)
	p := From(s.Rules, s.Profiles, v, Known{})
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if name, ok := strings.CutPrefix(line, title+" "); ok && p.Host == "" {
			p.Host = strings.TrimSuffix(name, ".")
		}
		if note, ok := strings.CutPrefix(line, noteLine); ok {
			p.Remarks = append(p.Remarks, strings.ReplaceAll(note, "%%", "%"))
		}
		if line == netsh.Begin {
			break
		}
	}
	for _, odd := range s.Odd {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: a command was not understood, which may change the rules: %s", v.File, odd))
	}
	if !s.OthersOff && len(s.Rules) > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s: it leaves the rules that are there before, and those are not in it.", v.File))
	}
	return p
}

// From makes a policy of rules and profiles. Windows Firewall has no order: what blocks wins.
// Rules that are disabled are left out.
func From(rules []netsh.Rule, profiles []netsh.Profile, v policy.View, k Known) *policy.Policy {
	b := &builder{p: &policy.Policy{Own: v.Own, In: policy.Drop, Out: policy.Accept, Order: policy.DropWins}, v: v, k: k, ids: map[string]bool{}}
	if k.Profile != netsh.Unknown {
		profiles = slices.DeleteFunc(slices.Clone(profiles), func(q netsh.Profile) bool { return q.Name != k.Profile })
	}
	off, always := b.profiles(profiles)
	if off {
		b.note("the firewall is off, so that its rules are not in force.")
		return b.p
	}
	for i := range rules {
		if len(b.p.Rules) >= maxRules {
			b.note("there are more rules than are read.")
			break
		}
		b.rule(&rules[i], always)
	}
	return b.p
}

// builder collects a policy.
type builder struct {
	p   *policy.Policy
	v   policy.View
	k   Known
	ids map[string]bool
}

func (b *builder) note(format string, args ...any) {
	name := b.v.File
	if name != "" {
		name += ": "
	}
	b.p.Notes = append(b.p.Notes, name+fmt.Sprintf(format, args...))
}

// Names of the rules that stand for what a profile does with everything.
const idOpen = "profile-open"

// profiles sets what happens to what no rule matches: the stricter, where profiles differ or
// are not shown, and beside it a rule that is unsure for what may pass. off tells that all are off,
// always that in all of them nothing comes in whatever rules allow.
func (b *builder) profiles(list []netsh.Profile) (off, always bool) {
	type act struct {
		action policy.Action
		why    string
	}
	var in, out []act
	offs, nones := 0, 0
	for _, q := range list {
		switch {
		case q.State == netsh.Off:
			offs++
			in = append(in, act{policy.Accept, "only where the profile " + title1(q.Name) + " is in force, which is off"})
			out = append(out, act{policy.Accept, "only where the profile " + title1(q.Name) + " is in force, which is off"})
			continue
		case q.NoExceptions:
			nones++
		}
		of := func(w netsh.Word, otherwise policy.Action) act {
			a := act{otherwise, "only where the profile " + title1(q.Name) + " is in force"}
			switch w {
			case netsh.Allow:
				a.action = policy.Accept
			case netsh.Block:
				a.action = policy.Drop
			default:
				b.note("what the profile %s does with what no rule is about is not shown, and taken for what Windows sets up: nothing comes in, everything goes out.", title1(q.Name))
			}
			return a
		}
		in = append(in, of(q.In, policy.Drop))
		out = append(out, of(q.Out, policy.Accept))
	}
	if len(list) == 0 {
		// https://learn.microsoft.com/windows/win32/api/netfw/nf-netfw-inetfwpolicy2-get_defaultinboundaction
		// and …_defaultoutboundaction, read 2026-11-25
		b.note("the profiles are not shown: that nothing comes in and everything goes out where no rule says otherwise is what Windows sets up.")
		return false, false
	}
	if offs == len(list) {
		b.p.In, b.p.Out = policy.Accept, policy.Accept
		return true, false
	}
	b.p.In, b.p.Out = policy.Accept, policy.Accept
	for _, side := range []struct {
		dir  policy.Direction
		to   *policy.Action
		acts []act
	}{{policy.In, &b.p.In, in}, {policy.Out, &b.p.Out, out}} {
		if slices.ContainsFunc(side.acts, func(a act) bool { return a.action == policy.Drop }) {
			*side.to = policy.Drop
			for _, a := range side.acts {
				if a.action == policy.Accept {
					b.add(policy.Rule{ID: b.id(idOpen), Dir: side.dir, Action: policy.Accept, Unsure: a.why, At: b.v.File})
				}
			}
		}
	}
	if offs > 0 {
		b.note("the firewall is off in some profiles: what is said here holds in the others.")
	}
	if nones > 0 && nones == len(list)-offs {
		b.note("nothing comes in whatever rules allow: the profiles block all of it.")
	} else if nones > 0 {
		b.note("in some profiles nothing comes in whatever rules allow: what is said here holds in the others.")
	}
	return false, nones > 0 && nones == len(list)
}

// title1 is a profile's name as people know it.
func title1(w netsh.Word) string {
	s := w.String()
	return strings.ToUpper(s[:1]) + s[1:]
}

// own finds the id and the reason that a description of ours has.
var own = regexp.MustCompile(`^\[([A-Za-z0-9-]{1,200})\] ?(.*)$`)

// id makes an id out of a name, and no two the same.
func (b *builder) id(name string) string {
	const longest = 60
	word := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name), "-")
	for strings.Contains(word, "--") {
		word = strings.ReplaceAll(word, "--", "-")
	}
	if word = strings.Trim(word[:min(len(word), longest)], "-"); word == "" {
		word = "rule"
	}
	return b.unique(word)
}

func (b *builder) unique(word string) string {
	id := word
	for n := 2; b.ids[id]; n++ {
		id = word + "-" + strconv.Itoa(n)
	}
	b.ids[id] = true
	return id
}

func (b *builder) add(r policy.Rule) { b.p.Rules = append(b.p.Rules, r) }

// rule adds one rule, as one of the policy for each family of addresses, and for each direction
// or action where that is not known.
func (b *builder) rule(r *netsh.Rule, noneIn bool) {
	if r.Enabled == netsh.No {
		return
	}
	q := policy.Rule{Program: r.Program, Service: r.Service, Comment: r.Name, At: fmt.Sprintf("%s:%d", b.v.File, r.Line)}
	var unsure []string
	if len(r.Odd) > 0 {
		unsure = append(unsure, "not understood: "+strings.Join(r.Odd, "; "))
	}
	if len(r.Profiles) > 0 {
		var names []string
		for _, w := range r.Profiles {
			names = append(names, title1(w))
		}
		switch {
		case b.k.Profile == netsh.Unknown:
			unsure = append(unsure, "only where the profile "+strings.Join(names, " or ")+" is in force")
		case !slices.Contains(r.Profiles, b.k.Profile):
			return
		}
	}
	if len(r.Interfaces) > 0 {
		unsure = append(unsure, "only on adapters of the kind "+strings.Join(r.Interfaces, ", "))
	}
	if r.Security != "" && r.Action != netsh.Bypass {
		unsure = append(unsure, "only what IPsec has authenticated ("+r.Security+")")
	}
	if r.Action == netsh.Bypass {
		unsure = append(unsure, "only what IPsec has authenticated, and that even against rules that block")
	}
	say := func(why string) { unsure = append(unsure, why) }
	b.protocol(&q, r, say)
	local := b.addresses(r.Local, say)
	remote := b.addresses(r.Remote, say)
	id := ""
	if m := own.FindStringSubmatch(r.Description); m != nil && strings.HasPrefix(r.Name, "oldguard ") {
		id, q.Comment = b.unique(m[1]), m[2]
	}
	q.Unsure = strings.Join(unsure, "; ")
	for _, dir := range either(r.Dir, netsh.In, netsh.Out) {
		for _, action := range either(r.Action, netsh.Allow, netsh.Block) {
			q.Dir, q.Action = policy.In, policy.Accept
			if dir == netsh.Out {
				q.Dir = policy.Out
			}
			if action == netsh.Block {
				q.Action = policy.Drop
			}
			if noneIn && q.Dir == policy.In && q.Action == policy.Accept {
				continue
			}
			for _, f := range families(q.Proto, local, remote) {
				each := q
				each.Local, each.Remote = f[0], f[1]
				if each.ID, id = id, ""; each.ID == "" {
					each.ID = b.id(r.Name)
				}
				b.add(each)
			}
		}
	}
}

// either gives a word, or both that it may be.
func either(w, a, b netsh.Word) []netsh.Word {
	if w == netsh.Unknown {
		return []netsh.Word{a, b}
	}
	if w == b {
		return []netsh.Word{b}
	}
	return []netsh.Word{a}
}

// families cuts a rule in two where its addresses are of both, and leaves out what no packet
// has: addresses of different families, or such as the protocol is not of.
func families(p policy.Proto, local, remote []netip.Prefix) (out [][2][]netip.Prefix) {
	of := func(list []netip.Prefix, v4 bool) []netip.Prefix {
		return slices.DeleteFunc(slices.Clone(list), func(p netip.Prefix) bool { return p.Addr().Is4() != v4 })
	}
	if len(local)+len(remote) == 0 {
		return [][2][]netip.Prefix{{nil, nil}}
	}
	for _, v4 := range []bool{true, false} {
		l, r := of(local, v4), of(remote, v4)
		if len(local) > 0 && len(l) == 0 || len(remote) > 0 && len(r) == 0 || p == policy.ICMP && !v4 || p == policy.ICMPv6 && v4 {
			continue
		}
		out = append(out, [2][]netip.Prefix{l, r})
	}
	return out
}

// protocol sets protocol, ports and types of messages.
func (b *builder) protocol(q *policy.Rule, r *netsh.Rule, say func(string)) {
	switch r.Protocol {
	case "":
	case "TCP":
		q.Proto = policy.TCP
	case "UDP":
		q.Proto = policy.UDP
	case "ICMPv4":
		q.Proto = policy.ICMP
	case "ICMPv6":
		q.Proto = policy.ICMPv6
	default:
		n, err := strconv.ParseUint(r.Protocol, 10, 8)
		if q.Proto = policy.Proto(n); err != nil || n == 0 {
			say("only protocol " + r.Protocol)
		}
	}
	for _, t := range r.ICMP {
		if q.Proto == policy.ICMP || q.Proto == policy.ICMPv6 {
			q.ICMP = append(q.ICMP, policy.ICMPType{Type: t.Type, Code: t.Code})
		}
	}
	switch {
	case q.Proto.HasPorts():
		q.LocalPorts, q.RemotePorts = ports(r.LocalPorts, say), ports(r.RemotePorts, say)
	case len(r.LocalPorts)+len(r.RemotePorts) > 0:
		say("only with ports, of a protocol that has none")
	}
}

// keywordPorts are what port keywords stand for at most. That the endpoint mapper waits at 135 and
// RPC gives out ports above 1024 is Microsoft's word, as is that Windows decides which:
// https://learn.microsoft.com/troubleshoot/windows-server/networking/service-overview-and-network-port-requirements
// and MS-FASP 2.2.14 (v20260511), read 2026-11-25.
var keywordPorts = map[string]struct {
	ports policy.Ports
	why   string // empty where it is exact
}{
	"rpc-epmap": {policy.Ports{From: 135, To: 135}, ""},
	"rpc":       {policy.Ports{From: 1024, To: 65535}, "only the ports that RPC has given out"},
}

// ports reads a list of ports: none for all of them.
func ports(list []string, say func(string)) []policy.Ports {
	var spans []space.Span[space.Num]
	for _, s := range list {
		if p, ok := netsh.PortRange(s); ok {
			spans = append(spans, space.Span[space.Num]{From: space.Num(p[0]), To: space.Num(p[1])})
			continue
		}
		k, ok := keywordPorts[strings.ToLower(s)]
		if !ok {
			say("only the ports that " + s + " stands for")
			return nil
		}
		if k.why != "" {
			say(k.why)
		}
		spans = append(spans, space.Span[space.Num]{From: space.Num(k.ports.From), To: space.Num(k.ports.To)})
	}
	set := space.SetOf(spans...)
	if set.Equal(space.AllNums) {
		return nil
	}
	var out []policy.Ports
	for _, p := range set {
		out = append(out, policy.Ports{From: uint16(p.From), To: uint16(p.To)})
	}
	return out
}

// addresses reads a list of addresses, networks, ranges and keywords: none for any.
func (b *builder) addresses(list []string, say func(string)) []netip.Prefix {
	var spans []space.Span[netip.Addr]
	nets := func(list ...netip.Prefix) { spans = append(spans, space.Prefixes(list...)...) }
	for _, s := range list {
		if first, last, ranged := strings.Cut(s, "-"); ranged {
			from, err1 := netip.ParseAddr(first)
			to, err2 := netip.ParseAddr(last)
			if err1 == nil && err2 == nil {
				spans = append(spans, space.Span[netip.Addr]{From: from.WithZone(""), To: to.WithZone("")})
				continue
			}
		}
		if p, ok := network(s); ok {
			nets(p)
			continue
		}
		found := false
		for name, p := range b.k.Keywords {
			if strings.EqualFold(name, s) {
				nets(p...)
				found = true
			}
		}
		if !found {
			say("only the addresses that " + s + " stands for")
			return nil
		}
	}
	return space.ToPrefixes(space.SetOf(spans...))
}

// network reads an address, or a network with the length of its prefix or a mask.
func network(s string) (netip.Prefix, bool) {
	head, bits, masked := strings.Cut(s, "/")
	a, err := netip.ParseAddr(head)
	if err != nil {
		return netip.Prefix{}, false
	}
	a = a.Unmap().WithZone("")
	if !masked {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	n, err := strconv.Atoi(bits)
	if m, notMask := netip.ParseAddr(bits); err != nil && notMask == nil && m.Is4() && a.Is4() {
		n, err = 0, nil
		b := m.As4()
		ones := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		for ones&(1<<31) != 0 {
			n, ones = n+1, ones<<1
		}
		if ones != 0 {
			return netip.Prefix{}, false
		}
	}
	if err != nil {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(n)
	return p, err == nil
}
