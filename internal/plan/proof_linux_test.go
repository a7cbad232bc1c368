package plan_test

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/capture"
	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/plan"
	"github.com/oldguard/oldguard/internal/policy"
	"github.com/oldguard/oldguard/internal/policy/prooftest"
)

// TestPeerPolicyOfCapture goes the whole way: a capture is read, a policy follows, nftables
// holds it between network namespaces, what of the capture is allowed talks with real sockets, and
// nothing else passes.
func TestPeerPolicyOfCapture(t *testing.T) {
	const own = "198.51.100.10"
	var packets []pcaptest.Packet
	at := monday
	add := func(ip []byte) {
		at = at.Add(20 * time.Minute)
		packets = append(packets, pcaptest.Packet{At: at, Data: pcaptest.Ethernet(ip), Medium: 1})
	}
	session := func(client, server string) {
		c, s := pcaptest.Addr(client), pcaptest.Addr(server)
		add(pcaptest.TCP(c, s, pcaptest.SYN, 100))
		add(pcaptest.TCP(s, c, pcaptest.SYN|pcaptest.ACK, 200))
		add(pcaptest.TCP(c, s, pcaptest.ACK, 101))
	}
	for range 2 {
		session("10.5.0.21:50001", own+":445")
		session("10.5.0.22:50002", own+":445")
		session("10.5.0.23:50003", own+":1433")
		session("10.5.0.66:50004", own+":3389") // management from nowhere in particular
		session(own+":50005", "10.5.0.53:514")
		session(own+":50006", "203.0.113.80:443") // the internet
		add(pcaptest.UDP(pcaptest.Addr(own+":50007"), pcaptest.Addr("10.5.0.53:53"), make([]byte, 20)...))
		add(pcaptest.UDP(pcaptest.Addr("10.5.0.53:53"), pcaptest.Addr(own+":50007"), make([]byte, 40)...))
	}
	b := pcaptest.Pcap{Packets: packets}.Bytes()
	in := evidence.Input{Name: "fs01.pcap", File: io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))}
	h := &host.Host{}
	if _, err := capture.Reader.Read(t.Context(), in, h); err != nil {
		t.Fatal(err)
	}
	p := isolated(t, h, plan.IsolateOptions{
		Own:   []netip.Addr{addr(own)},
		Roles: map[string][]netip.Prefix{"jump": {prefix("10.5.0.99/32")}},
	})
	if p.Policy == nil {
		t.Fatal(p.Why)
	}
	var allowed []policy.Packet
	for _, d := range p.Dependencies {
		for _, peer := range d.Peers {
			k := policy.Packet{Dir: d.Dir, Proto: d.Proto, Local: addr(own), Remote: peer.Addr}
			if len(d.ICMP) > 0 {
				k.Type = d.ICMP[0].Type
			}
			if len(d.Ports) > 0 && d.Dir == policy.In {
				k.LocalPort = d.Ports[0].From
			} else if len(d.Ports) > 0 {
				k.RemotePort = d.Ports[0].From
			}
			if d.Decision == plan.Allow {
				allowed = append(allowed, k)
			} else if got, rule := p.Policy.Decide(k); got == policy.Accept {
				t.Errorf("%s is cut and passes by rule %d", d.ID, rule)
			}
		}
	}
	if len(allowed) < 7 {
		t.Fatalf("only %d flows are allowed: %v", len(allowed), decided(p))
	}
	r := prooftest.Prove(t, p.Policy, allowed, prooftest.Options{Quick: true})
	t.Logf("%d conversations, %d probes, %d passed", r.Flows, r.Probes, r.Passed)
	if r.Flows != len(allowed) {
		t.Errorf("of %d allowed flows %d were tried: %v", len(allowed), r.Flows, r.Untested)
	}
}
