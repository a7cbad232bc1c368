// Package netsh is the dialect of Windows Firewall: it writes a policy as a command file for the
// machine itself, and reads what netsh prints there and the command files that people wrote.
package netsh

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/format/batch"
	"github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/space"
)

// Bounds of what is written.
const (
	// maxCommand is the longest command, below the 8191 characters that cmd.exe takes, which
	// also count what variables stand for:
	// https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation, read 2026-11-25
	maxCommand = 7600
	// maxItems are the addresses of a kind, or the ports, of one rule: FW_PORT_RANGE_LIST and
	// its like, MS-FASP 2.2.5 to 2.2.13 (v20260511), range(0, 1000), read 2026-11-25.
	maxItems = 1000
	// maxCommands bounds the file; each takes Windows a fraction of a second.
	maxCommands = 5000
	maxBoxes    = 1 << 12 // of one rule, when the order of rules has to be written out
	maxReason   = 300     // bytes of a reason
	maxName     = 15      // of the machine: NetBIOS
)

// ErrNoCommands is why there is no command file for a policy.
var ErrNoCommands = errors.New("no command file")

// Options are what is known of the machine besides its policy. The zero value is for Windows
// 6.0, and refuses by the name alone.
type Options struct {
	// Version is that of Windows: "6.1". From 6.1 on rules have ranges of ports; before, each
	// port is listed: https://learn.microsoft.com/previous-versions/windows/it-pro/windows-server-2008-r2-and-2008/cc755158(v=ws.10)
	// and MS-GPFAS 2.2.2.19 (LPort2_10), read 2026-11-25.
	Version string
	// ProductID and MachineID are the machine's; the file refuses one with others.
	ProductID, MachineID string
	// Minutes are the time to confirm before the old policy comes back; 0 is 10.
	Minutes int
}

// Write is WriteFor of a machine of which nothing but the policy is known.
func Write(w io.Writer, p *policy.Policy) error { return WriteFor(w, p, Options{}) }

// WriteFor writes the policy as a command file for cmd.exe. On the machine that the policy names,
// and on no other, it saves the firewall's policy, disables every rule there is, makes those of
// the policy, and brings the saved policy back unless somebody confirms in time. What no rule of
// this firewall can say is an error that wraps ErrNoCommands: no file is better than one that
// means something else.
func WriteFor(w io.Writer, p *policy.Policy, o Options) error {
	if err := p.Check(); err != nil {
		return err
	}
	name, _, _ := strings.Cut(strings.ToUpper(p.Host), ".")
	name = name[:min(len(name), maxName)]
	if name == "" {
		return fmt.Errorf("%w: the policy does not name the machine, so the file could not refuse another", ErrNoCommands)
	}
	for _, s := range []string{name, o.Version, o.ProductID, o.MachineID} {
		if !literal(s) {
			return fmt.Errorf("%w: %q holds characters that cmd.exe would not take literally", ErrNoCommands, s)
		}
	}
	if o.Minutes <= 0 {
		o.Minutes = 10
	}
	c := &writer{p: p, ranges: o.Version != "" && o.Version != "6.0"}
	if err := c.rules(); err != nil {
		return err
	}
	_, err := w.Write(c.file(name, o))
	return err
}

// literal reports whether cmd.exe takes a text between quotation marks as it stands.
func literal(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.{}", r)
	}) < 0
}

// plain makes of text, which may be evidence, what stays text between quotation marks in a
// command file and in an argument of netsh: no quotation marks and no controls; the signs of
// percent doubled, since cmd.exe halves them; no bar, which separates the fields of a rule
// where Windows keeps it; no backslash at the end, which would take the closing mark with it; and
// nothing but ASCII, since a file's code page is not the machine's. Delayed expansion is off, so
// that an exclamation mark is one.
func plain(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '|':
			return '/'
		case r == '\n' || r == '\r' || r == '\t' || r == ' ':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > limit {
		s = strings.TrimRight(s[:limit], " ") + "..."
	}
	return strings.ReplaceAll(strings.TrimRight(s, `\ `), "%", "%%")
}

