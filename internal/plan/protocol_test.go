package plan

import (
	"cmp"
	"strings"
	"testing"

	godiff "github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/winver"
)

func TestProtocolTable(t *testing.T) {
	table := protocolTable()
	if len(table) < 150 {
		t.Errorf("%d rows", len(table))
	}
	order := func(a, b *Protocol) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	}
	names := map[string]string{}
	for i, p := range table {
		at := p.ID + " " + policy.Ports{From: p.From, To: p.To}.String()
		if i > 0 && order(table[i-1], p) >= 0 {
			t.Errorf("%s is not behind the row before it", at)
		}
		if p.ID == "" || p.Name == "" || p.Kind == "" || p.Source == "" || p.From > p.To {
			t.Errorf("%s: %+v", at, p)
		}
		if p.Confidence != "documented" && p.Confidence != "inferred" || p.Confidence == "documented" && (p.Read == "" || !strings.HasPrefix(p.Source, "https://")) {
			t.Errorf("%s: %s by %q, read %q", at, p.Confidence, p.Source, p.Read)
		}
		if strings.ToLower(p.ID) != p.ID || strings.ContainsAny(p.ID, " _/") {
			t.Errorf("%s: the id goes into rules", at)
		}
		for _, r := range p.Risks {
			if r != "cleartext" && r != "remote-management" && r != "worm" {
				t.Errorf("%s: risk %q", at, r)
			}
		}
		// A rule names services by id, so one id must not mean two things.
		if k := names[p.ID]; k != "" && k != p.Kind {
			t.Errorf("%s is %s and %s", at, k, p.Kind)
		}
		names[p.ID] = p.Kind
		if got := ProtocolOf(p.Proto, p.From); got == nil || got != p && p.Range() == got.Range() {
			t.Errorf("%s is found as %+v", at, got)
		}
		if strings.Contains(strings.ToLower(p.Know+p.Name), "safe") {
			t.Errorf("%s: %s", at, p.Know)
		}
	}
}

func TestProtocolOf(t *testing.T) {
	for _, tt := range []struct {
		name  string
		proto host.IPProto
		port  uint16
		want  string
	}{
		{"dns", host.UDP, 53, "dns"},
		{"dns_over_tcp", host.TCP, 53, "dns-tcp"},
		{"kerberos", host.TCP, 88, "kerberos"},
		{"smb", host.TCP, 445, "smb"},
		{"directory_web_services", host.TCP, 9389, "adws"},
		{"sysvol_replication_of_2008", host.TCP, 5722, "dfsr"},
		{"port_before_range", host.TCP, 3389, "rdp"},
		{"small_range_before_large", host.TCP, 2600, "veeam-data"},
		{"dynamic", host.TCP, 49155, "rpc-dynamic"},
		{"last_dynamic", host.TCP, 65535, "rpc-dynamic"},
		{"dynamic_before_vista", host.TCP, 1026, "rpc-dynamic-old"},
		{"no_dynamic_udp", host.UDP, 49155, ""},
		{"ping", host.ICMP, 8, "ping"},
		{"neighbours", host.ICMPv6, 135, "neighbour-solicitation"},
		{"gre", 47, 0, "gre"},
		{"nothing", host.TCP, 47111, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if p := ProtocolOf(tt.proto, tt.port); p != nil {
				got = p.ID
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestProtocolsOfADomain: what a member needs of a domain controller is known by name.
// https://learn.microsoft.com/troubleshoot/windows-server/active-directory/config-firewall-for-ad-domains-and-trusts
func TestProtocolsOfADomain(t *testing.T) {
	for _, port := range []uint16{53, 88, 123, 135, 137, 138, 139, 389, 445, 464, 636, 3268, 3269, 5722, 9389} {
		tcp, udp := ProtocolOf(host.TCP, port), ProtocolOf(host.UDP, port)
		if (tcp == nil || tcp.Range()) && udp == nil {
			t.Errorf("%d is not known", port)
		}
		for _, p := range []*Protocol{tcp, udp} {
			if p != nil && p.Kind == "directory" && p.Peer != "domain-controller" {
				t.Errorf("%d: who answers it is %q", port, p.Peer)
			}
		}
	}
}

func TestRPCPorts(t *testing.T) {
	vista, xp := winver.Build{Major: 6, Number: 6002}, winver.Build{Major: 5, Minor: 1, Number: 2600}
	for _, tt := range []struct {
		name    string
		build   winver.Build
		setting []string
		want    []policy.Ports
		because string
	}{
		{"default", vista, []string{host.NotSet}, []policy.Ports{{From: 49152, To: 65535}}, "from Vista and Server 2008 on"},
		{"before_vista", xp, []string{host.NotSet}, []policy.Ports{{From: 1025, To: 5000}}, "before Vista"},
		{"set", vista, []string{"5000-5100, 6000"}, []policy.Ports{{From: 5000, To: 5100}, {From: 6000, To: 6000}}, "the registry gives RPC the ports"},
		{"nothing_known", winver.Build{}, nil, nil, "neither"},
		{"setting_not_shown", vista, nil, []policy.Ports{{From: 49152, To: 65535}}, "no evidence shows"},
		{"setting_nonsense", vista, []string{"9-1, x"}, []policy.Ports{{From: 49152, To: 65535}}, "cannot be read"},
		{"disputed", vista, []string{"5000-5100", "6000"}, []policy.Ports{{From: 49152, To: 65535}}, "contradicts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h host.Host
			h.Build.Say(tt.build, 1, src)
			for i, s := range tt.setting {
				h.Set("rpc-ports", s, 1, host.Source{Reader: "test", At: string(rune('a' + i))})
			}
			got, why := RPCPorts(&h)
			if d := godiff.Diff(tt.want, got); d != "" || !strings.Contains(why.Text, tt.because) {
				t.Errorf("%s (-want +got):\n%s", why.Text, d)
			}
			if len(got) > 0 && len(why.From) == 0 {
				t.Error("ports from no source")
			}
		})
	}
}
