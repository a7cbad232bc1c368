package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/winver"
)

var (
	monday = time.Date(2026, 11, 2, 6, 0, 0, 0, time.UTC)
	friday = time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC)
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// talked says that a capture saw a conversation.
func talked(h *host.Host, client, server string, proto host.IPProto, port uint16, times, refused int) {
	h.Traffic.Add(host.Talk{Client: addr(client), Server: addr(server), Proto: proto, Port: port}, host.Sighting{
		From: host.Source{Reader: "capture", Input: "fs01.pcap", At: "packet 1"}, Times: times, Refused: refused,
		Packets: 10 * uint64(times), Bytes: 1000 * uint64(times), First: monday, Last: friday, Sure: true,
	})
}

// fenced is a member of a domain at 10.1.0.10 that was watched for three weeks, and its peers.
func fenced(t testing.TB) *host.Host {
	h := machine(release(t, "windows-server-2008-sp2"), winver.AMD64)
	h.Name.Say("FS01", 1, host.Source{})
	h.Role.Say(host.Member, 1, host.Source{Input: "systeminfo.txt"})
	h.Addresses = []host.Address{{Addr: addr("10.1.0.10"), Bits: 24, From: host.Source{Reader: "ipconfig"}}}
	h.Watches = []host.Watch{{From: host.Source{Reader: "capture", Input: "fs01.pcap"}, Kind: "capture", First: monday, Last: friday, Records: 1000}}
	talked(h, "10.1.0.51", "10.1.0.10", host.TCP, 445, 40, 0)
	talked(h, "10.1.0.52", "10.1.0.10", host.TCP, 445, 30, 1)
	talked(h, "10.2.0.9", "10.1.0.10", host.TCP, 4711, 1, 0)      // once
	talked(h, "10.1.0.99", "10.1.0.10", host.TCP, 3389, 12, 0)    // management
	talked(h, "10.1.0.10", "10.1.0.5", host.TCP, 88, 100, 0)      // a domain controller
	talked(h, "10.1.0.10", "10.1.0.5", host.TCP, 135, 9, 0)       // its mapper
	talked(h, "10.1.0.10", "10.1.0.5", host.TCP, 49158, 9, 0)     // and behind it
	talked(h, "10.1.0.10", "203.0.113.7", host.TCP, 443, 500, 0)  // the internet
	talked(h, "10.1.0.10", "10.1.0.6", host.TCP, 1433, 3, 3)      // refused
	talked(h, "10.1.0.10", "10.1.0.255", host.UDP, 138, 900, 0)   // broadcast
	talked(h, "10.1.0.10", "224.0.0.252", host.UDP, 5355, 900, 0) // multicast
	talked(h, "10.9.0.1", "10.9.0.2", host.TCP, 80, 5, 0)         // others
	return h
}

func isolated(t testing.TB, h *host.Host, o plan.IsolateOptions) *plan.Isolation {
	t.Helper()
	p := plan.Isolate(h, open(t), o, day(t, "2026-11-25"))
	if p.Policy != nil {
		if err := p.Policy.Check(); err != nil {
			t.Errorf("the policy is not well formed: %v", err)
		}
	}
	return p
}

// decided gives a line for each dependency.
func decided(p *plan.Isolation) (out []string) {
	for _, d := range p.Dependencies {
		var peers []string
		for _, t := range d.Peers {
			peers = append(peers, t.Addr.String())
		}
		out = append(out, fmt.Sprintf("%s %s %s: %s", d.Decision, d.ID, d.Rule, strings.Join(peers, " ")))
	}
	return out
}

