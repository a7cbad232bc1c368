package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/chain"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// A rule is conditions and statements. A condition that is understood narrows the boxes of
// packets; one that is not leaves them as they are, and the rule is unsure: so a rule always
// matches at most what is said of it.

const (
	maxAlternatives = 1 << 14 // boxes of one rule
	maxInlineRules  = 1 << 14 // chains within rules of one file
)

func everything() []space.Box { return []space.Box{space.Everything()} }

// alternative is one way for a packet to match a rule so far.
type alternative struct {
	boxes   []space.Box
	through []chain.Interface
	unsure  string
}

// evaluator reads one rule.
type evaluator struct {
	*reader
	table *table
	s     []token
	i     int

	alts    []alternative
	comment string
	verdict chain.Verdict
	target  string
	decided bool
	// stateful tells that it asks for established conversations, onLink that it asks for
	// packets that no router passed on.
	stateful, onLink bool
	// odd is a statement that may decide and is not understood.
	odd   string
	notes []string
	out   []chain.Rule
}

func (r *reader) rule(t *table, s []token) ([]chain.Rule, error) {
	e := &evaluator{reader: r, table: t, s: s, alts: []alternative{{boxes: everything()}}}
	var hidden []token
	if n := len(s); n > 0 && s[n-1].kind == remark {
		e.s, hidden = s[:n-1], lex(s[n-1].text)
		for i := range hidden {
			hidden[i].line = s[n-1].line
		}
	}
	for i := 0; i+1 < len(e.s); i++ {
		if e.s[i].is("comment") && e.s[i+1].kind == quoted {
			e.comment = e.s[i+1].text
		}
	}
	e.statements()
	// Older versions hide what they do not know behind a number sign, and the verdict with it:
	// "tcp dport 22 # xt_recent counter packets 1 bytes 60 accept".
	if i := slices.IndexFunc(hidden, func(t token) bool { return slices.Contains(verdicts, t.text) }); i >= 0 && !e.decided && len(e.out) == 0 && len(e.s) > 0 {
		e.unsure("# " + quote(hidden[:i]))
		e.s, e.i = hidden[i:], 0
		e.statements()
	}
	if r.elements > maxElements {
		return nil, fmt.Errorf("%s: sets of more than %d elements", r.file, maxElements)
	}
	e.finish()
	return e.out, nil
}

// verdicts end a rule; stops end a condition that is not understood as well.
var (
	verdicts = []string{"accept", "drop", "return", "continue", "jump", "goto", "reject", "queue"}
	stops    = append([]string{
		"counter", "log", "comment", "limit", "quota", "dnat", "snat", "masquerade", "redirect", "tproxy", "notrack", "dup", "last",
	}, verdicts...)
)

func (e *evaluator) more() bool { return e.i < len(e.s) }

// next is the token to come; one without text at the end.
func (e *evaluator) next() token {
	if e.more() {
		return e.s[e.i]
	}
	return token{kind: newline}
}

func (e *evaluator) ahead(n int) token {
	if e.i+n < len(e.s) {
		return e.s[e.i+n]
	}
	return token{kind: newline}
}

func (e *evaluator) take() token {
	t := e.next()
	e.i++
	return t
}

func (e *evaluator) accept(texts ...string) bool {
	if t := e.next(); slices.ContainsFunc(texts, t.is) {
		e.i++
		return true
	}
	return false
}

func (e *evaluator) line() int {
	if len(e.s) > 0 {
		return e.s[0].line
	}
	return 0
}

// unsure marks all alternatives.
func (e *evaluator) unsure(why string) {
	for i := range e.alts {
		if e.alts[i].unsure != "" {
			e.alts[i].unsure += ", "
		}
		e.alts[i].unsure = policy.Plain(e.alts[i].unsure+why, maxQuote)
	}
	e.notes = append(e.notes, why)
}

