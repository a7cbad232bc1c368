// Package netsh reads what netsh prints about Windows Firewall, in any display language, and the
// commands that set it. It turns text into structures and draws no conclusions.
//
// Labels are translated and differ by release, so nothing rests on them: a rule is a line, a
// line of dashes, and fields in an order that is the same everywhere. Values are translated
// too; which words are known, and from where, is in words.go. A word that is not known is kept and
// reported.
//
// Whoever may write a rule's description can write lines in it that look like another
// rule: netsh prints them as they are, and nothing in the text tells the difference.
package netsh

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read. A plain Server 2008 has some 300 rules, a machine with lists of
// blocked addresses some thousands.
const (
	maxRules = 50_000
	maxItems = 20_000 // addresses or ports of a rule
	maxText  = 2_000  // bytes of a name, a description, a path
	maxOdd   = 20     // words of a rule that are not understood
	maxShown = 80     // bytes of such a word
)

// Rule is a rule of Windows Firewall.
type Rule struct {
	Line int // where it begins, from 1
	Name string
	// Description is printed with verbose only, and where there is one.
	Description, Group   string
	Enabled, Dir, Action Word
	// Profiles are the ones it is for; none means all.
	Profiles []Word
	// Local and Remote are addresses, networks, ranges (a-b) and keywords such as
	// LocalSubnet, as printed; none means any.
	Local, Remote []string
	// Protocol is TCP, UDP, ICMPv4, ICMPv6 or a number; empty means any.
	Protocol string
	// LocalPorts and RemotePorts are ports, ranges (a-b) and keywords such as RPC; none
	// means any.
	LocalPorts, RemotePorts []string
	// ICMP are the types of messages; none means any.
	ICMP []ICMP
	Edge string // as printed
	// Verbose tells whether the fields below were printed at all.
	Verbose bool
	// Program and Service are empty for any. A service of * means all services.
	Program, Service string
	Interfaces       []string // types of adapters: LAN, Wireless, RAS; none means any
	Security         string   // Authenticate, AuthEnc, AuthDynEnc, AuthNoEncap; empty for none
	Source           string   // as printed
	// Odd are fields that were not understood, as "label: value". What such a field would
	// say is left out above, as if it said any.
	Odd []string
}

// ICMP is a type of message and its code, -1 for any.
type ICMP struct {
	Type uint8
	Code int16
}

// Profile is the settings of a profile. What was not printed is Unknown.
type Profile struct {
	Line    int
	Name    Word // Domain, Private, Public
	Heading string
	State   Word // On or Off
	// In and Out are Allow or Block: what happens to what no rule matches.
	In, Out Word
	// NoExceptions tells that nothing comes in, whatever rules allow.
	NoExceptions bool
	// LogDropped and LogAllowed are Yes or No.
	LogDropped, LogAllowed Word
	LogFile                string
	Odd                    []string
}

// Output is what a text holds.
type Output struct {
	Rules []Rule
	// Ended tells that the list of rules is followed by netsh's last word, such as Ok.
	Ended    bool
	Profiles []Profile
	// Opened is the number of ports and programs that the old netsh firewall lists as
	// open. It does not show for whom, and its successor lists them all as rules.
	Opened int
	// Unread are the lines at which a rule begins that could not be read at all.
	Unread []int
	// Cut tells that there are more rules than are read.
	Cut bool
}

// Empty reports whether nothing was found: no rule and no profile.
func (o *Output) Empty() bool { return len(o.Rules) == 0 && len(o.Profiles) == 0 }

// Parse reads what netsh advfirewall firewall show rule, netsh advfirewall show and netsh
// firewall show print, each or one after the other. It never fails: a text that holds
// none of them is empty.
func Parse(text string) *Output {
	p := &parser{lines: lines(text)}
	p.whole = len(p.lines)
	if !strings.HasSuffix(text, "\n") {
		p.whole-- // the last line may have been cut
	}
	p.split()
	p.learn()
	for i := range p.blocks {
		p.rule(&p.blocks[i])
	}
	p.profiles()
	p.old()
	return &p.out
}