// remark is text for a line of rem, where quotation marks protect nothing.
func remark(s string, limit int) string {
	s = strings.NewReplacer("&", "and", "<", "(", ">", ")", "^", "").Replace(plain(s, limit))
	return strings.Join(strings.Fields(s), " ")
}

// writer collects the commands of the rules.
type writer struct {
	p       *policy.Policy
	ranges  bool
	body    bytes.Buffer // rules, without their name
	n       int
	dropped int // rules that say nothing that is not so without them
	notes   []string
	ids     map[string]bool
}

func (c *writer) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(c.notes, s) {
		c.notes = append(c.notes, s)
	}
}

// rules writes the commands of every rule. This firewall knows no order, and what blocks
// wins: where the policy's first match counts, each rule is written without what others took
// before it.
func (c *writer) rules() error {
	c.ids = map[string]bool{}
	for i := range c.p.Rules {
		c.ids[c.p.Rules[i].ID] = true
	}
	for i := range c.p.Rules {
		r := &c.p.Rules[i]
		boxes := r.Boxes()
		if c.p.Order == policy.FirstMatch {
			var ok bool
			if boxes, ok = c.unordered(i, boxes); !ok {
				return fmt.Errorf("%w: rule %s overlaps those before it in too many ways for a firewall without an order", ErrNoCommands, r.ID)
			}
		}
		if err := c.rule(r, boxes); err != nil {
			return err
		}
	}
	if c.dropped > 0 {
		c.note("%d rules of the policy are not written: without them the same happens.", c.dropped)
	}
	return nil
}

// unordered takes from a rule what rules before it decide otherwise. One that does what happens
// anyway, where nothing matches, is not needed.
func (c *writer) unordered(i int, boxes []space.Box) ([]space.Box, bool) {
	r := &c.p.Rules[i]
	rest := c.p.In
	if r.Dir == policy.Out {
		rest = c.p.Out
	}
	if r.Action == rest {
		c.dropped++
		return nil, true
	}
	for j := range c.p.Rules[:i] {
		before := &c.p.Rules[j]
		if before.Dir != r.Dir || before.Action == r.Action {
			continue
		}
		for _, b := range before.Boxes() {
			var ok bool
			if boxes, ok = space.Minus(boxes, &b, maxBoxes); !ok {
				return nil, false
			}
		}
	}
	if len(boxes) == 0 {
		c.dropped++
	}
	return boxes, true
}

// rule writes the commands of one rule.
func (c *writer) rule(r *policy.Rule, boxes []space.Box) error {
	head := "dir=" + r.Dir.String() + " action=allow"
	if r.Action == policy.Drop {
		head = "dir=" + r.Dir.String() + " action=block"
	}
	head += " enable=no profile=any"
	tail := c.narrowed(r)
	piece := 0
	for i := range boxes {
		for _, v4 := range []bool{true, false} {
			b, ok := boxes[i].Family(v4)
			if !ok {
				continue
			}
			both := whole(&boxes[i]) && !b.IsICMP() // ICMP is of one family, as its protocol says
			if both && !v4 {
				continue // one command for both families
			}
			for _, args := range c.packets(r.Dir, &b, v4, both) {
				if c.n++; c.n > maxCommands {
					return fmt.Errorf("%w: it would have more than %d commands, of which Windows %s would take too many at rule %s", ErrNoCommands, maxCommands, map[bool]string{true: "6.1", false: "6.0, which has no ranges of ports,"}[c.ranges], r.ID)
				}
				piece++
				fmt.Fprintf(&c.body, "%s%s%s description=\"[%s]%s\"\n", head, args, tail, c.id(r.ID, piece), reason(r.Comment))
			}
		}
	}
	return nil
}

// whole reports whether a box is about any address of both families.
func whole(b *space.Box) bool { return b.Src.Equal(space.AllAddrs) && b.Dst.Equal(space.AllAddrs) }

