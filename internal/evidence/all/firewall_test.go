package all_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/oldguard/oldguard/internal/format/netsh"
	"github.com/oldguard/oldguard/internal/format/netsh/netshtest"
	"github.com/oldguard/oldguard/internal/format/regf/regftest"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/winreg"
)

// aRule makes a rule by chance, as netsh prints it.
func aRule(r *rand.Rand, n int) netsh.Rule {
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	some := func(chance int, f func() string) (out []string) {
		for r.IntN(chance) == 0 && len(out) < 6 {
			if s := f(); !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + r.IntN(200))}) }
	network := func() string {
		switch r.IntN(4) {
		case 0:
			a := addr()
			return a.String() + "-" + a.Next().Next().String()
		case 1:
			return "2001:db8:" + fmt.Sprint(r.IntN(9)) + "::/48"
		case 2:
			return netip.PrefixFrom(addr(), 28).Masked().String()
		}
		return addr().String() + "/32"
	}
	port := func() string {
		p := 1 + r.IntN(60000)
		if r.IntN(3) > 0 {
			return fmt.Sprint(p)
		}
		return fmt.Sprintf("%d-%d", p, p+10)
	}
	rule := netsh.Rule{
		Name: fmt.Sprintf("Rule %d: of %s", n, one("all", "Straße", "web & co")), Enabled: netsh.Yes, Dir: netsh.In, Action: netsh.Allow,
		Protocol: one("TCP", "UDP", "TCP", "ICMPv4", "ICMPv6", "2", "47", ""), Local: some(4, func() string { return network() }),
		Remote: some(2, func() string {
			if r.IntN(4) == 0 {
				return one("LocalSubnet", "DNS", "DefaultGateway")
			}
			return network()
		}),
		Program: one("", "", "System", `C:\Program Files\x\x.exe`), Service: one("", "", "W32Time", "*"),
		Interfaces: some(4, func() string { return one("LAN", "Wireless", "RAS") }), Security: one("", "", "", "Authenticate", "AuthEnc", "AuthNoEncap"),
	}
	if r.IntN(3) == 0 {
		rule.Enabled = netsh.No
	}
	if r.IntN(3) == 0 {
		rule.Dir = netsh.Out
	}
	if r.IntN(4) == 0 {
		rule.Action = netsh.Block
	}
	if r.IntN(2) == 0 {
		rule.Profiles = [][]netsh.Word{{netsh.Domain}, {netsh.Private, netsh.Public}, {netsh.Public}}[r.IntN(3)]
	}
	switch rule.Protocol {
	case "TCP", "UDP":
		rule.LocalPorts, rule.RemotePorts = some(2, port), some(3, port)
		if rule.Dir == netsh.In && r.IntN(4) == 0 {
			rule.LocalPorts = append(rule.LocalPorts, one("RPC", "RPC-EPMap", "Teredo", "IPHTTPS"))
		}
	case "ICMPv4", "ICMPv6":
		for r.IntN(2) == 0 && len(rule.ICMP) < 4 {
			rule.ICMP = append(rule.ICMP, netsh.ICMP{Type: uint8(r.IntN(256)), Code: int16(r.IntN(4) - 1)})
		}
	}
	return rule
}

