package iptables_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/netnstest"
	"github.com/oldguard/oldguard/internal/policy/policytest"
)

// TestPeerIptables has iptables load policies made by chance, hostile texts and all, beside rules
// that were there before, and what it saves mean the same.
func TestPeerIptables(t *testing.T) {
	const policies, packets = 24, 420 // 10,000 packets
	ns := netnstest.New(t)
	const before = "*filter\n:FORWARD ACCEPT [0:0]\n:theirs - [0:0]\n-A FORWARD -p tcp -m tcp --dport 9 -j theirs\n-A theirs -j ACCEPT\nCOMMIT\n"
	for seed := range uint64(policies) {
		p := random(seed)
		ns.Run(before, "iptables-restore")
		ns.Run("", "ip6tables-restore") // nothing is an empty table
		v4, v6 := files(t, p)
		for cmd, text := range map[string]string{"iptables-restore": v4, "ip6tables-restore": v6} {
			if out, err := ns.Try(text, cmd, "--test", "--noflush"); err != nil {
				t.Fatalf("seed %d: %v\n%s\n%s", seed, err, out, text)
			}
		}
		ns.Run(write(t, p), "sh")
		if seed%4 == 0 { // again replaces it
			ns.Run(write(t, p), "sh")
		}
		saved := ns.Run("", "iptables-save") + ns.Run("", "ip6tables-save")
		ns.Run("", "iptables-restore", "/dev/null")
		ns.Run("", "nft", "flush", "ruleset")
		if strings.Count(saved, "-A FORWARD -j oldguard") != 2 || strings.Count(saved, "-A theirs -j ACCEPT") != 1 {
			t.Fatalf("seed %d: jumps or other rules are not as they should be\n%s", seed, saved)
		}
		v := policy.View{File: "saved", Own: p.Own, Interface: p.Interface}
		q := read(t, saved, v)
		sure(t, q)
		policytest.Same(t, p, q, policytest.Packets(rand.New(rand.NewPCG(seed, 12)), packets, p))
		plain(p)
		if c := policy.Compare(q, p); len(c.Differences) > 0 {
			t.Fatalf("seed %d: %s\n%s", seed, c.Differences[0].String(), saved)
		}
	}
}

// TestPeerLimits finds the longest names and lists that iptables takes. Comments and what stands
// before a line of the log it cuts, or in its older form refuses: those at our limit it keeps whole.
func TestPeerLimits(t *testing.T) {
	ns := netnstest.New(t)
	ports := func(n int) string {
		var s []string
		for i := range n {
			s = append(s, fmt.Sprint(2*i+1))
		}
		return strings.Join(s, ",")
	}
	for _, tt := range []struct {
		name string
		rule func(n int) string
		most int
	}{
		{"chain", func(n int) string { return ":" + strings.Repeat("x", n) + " - [0:0]\n" }, 28},
		{"ports", func(n int) string {
			return ":c - [0:0]\n-A c -p tcp -m multiport --dports " + ports(n) + " -j ACCEPT\n"
		}, 15},
	} {
		for n, ok := range map[int]bool{tt.most: true, tt.most + 1: false} {
			_, err := ns.Try("*filter\n"+tt.rule(n)+"COMMIT\n", "iptables-restore", "--noflush")
			if (err == nil) != ok {
				t.Errorf("%s of %d: %v", tt.name, n, err)
			}
		}
		ns.Run("", "nft", "flush", "ruleset")
	}
	comment, prefix := strings.Repeat("x", 255), strings.Repeat("y", 29)
	ns.Run("*filter\n:c - [0:0]\n-A c -m comment --comment "+comment+" -j LOG --log-prefix "+prefix+"\nCOMMIT\n", "iptables-restore")
	if saved := ns.Run("", "iptables-save"); !strings.Contains(saved, comment) || !strings.Contains(saved, prefix) {
		t.Errorf("cut: %s", saved)
	}
}
