package nftables_test

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/netnstest"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

// TestPeerNftables has nft check, load, reload and list policies made by chance, hostile texts and
// all, and what it lists mean the same.
func TestPeerNftables(t *testing.T) {
	const policies, packets = 40, 250 // 10,000 packets
	ns := netnstest.New(t)
	for seed := range uint64(policies) {
		p := random(seed)
		text := write(t, p)
		if out, err := ns.Try(text, "nft", "-c", "-f", "-"); err != nil {
			t.Fatalf("seed %d: %v\n%s\n%s", seed, err, out, text)
		}
		if seed%4 == 0 { // again replaces it
			ns.Run(text, "nft", "-f", "-")
		}
		ns.Run(text, "nft", "-f", "-")
		listed := ns.Run("", "nft", "list", "ruleset")
		ns.Run("", "nft", "flush", "ruleset")
		if n := strings.Count(listed, "chain forward"); n != 1 {
			t.Fatalf("seed %d: %d chains forward", seed, n)
		}
		v := policy.View{File: "listed", Own: p.Own, Interface: p.Interface}
		q := read(t, listed, v)
		sure(t, q)
		policytest.Same(t, p, q, policytest.Packets(rand.New(rand.NewPCG(seed, 12)), packets, p))
		plain(p)
		if c := policy.Compare(q, p); len(c.Differences) > 0 {
			t.Fatalf("seed %d: %s", seed, c.Differences[0].String())
		}
	}
}

// TestPeerByHand has nft take the file of the test by hand, but for what it has on purpose that
// nft does not know, and reads again what nft makes of it.
func TestPeerByHand(t *testing.T) {
	ns := netnstest.New(t)
	b, err := os.ReadFile("testdata/byhand.nft")
	if err != nil {
		t.Fatal(err)
	}
	var keep []string
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, "wholly new") && !strings.Contains(line, "@unknown") && !strings.Contains(line, "xt_recent") {
			keep = append(keep, line)
		}
	}
	text := strings.Join(keep, "")
	v := policy.View{File: "f", Own: policytest.Own(), Interface: "eth1"}
	ours := read(t, text, v)
	ns.Run(text, "nft", "-f", "-")
	listed := read(t, ns.Run("", "nft", "list", "ruleset"), v)
	for _, c := range []*policy.Comparison{policy.Compare(ours, listed), policy.Compare(listed, ours)} {
		for i := range c.Differences {
			// What is not sure in either is different from itself.
			if d := &c.Differences[i]; d.Unsure == "" {
				t.Errorf("%s %s", d.Kind, d.String())
			}
		}
	}
	policytest.Same(t, ours, listed, policytest.Packets(rand.New(rand.NewPCG(1, 1)), 5000, ours))
}

// TestPeerComment finds the longest comment that nft takes.
func TestPeerComment(t *testing.T) {
	ns := netnstest.New(t)
	for n, ok := range map[int]bool{128: true, 129: false} {
		_, err := ns.Try(`table inet t { chain c { accept comment "`+strings.Repeat("x", n)+"\"\n}\n}\n", "nft", "-c", "-f", "-")
		if (err == nil) != ok {
			t.Errorf("a comment of %d bytes: %v", n, err)
		}
	}
}

// TestPeerNames asks nft for the numbers behind names: a rule with the name and one with the
// number are the same to the reader.
func TestPeerNames(t *testing.T) {
	ns := netnstest.New(t)
	line := regexp.MustCompile(`(?m)^\s+([a-z][a-z0-9.-]*)\s+(0x[0-9a-f]+|\d+)\s*$`)
	fields := map[string]string{
		"icmp type": "", "icmpv6 type": "", "icmp code": "icmp type 3 ", "icmpv6 code": "icmpv6 type 1 ", "meta l4proto": "",
	}
	for field, before := range fields {
		names := 0
		for _, m := range line.FindAllStringSubmatch(ns.Run("", "nft", "describe", strings.ReplaceAll(field, "meta l4proto", "inet_proto")), -1) {
			chain := func(value string) *policy.Policy {
				return read(t, "table inet t {\nchain f {\ntype filter hook forward priority 0; policy drop\n"+before+field+" "+value+" accept\n}\n}\n", policy.View{File: "f"})
			}
			if m[2] == "0" && field == "meta l4proto" {
				continue // no protocol over IP
			}
			a, b := chain(m[1]), chain(m[2])
			sure(t, a)
			if c := policy.Compare(a, b); len(c.Differences) > 0 || len(a.Rules) == 0 {
				t.Errorf("%s %s is not %s", field, m[1], m[2])
			}
			names++
		}
		if names < 5 {
			t.Errorf("nft describe %s: %d names", field, names)
		}
	}
}