func (e *evaluator) statements() {
	for e.more() && !e.decided {
		t := e.next()
		if t.kind == newline || t.kind == remark {
			e.i++
			continue
		}
		if t.kind == quoted {
			e.swallow(e.i)
			continue
		}
		switch t.text {
		case "accept":
			e.decide(chain.Accept)
		case "drop", "reject":
			e.decide(chain.Drop)
		case "return":
			e.decide(chain.Return)
		case "continue":
			e.decided, e.alts = true, nil
		case "jump", "goto":
			e.jump()
		case "queue":
			e.odd = "queue"
			e.decide(chain.Unknown)
		case "counter":
			e.i++
			switch {
			case e.accept("name"):
				e.i++
			case e.accept("packets"):
				e.i++
				if e.accept("bytes") {
					e.i++
				}
			case e.next().kind == quoted:
				e.i++
			}
		case "last":
			e.i++
			if e.accept("used") {
				e.skip()
			}
		case "comment":
			e.i += 2
		case "log":
			e.i++
			e.log()
		case "limit", "quota", "meter":
			e.swallow(e.i)
		case "flow":
			if e.ahead(1).is("add") || e.ahead(1).is("offload") {
				e.skip()
			} else {
				e.swallow(e.i)
			}
		case "add", "update", "delete", "set":
			from := e.i
			e.skip()
			if text := textOf(e.s[from:e.i]); strings.Contains(text, "limit") || strings.Contains(text, "quota") || strings.Contains(text, "ct count") {
				e.unsure(quote(e.s[from:e.i]))
			}
		case "notrack", "dup", "masquerade", "redirect", "snat", "dnat", "tproxy":
			e.skip() // changes the packet; the chains that decide see the result
		case "include":
			e.odd = quote(e.s[e.i:])
			e.i = len(e.s)
		case "fwd", "synproxy":
			from := e.i
			e.skip()
			e.odd = quote(e.s[from:e.i])
		case "xt":
			e.xt()
		default:
			e.condition()
		}
	}
}

// skip passes over a statement that decides nothing.
func (e *evaluator) skip() {
	for e.i++; e.more() && !slices.Contains(stops, e.next().text); {
		if e.next().is("{") || e.next().is("(") {
			e.i += balanced(e.s[e.i:])
		} else {
			e.i++
		}
	}
}

func (e *evaluator) decide(v chain.Verdict) {
	e.i++
	e.verdict, e.decided = v, true
}

func (e *evaluator) jump() {
	v := chain.Jump
	if e.take().is("goto") {
		v = chain.Goto
	}
	if e.next().is("{") { // a chain of its own, in place
		n := balanced(e.s[e.i:])
		if len(e.table.chains) < maxInlineRules {
			c := &rules{name: fmt.Sprintf("{%d}", len(e.table.chains)), policy: policy.Accept}
			e.inChain(c, e.s[e.i+1:e.i+max(n-1, 1)])
			e.table.chains = append(e.table.chains, c)
			e.target = c.name
		}
		e.i += n
	} else {
		e.target = e.take().text
	}
	e.verdict, e.decided = v, true
}

func (e *evaluator) log() {
	for {
		switch {
		case e.accept("prefix", "group", "snaplen", "queue-threshold", "level"):
			e.i++
		case e.accept("flags"):
			e.accept("tcp", "ip")
			e.i++
			for e.accept(",") {
				e.i++
			}
		default:
			return
		}
	}
}

// xt is what iptables put there and nft has no words for.
func (e *evaluator) xt() {
	from := e.i
	e.i++
	target := e.take().is("target")
	name := strings.ToUpper(e.take().text)
	if !target {
		e.swallow(from)
		return
	}
	switch name {
	case "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TCPMSS", "CT", "TOS", "DSCP", "TTL", "HL", "CHECKSUM", "CLASSIFY", "TRACE", "SET", "NOTRACK":
	case "REJECT":
		e.i--
		e.decide(chain.Drop)
	default:
		e.odd = quote(e.s[from:min(e.i, len(e.s))])
	}
}

// swallow passes over a condition that is not understood, from where it begins.
func (e *evaluator) swallow(from int) {
	e.i = max(e.i, from+1)
	for e.more() && !slices.Contains(stops, e.next().text) {
		if e.next().is("vmap") {
			e.unsure(quote(e.s[from:e.i]))
			e.i++
			e.vmap(nil)
			return
		}
		if e.next().is("{") || e.next().is("(") {
			e.i += balanced(e.s[e.i:])
		} else {
			e.i++
		}
	}
	e.i = min(e.i, len(e.s))
	e.unsure(quote(e.s[from:e.i]))
}

// part is what a condition asks about.
type part uint8

const (
	nothing part = iota // what the model has no place for
	source
	destination
	sourcePort
	servicePort
	protocol
	message // type of ICMP
	code
	nfproto
	ethertype
	inInterface
	outInterface
	state
	flags
	direction
	hopLimit
)

