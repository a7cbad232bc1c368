package iptables

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/chain"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// Bounds of what is read.
const (
	maxText  = 64 << 20
	maxWords = 4096 // of a line
	maxNotes = 100
	maxQuote = 100 // bytes of a line that a note shows
)

var beginning = regexp.MustCompile(`(?m)^[ \t]*\*(?:filter|nat|mangle|raw|security)[ \t]*\r?$|^-P (?:INPUT|FORWARD|OUTPUT) (?:ACCEPT|DROP)\b`)

// Sniff reports whether text begins like what iptables-save or iptables -S print, or a file for
// iptables-restore.
func Sniff(text []byte) bool { return beginning.Match(text) }

// Read reads the output of iptables-save, of ip6tables-save, or of both in one file, and the scripts
// that Write writes. A family that the text says nothing of is not known, and is unsure. It fails only
// where the rules are too many to be held, or go round in circles.
func Read(text string, v policy.View) (*policy.Policy, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s is larger than %d bytes", v.File, maxText)
	}
	r := &reader{file: v.File, noted: map[string]bool{}}
	for _, s := range r.sections(text) {
		r.read(s)
	}
	set := &chain.Ruleset{Answers: r.answers, Silent4: true, Silent6: true}
	for _, t := range r.tables {
		set.Tables = append(set.Tables, &t.Table)
		if t.kind == "filter" && slices.ContainsFunc(t.Chains, func(c *chain.Chain) bool { return c.Hook != "" }) {
			set.Silent4, set.Silent6 = set.Silent4 && !t.V4, set.Silent6 && !t.V6
		}
		if t.kind != "nat" {
			continue
		}
		for _, c := range t.Chains {
			if c.Hook = ""; len(c.Rules) > 0 {
				r.notes = append(r.notes, fmt.Sprintf("%s: chain %s of table %s was not followed", r.file, policy.Plain(c.Name, maxQuote), t.Name))
			}
		}
	}
	if r.left > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%s: %d more that were not understood", r.file, r.left))
	}
	set.Notes = r.notes
	return set.Policy(v)
}

type reader struct {
	file    string
	tables  []*table
	notes   []string
	noted   map[string]bool
	left    int
	answers bool
}

type table struct {
	chain.Table
	kind string // filter, nat, mangle
}

func (r *reader) at(line int) string { return fmt.Sprintf("%s:%d", r.file, line) }

func (r *reader) note(line int, text string) {
	s := fmt.Sprintf("%s: not understood: %s", r.at(line), policy.Plain(text, maxQuote))
	switch {
	case r.noted[s]:
	case len(r.notes) < maxNotes:
		r.noted[s] = true
		r.notes = append(r.notes, s)
	default:
		r.left++
	}
}

// section is the lines of one table.
type section struct {
	kind  string
	v4    bool
	lines []string
	first int // number of the first line
}

