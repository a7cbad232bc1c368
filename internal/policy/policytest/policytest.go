// Package policytest makes firewall policies and packets by chance, with a liking for what
// lies at the edges of rules, for tests that two policies mean the same. It is for tests only.
package policytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/policy"
)

// Options say what a policy made by chance may have.
type Options struct {
	Rules  int  // at most
	Drops  bool // rules that drop, other defaults than to drop
	Odd    bool // protocols but for some, programs, local addresses and ports, codes of ICMP
	Unsure bool
	Order  policy.Order
	// Own and Interface are as in a Policy.
	Own       []netip.Addr
	Interface string
}

// Own are addresses of a machine, for Options.
func Own() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("2001:db8::10"),
	}
}

// Hostile are texts that evidence may hold and that must stay texts.
func Hostile() []string {
	return []string{
		"file shares, seen 12 times",
		`"; flush ruleset; #`,
		"a'b\"c\\d`e$f%g",
		"line\nadd rule inet filter forward accept\r\n-A FORWARD -j ACCEPT",
		"}\n}\ntable inet x {",
		`\" -j ACCEPT --comment "`,
		"bell\a nul\x00 escape\x1b[31m \u202e right to left",
		strings.Repeat("ä", 200),
		strings.Repeat("x", 127) + "ä",
		"=cmd|'/c calc'!A1",
		"$own4 @own4 { } ; # //",
		"\xff\xfe no UTF-8",
		"OLDGUARD\nCOMMIT\nEOF",
		" leading and trailing ",
		"-",
		"'",
	}
}

// Policy makes a policy that passes its Check. Its rules overlap often.
func Policy(r *rand.Rand, o Options) *policy.Policy {
	p := &policy.Policy{Host: pick(r, "FS01", Hostile()[r.IntN(len(Hostile()))]), Order: o.Order, Own: o.Own, Interface: o.Interface}
	if o.Drops {
		p.In, p.Out = policy.Action(r.IntN(2)), policy.Action(r.IntN(2)) //nolint:gosec // 0 or 1
	}
	for i := range r.IntN(o.Rules + 1) {
		p.Rules = append(p.Rules, rule(r, o, i))
	}
	return p
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func rule(r *rand.Rand, o Options, i int) policy.Rule {
	u := policy.Rule{
		Dir: policy.Direction(r.IntN(2)), Action: policy.Accept, Comment: pick(r, Hostile()...), //nolint:gosec // 0 or 1
		Proto: pick(r, policy.TCP, policy.TCP, policy.TCP, policy.UDP, policy.UDP, policy.ICMP, policy.ICMPv6, policy.Any, 47),
	}
	if o.Drops && r.IntN(3) == 0 {
		u.Action = policy.Drop
	}
	if o.Unsure && r.IntN(3) == 0 {
		u.Unsure = pick(r, "meta mark 1", "through interface eth7")
	}
	if o.Odd && r.IntN(8) == 0 {
		u.Program = `C:\Program Files\"x"\a.exe`
	}
	v4 := u.Proto == policy.ICMP || u.Proto != policy.ICMPv6 && r.IntN(2) == 0
	if r.IntN(4) > 0 {
		u.Remote = networks(r, v4, 1+r.IntN(pick(r, 1, 2, 9)))
	}
	if o.Odd && r.IntN(4) == 0 {
		u.Local = networks(r, v4, 1)
		for _, a := range o.Own {
			if a.Is4() == v4 {
				u.Local = []netip.Prefix{netip.PrefixFrom(a, a.BitLen())}
			}
		}
	}
	service, source := &u.LocalPorts, &u.RemotePorts
	if u.Dir == policy.Out {
		service, source = source, service
	}
	switch {
	case u.Proto.HasPorts():
		if r.IntN(6) > 0 {
			*service = ports(r, 1+r.IntN(pick(r, 1, 3, 24)))
		}
		if o.Odd && r.IntN(4) == 0 {
			*source = ports(r, 1+r.IntN(2))
		}
	case u.Proto == policy.ICMP || u.Proto == policy.ICMPv6:
		for range r.IntN(3) {
			code := int16(-1)
			if o.Odd && r.IntN(2) == 0 {
				code = int16(r.IntN(4)) //nolint:gosec // small
			}
			u.ICMP = append(u.ICMP, policy.ICMPType{Type: pick[uint8](r, 0, 3, 8, 11, 128, 129, 255), Code: code})
		}
	case u.Proto == policy.Any && o.Odd && r.IntN(2) == 0:
		u.Except = pick(r, []policy.Proto{policy.TCP}, []policy.Proto{policy.TCP, policy.UDP, 47})
	}
	u.ID = fmt.Sprintf("%s-%d", u.Dir, i+1)
	return u
}

func networks(r *rand.Rand, v4 bool, n int) (out []netip.Prefix) {
	for range n {
		a, bits := netip.AddrFrom4([4]byte{pick[byte](r, 10, 198), pick[byte](r, 51, 52), 100, pick[byte](r, 0, 1, 2, 3, 4, 5, 6, 7)}), pick(r, 32, 32, 31, 30, 24, 16, 8)
		if !v4 {
			a, bits = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: pick[byte](r, 0, 1, 2, 3, 4, 5, 6, 7)}), pick(r, 128, 128, 127, 126, 64, 32)
		}
		if r.IntN(40) == 0 {
			bits = 0
		}
		p, _ := a.Prefix(bits)
		out = append(out, p)
	}
	return out
}