// field is one thing to ask about, with what it implies.
type field struct {
	part  part
	v4    bool // of IPv4 only
	v6    bool
	proto space.Num // of this protocol only; 0 for any
	th    bool      // TCP or UDP
}

// fieldAt reads what is asked about, and in how many tokens; none if it is not known.
func (e *evaluator) fieldAt() (field, int) {
	a, b := e.next().text, e.ahead(1).text
	if e.next().kind != word {
		return field{}, 0
	}
	if f, ok := fields[a]; ok {
		return f, 1
	}
	if f, ok := fields[a+" "+b]; ok {
		return f, 2
	}
	if f, ok := fields[b]; ok && a == "meta" {
		return f, 2
	}
	return field{}, 0
}

// fields are those that are known, by their names.
var fields = map[string]field{
	"l4proto": {part: protocol}, "nfproto": {part: nfproto}, "protocol": {part: ethertype},
	"iif": {part: inInterface}, "iifname": {part: inInterface}, "oif": {part: outInterface}, "oifname": {part: outInterface},
	"ip saddr": {part: source, v4: true}, "ip daddr": {part: destination, v4: true}, "ip protocol": {part: protocol, v4: true},
	"ip6 saddr": {part: source, v6: true}, "ip6 daddr": {part: destination, v6: true}, "ip6 nexthdr": {part: protocol, v6: true},
	"ip6 hoplimit": {part: hopLimit, v6: true},
	"tcp dport":    {part: servicePort, proto: 6}, "tcp sport": {part: sourcePort, proto: 6}, "tcp flags": {part: flags, proto: 6},
	"udp dport": {part: servicePort, proto: 17}, "udp sport": {part: sourcePort, proto: 17},
	"th dport": {part: servicePort, th: true}, "th sport": {part: sourcePort, th: true},
	"icmp type": {part: message, v4: true, proto: 1}, "icmp code": {part: code, v4: true, proto: 1},
	"icmpv6 type": {part: message, v6: true, proto: 58}, "icmpv6 code": {part: code, v6: true, proto: 58},
	"ct state": {part: state}, "ct direction": {part: direction}, "ether type": {part: ethertype},
	"sctp dport": {proto: 132}, "sctp sport": {proto: 132}, "dccp dport": {proto: 33}, "dccp sport": {proto: 33},
	"udplite dport": {proto: 136}, "udplite sport": {proto: 136},
}

// implied is what the field says of a packet without its value.
func (f field) implied() space.Box {
	b := space.Everything()
	switch {
	case f.v4:
		b.Src, b.Dst = space.AllIPv4, space.AllIPv4
	case f.v6:
		b.Src, b.Dst = space.AllIPv6, space.AllIPv6
	}
	switch {
	case f.proto != 0:
		b.Proto = space.One(f.proto)
	case f.th:
		b.Proto = space.Nums{{From: 6, To: 6}, {From: 17, To: 17}}
	}
	return b
}

// values are what a condition allows for one field.
type values struct {
	addrs space.Addrs
	nums  space.Nums
	names []string // of interfaces
	varies
}

// varies says why the values may be others; empty if they are certain.
type varies string

// all is every value of the field.
func (f field) all() values {
	switch f.part {
	case source, destination:
		if f.v4 {
			return values{addrs: space.AllIPv4}
		}
		return values{addrs: space.AllIPv6}
	case protocol:
		return values{nums: space.AllProtos}
	case message, code, hopLimit:
		return values{nums: space.Nums{{From: 0, To: 255}}}
	case inInterface, outInterface:
		return values{names: []string{"*"}}
	case nothing, sourcePort, servicePort, nfproto, ethertype, state, flags, direction:
	}
	return values{nums: space.AllNums}
}

// condition reads one condition, of one field or of several with dots between them.
func (e *evaluator) condition() {
	from := e.i
	var list []field
	for {
		f, n := e.fieldAt()
		if n == 0 {
			e.swallow(from)
			return
		}
		e.i += n
		list = append(list, f)
		if !e.accept(".") {
			break
		}
	}
	switch t := e.next(); {
	case t.is("set"): // it is given a value
		e.skip()
		return
	case t.is("vmap"):
		e.i++
		e.vmap(list)
		return
	case len(list) == 1 && list[0].part == flags:
		e.flags(from)
		return
	case t.is("&") || t.is("|") || t.is("^") || t.is("<<") || t.is(">>") || t.is("and") || t.is("or") || t.is("xor") || t.is("lshift") || t.is("rshift"):
		for _, f := range list {
			e.narrow([]space.Box{f.implied()}, nil)
		}
		e.swallow(from)
		return
	}
	op := "=="
	for _, o := range []struct{ text, op string }{
		{"==", "=="},
		{"eq", "=="},
		{"!=", "!="},
		{"ne", "!="},
		{"!", "!="},
		{"not", "!="},
		{"<", "<"},
		{"lt", "<"},
		{"<=", "<="},
		{"le", "<="},
		{">", ">"},
		{"gt", ">"},
		{">=", ">="},
		{"ge", ">="},
	} {
		if e.accept(o.text) {
			op = o.op
			break
		}
	}
	if len(list) == 1 {
		e.single(list[0], op, from)
		return
	}
	e.several(list, op, from)
}