var (
	// single is a line of a script that adds to the table filter. One with variables or more
	// commands behind is none.
	single    = regexp.MustCompile("(?:^|\\|\\| )(ip6?tables)(?: -w(?: \\d+)?)? (-[AINP] [^$`;|&<>]*)$")
	generated = regexp.MustCompile(`\b(ip6tables|iptables)(?:-legacy|-nft)?-(?:save|restore)\b`)
	six       = regexp.MustCompile(`(?i)\b(?:icmp6|ipv6-icmp|icmpv6-type)\b|[ \t][0-9a-f]{0,4}:[0-9a-f:]*:[0-9a-f.:]*(?:/\d+)?(?:[ \t]|$)`)
	four      = regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b|--icmp-type|-p icmp\b`)
)

// sections splits text into tables, and tells for each which family it is of: by the
// command named before it, else by what it holds, else by the name of the file.
func (r *reader) sections(text string) (out []section) {
	var cur *section
	family := "" // as the last command before says
	n := 0
	end := func() {
		if cur == nil {
			return
		}
		all := strings.Join(cur.lines, "\n")
		switch {
		case family != "":
			cur.v4 = family == "iptables"
		case six.MatchString(all):
		case four.MatchString(all):
			cur.v4 = true
		default:
			cur.v4 = !strings.Contains(r.file, "v6") && !strings.Contains(r.file, "ip6")
		}
		out = append(out, *cur)
		cur = nil
	}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			end()
			cur = &section{kind: line[1:], first: n + 1}
		case line == "COMMIT":
			end()
		case cur != nil:
			cur.lines = append(cur.lines, line)
			continue
		case strings.HasPrefix(line, "-P ") || strings.HasPrefix(line, "-N ") || strings.HasPrefix(line, "-A "): // iptables -S
			cur = &section{kind: "filter", first: n, lines: []string{line}}
		case single.MatchString(line):
			m := single.FindStringSubmatch(line)
			out = append(out, section{kind: "filter", v4: m[1] == "iptables", first: n, lines: []string{m[2]}})
		default:
			if m := generated.FindAllStringSubmatch(line, -1); len(m) == 1 {
				family = m[0][1]
			}
		}
	}
	end()
	return out
}

// hooks are where the chains that the kernel has are.
var hooks = map[string]string{
	"PREROUTING": "prerouting", "INPUT": "input", "FORWARD": "forward", "OUTPUT": "output", "POSTROUTING": "postrouting",
}

func (r *reader) read(s section) {
	family := "ip6"
	if s.v4 {
		family = "ip"
	}
	name := family + " " + policy.Plain(s.kind, maxQuote)
	var t *table
	for _, o := range r.tables {
		if o.Name == name {
			t = o
		}
	}
	if t == nil {
		t = &table{chain.Table{Name: name, V4: s.v4, V6: !s.v4}, s.kind}
		r.tables = append(r.tables, t)
	}
	get := func(name string) *chain.Chain {
		c := t.Chain(name)
		if c == nil {
			c = &chain.Chain{Name: name, Hook: hooks[name], Policy: policy.Accept}
			t.Chains = append(t.Chains, c)
		}
		return c
	}
	for i, text := range s.lines {
		line := s.first + i
		words, ok := split(text)
		if len(words) > 0 && strings.HasPrefix(words[0], "[") { // counters before the rule
			words = words[1:]
		}
		switch {
		case len(words) == 0 || strings.HasPrefix(text, "#"):
		case !ok:
			r.note(line, text)
		case strings.HasPrefix(words[0], ":"):
			c := get(words[0][1:])
			if len(words) > 1 && words[1] == "DROP" {
				c.Policy = policy.Drop
			}
		case words[0] == "-P" && len(words) > 2:
			if c := get(words[1]); words[2] == "DROP" {
				c.Policy = policy.Drop
			}
		case words[0] == "-N" && len(words) > 1:
			get(words[1])
		case (words[0] == "-A" || words[0] == "--append") && len(words) > 1:
			c := get(words[1])
			c.Rules = append(c.Rules, r.rule(s.v4, words[2:], line)...)
		case (words[0] == "-I" || words[0] == "--insert") && len(words) > 1:
			c, rest, place := get(words[1]), words[2:], 1
			if len(rest) > 0 {
				if n, err := strconv.Atoi(rest[0]); err == nil {
					place, rest = n, rest[1:]
				}
			}
			if place != 1 {
				r.note(line, text)
			}
			c.Rules = append(r.rule(s.v4, rest, line), c.Rules...)
		default:
			r.note(line, text)
		}
	}
}

// split takes a line apart at its spaces; quotes hold words together, a backslash takes the
// next character as it is.
func split(s string) (out []string, ok bool) {
	var cur strings.Builder
	in, word := byte(0), false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && in != '\'' && i+1 < len(s):
			i++
			cur.WriteByte(s[i])
			word = true
		case in != 0 && c == in:
			in = 0
		case in == 0 && (c == '"' || c == '\''):
			in, word = c, true
		case in == 0 && (c == ' ' || c == '\t'):
			if word {
				out = append(out, cur.String())
			}
			cur.Reset()
			word = false
		default:
			cur.WriteByte(c)
			word = true
		}
		if len(out) > maxWords {
			return nil, false
		}
	}
	if word {
		out = append(out, cur.String())
	}
	return out, in == 0
}

// Extensions whose options are understood below, or that change nothing.
var modules = []string{"tcp", "udp", "icmp", "icmp6", "icmpv6", "ipv6-icmp", "multiport", "conntrack", "state", "comment", "iprange", "physdev", "hl", "standard"}

// Targets after which a packet goes on, with nothing decided:
// https://ipset.netfilter.org/iptables-extensions.man.html, read 2026-11-25.
var passing = []string{
	"LOG", "ULOG", "NFLOG", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "TCPMSS", "TCPOPTSTRIP", "TOS", "DSCP", "TTL", "HL", "ECN",
	"CHECKSUM", "NOTRACK", "CT", "CLASSIFY", "SET", "TRACE", "AUDIT", "RATEEST", "TEE", "LED", "HMARK", "IDLETIMER",
}

// line is a rule while it is read. What is not understood leaves the box as it is, and makes the rule
// unsure.
type line struct {
	r       *reader
	v4      bool
	n       int
	box     space.Box
	either  space.Nums // ports of which one side has one; nil for no such condition
	never   bool       // about packets that begin nothing
	proto   bool       // one protocol is named
	through []chain.Interface
	unsure  []string
	// extension tells that the last reason is a match extension, whose options may follow.
	extension bool
	comment   string
	verdict   chain.Verdict
	target    string
	decided   bool
	answers   bool
	onLink    string // the hop limit it asks for, of packets that no router passes on
}

func (r *reader) rule(v4 bool, words []string, n int) []chain.Rule {
	l := &line{r: r, v4: v4, n: n, box: space.Everything()}
	l.box.Src, l.box.Dst = l.family(), l.family()
	for len(words) > 0 {
		words = l.option(words)
	}
	if l.never {
		r.answers = r.answers || l.answers && l.decided && l.verdict != chain.Drop && l.verdict != chain.Return
		return nil
	}
	r.answers = r.answers || l.answers && l.verdict == chain.Accept
	if !l.decided {
		return nil
	}
	all := space.Everything()
	b, ok := l.box.And(&all)
	if !ok {
		return nil
	}
	boxes := []space.Box{b}
	if l.either != nil {
		a, c := b, b
		a.DPort, c.SPort = b.DPort.And(l.either), b.SPort.And(l.either)
		boxes = nil
		for _, one := range []space.Box{a, c} {
			if some, ok := one.And(&all); ok {
				boxes = append(boxes, some)
			}
		}
	}
	if l.onLink != "" {
		if len(l.unsure) == 0 && l.verdict == chain.Accept && chain.OnLink(boxes) {
			return nil
		}
		l.unsure = append(l.unsure, "--hl-eq "+l.onLink)
	}
	for _, s := range l.unsure {
		r.note(n, s)
	}
	return []chain.Rule{{
		Match: boxes, Through: l.through, Unsure: policy.Plain(strings.Join(l.unsure, ", "), maxQuote),
		Verdict: l.verdict, Target: l.target, At: r.at(n), Comment: l.comment,
	}}
}

func (l *line) family() space.Addrs {
	if l.v4 {
		return space.AllIPv4
	}
	return space.AllIPv6
}

// option reads one option with what belongs to it, and gives the rest.
func (l *line) option(words []string) []string {
	all := words
	not := words[0] == "!"
	if not {
		words = words[1:]
	}
	if len(words) == 0 {
		return nil
	}
	name := words[0]
	// Older versions have the exclamation mark behind the option.
	value := 1
	if len(words) > 2 && words[1] == "!" {
		not, value = true, 2
	}
	arg := ""
	if len(words) > value {
		arg = words[value]
	}
	rest := func(n int) []string { return words[min(len(words), value+n):] }
	unknown := func() []string {
		end := len(all) - len(words) + 1
		for end < len(all) && !isOption(all[end:]) {
			end++
		}
		text := strings.Join(all[:end], " ")
		if n := len(l.unsure) - 1; n >= 0 && l.extension { // an option of that
			l.unsure[n] += " " + text
		} else {
			l.unsure = append(l.unsure, text)
		}
		return all[end:]
	}
	understood := func(ok bool, n int) []string {
		if !ok {
			l.unsure = append(l.unsure, strings.Join(all[:min(len(all), len(all)-len(words)+value+n)], " "))
		}
		return rest(n)
	}
	switch name {
	case "-p", "--protocol", "--proto":
		return understood(l.protocol(arg, not), 1)
	case "-s", "--source", "--src":
		return understood(l.addresses(&l.box.Src, arg, not), 1)
	case "-d", "--destination", "--dst":
		return understood(l.addresses(&l.box.Dst, arg, not), 1)
	case "--src-range":
		return understood(l.addresses(&l.box.Src, arg, not), 1)
	case "--dst-range":
		return understood(l.addresses(&l.box.Dst, arg, not), 1)
	case "-i", "--in-interface", "--physdev-in":
		l.iface(arg, false, not)
		return rest(1)
	case "-o", "--out-interface", "--physdev-out":
		l.iface(arg, true, not)
		return rest(1)
	case "-f", "--fragment":
		l.never = l.never || !not // the first of a packet's fragments is none to iptables
		return words[1:]
	case "-m", "--match":
		if l.extension = false; slices.Contains(modules, arg) {
			return rest(1)
		}
		l.extension = true
		return understood(false, 1)
	case "--sport", "--source-port", "--sports", "--source-ports":
		return understood(l.ports(&l.box.SPort, arg, not), 1)
	case "--dport", "--destination-port", "--dports", "--destination-ports":
		return understood(l.ports(&l.box.DPort, arg, not), 1)
	case "--ports":
		return understood(l.anyPort(arg, not), 1)
	case "--ctstate", "--state":
		return understood(l.state(arg, not), 1)
	case "--icmp-type", "--icmpv6-type":
		return understood(l.message(arg, not), 1)
	case "--syn":
		l.never = l.never || not
		return words[1:]
	case "--tcp-flags":
		comp := ""
		if len(words) > value+1 {
			comp = words[value+1]
		}
		return understood(l.flags(arg, comp, not), 2)
	case "--hl-eq":
		if arg != "255" && arg != "1" || not {
			return understood(false, 1)
		}
		l.onLink = arg
		return rest(1)
	case "--comment":
		l.comment = arg
		return rest(1)
	case "-c", "--set-counters":
		return rest(2)
	case "-j", "--jump", "-g", "--goto":
		l.jump(name, arg)
		return rest(1)
	}
	if l.target != "" && strings.HasPrefix(name, "-") { // what a target is told
		end := len(all) - len(words) + 1
		for end < len(all) && !isOption(all[end:]) {
			end++
		}
		return all[end:]
	}
	return unknown()
}

// isOption reports whether an option begins here.
func isOption(words []string) bool {
	if words[0] == "!" && len(words) > 1 {
		return strings.HasPrefix(words[1], "-")
	}
	return len(words[0]) > 1 && words[0][0] == '-' && (words[0][1] == '-' || words[0][1] >= 'a' && words[0][1] <= 'z')
}

func (l *line) jump(option, target string) {
	l.target, l.decided = target, true
	switch {
	case option == "-g" || option == "--goto":
		l.verdict = chain.Goto
	case target == "ACCEPT":
		l.verdict = chain.Accept
	case target == "DROP" || target == "REJECT" || target == "TARPIT":
		l.verdict = chain.Drop
	case target == "RETURN":
		l.verdict = chain.Return
	case slices.Contains(passing, target):
		l.decided = false
	default: // a chain; where there is none of the name, it is not known what becomes of it
		l.verdict = chain.Jump
	}
}

func (l *line) protocol(arg string, not bool) bool {
	if arg == "all" || arg == "0" || arg == "any" {
		return !not
	}
	n, ok := chain.Protocol(arg)
	if !ok {
		return false
	}
	set := space.One(n)
	if not {
		set = space.AllProtos.Minus(set)
	}
	l.proto = !not && (n == 6 || n == 17)
	l.box.Proto = l.box.Proto.And(set)
	return true
}

// addresses reads addresses, networks and a range, with commas between.
func (l *line) addresses(side *space.Addrs, arg string, not bool) bool {
	var set space.Addrs
	for part := range strings.SplitSeq(arg, ",") {
		if from, to, ok := strings.Cut(part, "-"); ok {
			a, err := netip.ParseAddr(from)
			b, err2 := netip.ParseAddr(to)
			if err != nil || err2 != nil || a.Is4() != l.v4 || b.Is4() != l.v4 || a.Zone()+b.Zone() != "" || a.Compare(b) > 0 {
				return false
			}
			set = set.Or(space.Addrs{{From: a, To: b}})
			continue
		}
		p, ok := network(part)
		if !ok || p.Addr().Is4() != l.v4 {
			return false
		}
		set = set.Or(space.Prefixes(p))
	}
	set = set.And(l.family()) // an IPv4 address in the form of IPv6 is none
	if not {
		set = l.family().Minus(set)
	}
	*side = side.And(set)
	return true
}

// network reads an address, with a length or a mask behind it.
func network(s string) (netip.Prefix, bool) {
	host, mask, ok := strings.Cut(s, "/")
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Prefix{}, false
	}
	if !ok {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	bits, err := strconv.Atoi(mask)
	if m, e := netip.ParseAddr(mask); e == nil && m.Is4() && a.Is4() {
		bits, err = 0, nil
		b := m.As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		for ; n&0x80000000 != 0; n <<= 1 {
			bits++
		}
		if n != 0 {
			return netip.Prefix{}, false // bits with holes between
		}
	}
	if err != nil {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

func (l *line) iface(name string, out, not bool) {
	if rest, ok := strings.CutSuffix(name, "+"); ok {
		name = rest + "*"
	}
	if name == "*" && !not {
		return
	}
	l.through = append(l.through, chain.Interface{Out: out, Names: []string{name}, Not: not})
}

func (l *line) portSet(arg string, not bool) (set space.Nums, ok bool) {
	if !l.proto { // of what else has ports the model knows none
		return nil, false
	}
	for part := range strings.SplitSeq(arg, ",") {
		from, to, isRange := strings.Cut(part, ":")
		a, b := space.Num(0), space.Num(65535)
		good := true
		if from != "" {
			a, good = chain.Port(from)
		}
		switch {
		case !isRange:
			b = a
		case to != "":
			var g bool
			b, g = chain.Port(to)
			good = good && g
		}
		if !good || from == "" && !isRange || a > b {
			return nil, false
		}
		set = set.Or(space.Nums{{From: a, To: b}})
	}
	if not {
		set = space.AllNums.Minus(set)
	}
	return set, true
}

func (l *line) ports(side *space.Nums, arg string, not bool) bool {
	set, ok := l.portSet(arg, not)
	if ok {
		*side = side.And(set)
	}
	return ok
}

// anyPort reads ports that either side may have; none of the two with an exclamation mark.
func (l *line) anyPort(arg string, not bool) bool {
	set, ok := l.portSet(arg, not)
	switch {
	case !ok:
	case not:
		l.box.SPort, l.box.DPort = l.box.SPort.And(set), l.box.DPort.And(set)
	case l.either != nil:
		return false
	default:
		l.either = set
	}
	return ok
}

func (l *line) state(arg string, not bool) bool {
	isNew, odd := false, false
	for s := range strings.SplitSeq(strings.ToUpper(arg), ",") {
		switch s {
		case "NEW":
			isNew = true
		case "ESTABLISHED":
			l.answers = l.answers || !not
		case "RELATED", "INVALID", "UNTRACKED":
		default: // SNAT, DNAT: such a packet may be new
			odd = true
		}
	}
	switch {
	case odd && (!isNew || not):
		return false
	case isNew == not:
		l.never = true
	}
	return true
}

// Names of messages: https://ipset.netfilter.org/iptables-extensions.man.html has them by
// reference to iptables -p icmp -h, read 2026-11-25 with 1.8.9. The save commands print numbers.
var messages = map[bool]map[string]string{
	true: {
		"echo-reply": "0", "pong": "0", "destination-unreachable": "3", "network-unreachable": "3/0", "host-unreachable": "3/1",
		"protocol-unreachable": "3/2", "port-unreachable": "3/3", "fragmentation-needed": "3/4", "source-quench": "4",
		"redirect": "5", "echo-request": "8", "ping": "8", "router-advertisement": "9", "router-solicitation": "10",
		"time-exceeded": "11", "ttl-exceeded": "11", "parameter-problem": "12", "timestamp-request": "13", "timestamp-reply": "14",
		"address-mask-request": "17", "address-mask-reply": "18",
	},
	false: {
		"destination-unreachable": "1", "no-route": "1/0", "communication-prohibited": "1/1", "address-unreachable": "1/3",
		"port-unreachable": "1/4", "packet-too-big": "2", "time-exceeded": "3", "ttl-exceeded": "3", "parameter-problem": "4",
		"echo-request": "128", "ping": "128", "echo-reply": "129", "pong": "129", "router-solicitation": "133",
		"router-advertisement": "134", "neighbour-solicitation": "135", "neighbor-solicitation": "135",
		"neighbour-advertisement": "136", "neighbor-advertisement": "136", "redirect": "137",
	},
}

func (l *line) message(arg string, not bool) bool {
	if l.v4 && (arg == "any" || arg == "255") {
		return !not
	}
	if s, ok := messages[l.v4][arg]; ok {
		arg = s
	}
	kind, code, hasCode := strings.Cut(arg, "/")
	a, ok := chain.Number(kind, nil, 255)
	b, ok2 := space.Num(0), true
	if hasCode {
		b, ok2 = chain.Number(code, nil, 255)
	}
	if !ok || !ok2 || not && hasCode { // all but one code of one type are two boxes
		return false
	}
	l.box.Proto = l.box.Proto.And(space.One(map[bool]space.Num{true: 1, false: 58}[l.v4]))
	octets := space.Nums{{From: 0, To: 255}}
	set := space.One(a)
	if not {
		set = octets.Minus(set)
	}
	l.box.DPort = l.box.DPort.And(set)
	if hasCode {
		l.box.SPort = l.box.SPort.And(space.One(b))
	}
	return true
}

// flags reads --tcp-flags. What begins a connection has SYN alone.
func (l *line) flags(mask, comp string, not bool) bool {
	const syn = 2
	values := map[string]int{"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}
	sum := func(s string) (n int, ok bool) {
		for f := range strings.SplitSeq(s, ",") {
			v, ok := values[f]
			if !ok {
				return 0, false
			}
			n |= v
		}
		return n, true
	}
	m, ok := sum(mask)
	c, ok2 := sum(comp)
	if !ok || !ok2 {
		return false
	}
	if (syn&m == c) == not {
		l.never = true
	}
	return true
}