// lines splits at line ends, also doubled ones.
func lines(text string) []string {
	out := make([]string, 0, strings.Count(text, "\n")+1)
	for line := range strings.Lines(text) {
		out = append(out, strings.TrimRight(line, " \t\r\n"))
	}
	return out
}

// dashes reports whether a line is one below a heading: 70 of netsh advfirewall, 67 of netsh
// firewall.
func dashes(line string) bool {
	line = strings.TrimSpace(line)
	return len(line) >= 20 && strings.Trim(line, "-") == ""
}

// field is a line "label: value", with the lines below that go on with the value.
type field struct {
	label, value string
	more         []string
}

// fieldOf cuts a line at the first colon that ends a word, also a wide one. A line that is
// indented, or has none, is no field.
func fieldOf(line string) (label, value string, ok bool) {
	if line == "" || line[0] == ' ' || line[0] == '\t' {
		return "", "", false
	}
	for i, c := range line {
		if c != ':' && c != '：' {
			continue
		}
		rest := line[i+utf8.RuneLen(c):]
		if rest == "" || rest[0] == ' ' || rest[0] == '\t' || c == '：' {
			return strings.TrimRight(line[:i], " \u00a0"), strings.TrimSpace(rest), i > 0
		}
	}
	return "", "", false
}

// block is a rule: its name, and its fields.
type block struct {
	line   int
	label  string
	name   string
	fields []field
	tail   bool // something follows that is no field
}

type parser struct {
	lines  []string
	whole  int // number of lines that have an end
	blocks []block
	heads  []int           // lines with a heading that is no rule's name, with dashes below
	proto  string          // how the language calls the protocol
	any    map[string]bool // words that mean any, beyond those known
	out    Output
}

// split finds the rules: a label with a value, and dashes below. A heading has no value.
func (p *parser) split() {
	for i := 0; i+1 < len(p.lines); i++ {
		if !dashes(p.lines[i+1]) || dashes(p.lines[i]) {
			continue
		}
		label, name, ok := fieldOf(p.lines[i])
		if !ok || name == "" {
			p.heads = append(p.heads, i)
			continue
		}
		if len(p.blocks) >= maxRules {
			p.out.Cut = true
			return
		}
		b := block{line: i, label: label, name: name}
		i += 2
		for ; i < len(p.lines) && (i+1 >= len(p.lines) || !dashes(p.lines[i+1])); i++ {
			line := p.lines[i]
			label, value, ok := fieldOf(line)
			switch n := len(b.fields); {
			case ok:
				b.fields = append(b.fields, field{label: label, value: value})
				b.tail = false
			case strings.TrimSpace(line) == "" || n == 0:
			case line[0] == ' ' || line[0] == '\t':
				if len(b.fields[n-1].more) < maxItems {
					b.fields[n-1].more = append(b.fields[n-1].more, strings.TrimSpace(line))
				}
			default:
				b.tail = b.tail || i < p.whole
			}
		}
		i--
		if n := len(b.fields); n > 0 && b.fields[n-1].label == b.label {
			b.fields = b.fields[:n-1] // the name of another rule, before the text was cut
		}
		p.blocks = append(p.blocks, b)
	}
}

// certain are the values that only the field of the protocol has, in every language.
var certain = map[string]string{"tcp": "TCP", "udp": "UDP", "icmpv4": "ICMPv4", "icmpv6": "ICMPv6"}

// learn finds how the language calls the protocol: the label that has its values most often.
func (p *parser) learn() {
	count := map[string]int{}
	for _, b := range p.blocks {
		for _, f := range b.fields {
			if certain[strings.ToLower(f.value)] != "" {
				count[f.label]++
			}
		}
	}
	most := 0
	for label, n := range count {
		if n > most || n == most && label < p.proto {
			p.proto, most = label, n
		}
	}
	// Local addresses have no keywords, so that one word there is the language's for any:
	// MS-GPFAS 2.2.2.19, LA4 and LA6,
	// https://learn.microsoft.com/openspecs/windows_protocols/ms-gpfas/2efe0b76-7b4a-41ff-9050-1023f8196d16, read 2026-11-25
	p.any = map[string]bool{}
	for i := range p.blocks {
		b := &p.blocks[i]
		at := p.protocolAt(b)
		if at < 0 {
			continue
		}
		word := b.fields[at-toLocal].value
		if !isNetwork(word) && address(word) && !strings.ContainsRune(word, ',') && len(p.any) < maxOdd {
			p.any[word] = true
		}
	}
}