// right reads the value side: elements, or the set that is named, and why they may be others.
func (e *evaluator) right(maps bool) (out []element, why string) {
	t := e.take()
	switch {
	case t.is("{"):
		n := balanced(e.s[e.i-1:])
		body := e.s[e.i:max(e.i+n-2, e.i)]
		e.i += n - 1
		return e.split(body, maps), ""
	case t.kind == word && strings.HasPrefix(t.text, "@"):
		s := e.table.sets[t.text[1:]]
		if s == nil {
			return nil, "set " + t.text + " is not there"
		}
		for _, raw := range s.raw {
			out = append(out, e.split(raw, maps)...)
		}
		if s.varies != "" {
			return out, "set " + t.text + ": " + s.varies
		}
		return out, ""
	case t.kind == word || t.kind == quoted:
		// One value, a range with spaces around its dash, a list with commas, or values with dots.
		value := []token{t}
		for e.next().is("-") || e.next().is(".") || e.next().is(",") || e.next().is("|") {
			value = append(value, e.take())
			if e.more() {
				value = append(value, e.take())
			}
		}
		return e.split(value, false), ""
	}
	e.i--
	return nil, "no value"
}

// element is one of a set or a map.
type element struct {
	parts   [][]token
	rest    bool // stands for all others
	verdict []token
}

// split reads elements that have commas between them.
func (e *evaluator) split(list []token, maps bool) (out []element) {
	var cur []token
	flush := func() {
		if len(cur) > 0 {
			e.elements++
			if e.elements <= maxElements {
				out = append(out, newElement(cur, maps))
			}
		}
		cur = nil
	}
	for i := 0; i < len(list); i++ {
		t := list[i]
		switch {
		case t.kind == newline || t.kind == remark:
		case t.is(","):
			flush()
		case t.is("{") && len(cur) == 0: // a variable that is a set, in a set
			n := balanced(list[i:])
			out = append(out, e.flat(list[i+1:i+max(n-1, 1)], maps)...)
			i += n - 1
		case t.is("{"):
			i += balanced(list[i:]) - 1
		default:
			cur = append(cur, t)
		}
	}
	flush()
	return out
}

// flat is split for a set within a set; deeper ones are taken as if their braces were not there.
func (e *evaluator) flat(list []token, maps bool) []element {
	return e.split(slices.DeleteFunc(slices.Clone(list), func(t token) bool { return t.is("{") || t.is("}") }), maps)
}

func newElement(s []token, maps bool) (out element) {
	if maps {
		for i, t := range s {
			if t.kind != word {
				continue
			}
			n := strings.LastIndexByte(t.text, ':')
			if n < 0 {
				continue
			}
			after := t.text[n+1:]
			if after != "" && !slices.Contains(verdicts, after) || after == "" && i+1 < len(s) && strings.HasSuffix(t.text, "::") && s[i+1].is(":") {
				continue // an address of IPv6
			}
			var key []token
			key = append(key, s[:i]...)
			if before := t.text[:n]; before != "" {
				key = append(key, token{word, before, t.line})
			}
			if after != "" {
				out.verdict = append(out.verdict, token{word, after, t.line})
			}
			out.verdict = append(out.verdict, s[i+1:]...)
			s = key
			break
		}
	}
	// What goes with an element: how long it stays, how often it was met.
	for i, t := range s {
		if i > 0 && t.kind == word && slices.Contains([]string{"timeout", "expires", "counter", "comment", "limit", "quota", "last"}, t.text) {
			s = s[:i]
			break
		}
	}
	var cur []token
	for _, t := range s {
		if t.is(".") {
			out.parts = append(out.parts, cur)
			cur = nil
			continue
		}
		cur = append(cur, t)
	}
	out.parts = append(out.parts, cur)
	out.rest = len(out.parts) == 1 && len(cur) == 1 && cur[0].is("*")
	return out
}

