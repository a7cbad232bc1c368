// Package rulescsv is a policy as a table: one row for each rule, for the people who keep a
// firewall that no dialect here is for, and read back as they return it.
package rulescsv

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oldguard/oldguard/internal/policy"
)

// The file is RFC 4180 in UTF-8 with its mark, as the other tables of this program. A
// spreadsheet runs a cell that begins like a formula: such a cell begins with an apostrophe.
// Cells with lists have a space between. Rows are in the order in which the first that matches
// decides; the last two say what happens to the rest.

// columns are the heads. Columns are added at the end.
var columns = []string{
	"id", "machine", "machine_addresses", "direction", "action", "protocol", "source", "source_ports", "destination",
	"destination_ports", "icmp", "program", "service", "reason", "evidence", "not_sure",
}

const (
	anything = "any"
	restIn   = "all other in" // stands for an id in the last two rows; no rule's id has a space
	restOut  = "all other out"
)

// Bounds of what is read.
const (
	maxText  = 64 << 20
	maxRules = 1 << 16
	maxItems = 1 << 20 // addresses, ports and messages of all rows
	maxNotes = 100
	maxQuote = 100
)

// Write writes the policy as a table.
func Write(w io.Writer, p *policy.Policy) error {
	if err := p.Check(); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("\uFEFF")
	out := csv.NewWriter(&b)
	out.UseCRLF = true
	row := func(cells []string) {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		_ = out.Write(cells) // Error tells below
	}
	row(slices.Clone(columns))
	own := addresses(p.Own)
	for _, r := range p.Ordered() {
		row(cells(p, own, r))
	}
	for _, rest := range []policy.Rule{
		{ID: restIn, Dir: policy.In, Action: p.In, Comment: "what no rule names, by others"},
		{ID: restOut, Dir: policy.Out, Action: p.Out, Comment: "what no rule names, by the machine"},
	} {
		row(cells(p, own, &rest))
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

func cells(p *policy.Policy, own string, r *policy.Rule) []string {
	local, remote := networks(r.Local), networks(r.Remote)
	if len(r.Local) == 0 && own != "" {
		local = own
	}
	localPorts, remotePorts := ports(r, r.LocalPorts), ports(r, r.RemotePorts)
	source, sourcePorts, destination, destinationPorts := remote, remotePorts, local, localPorts
	if r.Dir == policy.Out {
		source, sourcePorts, destination, destinationPorts = local, localPorts, remote, remotePorts
	}
	return []string{
		r.ID, p.Host, own, r.Dir.String(), r.Action.String(), protocol(r), source, sourcePorts, destination, destinationPorts,
		messages(r), r.Program, r.Service, r.Comment, r.At, r.Unsure,
	}
}

func addresses(list []netip.Addr) string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return strings.Join(out, " ")
}

func networks(list []netip.Prefix) string {
	if len(list) == 0 {
		return anything
	}
	var out []string
	for _, p := range list {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, " ")
}

func protocol(r *policy.Rule) string {
	if len(r.Except) == 0 {
		return r.Proto.String()
	}
	var not []string
	for _, x := range r.Except {
		not = append(not, x.String())
	}
	return r.Proto.String() + " except " + strings.Join(not, " ")
}

// ports are empty for what has none.
func ports(r *policy.Rule, list []policy.Ports) string {
	if !r.Proto.HasPorts() {
		return ""
	}
	if len(list) == 0 {
		return anything
	}
	var out []string
	for _, p := range list {
		// With a dash a spreadsheet would make a day of 10-12.
		out = append(out, strings.Replace(p.String(), "-", "..", 1))
	}
	return strings.Join(out, " ")
}

func messages(r *policy.Rule) string {
	if r.Proto != policy.ICMP && r.Proto != policy.ICMPv6 {
		return ""
	}
	if len(r.ICMP) == 0 {
		return anything
	}
	var out []string
	for _, m := range r.ICMP {
		s := strconv.Itoa(int(m.Type))
		if m.Code >= 0 {
			s += "(" + strconv.Itoa(int(m.Code)) + ")" // 3/4 is a day in March or April
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// formula are the first characters that make a cell one; the last four are the wide forms that
// spreadsheets of East Asia take for the same.
const formula = "=+-@\t\r\n＝＋－＠"

// harmless gives text for a cell: one line, and never the start of a formula.
func harmless(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if strings.IndexAny(s, formula) == 0 || strings.HasPrefix(s, "'") {
		return "'" + s
	}
	return s
}

// Sniff reports whether text begins like such a table.
func Sniff(text []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte("\uFEFF")), []byte("\n"))
	heads, _ := head(string(line))
	return heads["direction"] && heads["action"] && heads["source"] && heads["destination"]
}

// head splits the first line: a spreadsheet in another language writes other separators.
func head(line string) (heads map[string]bool, comma rune) {
	comma = ','
	for _, c := range ";\t" {
		if strings.Count(line, string(c)) > strings.Count(line, string(comma)) {
			comma = c
		}
	}
	heads = map[string]bool{}
	for h := range strings.SplitSeq(strings.TrimSpace(line), string(comma)) {
		heads[strings.ToLower(strings.Trim(h, `" `))] = true
	}
	return heads, comma
}

// Read reads such a table back, also with its columns in another order, or some of them missing.
// What it could not understand is in the policy's notes, and the rule concerned matches at most what
// was understood.
func Read(text string, v policy.View) (*policy.Policy, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s is larger than %d bytes", v.File, maxText)
	}
	text = strings.TrimPrefix(text, "\uFEFF")
	first, _, _ := strings.Cut(text, "\n")
	_, comma := head(first)
	in := csv.NewReader(strings.NewReader(text))
	in.Comma, in.FieldsPerRecord, in.LazyQuotes = comma, -1, true
	heads, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.File, err)
	}
	t := &table{file: v.File, column: map[string]int{}, p: &policy.Policy{Own: v.Own, Interface: v.Interface}, ids: map[string]bool{}}
	for i, h := range heads {
		t.column[strings.ToLower(strings.TrimSpace(h))] = i
	}
	for {
		t.cells, err = in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.File, err)
		}
		t.line, _ = in.FieldPos(0)
		t.row()
		if len(t.p.Rules) > maxRules || t.items > maxItems {
			return nil, fmt.Errorf("%s has more rules than can be held", v.File)
		}
	}
	if t.left > 0 {
		t.p.Notes = append(t.p.Notes, fmt.Sprintf("%s: %d more that were not understood", v.File, t.left))
	}
	return t.p, nil
}

