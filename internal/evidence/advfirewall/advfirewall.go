// Package advfirewall reads what netsh prints about Windows Firewall: its rules, and what its
// profiles do with what no rule is about. How such a text is built is package netsh's
// knowledge.
package advfirewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/firewall"
	"github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/host"
)

const readerName = "advfirewall"

// Reader reads the output of netsh advfirewall.
var Reader = evidence.Reader{
	Name: readerName,
	Doc: `The rules and profiles of Windows Firewall as netsh prints them, in any language.
Obtain them with: netsh advfirewall firewall show rule name=all verbose > firewall.txt
and: netsh advfirewall show allprofiles > profiles.txt
They show which rules there are, whether each is enabled, and what becomes of what no rule is about. A list is taken for
whole if it ends as netsh ends it and has rules of both directions and for each of the profiles apart, so that nobody asked for some
only; then what it does not allow, no rule allows. Without verbose the programs and services are not shown. The words are known of the
main languages; a rule with one that is not known is left out and said so. netsh firewall show config and show state, which are
older, tell whether the firewall is on; for whom a port is open they do not tell.`,
	Sniff: func(p evidence.Probe) bool {
		first := strings.TrimLeft(p.Text, " \t\r\n")
		if first == "" || strings.IndexByte("{[<", first[0]) >= 0 {
			return false
		}
		return !netsh.Parse(p.Text).Empty()
	},
	Read: read,
}

const (
	hintRules    = "run: netsh advfirewall firewall show rule name=all verbose > firewall.txt; or bring the registry: reg save HKLM\\SYSTEM system.hiv"
	hintProfiles = "run: netsh advfirewall show allprofiles > profiles.txt"
)

func read(_ context.Context, in evidence.Input, h *host.Host) ([]evidence.Input, error) {
	text, err := in.Text()
	if err != nil {
		return nil, err
	}
	if parts := console.Parts(in, text); parts != nil {
		return parts, nil
	}
	out := understand(in, netsh.Parse(text))
	if out.Empty() && len(out.Unread) == 0 {
		return nil, fmt.Errorf("%s shows neither rules nor profiles as netsh prints them", in.Name)
	}
	r := reading{h, in.Rank, host.Source{Reader: readerName, Input: in.Name}}
	r.rules(out)
	r.profiles(out)
	if out.Opened > 0 {
		h.Gap(host.Gap{
			What: "firewall rules", From: r.from, Hint: hintRules,
			Why: "netsh firewall lists " + evidence.Count(out.Opened, "port or program that is", "ports and programs that are") + " open, but not for whom",
		})
	}
	return nil, nil
}

// pages are code pages of languages whose words are known, and which evidence.Decode does not
// try where nothing names the language.
var pages = []encoding.Encoding{japanese.ShiftJIS, simplifiedchinese.GBK, charmap.CodePage852}

// understand gives the output, or that of the same bytes in another code page if more words of
// that are known.
func understand(in evidence.Input, out *netsh.Output) *netsh.Output {
	odd := func(o *netsh.Output) (n int) {
		for i := range o.Rules {
			n += len(o.Rules[i].Odd)
		}
		for i := range o.Profiles {
			n += len(o.Profiles[i].Odd)
		}
		return n + len(o.Unread)
	}
	least := odd(out)
	if least == 0 {
		return out
	}
	raw := make([]byte, in.File.Size())
	if n, err := in.File.ReadAt(raw, 0); n < len(raw) || err != nil && !errors.Is(err, io.EOF) || utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0 {
		return out
	}
	for _, page := range pages {
		text, err := page.NewDecoder().String(string(raw))
		if err != nil {
			continue
		}
		other := netsh.Parse(text)
		if n := odd(other); n < least && len(other.Rules) >= len(out.Rules) && len(other.Profiles) >= len(out.Profiles) {
			out, least = other, n
		}
	}
	return out
}

type reading struct {
	h    *host.Host
	rank int
	from host.Source
}

func (r *reading) at(line int) host.Source {
	s := r.from
	s.At = "line " + strconv.Itoa(line)
	return s
}

// maxExamples bounds what a gap quotes.
const maxExamples = 3

// oddities collects what was not understood, for one gap.
type oddities struct {
	n        int
	examples []string
}

func (o *oddities) add(text string, line int) {
	if o.n++; len(o.examples) < maxExamples {
		o.examples = append(o.examples, fmt.Sprintf("%.120q (line %d)", text, line))
	}
}

func (o *oddities) String() string { return strings.Join(o.examples, ", ") }

