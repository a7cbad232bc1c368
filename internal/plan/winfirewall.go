package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	format "github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/netsh"
)

// WindowsFirewall is the policy of the machine's own firewall, by the evidence: its rules, from
// the registry or from what netsh printed, and what its profiles do with the rest. It is nil
// where no evidence shows a rule. What is not known for certain is unsure, or in the notes.
func WindowsFirewall(h *host.Host) *policy.Policy {
	if len(h.FirewallRules) == 0 {
		return nil
	}
	var rules []format.Rule
	var from []host.Source
	seen := map[host.FirewallRule]bool{} // the same rule from several sources counts once
	for _, r := range h.FirewallRules {
		bare := r
		bare.ID, bare.From = "", host.Source{}
		if seen[bare] {
			continue
		}
		seen[bare] = true
		from = append(from, r.From)
		rules = append(rules, printed(r, len(from)))
	}
	v := policy.View{}
	for _, a := range h.Own() {
		v.Own = append(v.Own, a.Addr)
	}
	p := netsh.From(rules, profilesOf(h), v, netsh.Known{Keywords: keywords(h)})
	p.Host = h.Name.Or("")
	for i := range p.Rules {
		if n, err := strconv.Atoi(strings.TrimPrefix(p.Rules[i].At, ":")); err == nil && n > 0 && n <= len(from) {
			p.Rules[i].At = strings.TrimPrefix(from[n-1].Input+", "+from[n-1].At, ", ")
		}
	}
	if !h.FirewallWhole.Or(false) {
		p.Notes = append(p.Notes, "No evidence shows the firewall's rules whole: there may be more.")
	}
	return p
}

// printed is a rule as netsh would print it. n is where it stands in the list.
func printed(r host.FirewallRule, n int) format.Rule {
	list := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, ",")
	}
	word := func(is bool, yes, no format.Word) format.Word {
		if is {
			return yes
		}
		return no
	}
	out := format.Rule{
		Line: n, Name: cmp.Or(r.Name, r.ID), Verbose: true, Protocol: r.Protocol, Local: list(r.Local), Remote: list(r.Peer), LocalPorts: list(r.LocalPort), RemotePorts: list(r.PeerPort),
		Enabled: word(r.Active, format.Yes, format.No), Dir: word(r.Out, format.Out, format.In), Action: word(r.Allow, format.Allow, format.Block),
		Program: r.App, Service: r.Service, Interfaces: list(r.Interfaces), Security: r.Secure,
	}
	if secure, bypass := strings.CutPrefix(r.Secure, "Bypass"); bypass {
		out.Action, out.Security = format.Bypass, strings.TrimSpace(secure)
	}
	// Numbers of those that host writes by name.
	if n := map[string]string{"IGMP": "2", "IPv6": "41", "GRE": "47"}[r.Protocol]; n != "" {
		out.Protocol = n
	}
	for _, p := range list(r.Profiles) {
		if w := map[string]format.Word{"Domain": format.Domain, "Private": format.Private, "Public": format.Public}[p]; w != format.Unknown {
			out.Profiles = append(out.Profiles, w)
		}
	}
	for _, s := range list(r.ICMP) {
		typ, code, _ := strings.Cut(s, ":")
		t, noType := strconv.ParseUint(typ, 10, 8)
		c, noCode := strconv.ParseUint(code, 10, 8)
		m := format.ICMP{Type: uint8(t), Code: int16(c)}
		if code == "*" {
			m.Code, noCode = -1, nil
		}
		if noType != nil || noCode != nil {
			out.ICMP = nil
			out.Odd = append(out.Odd, "types of messages: "+r.ICMP)
			break
		}
		out.ICMP = append(out.ICMP, m)
	}
	return out
}

// profilesOf are the settings of the profiles; group policy's word counts before the
// machine's own. None where no evidence shows any.
func profilesOf(h *host.Host) (out []format.Profile) {
	shown := false
	value := func(names ...string) string {
		for _, n := range names {
			if v, ok := h.Settings[n].Value(); ok {
				shown = true
				if v != host.NotSet {
					return v
				}
			}
		}
		return ""
	}
	for _, p := range []struct {
		word format.Word
		name string
	}{{format.Domain, "domain"}, {format.Private, "private"}, {format.Public, "public"}} {
		q := format.Profile{Name: p.word, State: format.On, In: format.Block, Out: format.Allow} // as Windows sets it up
		if value("policy-firewall-"+p.name, "firewall-"+p.name) == "0" {
			q.State = format.Off
		}
		// An action of 1 blocks, one of 0 allows.
		if value("firewall-"+p.name+"-in") == "0" {
			q.In = format.Allow
		}
		if value("firewall-"+p.name+"-out") == "1" {
			q.Out = format.Block
		}
		q.NoExceptions = value("firewall-"+p.name+"-no-exceptions") == "1"
		out = append(out, q)
	}
	if !shown {
		return nil
	}
	return out
}

// keywords are the addresses that words in rules stand for, as far as the adapters tell.
func keywords(h *host.Host) map[string][]netip.Prefix {
	out := map[string][]netip.Prefix{}
	for _, a := range h.Own() {
		if p, err := a.Addr.Prefix(a.Bits); a.Bits > 0 && err == nil && !slices.Contains(out["LocalSubnet"], p) {
			out["LocalSubnet"] = append(out["LocalSubnet"], p)
		}
	}
	one := func(word string, list []string) {
		for _, s := range list {
			if a, err := netip.ParseAddr(s); err == nil {
				a = a.Unmap().WithZone("")
				out[word] = append(out[word], netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	for _, a := range h.Adapters {
		one("DefaultGateway", a.Gateways)
		one("DNS", a.NameServers)
	}
	return out
}