type table struct {
	file   string
	column map[string]int
	cells  []string
	line   int
	p      *policy.Policy
	ids    map[string]bool
	items  int
	left   int
}

func (t *table) cell(name string) string {
	i, ok := t.column[name]
	if !ok || i >= len(t.cells) {
		return ""
	}
	s := strings.TrimSpace(t.cells[i])
	if rest, ok := strings.CutPrefix(s, "'"); ok && (strings.IndexAny(rest, formula) == 0 || strings.HasPrefix(rest, "'")) {
		return rest
	}
	return s
}

// row reads one rule.
func (t *table) row() {
	r := policy.Rule{
		ID: t.cell("id"), Program: t.cell("program"), Service: t.cell("service"), Comment: t.cell("reason"), At: t.cell("evidence"),
		Unsure: t.cell("not_sure"),
	}
	if r.At == "" {
		r.At = fmt.Sprintf("%s:%d", t.file, t.line)
	}
	if t.p.Host == "" {
		t.p.Host = t.cell("machine")
	}
	if strings.TrimSpace(strings.Join(t.cells, "")) == "" {
		return
	}
	var odd []string
	not := func(name string) { odd = append(odd, name+" "+t.cell(name)) }
	switch strings.ToLower(t.cell("direction")) {
	case "in":
	case "out":
		r.Dir = policy.Out
	default:
		t.note("direction " + t.cell("direction"))
		return
	}
	unknown := false
	switch strings.ToLower(t.cell("action")) {
	case "accept", "allow", "permit":
		r.Action = policy.Accept
	case "drop", "deny", "block", "reject":
	default:
		unknown = true
		not("action")
	}
	switch r.ID {
	case restIn:
		t.p.In = r.Action
		return
	case restOut:
		t.p.Out = r.Action
		return
	}
	if !t.protocol(&r, t.cell("protocol")) {
		not("protocol")
	}
	local, remote, localPorts, remotePorts := "destination", "source", "destination_ports", "source_ports"
	if r.Dir == policy.Out {
		local, remote, localPorts, remotePorts = remote, local, remotePorts, localPorts
	}
	var ok bool
	here, there := []netip.Prefix(nil), []netip.Prefix(nil)
	if own := t.cell("machine_addresses"); own == "" || t.cell(local) != own {
		if here, ok = t.networks(t.cell(local)); !ok {
			not(local)
		}
	}
	if there, ok = t.networks(t.cell(remote)); !ok {
		not(remote)
	}
	if r.Proto.HasPorts() {
		if r.LocalPorts, ok = t.ports(t.cell(localPorts)); !ok {
			not(localPorts)
		}
		if r.RemotePorts, ok = t.ports(t.cell(remotePorts)); !ok {
			not(remotePorts)
		}
	}
	if r.Proto == policy.ICMP || r.Proto == policy.ICMPv6 {
		if r.ICMP, ok = t.messages(t.cell("icmp")); !ok {
			not("icmp")
		}
	}
	if len(odd) > 0 {
		text := strings.Join(odd, ", ")
		t.note(text)
		if r.Unsure == "" {
			r.Unsure = policy.Plain(text, maxQuote)
		}
	}
	t.add(r, here, there, unknown)
}