func ports(r *rand.Rand, n int) (out []policy.Ports) {
	for range n {
		from := pick[uint16](r, 0, 1, 53, 80, 135, 137, 443, 445, 1024, 3389, 49152, 65535)
		to := from
		if r.IntN(3) == 0 {
			to = from + min(pick[uint16](r, 1, 2, 100, 16383), 65535-from)
		}
		out = append(out, policy.Ports{From: from, To: to})
	}
	return out
}

// Packets makes n packets of the machine, most of them at the edges of the policy's rules: the
// first and the last address of a network and their neighbours, ports at the ends of ranges
// and next to them. Where the policy owns addresses the machine has one of those.
func Packets(r *rand.Rand, n int, p *policy.Policy) (out []policy.Packet) {
	var local, remote [2][]netip.Addr
	nums := []uint16{0, 1, 53, 445, 50000, 65535}
	protos := []policy.Proto{policy.TCP, policy.TCP, policy.UDP, policy.UDP, policy.ICMP, policy.ICMPv6, 2, 47, 50, 255}
	messages := []policy.ICMPType{{Type: 0}, {Type: 8}, {Type: 128}, {Type: 135}, {Type: 255, Code: 255}}
	edges := func(to *[2][]netip.Addr, list []netip.Prefix) {
		for _, q := range list {
			first := q.Addr()
			last := first.AsSlice()
			for i := q.Bits(); i < 8*len(last); i++ {
				last[i/8] |= 0x80 >> (i % 8)
			}
			end, _ := netip.AddrFromSlice(last)
			for _, a := range []netip.Addr{first, end, first.Prev(), end.Next()} {
				if a.IsValid() {
					to[family(a)] = append(to[family(a)], a)
				}
			}
		}
	}
	for i := range p.Rules {
		u := &p.Rules[i]
		edges(&local, u.Local)
		edges(&remote, u.Remote)
		for _, q := range append(append([]policy.Ports{}, u.LocalPorts...), u.RemotePorts...) {
			nums = append(nums, q.From, q.To, q.From-1, q.To+1)
		}
		for _, m := range u.ICMP {
			messages = append(messages, policy.ICMPType{Type: m.Type, Code: max(m.Code, 0)}, policy.ICMPType{Type: m.Type, Code: (m.Code + 1) % 256})
		}
	}
	if len(p.Own) > 0 {
		local = [2][]netip.Addr{}
	}
	for _, a := range p.Own {
		local[family(a)] = append(local[family(a)], a)
	}
	some := []netip.Addr{netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("2001:db8:ffff::77")}
	for f := range 2 {
		if len(p.Own) == 0 {
			local[f] = append(local[f], some[f])
		}
		remote[f] = append(remote[f], some[f])
	}
	for len(out) < n {
		f := r.IntN(2)
		if len(local[f]) == 0 {
			f = 1 - f
		}
		k := policy.Packet{Dir: policy.Direction(r.IntN(2)), Proto: pick(r, protos...), Local: pick(r, local[f]...), Remote: pick(r, remote[f]...)} //nolint:gosec // 0 or 1
		if k.Proto == policy.ICMP && f == 1 || k.Proto == policy.ICMPv6 && f == 0 {
			continue // there are none
		}
		switch {
		case k.Proto.HasPorts():
			k.LocalPort, k.RemotePort = pick(r, nums...), pick(r, nums...)
			if r.IntN(8) == 0 {
				k.LocalPort = uint16(r.UintN(65536)) //nolint:gosec // a port
			}
		case k.Proto == policy.ICMP || k.Proto == policy.ICMPv6:
			m := pick(r, messages...)
			k.Type, k.Code = m.Type, uint8(m.Code) //nolint:gosec // 0 to 255 above
		}
		out = append(out, k)
	}
	return out
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Same fails the test at the first packet that the policies decide differently.
func Same(t *testing.T, want, got *policy.Policy, packets []policy.Packet) {
	t.Helper()
	for _, k := range packets {
		a, i := want.Decide(k)
		b, j := got.Decide(k)
		if a != b {
			t.Fatalf("%+v: %s by rule %s; want %s by rule %s", k, b, name(got, j), a, name(want, i))
		}
	}
}

func name(p *policy.Policy, i int) string {
	if i < 0 {
		return "none"
	}
	return fmt.Sprintf("%+v", p.Rules[i])
}