// value reads one value, or a range, of a field.
func (f field) value(s []token) (v values, ok bool) {
	if len(s) == 0 {
		return v, false
	}
	text := s[0].text
	if len(s) == 3 && s[1].is("-") {
		text += "-" + s[2].text
	} else if len(s) != 1 {
		return v, false
	}
	switch f.part {
	case source, destination:
		v.addrs, ok = addresses(text)
		ok = ok && (!f.v4 || v.addrs[0].From.Is4()) && (!f.v6 || v.addrs[0].From.Is6())
	case inInterface, outInterface:
		v.names, ok = []string{text}, true
	case sourcePort, servicePort:
		v.nums, ok = numbers(text, chain.Port)
	case protocol:
		v.nums, ok = numbers(text, chain.Protocol)
	case message:
		names := icmpTypes
		if f.v6 {
			names = icmpv6Types
		}
		v.nums, ok = named(text, names, 255)
	case code:
		names := icmpCodes
		if f.v6 {
			names = icmpv6Codes
		}
		v.nums, ok = named(text, names, 255)
	case nfproto:
		v.nums, ok = named(text, nfProtos, 255)
	case ethertype:
		v.nums, ok = named(text, etherTypes, 65535)
	case state:
		v.nums, ok = named(text, ctStates, 65535)
	case direction:
		v.nums, ok = named(text, map[string]space.Num{"original": 0, "reply": 1}, 1)
	case hopLimit:
		v.nums, ok = named(text, nil, 255)
	case nothing, flags:
	}
	return v, ok
}

func named(text string, names map[string]space.Num, limit uint64) (space.Nums, bool) {
	return numbers(text, func(s string) (space.Num, bool) { return chain.Number(s, names, limit) })
}

// numbers reads a number or a range. Names may have dashes themselves.
func numbers(text string, number func(string) (space.Num, bool)) (space.Nums, bool) {
	if n, ok := number(text); ok {
		return space.One(n), true
	}
	for i := range len(text) {
		if text[i] != '-' {
			continue
		}
		from, ok := number(text[:i])
		to, ok2 := number(text[i+1:])
		if ok && ok2 {
			return space.Nums{{From: from, To: to}}, from <= to
		}
	}
	return nil, false
}

// addresses reads an address, a network or a range.
func addresses(text string) (space.Addrs, bool) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		a, err := netip.ParseAddr(from)
		b, err2 := netip.ParseAddr(to)
		if err != nil || err2 != nil || a.BitLen() != b.BitLen() || a.Compare(b) > 0 || odd(a) || odd(b) {
			return nil, false
		}
		return space.Addrs{{From: a, To: b}}, true
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return space.Addrs{{From: a, To: a}}, !odd(a)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || odd(p.Addr()) {
		return nil, false
	}
	return space.Prefixes(p), true
}

func odd(a netip.Addr) bool { return a.Is4In6() || a.Zone() != "" }

// add joins the values of two elements.
func (v *values) add(o values) {
	v.addrs, v.nums, v.names = append(v.addrs, o.addrs...), append(v.nums, o.nums...), append(v.names, o.names...)
}

// gather joins the values of all elements of one field.
func (f field) gather(list []element, why string) *values {
	v := &values{varies: varies(why)}
	for _, el := range list {
		one, ok := f.all(), el.rest
		if !ok && len(el.parts) == 1 {
			one, ok = f.value(el.parts[0])
		}
		if !ok {
			one, v.varies = f.all(), "a value"
		}
		v.add(one)
	}
	v.addrs, v.nums = space.SetOf(v.addrs...), space.SetOf(v.nums...)
	return v
}

// single reads the value of one field, and narrows by it.
func (e *evaluator) single(f field, op string, from int) {
	key := fmt.Sprintf("%+v", f)
	var v *values
	if t := e.next(); t.kind == word && strings.HasPrefix(t.text, "@") && e.table.sets[t.text[1:]] != nil {
		// A set that many rules use is read once.
		s := e.table.sets[t.text[1:]]
		if v = s.cache[key]; v != nil {
			e.i++
		} else {
			list, why := e.right(false)
			v = f.gather(list, why)
			s.cache[key] = v
		}
	} else {
		list, why := e.right(false)
		v = f.gather(list, why)
	}
	if op != "==" && op != "!=" {
		v = f.ordered(op, v)
	}
	if v.varies != "" || f.part == nothing {
		e.narrow([]space.Box{f.implied()}, nil)
		e.unsure(quote(e.s[from:min(e.i, len(e.s))]))
		return
	}
	e.narrowBy(f, *v, op == "!=", from)
}

