package dialect_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/dialect"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

// TestEachRecognisesItsOwn writes a policy in each dialect, and reads it back without being
// told which it was. They all mean the same.
func TestEachRecognisesItsOwn(t *testing.T) {
	p := &policy.Policy{
		Host: "FS01", Own: policytest.Own(), Interface: "eth1",
		Rules: []policy.Rule{
			{ID: "in-smb", Action: policy.Accept, Proto: policy.TCP, LocalPorts: []policy.Ports{{From: 445, To: 445}}, Remote: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
			{ID: "out-dns", Dir: policy.Out, Action: policy.Accept, Proto: policy.UDP, RemotePorts: []policy.Ports{{From: 53, To: 53}}, Remote: []netip.Prefix{netip.MustParsePrefix("2001:db8::53/128")}},
			{ID: "in-ping", Action: policy.Accept, Proto: policy.ICMP, ICMP: []policy.ICMPType{{Type: 8, Code: -1}}},
		},
	}
	packets := policytest.Packets(rand.New(rand.NewPCG(1, 2)), 2000, p)
	for _, d := range dialect.All() {
		t.Run(d.Name, func(t *testing.T) {
			var b bytes.Buffer
			if err := d.Write(&b, p); err != nil {
				t.Fatal(err)
			}
			text := b.String()
			q, as, err := dialect.Read(text, policy.View{File: "f", Own: p.Own, Interface: p.Interface})
			if err != nil {
				t.Fatal(err)
			}
			if as.Name != d.Name {
				t.Errorf("taken for %s", as.Name)
			}
			policytest.Same(t, p, q, packets)
			for _, o := range dialect.All() {
				if o.Name != d.Name && o.Sniff([]byte(text)) {
					t.Errorf("%s takes it for its own", o.Name)
				}
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	for _, text := range []string{"", "hello", "{\"nftables\": []}", "access-list 101 permit ip any any\n"} {
		if _, _, err := dialect.Read(text, policy.View{File: "f"}); !errors.Is(err, dialect.ErrUnknown) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
