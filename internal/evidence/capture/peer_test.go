package capture_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/peer"
)

// flow is a conversation as a peer sees it.
type flow struct {
	times, refused map[string]bool // by the peer's numbers of streams
	packets, bytes int
}

// tsharkFields are those of which flows are made.
var tsharkFields = []string{
	"ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "ip.proto", "ipv6.nxt", "ip.len", "ipv6.plen", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport",
	"tcp.stream", "udp.stream", "tcp.flags.syn", "tcp.flags.ack", "tcp.flags.reset", "icmp.type", "icmpv6.type",
}

// tsharkFlows are the conversations of a file by what tshark makes of each packet: its
// addresses, lengths and flags, and its numbers of streams for what is one connection. A SYN, or else the answer
// to one, tells the client, else the higher port; of UDP the first packet.
func tsharkFlows(t *testing.T, file string) []string {
	t.Helper()
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "occurrence=f", "-E", "separator=|", "-o", "ip.defragment:FALSE"}
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(peer.Need(t, "tshark"), args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	flows := map[string]*flow{}
	streams := map[string]string{} // to the flow of a stream
	states := map[string]string{}  // of streams
	for line := range strings.Lines(string(out)) {
		v := map[string]string{}
		for i, s := range strings.Split(strings.TrimSuffix(line, "\n"), "|") {
			v[tsharkFields[i]] = s
		}
		src, dst, proto, size := v["ip.src"], v["ip.dst"], v["ip.proto"], 0
		if src != "" {
			size = number(t, v["ip.len"])
		} else if src, dst, proto = v["ipv6.src"], v["ipv6.dst"], v["ipv6.nxt"]; src != "" {
			size = number(t, v["ipv6.plen"]) + 40
		} else {
			continue
		}
		var stream, client, server, port string
		set := func(flag string) bool { return v["tcp.flags."+flag] == "1" || v["tcp.flags."+flag] == "True" }
		client, server = src, dst
		switch proto {
		case "6":
			stream, port = "tcp "+v["tcp.stream"], v["tcp.dstport"]
			running := !set("syn") && number(t, v["tcp.srcport"]) < number(t, v["tcp.dstport"])
			if set("syn") && set("ack") || running { // as a first packet
				client, server, port = dst, src, v["tcp.srcport"]
			}
		case "17":
			stream, port = "udp "+v["udp.stream"], v["udp.dstport"]
		default:
			if port = v["icmp.type"]; proto == "58" {
				port = v["icmpv6.type"]
			}
			if port == "0" || port == "129" {
				client, server, port = dst, src, map[string]string{"0": "8", "129": "128"}[port]
			}
			stream = "icmp " + client + server + port
		}
		key, known := streams[stream]
		if !known {
			key = fmt.Sprintf("%s > %s %s/%s", client, server, proto, port)
			streams[stream] = key
		}
		f := flows[key]
		if f == nil {
			f = &flow{times: map[string]bool{}, refused: map[string]bool{}}
			flows[key] = f
		}
		f.times[stream] = true
		f.packets++
		f.bytes += size
		if proto != "6" {
			continue
		}
		fromServer := !strings.HasPrefix(key, src+" >") || src == dst && v["tcp.srcport"] == key[strings.LastIndex(key, "/")+1:]
		switch {
		case set("reset") && fromServer && states[stream] != "open":
			f.refused[stream] = true
		case set("reset"), set("syn") && !set("ack"):
		default:
			states[stream] = "open"
		}
	}
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(flows)) {
		f := flows[key]
		lines = append(lines, fmt.Sprintf("%s: %d times, %d refused, %d packets, %d bytes", key, len(f.times), len(f.refused), f.packets, f.bytes))
	}
	return lines
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ourFlows are the conversations of a file as we see them.
func ourFlows(t *testing.T, file string) (lines []string, h *host.Host) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h = read(t, b)
	for _, c := range h.Traffic.All() {
		for _, s := range c.Seen {
			lines = append(lines, fmt.Sprintf("%s > %s %d/%d: %d times, %d refused, %d packets, %d bytes", c.Client, c.Server, c.Proto, c.Port, s.Times, s.Refused, s.Packets, s.Bytes))
		}
	}
	slices.Sort(lines)
	return lines, h
}

// TestPeerFindsTheSameConversations compares what we find in a capture of many connections at the
// same time with what tshark finds, in several forms of the file.
func TestPeerFindsTheSameConversations(t *testing.T) {
	editcap := peer.Need(t, "editcap")
	r := rand.New(rand.NewPCG(7, 7))
	var all []*tape
	servers := []string{"192.0.2.11:445", "192.0.2.11:3389", "192.0.2.11:49155", "192.0.2.30:1433", "[2001:db8::11]:445", "192.0.2.11:4711"}
	for i := range 400 {
		server := netip.MustParseAddrPort(servers[r.IntN(len(servers))])
		addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + r.IntN(12))})
		if server.Addr().Is6() {
			addr = netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 15: byte(0x20 + r.IntN(5))})
		}
		client := netip.AddrPortFrom(addr, uint16(50_000+i)).String()
		to := server.String()
		c := &tape{after: time.Duration(r.IntN(20_000)) * time.Millisecond}
		switch r.IntN(8) {
		case 0:
			c.tcp(client, to, syn, 9).tcp(to, client, rst|ack, 0)
		case 1: // without its SYN
			c.tcp(to, client, syn|ack, 9).tcp(client, to, ack, 5).tcp(to, client, psh|ack, 10, 1, 2, 3)
		case 2: // the same ports twice
			c.connect(client, to, 100).wait(time.Second).tcp(client, to, syn, 777_777).tcp(to, client, syn|ack, 5).tcp(client, to, ack, 777_778)
		case 3:
			c.udp(client, to, make([]byte, 30)...).udp(to, client, make([]byte, 90)...)
		case 4:
			c.ping(addr.String(), server.Addr().String(), map[bool]byte{true: 8, false: 128}[addr.Is4()])
			c.ping(server.Addr().String(), addr.String(), map[bool]byte{true: 0, false: 129}[addr.Is4()])
		default:
			c.connect(client, to, r.IntN(1400))
		}
		all = append(all, c)
	}
	var packets []pcaptest.Packet
	for _, c := range all {
		packets = append(packets, c.packets...)
	}
	slices.SortStableFunc(packets, func(a, b pcaptest.Packet) int { return a.At.Compare(b.At) })
	for i := range packets { // some of them in VLANs
		if i%3 == 0 {
			packets[i].Data = pcaptest.Ethernet(packets[i].Data[14:], 7, 9)
		}
	}
	file := filepath.Join(t.TempDir(), "whole.pcap")
	if err := os.WriteFile(file, pcaptest.Pcap{Nano: true, Packets: packets}.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	want := tsharkFlows(t, file)
	got, h := ourFlows(t, file)
	if len(got) < 100 || h.Watches[0].Records != uint64(len(packets)) {
		t.Fatalf("only %d conversations of %d packets", len(got), h.Watches[0].Records)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-tshark +ours):\n%s", diff)
	}
	for _, args := range [][]string{{"-F", "pcapng"}, {"-F", "netmon2"}, {"-F", "pcap", "-s", "90"}} {
		other := filepath.Join(t.TempDir(), "other")
		if out, err := exec.Command(editcap, append(args, file, other)...).CombinedOutput(); err != nil {
			t.Fatalf("editcap %q: %v\n%s", args, err, out)
		}
		got, _ := ourFlows(t, other)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("as %q (-tshark's +ours):\n%s", args, diff)
		}
	}
}