// isAny reports whether a value means any.
func (p *parser) isAny(s string) bool { return anything(s) == Any || p.any[s] }

// The fields before the protocol, counted backwards from it.
const (
	toRemote = 1 + iota
	toLocal
	toGroup
	toProfiles
	toDir
	toEnabled
)

// protocolAt finds the protocol among the fields, -1 if there is none. It is the last that has
// its label, since a description before it may hold anything. Where no rule of the text has
// a protocol, it says the same as the addresses before it: any.
func (p *parser) protocolAt(b *block) int {
	for i := len(b.fields) - 1; i >= toEnabled; i-- {
		f := b.fields[i]
		if p.proto != "" && f.label == p.proto {
			return i
		}
		n, err := strconv.ParseUint(f.value, 10, 8)
		if p.proto == "" && f.value != "" && (err == nil && n > 0 || f.value == b.fields[i-toLocal].value || f.value == b.fields[i-toRemote].value || anything(f.value) == Any) &&
			address(b.fields[i-toLocal].value) && (answers(b.fields[i-toEnabled].value) != Unknown || i == toEnabled) {
			return i
		}
	}
	return -1
}

// address reports whether a value may be a list of local addresses: those, or one word for any.
func address(value string) bool {
	if value == "" || strings.ContainsRune(value, ' ') {
		return false
	}
	for item := range strings.SplitSeq(value, ",") {
		if !isNetwork(item) {
			return item == value && strings.Trim(item, "0123456789.") != ""
		}
	}
	return true
}

// rule reads one block.
func (p *parser) rule(b *block) {
	p.out.Ended = b.tail
	at := p.protocolAt(b)
	if at < 0 {
		p.out.Unread = append(p.out.Unread, b.line+1)
		return
	}
	r := Rule{Line: b.line + 1, Name: clip(b.name)}
	back := func(n int) field { return b.fields[at-n] }
	if at > toEnabled { // what stands before is the description, with whatever it holds
		r.Description = clip(b.fields[0].value)
	}
	r.Enabled = r.word(back(toEnabled), answers)
	r.Dir = r.word(back(toDir), directions)
	r.profiles(back(toProfiles))
	r.Group = clip(back(toGroup).value)
	isAny := p.isAny
	r.Local = r.list(back(toLocal), isAny, isNetwork)
	r.Remote = r.list(back(toRemote), isAny, isRemote)
	rest := b.fields[at+1:]
	r.protocol(b.fields[at], isAny)
	if r.Protocol == "TCP" || r.Protocol == "UDP" {
		rest = r.ports(rest, isAny)
	}
	r.after(rest, isAny)
	p.out.Rules = append(p.out.Rules, r)
}

// word reads a field that has a word of a column.
func (r *Rule) word(f field, column func(string) Word) Word {
	w := column(f.value)
	if w == Unknown {
		r.odd(f.label, f.value)
	}
	return w
}

func (r *Rule) odd(label, value string) {
	if len(r.Odd) >= maxOdd {
		return
	}
	if len(value) > maxShown {
		value = strings.ToValidUTF8(value[:maxShown], "") + "…"
	}
	if len(label) > maxShown {
		label = strings.ToValidUTF8(label[:maxShown], "") + "…"
	}
	r.Odd = append(r.Odd, label+": "+value)
}