// ordered turns a comparison with one number into the numbers that it allows.
func (f field) ordered(op string, v *values) *values {
	all := f.all().nums
	if len(v.nums) != 1 || v.nums[0].From != v.nums[0].To || v.varies != "" || len(all) == 0 {
		return &values{varies: "a comparison"}
	}
	n := v.nums[0].From
	below := space.SetOf(space.Span[space.Num]{From: all[0].From, To: n}).And(all)
	switch op {
	case "<":
		return &values{nums: below.Minus(space.One(n))}
	case "<=":
		return &values{nums: below}
	case ">":
		return &values{nums: all.Minus(below)}
	}
	return &values{nums: all.Minus(below.Minus(space.One(n)))}
}

// narrowBy narrows by values of a field that are understood.
func (e *evaluator) narrowBy(f field, v values, not bool, from int) {
	switch f.part {
	case state:
		has := func(n space.Num) bool { return v.nums.Has(n) != not }
		e.stateful = e.stateful || has(ctStates["established"])
		if !has(ctStates["new"]) {
			e.alts = nil
		}
	case direction: // what begins a conversation goes its way
		if v.nums.Has(0) == not {
			e.alts = nil
		}
	case inInterface, outInterface:
		e.narrow(everything(), []chain.Interface{{Out: f.part == outInterface, Names: v.names, Not: not}})
	case hopLimit:
		e.onLink = !not && (v.nums.Equal(space.One(255)) || v.nums.Equal(space.One(1)))
		e.narrow([]space.Box{f.implied()}, nil)
		e.unsure(quote(e.s[from:e.i]))
	case nothing, source, destination, sourcePort, servicePort, protocol, message, code, nfproto, ethertype, flags:
		e.narrow(f.boxes(v, not), nil)
	}
}

// boxes are the packets whose field has such a value, or else has none of these.
func (f field) boxes(v values, not bool) []space.Box {
	b, all := f.implied(), f.all()
	if not {
		v.addrs, v.nums = all.addrs.Minus(v.addrs), all.nums.Minus(v.nums)
	}
	switch f.part {
	case source:
		b.Src = v.addrs
	case destination:
		b.Dst = v.addrs
	case sourcePort, code:
		b.SPort = v.nums
	case servicePort, message:
		b.DPort = v.nums
	case protocol:
		b.Proto = v.nums.And(space.AllProtos)
	case nfproto:
		b.Src = familiesOf(v.nums.Has(nfProtos["ipv4"]), v.nums.Has(nfProtos["ipv6"]))
	case ethertype:
		b.Src = familiesOf(v.nums.Has(etherTypes["ip"]), v.nums.Has(etherTypes["ip6"]))
	case nothing, inInterface, outInterface, state, flags, direction, hopLimit:
	}
	all2 := space.Everything()
	b, ok := b.And(&all2)
	if !ok {
		return nil
	}
	return []space.Box{b}
}

func familiesOf(v4, v6 bool) (out space.Addrs) {
	if v4 {
		out = out.Or(space.AllIPv4)
	}
	if v6 {
		out = out.Or(space.AllIPv6)
	}
	return out
}

// narrow leaves of each alternative what is in one of the boxes.
func (e *evaluator) narrow(boxes []space.Box, through []chain.Interface) {
	var out []alternative
	for _, a := range e.alts {
		if len(a.boxes)*len(boxes) > maxAlternatives {
			e.unsure("too many alternatives")
			return
		}
		if b := meet(a.boxes, boxes); len(b) > 0 {
			out = append(out, alternative{b, slices.Concat(a.through, through), a.unsure})
		}
	}
	e.alts = out
}

func meet(a, b []space.Box) (out []space.Box) {
	for i := range a {
		for j := range b {
			if c, ok := a[i].And(&b[j]); ok {
				out = append(out, c)
			}
		}
	}
	return out
}