// add adds the rule: one for each family that both of its sides have, and where the action is not
// known one for each of these.
func (t *table) add(r policy.Rule, here, there []netip.Prefix, unknown bool) {
	for _, v4 := range []bool{true, false} {
		u := r
		u.Local, u.Remote = family(here, v4), family(there, v4)
		switch {
		case len(here) > 0 && len(u.Local) == 0 || len(there) > 0 && len(u.Remote) == 0:
			continue
		case u.Proto == policy.ICMP && !v4 || u.Proto == policy.ICMPv6 && v4:
			continue
		}
		t.id(&u, r.ID)
		t.p.Rules = append(t.p.Rules, u)
		if unknown {
			u.Action = policy.Accept
			t.p.Rules[len(t.p.Rules)-1].Action = policy.Drop
			t.id(&u, r.ID)
			t.p.Rules = append(t.p.Rules, u)
		}
		if len(here)+len(there) == 0 { // of both
			return
		}
	}
}

func family(list []netip.Prefix, v4 bool) (out []netip.Prefix) {
	for _, p := range list {
		if p.Addr().Is4() == v4 {
			out = append(out, p)
		}
	}
	return out
}

// id makes the id one that no other rule has.
func (t *table) id(r *policy.Rule, id string) {
	base := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			return c
		}
		return '-'
	}, id)
	if base == "" {
		base = r.Dir.String()
	}
	r.ID = base
	for n := len(t.p.Rules) + 1; t.ids[r.ID]; n++ {
		r.ID = fmt.Sprintf("%s-row-%d", base, n)
	}
	t.ids[r.ID] = true
}

func (t *table) note(text string) {
	if len(t.p.Notes) >= maxNotes {
		t.left++
		return
	}
	t.p.Notes = append(t.p.Notes, fmt.Sprintf("%s:%d: not understood: %s", t.file, t.line, policy.Plain(text, maxQuote)))
}

var protocols = map[string]policy.Proto{"": policy.Any, anything: policy.Any, "all": policy.Any, "ip": policy.Any, "icmp": policy.ICMP, "tcp": policy.TCP, "udp": policy.UDP, "icmpv6": policy.ICMPv6}

func protocolOf(s string) (policy.Proto, bool) {
	if p, ok := protocols[strings.ToLower(s)]; ok {
		return p, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return policy.Proto(n), err == nil && n > 0
}

func (t *table) protocol(r *policy.Rule, s string) bool {
	s, not, _ := strings.Cut(s, " except ")
	p, ok := protocolOf(s)
	if !ok {
		return false
	}
	r.Proto = p
	for x := range strings.FieldsSeq(not) {
		p, ok := protocolOf(x)
		if !ok || p == policy.Any || r.Proto != policy.Any {
			r.Except = nil
			return false
		}
		r.Except = append(r.Except, p)
	}
	return true
}

// list splits a cell, also as people separate.
func (t *table) list(s string) []string {
	out := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == ';' || r == '\n' || r == '\r' || r == '\t' })
	t.items += len(out)
	if len(out) == 1 && (strings.EqualFold(out[0], anything) || out[0] == "*") {
		return nil
	}
	return out
}

// networks reads addresses and networks; without any it matches any. One that is not understood could
// be any other: then the cell is as if it were empty.
func (t *table) networks(s string) (out []netip.Prefix, ok bool) {
	for _, item := range t.list(s) {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			a, err := netip.ParseAddr(item)
			if err != nil {
				return nil, false
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p = p.Masked(); p.Addr().Is4In6() || p.Addr().Zone() != "" || !p.IsValid() {
			return nil, false
		}
		out = append(out, p)
	}
	return out, true
}

func (t *table) ports(s string) (out []policy.Ports, ok bool) {
	for _, item := range t.list(s) {
		from, to, isRange := item, "", false
		for _, dash := range []string{"..", "-", "–", ":"} {
			if from, to, isRange = strings.Cut(item, dash); isRange {
				break
			}
		}
		a, err := strconv.ParseUint(from, 10, 16)
		b, err2 := a, error(nil)
		if isRange {
			b, err2 = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || err2 != nil || a > b {
			return nil, false
		}
		out = append(out, policy.Ports{From: uint16(a), To: uint16(b)})
	}
	return out, true
}

func (t *table) messages(s string) (out []policy.ICMPType, ok bool) {
	for _, item := range t.list(s) {
		kind, code, has := strings.Cut(strings.TrimSuffix(item, ")"), "(")
		if !has {
			kind, code, has = strings.Cut(item, "/")
		}
		a, err := strconv.ParseUint(kind, 10, 8)
		m := policy.ICMPType{Type: uint8(a), Code: -1}
		if has {
			c, err2 := strconv.ParseUint(code, 10, 8)
			if err2 != nil {
				return nil, false
			}
			m.Code = int16(c)
		}
		if err != nil {
			return nil, false
		}
		out = append(out, m)
	}
	return out, true
}