func reason(s string) string {
	if s = plain(s, maxReason); s == "" {
		return ""
	}
	return " " + s
}

// id names a piece of a rule: the first as the rule, the others by a number that no rule has.
func (c *writer) id(id string, piece int) string {
	if piece == 1 {
		return id
	}
	for {
		name := id + "-" + strconv.Itoa(piece)
		if !c.ids[name] {
			c.ids[name] = true
			return name
		}
		piece++
	}
}

// narrowed gives the arguments for a program and a service. What a command file cannot carry is left
// out and said: the rule then is about all programs, as it is for any firewall but this one.
func (c *writer) narrowed(r *policy.Rule) (args string) {
	if r.Program != "" {
		if strings.IndexFunc(r.Program, func(x rune) bool { return x < ' ' || x > '~' || strings.ContainsRune(`"|<>*?`, x) }) >= 0 || len(r.Program) > maxReason || strings.HasSuffix(r.Program, `\`) {
			c.note("Rule %s is about every program: a command file cannot hold the name of the one it is for.", r.ID)
		} else {
			args += ` program="` + strings.ReplaceAll(r.Program, "%", "%%") + `"`
		}
	}
	if r.Service != "" {
		if r.Service != "*" && !literal(strings.ReplaceAll(r.Service, "$", "-")) || len(r.Service) > maxReason {
			c.note("Rule %s is about every service: a command file cannot hold the name of the one it is for.", r.ID)
		} else {
			args += ` service="` + strings.Replace(r.Service, "*", "any", 1) + `"`
		}
	}
	return args
}

// packets gives the arguments that say which packets a box of one family holds, one command each.
// With both it stands for the other family, too.
func (c *writer) packets(dir policy.Direction, b *space.Box, v4, both bool) (out []string) {
	local, remote, localPorts, remotePorts := b.Dst, b.Src, b.DPort, b.SPort
	if dir == policy.Out {
		local, remote, localPorts, remotePorts = b.Src, b.Dst, b.SPort, b.DPort
	}
	all := space.AllIPv6
	if v4 {
		all = space.AllIPv4
	}
	var lists [4][]string // addresses, then ports, of the machine and of the others
	if !both && (!b.IsICMP() || !local.Equal(all) || !remote.Equal(all)) {
		if !local.Equal(all) {
			lists[0] = addresses(local)
		}
		// One side says the family.
		if !remote.Equal(all) || len(lists[0]) == 0 {
			lists[1] = addresses(remote)
		}
	}
	var protocols []string
	switch {
	case b.Proto.Equal(space.AllProtos):
		protocols = []string{"any"}
	case b.IsICMP():
		for _, p := range numbers(b.Proto) {
			protocols = append(protocols, messages(policy.Proto(p), b)...) //nolint:gosec // protocols fit an octet
		}
	case b.HasPorts():
		for _, p := range numbers(b.Proto) {
			protocols = append(protocols, policy.Proto(p).String()) //nolint:gosec // protocols fit an octet
		}
		lists[2], lists[3] = c.ports(localPorts), c.ports(remotePorts)
	default:
		for _, p := range numbers(b.Proto) {
			switch q := policy.Proto(p); { //nolint:gosec // protocols fit an octet
			case q == policy.ICMP && (v4 || both):
				protocols = append(protocols, "icmpv4")
			case q == policy.ICMPv6 && (!v4 || both):
				protocols = append(protocols, "icmpv6")
			case q == policy.ICMP || q == policy.ICMPv6:
			default:
				protocols = append(protocols, q.String())
			}
		}
	}
	for _, p := range protocols {
		out = append(out, split(" protocol="+p, lists)...)
	}
	return out
}

// numbers lists the numbers of a set.
func numbers(s space.Nums) (out []space.Num) {
	for _, p := range s {
		for n := int(p.From); n <= int(p.To); n++ {
			out = append(out, space.Num(n)) //nolint:gosec // between two of them
		}
	}
	return out
}

// messages gives the protocol with each type of message that the box holds, or alone for all.
func messages(p policy.Proto, b *space.Box) (out []string) {
	name := map[policy.Proto]string{policy.ICMP: "icmpv4", policy.ICMPv6: "icmpv6"}[p]
	if b.DPort.Equal(space.AllNums) && b.SPort.Equal(space.AllNums) {
		return []string{name}
	}
	for _, t := range numbers(b.DPort.And(space.Nums{{From: 0, To: 255}})) {
		if b.SPort.Equal(space.AllNums) {
			out = append(out, fmt.Sprintf("%s:%d,any", name, t))
			continue
		}
		for _, code := range numbers(b.SPort.And(space.Nums{{From: 0, To: 255}})) {
			out = append(out, fmt.Sprintf("%s:%d,%d", name, t, code))
		}
	}
	return out
}

// addresses lists a set of one family. An IPv6 network or range must not begin at the
// unspecified address or at the loopback address (MS-FASP 2.2.6 and 2.2.10), which no packet
// on the wire has.
func addresses(s space.Addrs) (out []string) {
	for _, p := range s {
		from := p.From
		for from.Is6() && (from.IsUnspecified() || from.IsLoopback()) && from != p.To {
			from = from.Next()
		}
		one := space.Addrs{{From: from, To: p.To}}
		switch list := space.ToPrefixes(one); {
		case len(list) == 1 && list[0].IsSingleIP():
			out = append(out, from.String())
		case len(list) == 1 && list[0].Bits() > 0:
			out = append(out, list[0].String())
		default:
			out = append(out, from.String()+"-"+p.To.String())
		}
	}
	return out
}

// ports lists a set of ports, none for all of them: as ranges where there are such.
func (c *writer) ports(s space.Nums) (out []string) {
	if s.Equal(space.AllNums) {
		return nil
	}
	if !c.ranges {
		for _, n := range numbers(s) {
			out = append(out, strconv.Itoa(int(n)))
		}
		if len(out) > maxItems {
			c.note("Windows 6.0 has no ranges of ports: long ones are lists of up to %d ports, in as many rules as it takes.", maxItems)
		}
		return out
	}
	for _, p := range s {
		if p.From == p.To {
			out = append(out, strconv.Itoa(int(p.From)))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", p.From, p.To))
		}
	}
	return out
}

// split writes the lists as arguments behind head, in as many commands as their bounds make of
// them: every part of one with every part of the others.
func split(head string, lists [4][]string) []string {
	out := []string{head}
	// What else a command has: names, the log, and three texts, of which two may be doubled.
	room := shares(lists, maxCommand-5*maxReason-600)
	for i, name := range []string{"localip", "remoteip", "localport", "remoteport"} {
		if len(lists[i]) == 0 {
			continue
		}
		var next []string
		for _, part := range chunks(lists[i], room[i]) {
			for _, before := range out {
				next = append(next, before+" "+name+"="+part)
			}
		}
		out = next
	}
	return out
}

// shares divides bytes among the lists: short ones get what they need, and the others the rest in
// equal parts.
func shares(lists [4][]string, bytes int) (out [4]int) {
	order := []int{0, 1, 2, 3}
	for i, l := range lists {
		for _, s := range l {
			out[i] += len(s) + 1
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return out[a] - out[b] })
	for n, i := range order {
		out[i] = min(out[i], bytes/(len(order)-n))
		bytes -= out[i]
	}
	return out
}

// chunks joins items by commas, at most so many bytes and maxItems items at once.
func chunks(list []string, room int) (out []string) {
	from, size := 0, 0
	for i, s := range list {
		if i > from && (size+len(s)+1 > room || i-from >= maxItems) {
			out = append(out, strings.Join(list[from:i], ","))
			from, size = i, 0
		}
		size += len(s) + 1
	}
	return append(out, strings.Join(list[from:], ","))
}

// file puts the commands into the script.
func (c *writer) file(name string, o Options) []byte {
	sum := fnv.New32a()
	_, _ = sum.Write(c.body.Bytes()) // a hash takes everything
	rules := fmt.Sprintf("oldguard %08x", sum.Sum32())
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	text := func(s string) {
		for l := range strings.Lines(s) {
			line("%s", strings.TrimRight(l, "\n"))
		}
	}
	line("@echo off")
	line("%s %s.", title, name)
	text(scriptHead)
	for _, s := range Remarks(c.p) {
		line("rem %s", s)
	}
	notes := slices.Concat(c.p.Notes, c.p.Remarks, c.notes)
	var said []string
	for _, s := range notes {
		if s = remark(s, maxReason); s != "" && !slices.Contains(said, s) {
			said = append(said, s)
			line("%s%s", noteLine, s)
		}
	}
	text(batch.Native)
	for _, v := range [][2]string{
		{"WANT_NAME", name},
		{"WANT_VERSION", o.Version},
		{"WANT_PRODUCTID", o.ProductID},
		{"WANT_GUID", strings.Trim(o.MachineID, "{}")},
		{"RULES", rules},
		{"COUNT", strconv.Itoa(c.n)},
		{"MINUTES", strconv.Itoa(o.Minutes)},
	} {
		line(`set "OG_%s=%s"`, v[0], v[1])
	}
	text(scriptBegin)
	text(batch.Guard(batch.Name, batch.Version, batch.ProductID, batch.GUID))
	text(scriptAsk)
	run := func(failed, format string, args ...any) {
		line("netsh advfirewall %s >>\"%%OG_LOG%%\" 2>&1", fmt.Sprintf(format, args...))
		if failed != "" {
			line("if errorlevel 1 goto :%s", failed)
		}
	}
	line("%s", netsh.Begin)
	for l := range strings.Lines(c.body.String()) {
		run("failed", "firewall add rule name=\"%s\" %s", rules, strings.TrimRight(l, "\n"))
	}
	line("call :arm")
	line("if errorlevel 1 goto :failed")
	run("undone", "set allprofiles logging maxfilesize 32767") // the most it takes
	run("undone", "set allprofiles logging droppedconnections enable")
	run("undone", "set allprofiles logging allowedconnections enable")
	if c.n > 0 {
		run("undone", "firewall set rule name=all new enable=no")
		run("undone", "firewall set rule name=\"%s\" new enable=yes", rules)
	} else {
		run("", "firewall set rule name=all new enable=no") // it fails where there is no rule at all
	}
	acts := map[policy.Action]string{policy.Accept: "allow", policy.Drop: "block"}
	run("undone", "set allprofiles firewallpolicy %sinbound,%soutbound", acts[c.p.In], acts[c.p.Out])
	run("undone", "set allprofiles state on")
	line("%s", netsh.End)
	text(scriptFoot)
	return b.Bytes()
}

// Remarks are what this firewall does otherwise than a policy says, one sentence each. That
// loopback is not filtered and that services have rules of their own was inferred from the
// Windows Filtering Platform's documents; the rest is Microsoft's word:
// https://learn.microsoft.com/windows/security/operating-system-security/network-security/windows-firewall/rules, read 2026-11-25
func Remarks(p *policy.Policy) []string {
	out := []string{
		"A rule that blocks wins over every rule that allows, wherever it stands.",
		"Answers to what was allowed pass by themselves, and so does what the machine says to itself.",
		"Services of Windows have rules of their own, which netsh does not show; they only restrict.",
		"Rules of group policy stay as they are, and may allow more.",
		"Whoever administers the machine, and malware that does, can change all this: the firewall in front of it remains the real one.",
	}
	if p.In == policy.Drop || p.Out == policy.Drop {
		out = append(out, "IPv6 needs rules for its neighbour discovery, ICMPv6 types 133 to 136: without them the machine has none.")
	}
	return out
}