func clip(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

// profiles reads the list of profiles: all three are as good as none.
func (r *Rule) profiles(f field) {
	for item := range strings.SplitSeq(f.value, ",") {
		switch w := places(item); {
		case anything(item) == Any:
			r.Profiles = nil
			return
		case w == Unknown:
			r.odd(f.label, f.value)
			r.Profiles = nil
			return
		case !slices.Contains(r.Profiles, w):
			r.Profiles = append(r.Profiles, w)
		}
	}
	slices.Sort(r.Profiles)
	if len(r.Profiles) == 3 {
		r.Profiles = nil
	}
}

// list reads items joined by commas. If one is not understood the list is odd, and as good as
// any: the others alone would be less than it says.
func (r *Rule) list(f field, isAny func(string) bool, known func(string) bool) (out []string) {
	bad := false
	for item := range strings.SplitSeq(f.value, ",") {
		item = strings.TrimSpace(item)
		switch {
		case isAny(item):
			if item == strings.TrimSpace(f.value) {
				return nil
			}
			bad = true
		case known(item) && len(out) < maxItems:
			out = append(out, item)
		default:
			bad = true
		}
	}
	if bad {
		r.odd(f.label, f.value)
		return nil
	}
	return out
}

// keywords of addresses and ports, which no language translates as far as seen: MS-GPFAS
// 2.2.2.3 and 2.2.2.13 (as above) and what netsh calls them.
var (
	addressKeywords = []string{"LocalSubnet", "DNS", "DHCP", "WINS", "DefaultGateway", "Internet", "Intranet", "IntErnet", "IntrAnet", "RmtIntrAnet", "Ply2Renders", "CaptivePortal", "LocalSubnet4", "LocalSubnet6"}
	portKeywords    = []string{"RPC", "RPC-EPMap", "Teredo", "IPHTTPS", "IPTLSIn", "IPTLSOut", "IPHTTPSIn", "IPHTTPSOut", "DHCP", "Ply2Disc", "mDNS", "CortanaOut", "TcpCDPSvc"}
)

func keyword(s string, of []string) bool {
	return slices.ContainsFunc(of, func(k string) bool { return strings.EqualFold(k, s) })
}

func isRemote(s string) bool { return isNetwork(s) || keyword(s, addressKeywords) }
func isPort(s string) bool   { _, ok := PortRange(s); return ok || keyword(s, portKeywords) }

// isNetwork reports whether an item is an address, a network or a range.
func isNetwork(s string) bool {
	if first, last, ranged := strings.Cut(s, "-"); ranged {
		a, err1 := netip.ParseAddr(first)
		b, err2 := netip.ParseAddr(last)
		return err1 == nil && err2 == nil && a.Is4() == b.Is4() && a.Compare(b) <= 0
	}
	head, bits, masked := strings.Cut(s, "/")
	a, err := netip.ParseAddr(head)
	if err != nil || !masked {
		return err == nil
	}
	if n, notNumber := strconv.Atoi(bits); notNumber == nil {
		return n >= 0 && n <= a.BitLen()
	}
	m, err := netip.ParseAddr(bits)
	return err == nil && m.Is4() && a.Is4()
}

// PortRange reads a port or a range of them, as "80" or "5000-5010".
func PortRange(s string) (ports [2]uint16, ok bool) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	a, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	return [2]uint16{uint16(a), uint16(b)}, err1 == nil && err2 == nil && a <= b
}

// protocol reads the protocol and, below it, the table of types of messages.
func (r *Rule) protocol(f field, isAny func(string) bool) {
	n, err := strconv.ParseUint(f.value, 10, 8)
	switch name := certain[strings.ToLower(f.value)]; {
	case name != "":
		r.Protocol = name
	case err == nil:
		r.Protocol = strconv.FormatUint(n, 10)
	case isAny(f.value):
	default:
		r.odd(f.label, f.value)
	}
	if r.Protocol != "ICMPv4" && r.Protocol != "ICMPv6" {
		return
	}
	for i, line := range f.more {
		cells := strings.Fields(line)
		if half := line[:len(line)/2]; line == half+half && isAny(half) {
			cells = []string{half, half} // a word that fills its column
		}
		if len(cells) != 2 {
			r.odd(f.label, line)
			r.ICMP = nil
			return
		}
		typ, err := strconv.ParseUint(cells[0], 10, 8)
		code, err2 := strconv.ParseUint(cells[1], 10, 8)
		switch {
		case err != nil && i == 0: // the heading: Type    Code
		case err != nil && isAny(cells[0]) && isAny(cells[1]):
			r.ICMP = nil
			return
		case err != nil:
			r.odd(f.label, line)
			r.ICMP = nil
			return
		case err2 == nil:
			r.ICMP = append(r.ICMP, ICMP{uint8(typ), int16(code)})
		default:
			if !isAny(cells[1]) { // any code is wider than one that is not understood
				r.odd(f.label, line)
			}
			r.ICMP = append(r.ICMP, ICMP{uint8(typ), -1})
		}
	}
}