// inRegistry writes a rule as the registry has it.
func inRegistry(r netsh.Rule, rnd *rand.Rand) string {
	var b strings.Builder
	put := func(name, value string) { fmt.Fprintf(&b, "%s=%s|", name, value) }
	b.WriteString("v2.10|")
	put("Action", map[netsh.Word]string{netsh.Allow: "Allow", netsh.Block: "Block"}[r.Action])
	put("Active", map[netsh.Word]string{netsh.Yes: "TRUE", netsh.No: "FALSE"}[r.Enabled])
	put("Dir", map[netsh.Word]string{netsh.In: "In", netsh.Out: "Out"}[r.Dir])
	if n := map[string]string{"TCP": "6", "UDP": "17", "ICMPv4": "1", "ICMPv6": "58"}[r.Protocol]; n != "" {
		put("Protocol", n)
	} else if r.Protocol != "" {
		put("Protocol", r.Protocol)
	}
	for _, p := range r.Profiles {
		put("Profile", map[netsh.Word]string{netsh.Domain: "Domain", netsh.Private: "Private", netsh.Public: "Public"}[p])
	}
	for side, list := range map[string][]string{"L": r.LocalPorts, "R": r.RemotePorts} {
		for _, p := range list {
			switch {
			case p == "IPHTTPS":
				put(side+"Port2_10", "IPTLSIn")
				put(side+"Port2_10", "IPHTTPSIn")
			case strings.ContainsRune(p, '-') && p[0] < 'A':
				put(side+"Port2_10", p)
			default:
				put(side+"Port", p)
			}
		}
	}
	for _, t := range r.ICMP {
		code := "*"
		if t.Code >= 0 {
			code = fmt.Sprint(t.Code)
		}
		put(map[string]string{"ICMPv4": "ICMP4", "ICMPv6": "ICMP6"}[r.Protocol], fmt.Sprintf("%d:%s", t.Type, code))
	}
	for side, list := range map[string][]string{"L": r.Local, "R": r.Remote} {
		for _, a := range list {
			switch p, err := netip.ParsePrefix(a); {
			case err != nil && !strings.ContainsAny(a, ".:"): // a keyword, for both families
				put(side+"A4", a)
				put(side+"A6", a)
			case strings.ContainsRune(a, ':'):
				put(side+"A6", a)
			case err == nil && p.IsSingleIP():
				put(side+"A4", p.Addr().String())
			case err == nil && rnd.IntN(2) == 0:
				put(side+"A4", p.Addr().String()+"/255.255.255.240")
			default:
				put(side+"A4", a)
			}
		}
	}
	if r.Program != "" {
		put("App", r.Program)
	}
	if r.Service != "" {
		put("Svc", r.Service)
	}
	for _, i := range r.Interfaces {
		put("IFType", map[string]string{"LAN": "Lan", "Wireless": "Wireless", "RAS": "RemoteAccess"}[i])
	}
	switch r.Security {
	case "Authenticate":
		put("Security", "Authenticate")
	case "AuthEnc":
		put("Security", "AuthenticateEncrypt")
	case "AuthNoEncap":
		put("Security", "Authenticate")
		put("Security2_9", "An-NoEncap")
	}
	put("Name", r.Name)
	put("EmbedCtxt", "x")
	return b.String()
}

// TestFirewallAgrees: one set of rules is the same from the registry, from what netsh exports, and
// from what netsh prints in any language.
func TestFirewallAgrees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2008, 6003))
	var rules []netsh.Rule
	values := new(winreg.Memory)
	key, err := values.Create("FirewallRules")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		rules = append(rules, aRule(rnd, i))
		key.Set(winreg.TextValue(fmt.Sprintf("{%08d}", i), winreg.String, inRegistry(rules[i], rnd)))
	}
	var reg strings.Builder
	reg.WriteString("Windows Registry Editor Version 5.00\r\n\r\n")
	exported(key, `HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules`, &reg)
	forms := map[string]map[string]string{
		"registry": {"rules.reg": reg.String()},
		"hive":     {"policy.wfw": string(regftest.Hive(values, regftest.Options{}))},
	}
	for _, lang := range netshtest.Languages() {
		forms[lang] = map[string]string{"rules.txt": netshtest.Show(lang, rules, true)}
	}
	got := map[string][]host.FirewallRule{}
	for form, files := range forms {
		h := readFiles(t, files)
		for _, g := range h.Gaps {
			if g.What != "machine" {
				t.Errorf("%s: gap %+v", form, g)
			}
		}
		if !h.FirewallWhole.Or(false) || len(h.FirewallRules) != len(rules) {
			t.Errorf("%s: %d rules, whole %v", form, len(h.FirewallRules), h.FirewallWhole.Or(false))
		}
		got[form] = h.FirewallRules
		// The order of rules means nothing, and a registry has its own.
		slices.SortFunc(got[form], func(a, b host.FirewallRule) int { return strings.Compare(a.Name, b.Name) })
	}
	for form := range forms {
		if diff := cmp.Diff(got["registry"], got[form], cmpopts.IgnoreFields(host.FirewallRule{}, "ID", "From")); diff != "" {
			t.Errorf("%s (-registry +%s):\n%.3000s", form, form, diff)
		}
	}
}