// tuple is what one element of several fields allows.
func tuple(list []field, el element) (a alternative, ok bool) {
	a.boxes = everything()
	for i, f := range list {
		if el.rest {
			a.boxes = meet(a.boxes, []space.Box{f.implied()})
			continue
		}
		if i >= len(el.parts) {
			return a, false
		}
		v, good := f.value(el.parts[i])
		if !good || f.part == nothing || f.part == hopLimit || f.part == flags {
			a.boxes = meet(a.boxes, []space.Box{f.implied()})
			a.unsure = "a value"
			continue
		}
		switch f.part {
		case state:
			if !v.nums.Has(ctStates["new"]) {
				return a, false
			}
		case direction:
			if !v.nums.Has(0) {
				return a, false
			}
		case inInterface, outInterface:
			a.through = append(a.through, chain.Interface{Out: f.part == outInterface, Names: v.names})
		case nothing, source, destination, sourcePort, servicePort, protocol, message, code, nfproto, ethertype, flags, hopLimit:
			a.boxes = meet(a.boxes, f.boxes(v, false))
		}
	}
	return a, len(a.boxes) > 0
}

// several reads the values of fields that go together.
func (e *evaluator) several(list []field, op string, from int) {
	elements, why := e.right(false)
	text := quote(e.s[from:min(e.i, len(e.s))])
	var ways []alternative
	var boxes []space.Box
	plain := true
	for _, el := range elements {
		a, ok := tuple(list, el)
		if !ok {
			continue
		}
		plain = plain && len(a.through) == 0 && a.unsure == ""
		ways, boxes = append(ways, a), append(boxes, a.boxes...)
	}
	implied := func() {
		for _, f := range list {
			e.narrow([]space.Box{f.implied()}, nil)
		}
		e.unsure(text)
	}
	switch {
	case why != "" || op != "==" && op != "!=" || len(ways) > maxAlternatives:
		implied()
	case op == "!=" && !plain:
		implied()
	case op == "!=":
		for _, f := range list {
			e.narrow([]space.Box{f.implied()}, nil)
		}
		for i := range e.alts {
			for j := range boxes {
				rest, ok := space.Minus(e.alts[i].boxes, &boxes[j], maxAlternatives)
				if !ok {
					e.unsure(text)
					return
				}
				e.alts[i].boxes = rest
			}
		}
	case plain:
		e.narrow(space.Merge(boxes), nil)
	default:
		var out []alternative
		for _, a := range e.alts {
			for _, w := range ways {
				b := meet(a.boxes, w.boxes)
				if len(b) == 0 {
					continue
				}
				next := alternative{b, slices.Concat(a.through, w.through), a.unsure}
				if w.unsure != "" {
					next.unsure = text
				}
				if out = append(out, next); len(out) > maxAlternatives {
					implied()
					return
				}
			}
		}
		e.alts = out
		if slices.ContainsFunc(out, func(a alternative) bool { return a.unsure == text }) {
			e.notes = append(e.notes, text)
		}
	}
}

// vmap reads a map from values to verdicts: a rule for each. Without fields, what is asked
// for was not understood, and any element may be the one.
func (e *evaluator) vmap(list []field) {
	from := e.i
	elements, why := e.right(true)
	base := e.alts
	var others []space.Box
	exact := list != nil
	for _, el := range elements {
		a, ok := tuple(list, el)
		if !ok {
			if len(list) == 1 && list[0].part == state && len(el.verdict) > 0 && el.verdict[0].is("accept") {
				e.answers = true
			}
			continue
		}
		if a.unsure != "" || why != "" {
			a.unsure = quote(e.s[max(from-1, 0):min(e.i, len(e.s))])
			e.notes = append(e.notes, a.unsure)
		}
		exact = exact && a.unsure == "" && len(a.through) == 0
		if el.rest {
			for i := range others {
				rest, ok := space.Minus(a.boxes, &others[i], maxAlternatives)
				if exact = exact && ok; !exact {
					a.unsure = "what its map does not name"
					break
				}
				a.boxes = rest
			}
			if !exact {
				a.unsure = "what its map does not name"
			}
		} else {
			others = append(others, a.boxes...)
		}
		e.alts = nil
		for _, b := range base {
			if boxes := meet(b.boxes, a.boxes); len(boxes) > 0 {
				unsure := b.unsure
				if unsure == "" {
					unsure = a.unsure
				}
				e.alts = append(e.alts, alternative{boxes, slices.Concat(b.through, a.through), unsure})
			}
		}
		e.verdictOf(el.verdict)
		if len(e.out) > maxAlternatives {
			break
		}
	}
	if why != "" { // any verdict may be there
		e.alts = base
		e.unsure(quote(e.s[max(from-1, 0):min(e.i, len(e.s))]))
		e.verdict = chain.Unknown
		e.emit()
	}
	e.alts, e.decided = nil, true
}