func TestIsolate(t *testing.T) {
	p := isolated(t, fenced(t), plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {prefix("10.1.7.7/32")}}})
	got := strings.Join(decided(p), "\n")
	for _, want := range []string{
		"allow in-smb seen: 10.1.0.51 10.1.0.52",
		"allow in-tcp-4711 seen: 10.2.0.9",
		"allow in-rdp need: 10.1.7.7",
		"allow out-rpc-dynamic seen: 10.1.0.5",
		"allow out-ldap need: 10.1.0.5",
		"cut in-rdp-2 management: 10.1.0.99",
		"internet: 203.0.113.7",
		"refused: 10.1.0.6",
		"link: 10.1.0.255",
		"link: 224.0.0.252",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if p.Foreign != 1 {
		t.Errorf("%d conversations of others; want 1", p.Foreign)
	}
	for _, tt := range []struct {
		name          string
		dir           policy.Direction
		remote        string
		local, server uint16
		want          policy.Action
	}{
		{"file_server", policy.In, "10.1.0.51", 445, 0, policy.Accept},
		{"file_server_for_others", policy.In, "10.1.0.53", 445, 0, policy.Drop},
		{"rdp_from_jump", policy.In, "10.1.7.7", 3389, 0, policy.Accept},
		{"rdp_from_elsewhere", policy.In, "10.1.0.99", 3389, 0, policy.Drop},
		{"controller_by_role", policy.Out, "10.1.0.5", 0, 3268, policy.Accept},
		{"rpc_port_of_another_day", policy.Out, "10.1.0.5", 0, 60000, policy.Accept},
		{"internet", policy.Out, "203.0.113.7", 0, 443, policy.Drop},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := policy.Packet{Dir: tt.dir, Proto: policy.TCP, Local: addr("10.1.0.10"), Remote: addr(tt.remote), LocalPort: tt.local, RemotePort: tt.server}
			if tt.dir == policy.In {
				k.RemotePort = 50000
			} else {
				k.LocalPort = 50000
			}
			if got, rule := p.Policy.Decide(k); got != tt.want {
				t.Errorf("Decide() = %s by rule %d; want %s", got, rule, tt.want)
			}
		})
	}
}

func TestIsolateOptions(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options plan.IsolateOptions
		want    string
	}{
		{"cut_what_was_seen_once", plan.IsolateOptions{Once: plan.Cut}, "cut in-tcp-4711 once: 10.2.0.9"},
		{"management_from_jump", plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {prefix("10.1.0.99/32")}}}, "allow in-rdp jump: 10.1.0.99"},
		{"jump_network", plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {prefix("10.1.0.96/28")}}}, "allow in-rdp jump: 10.1.0.99"},
		{"network_that_is_inside", plan.IsolateOptions{Inside: []netip.Prefix{prefix("203.0.113.0/24")}}, "allow out-https seen: 203.0.113.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := isolated(t, fenced(t), tt.options)
			if got := decided(p); !slices.Contains(got, tt.want) {
				t.Errorf("no %q in\n%s", tt.want, strings.Join(got, "\n"))
			}
		})
	}
}

// TestNoPolicy: where nothing shows whom the machine talks to there is a word for it and no policy.
func TestNoPolicy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(h *host.Host)
		want   string
	}{
		{"nothing", func(h *host.Host) { h.Network = host.Network{} }, "no evidence shows"},
		{"empty_capture", func(h *host.Host) { h.Traffic = host.Traffic{} }, "shows no conversation"},
		{"other_machine", func(h *host.Host) { h.Addresses[0].Addr = addr("10.77.0.1") }, "another machine's, or the address is translated (NAT)"},
		{"address_not_known", func(h *host.Host) { h.Addresses = nil }, "not known which of the addresses"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := fenced(t)
			tt.change(h)
			p := isolated(t, h, plan.IsolateOptions{})
			if p.Policy != nil || !strings.Contains(p.Why, tt.want) {
				t.Errorf("Why = %q, policy %v; want %q and none", p.Why, p.Policy, tt.want)
			}
		})
	}
}

func TestOwnAddressFromTraffic(t *testing.T) {
	h := &host.Host{}
	talked(h, "10.1.0.51", "10.1.0.10", host.TCP, 445, 4, 0)
	if p := isolated(t, h, plan.IsolateOptions{}); p.Policy != nil {
		t.Errorf("of two machines that talked to each other %v was taken", p.Own)
	}
	talked(h, "10.1.0.10", "10.1.0.5", host.TCP, 88, 4, 0)
	talked(h, "10.1.0.10", "10.1.0.255", host.UDP, 138, 4, 0)
	p := isolated(t, h, plan.IsolateOptions{})
	if !p.OwnGuessed || len(p.Own) != 1 || p.Own[0].Addr != addr("10.1.0.10") || p.Policy == nil {
		t.Errorf("Own = %v, guessed %v, policy %v", p.Own, p.OwnGuessed, p.Policy)
	}
}