// rules says the rules, and whether these are all.
func (r *reading) rules(out *netsh.Output) {
	var left, wider oddities // rules left out, and rules of which a part was not understood
	brief := false
	for i := range out.Rules {
		p := &out.Rules[i]
		rule := host.FirewallRule{
			Name: clean(p.Name), Active: p.Enabled == netsh.Yes, Allow: p.Action == netsh.Allow || p.Action == netsh.Bypass, Out: p.Dir == netsh.Out,
			Protocol: p.Protocol, ICMP: types(p.ICMP), Profiles: profiles(p.Profiles), Local: strings.Join(p.Local, ","), LocalPort: strings.Join(p.LocalPorts, ","),
			Peer: strings.Join(p.Remote, ","), PeerPort: strings.Join(p.RemotePorts, ","), App: clean(p.Program), Service: clean(p.Service),
			Interfaces: strings.Join(p.Interfaces, ","), Secure: p.Security, From: r.at(p.Line),
		}
		if p.Action == netsh.Bypass {
			rule.Secure = strings.TrimSpace("Bypass " + rule.Secure)
		}
		brief = brief || !p.Verbose
		if p.Enabled == netsh.Unknown || p.Dir == netsh.Unknown || p.Action == netsh.Unknown {
			left.add(strings.Join(p.Odd, "; "), p.Line)
			continue
		}
		if len(p.Odd) > 0 {
			// What is not understood would narrow the rule: one that allows may be shown wider than
			// it is, but not one that blocks.
			if !rule.Allow {
				left.add(strings.Join(p.Odd, "; "), p.Line)
				continue
			}
			wider.add(strings.Join(p.Odd, "; "), p.Line)
		}
		firewall.Normal(&rule)
		r.h.FirewallRules = append(r.h.FirewallRules, rule)
	}
	for _, line := range out.Unread {
		left.add("the fields are not in the usual order", line)
	}
	gap := func(why, hint string) {
		r.h.Gap(host.Gap{What: "firewall rules", From: r.from, Why: why, Hint: hint})
	}
	if left.n > 0 {
		gap(evidence.Count(left.n, "rule is", "rules are")+" left out, since not understood: "+left.String(), hintRules)
	}
	if wider.n > 0 {
		gap(evidence.Count(wider.n, "rule that allows is", "rules that allow are")+" shown wider than it may be, since a part is not understood: "+wider.String(), hintRules)
	}
	if brief {
		gap("the programs and services of the rules are not shown", hintRules)
	}
	switch {
	case len(out.Rules) == 0:
	case out.Cut:
		gap("there are more rules than are read", "")
	case !out.Ended:
		gap("the list does not end as netsh ends it: it may have been cut", hintRules)
	case left.n == 0 && unfiltered(out.Rules):
		r.h.FirewallWhole.Say(true, r.rank, r.from)
	}
}

// unfiltered tells a list of all rules from one for which netsh was asked for a name, a
// direction or a profile: it has several names, both directions, and for each profile a rule
// that is not for it. Only dynamic or only static rules, which nobody asks for, look the same.
func unfiltered(rules []netsh.Rule) bool {
	const several = 5
	names := map[string]bool{}
	dirs := map[netsh.Word]bool{}
	without := map[netsh.Word]bool{} // profiles that some rule is not for
	for i := range rules {
		if len(names) < several {
			names[rules[i].Name] = true
		}
		dirs[rules[i].Dir] = true
		if len(rules[i].Profiles) == 0 {
			continue
		}
		has := map[netsh.Word]bool{}
		for _, p := range rules[i].Profiles {
			has[p] = true
		}
		for _, p := range []netsh.Word{netsh.Domain, netsh.Private, netsh.Public} {
			if !has[p] {
				without[p] = true
			}
		}
	}
	return len(names) >= several && len(dirs) == 2 && len(without) == 3
}

// settings are the profiles by the names that package registry gives their settings.
var settings = map[netsh.Word]string{netsh.Domain: "firewall-domain", netsh.Private: "firewall-private", netsh.Public: "firewall-public"}

// profiles says the settings in the numbers of the registry, where an action of 1 blocks and
// one of 0 allows: so programs read it that set it, seen 2026-11-25.
func (r *reading) profiles(out *netsh.Output) {
	var odd oddities
	for _, p := range out.Profiles {
		name := settings[p.Name]
		if name == "" {
			odd.add(p.Heading, p.Line)
			continue
		}
		for _, o := range p.Odd {
			odd.add(o, p.Line)
		}
		say := func(name string, is, one, zero netsh.Word) {
			switch is {
			case one:
				r.h.Set(name, "1", r.rank, r.at(p.Line))
			case zero:
				r.h.Set(name, "0", r.rank, r.at(p.Line))
			default:
			}
		}
		say(name, p.State, netsh.On, netsh.Off)
		say(name+"-in", p.In, netsh.Block, netsh.Allow)
		say(name+"-out", p.Out, netsh.Block, netsh.Allow)
		if p.In != netsh.Unknown {
			no := "0"
			if p.NoExceptions {
				no = "1"
			}
			r.h.Set(name+"-no-exceptions", no, r.rank, r.at(p.Line))
		}
	}
	if odd.n > 0 {
		r.h.Gap(host.Gap{What: "firewall profiles", From: r.from, Why: "not understood: " + odd.String(), Hint: hintProfiles + "; or bring the registry: reg save HKLM\\SYSTEM system.hiv"})
	}
}

func types(list []netsh.ICMP) string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = strconv.Itoa(int(t.Type)) + ":*"
		if t.Code >= 0 {
			out[i] = strconv.Itoa(int(t.Type)) + ":" + strconv.Itoa(int(t.Code))
		}
	}
	return strings.Join(out, ",")
}

// profiles writes them as the registry does.
func profiles(list []netsh.Word) string {
	names := map[netsh.Word]string{netsh.Domain: "Domain", netsh.Private: "Private", netsh.Public: "Public"}
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = names[p]
	}
	return strings.Join(out, ",")
}

const maxText = 256 // bytes of a name, as package registry has it

// clean makes one line of what may hold anything, also escapes for a terminal.
func clean(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\ufffd"))
	if len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return ""
	}
	return s
}