// ports takes the two fields of ports, if they are there.
func (r *Rule) ports(rest []field, isAny func(string) bool) []field {
	like := func(f field) bool {
		item, _, _ := strings.Cut(f.value, ",")
		return isAny(f.value) || isPort(strings.TrimSpace(item))
	}
	if len(rest) < 3 || !like(rest[0]) && !like(rest[1]) {
		if len(rest) > 0 {
			r.odd(rest[0].label, "no ports are shown")
		}
		return rest
	}
	r.LocalPorts = r.list(rest[0], isAny, isPort)
	r.RemotePorts = r.list(rest[1], isAny, isPort)
	return rest[2:]
}

// interfaceTypes are those that netsh prints, in every language as far as seen.
var interfaceTypes = map[string]string{"lan": "LAN", "wireless": "Wireless", "ras": "RAS", "remoteaccess": "RAS"}

// securities are what netsh prints of what IPsec must do, likewise.
var securities = map[string]string{"notrequired": "", "authenticate": "Authenticate", "authenc": "AuthEnc", "authdynenc": "AuthDynEnc", "authnoencap": "AuthNoEncap"}

// after reads what follows the protocol and its ports: edge traversal, with verbose the
// program, the service, the adapters, security and the source, and last the action.
func (r *Rule) after(rest []field, isAny func(string) bool) {
	if len(rest) == 0 {
		r.odd("action", "it is not shown")
		return
	}
	r.Action = r.word(rest[len(rest)-1], actions)
	rest = rest[:len(rest)-1]
	if len(rest) > 0 {
		r.Edge = clip(rest[0].value)
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return
	}
	r.Verbose = true
	types := func(f field) ([]string, bool) {
		var out []string
		for item := range strings.SplitSeq(f.value, ",") {
			name := interfaceTypes[strings.ToLower(strings.TrimSpace(item))]
			if name == "" {
				return nil, isAny(f.value)
			}
			out = append(out, name)
		}
		return out, true
	}
	// The adapters are always there, program and service where the rule has one. A service
	// may be any: then the adapters are the field behind it.
	at := slices.IndexFunc(rest, func(f field) bool { _, ok := types(f); return ok })
	if at < 0 {
		for _, f := range rest {
			r.odd(f.label, f.value)
		}
		return
	}
	if _, ok := types(rest[min(at+1, len(rest)-1)]); ok && at+1 < len(rest) && isAny(rest[at].value) {
		at++
	}
	for i, f := range rest[:at] {
		path := strings.ContainsAny(f.value, `\/%`) || strings.EqualFold(f.value, "System") || strings.HasSuffix(strings.ToLower(f.value), ".exe")
		switch {
		case i == 0 && (path || at > 1):
			r.Program = clip(f.value)
		case isAny(f.value):
			r.Service = "*"
		case r.Service == "":
			r.Service = clip(f.value)
		default:
			r.odd(f.label, f.value)
		}
	}
	r.Interfaces, _ = types(rest[at])
	for i, f := range rest[at+1:] {
		security, ok := securities[strings.ToLower(f.value)]
		switch {
		case ok:
			r.Security = security
		case i == 0:
			r.odd(f.label, f.value)
		default:
			r.Source = clip(f.value)
		}
	}
}