// TestPortsOfControllersAreRPC: a list of connections shows the port behind the mapper, and not the
// moment in which the mapper was asked.
func TestPortsOfControllersAreRPC(t *testing.T) {
	h := fenced(t)
	h.Traffic = host.Traffic{}
	talked(h, "10.1.0.10", "10.1.0.5", host.TCP, 389, 4, 0)
	talked(h, "10.1.0.10", "10.1.0.5", host.TCP, 49158, 4, 0)
	talked(h, "10.1.0.10", "10.1.0.6", host.TCP, 49158, 4, 0)
	got := strings.Join(decided(isolated(t, h, plan.IsolateOptions{})), "\n")
	for _, want := range []string{"allow out-rpc-dynamic seen: 10.1.0.5", "allow out-tcp-49158 seen: 10.1.0.6"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestPeerOfTwoAddresses: who talks to two addresses of the machine is one peer.
func TestPeerOfTwoAddresses(t *testing.T) {
	h := fenced(t)
	h.Addresses = append(h.Addresses, host.Address{Addr: addr("10.1.0.11"), Bits: 24})
	talked(h, "10.1.0.51", "10.1.0.11", host.TCP, 445, 2, 0)
	p := isolated(t, h, plan.IsolateOptions{})
	if got := decided(p); !slices.Contains(got, "allow in-smb seen: 10.1.0.51 10.1.0.52") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// TestSeenByTwoReaders: what a capture and a log saw of the same days is not added up, and what got
// through by one of them did.
func TestSeenByTwoReaders(t *testing.T) {
	h := fenced(t)
	log := func(client string, port uint16, times, refused int) {
		h.Traffic.Add(host.Talk{Client: addr(client), Server: addr("10.1.0.10"), Proto: host.TCP, Port: port}, host.Sighting{
			From: host.Source{Reader: "firewalllog", Input: "pfirewall.log"}, Times: times, Refused: refused, First: monday, Last: friday, Sure: true,
		})
	}
	log("10.1.0.51", 445, 35, 0)
	log("10.2.0.9", 4711, 1, 0)
	talked(h, "10.1.0.77", "10.1.0.10", host.TCP, 8443, 3, 3)
	log("10.1.0.77", 8443, 1, 0)
	for _, d := range isolated(t, h, plan.IsolateOptions{}).Dependencies {
		for _, p := range d.Peers {
			switch p.Addr {
			case addr("10.1.0.51"):
				if p.Times != 40 {
					t.Errorf("%s: seen %d times; want 40", d.ID, p.Times)
				}
			case addr("10.2.0.9"):
				if !d.Once {
					t.Errorf("%s: one connection in two sources is more than one", d.ID)
				}
			case addr("10.1.0.77"):
				if d.Decision != plan.Allow || p.Times != 3 || p.Refused != 2 {
					t.Errorf("%s: %s, %d times, %d refused; want it allowed, 3, 2", d.ID, d.Decision, p.Times, p.Refused)
				}
			}
		}
	}
}

func TestScannerIsCut(t *testing.T) {
	h := fenced(t)
	for port := range uint16(100) {
		refused := 1
		if port == 80 {
			refused = 0
		}
		talked(h, "10.6.6.6", "10.1.0.10", host.TCP, 1+port, 1, refused)
	}
	p := isolated(t, h, plan.IsolateOptions{})
	for _, d := range p.Dependencies {
		if d.Decision == plan.Allow && slices.ContainsFunc(d.Peers, func(t plan.Talker) bool { return t.Addr == addr("10.6.6.6") }) {
			t.Errorf("%s is allowed for a scanner", d.ID)
		}
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), "10.6.6.6 tried 20 ports or more") {
		t.Errorf("no word of the scanner in %q", p.Notes)
	}
}

// TestPolicyHoldsTheFlows: for random traffic, what is allowed passes and what is cut does not, but
// for what another rule allows.
func TestPolicyHoldsTheFlows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		h := fenced(t)
		ports := []uint16{22, 53, 80, 88, 123, 135, 139, 389, 443, 445, 1433, 3389, 5985, 8080, 49155, 51000}
		for range 200 {
			peer := fmt.Sprintf("10.%d.0.%d", r.IntN(3), r.IntN(250))
			switch r.IntN(8) {
			case 0:
				peer = fmt.Sprintf("198.51.100.%d", r.IntN(250))
			case 1:
				peer = fmt.Sprintf("fd00::%x", 1+r.IntN(1000))
			}
			own := "10.1.0.10"
			if addr(peer).Is6() {
				own = "fd00:1::10"
			}
			if peer == own {
				continue
			}
			h.Addresses = append(h.Addresses, host.Address{Addr: addr("fd00:1::10"), Bits: 64})
			client, server := peer, own
			if r.IntN(2) == 0 {
				client, server = own, peer
			}
			times := 1 + r.IntN(3)
			talked(h, client, server, []host.IPProto{host.TCP, host.UDP}[r.IntN(2)], ports[r.IntN(len(ports))], times, r.IntN(times+1))
		}
		p := isolated(t, h, plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {prefix("10.2.0.0/28")}}})
		if p.Policy == nil {
			t.Fatal(p.Why)
		}
		for _, d := range p.Dependencies {
			for _, peer := range d.Peers {
				checkFlow(t, p, &d, peer.Addr)
			}
		}
	}
}