// verdictOf emits the alternatives with a verdict of a map.
func (e *evaluator) verdictOf(s []token) {
	e.target = ""
	switch text := textOf(s[:min(len(s), 1)]); text {
	case "accept":
		e.verdict = chain.Accept
	case "drop":
		e.verdict = chain.Drop
	case "return":
		e.verdict = chain.Return
	case "continue":
		return
	case "jump", "goto":
		e.verdict = chain.Jump
		if text == "goto" {
			e.verdict = chain.Goto
		}
		if len(s) > 1 {
			e.target = s[1].text
		}
	default:
		e.unsure(quote(s))
		e.verdict = chain.Unknown
	}
	e.emit()
}

// emit adds a rule for each alternative.
func (e *evaluator) emit() {
	for _, a := range e.alts {
		e.out = append(e.out, chain.Rule{
			Match: space.Merge(a.boxes), Through: a.through, Unsure: a.unsure,
			Verdict: e.verdict, Target: e.target, At: e.at(e.line()), Comment: e.comment,
		})
	}
}

// flags reads a condition on TCP's flags. What begins a connection has SYN alone.
func (e *evaluator) flags(from int) {
	const syn = 2
	tcp := field{proto: 6}
	e.narrow([]space.Box{tcp.implied()}, nil)
	set := func() (n space.Num, many, ok bool) {
		paren := e.accept("(")
		for {
			f, good := chain.Number(e.next().text, tcpFlags, 255)
			if !good {
				return n, many, false
			}
			e.i++
			many = many || n != 0
			n |= f
			if !e.accept(",", "|") {
				break
			}
		}
		return n, many, !paren || e.accept(")")
	}
	unknown := func() { e.swallow(from) }
	keep := func(yes bool) {
		if !yes {
			e.alts = nil
		}
	}
	switch {
	case e.accept("&", "and"):
		mask, _, ok := set()
		not := e.next().is("!=")
		if !ok || !e.accept("==", "!=") {
			unknown()
			return
		}
		if e.next().is("{") {
			unknown()
			return
		}
		want, _, ok := set()
		if !ok {
			unknown()
			return
		}
		keep((syn&mask == want) != not)
	case e.next().is("{"):
		has := false
		n := balanced(e.s[e.i:])
		end := e.i + n
		for e.i++; e.i < end-1; {
			if e.next().kind == newline || e.accept(",") {
				if e.next().kind == newline {
					e.i++
				}
				continue
			}
			// Within a set each element is all flags there are.
			var sum space.Num
			for {
				f, ok := chain.Number(e.next().text, tcpFlags, 255)
				if !ok {
					e.i = end
					unknown()
					return
				}
				e.i++
				sum |= f
				if !e.accept("|") {
					break
				}
			}
			has = has || sum == syn
		}
		e.i = end
		keep(has)
	default:
		exact, not := e.next().is("=="), e.next().is("!=") || e.next().is("!")
		e.accept("==", "!=", "!")
		want, many, ok := set()
		if !ok {
			unknown()
			return
		}
		if e.accept("/") {
			mask, _, ok := set()
			if !ok {
				unknown()
				return
			}
			keep((syn&mask == want) != not)
			return
		}
		switch {
		case not && many: // versions differ
			unknown()
		case exact || not:
			keep((want == syn) != not)
		default:
			keep(want&syn != 0)
		}
	}
}

// finish emits what the rule comes to.
func (e *evaluator) finish() {
	if e.decided && len(e.alts) == 0 && len(e.out) == 0 {
		e.answers = e.answers || e.stateful && (e.verdict == chain.Accept || e.verdict == chain.Jump || e.verdict == chain.Goto)
		return
	}
	if e.stateful && e.decided && e.verdict == chain.Accept {
		e.answers = true
	}
	if !e.decided {
		if e.odd == "" {
			return // it counts or logs, or has no effect
		}
		e.verdict = chain.Unknown
	}
	if e.onLink && e.verdict == chain.Accept && !slices.ContainsFunc(e.alts, func(a alternative) bool { return !chain.OnLink(a.boxes) }) {
		return
	}
	if e.odd != "" {
		e.unsure(e.odd)
	}
	e.emit()
	for _, s := range e.notes {
		e.note(e.line(), "not understood: %s", s)
	}
}