func checkFlow(t *testing.T, p *plan.Isolation, d *plan.Dependency, peer netip.Addr) {
	t.Helper()
	own := addr("10.1.0.10")
	if peer.Is6() {
		own = addr("fd00:1::10")
	}
	k := policy.Packet{Dir: d.Dir, Proto: d.Proto, Local: own, Remote: peer, LocalPort: 50123, RemotePort: 50123}
	if len(d.ICMP) > 0 {
		k.Type = d.ICMP[0].Type
	}
	if len(d.Ports) > 0 && d.Dir == policy.In {
		k.LocalPort = d.Ports[0].From
	} else if len(d.Ports) > 0 {
		k.RemotePort = d.Ports[0].From
	}
	got, rule := p.Policy.Decide(k)
	switch {
	case d.Decision == plan.Allow && got != policy.Accept:
		t.Errorf("%s is allowed and %+v is dropped", d.ID, k)
	case d.Decision == plan.Cut && got == policy.Accept && !slices.ContainsFunc(p.Dependencies, func(o plan.Dependency) bool {
		return slices.ContainsFunc(o.Rules, func(id string) bool { return id == p.Policy.Rules[rule].ID })
	}) && !strings.HasPrefix(p.Policy.Rules[rule].ID, "in-jump"):
		t.Errorf("%s is cut and %+v passes by %s", d.ID, k, p.Policy.Rules[rule].ID)
	}
	if d.Rule == "internet" && got == policy.Accept {
		t.Errorf("%s: the internet is reached: %+v", d.ID, k)
	}
}

// TestManyPeers: tens of thousands of clients become few networks, and it is said how many others
// those let through.
func TestManyPeers(t *testing.T) {
	h := fenced(t)
	for i := range 40_000 {
		talked(h, fmt.Sprintf("10.%d.%d.%d", 20+i/20000, i/100%200, 1+2*(i%100)), "10.1.0.10", host.TCP, 8080, 2, 0)
	}
	begin := time.Now()
	p := isolated(t, h, plan.IsolateOptions{})
	t.Logf("40,000 peers: %v", time.Since(begin))
	if len(p.Widened) != 1 || p.Widened[0].Seen != 40_000 || p.Widened[0].Networks > 256 {
		t.Fatalf("Widened = %+v", p.Widened)
	}
	for _, d := range p.Dependencies {
		if d.ID == "in-http-proxy" {
			for _, peer := range d.Peers {
				checkFlow(t, p, &d, peer.Addr)
			}
		}
	}
	if w := p.Widened[0]; w.Addresses < 40_000 || w.Addresses > 1<<18 {
		t.Errorf("%v addresses too many are let through", w.Addresses)
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), "too many to list") {
		t.Errorf("no word of it in %q", p.Notes)
	}
}

func TestQuestions(t *testing.T) {
	whats := func(p *plan.Isolation) (out []string) {
		for _, q := range p.Questions {
			if q.Tell == "" || q.Why == "" {
				t.Errorf("question %+v has no answer", q)
			}
			out = append(out, q.What)
		}
		return out
	}
	h := fenced(t)
	if d := cmp.Diff([]string{"what happens less often", "what it offers and nobody used", "how the machine is set", "the jump host"}, whats(isolated(t, h, plan.IsolateOptions{}))); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	h.Watches[0].First, h.Watches[0].Last = time.Time{}, time.Time{}
	h.Watches[0].Kind = "netstat"
	h.Role = host.Fact[host.Role]{}
	h.Listeners = []host.Listener{{Proto: host.TCP, Addr: addr("0.0.0.0"), Port: 445}, {Proto: host.TCP, Addr: addr("0.0.0.0"), Port: 5357}, {Proto: host.TCP, Addr: addr("127.0.0.1"), Port: 9999}}
	p := isolated(t, h, plan.IsolateOptions{Roles: map[string][]netip.Prefix{"jump": {prefix("10.1.7.7/32")}, "backup-server": {prefix("10.1.7.8/32")}}})
	want := []string{"what happens at other times", "conversations over UDP and short ones", "how the machine is set", "whether it is in a domain", "what backup-server 10.1.7.8/32 needs"}
	if d := cmp.Diff(want, whats(p)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(p.Unused) != 2 || p.Unused[0].Port != 5357 || !p.Unused[1].Loopback {
		t.Errorf("Unused = %+v", p.Unused)
	}
}
