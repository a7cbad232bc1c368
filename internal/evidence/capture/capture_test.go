package capture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/capture"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
	"github.com/oldguard/oldguard/internal/golden"
	"github.com/oldguard/oldguard/internal/host"
)

const (
	fin, syn, rst, psh, ack = pcaptest.FIN, pcaptest.SYN, pcaptest.RST, pcaptest.PSH, pcaptest.ACK
)

var start = time.Date(2026, 11, 2, 8, 15, 30, 0, time.UTC)

// tape is a capture being made: packets, each some time after the one before.
type tape struct {
	packets []pcaptest.Packet
	after   time.Duration
}

// wait lets time pass.
func (c *tape) wait(d time.Duration) *tape { c.after += d; return c }

// ip puts an IP packet on the line.
func (c *tape) ip(b []byte) *tape { return c.frame(pcaptest.Ethernet(b)) }

func (c *tape) frame(b []byte) *tape {
	c.packets = append(c.packets, pcaptest.Packet{At: start.Add(c.after), Data: b, Medium: 1})
	c.after += 10 * time.Millisecond
	return c
}

// toAll puts an IP packet on the line for everyone.
func (c *tape) toAll(b []byte) *tape {
	f := pcaptest.Ethernet(b)
	copy(f, "\xff\xff\xff\xff\xff\xff")
	return c.frame(f)
}

func (c *tape) tcp(from, to string, flags byte, seq uint32, data ...byte) *tape {
	return c.ip(pcaptest.TCP(pcaptest.Addr(from), pcaptest.Addr(to), flags, seq, data...))
}

func (c *tape) udp(from, to string, data ...byte) *tape {
	return c.ip(pcaptest.UDP(pcaptest.Addr(from), pcaptest.Addr(to), data...))
}

// connect is a connection from its beginning to its end, with n bytes each way.
func (c *tape) connect(client, server string, n int) *tape {
	return c.tcp(client, server, syn, 100).tcp(server, client, syn|ack, 900).tcp(client, server, ack, 101).
		tcp(client, server, psh|ack, 101, make([]byte, n)...).tcp(server, client, psh|ack, 901, make([]byte, n)...).
		tcp(client, server, fin|ack, 101).tcp(server, client, fin|ack, 901).tcp(client, server, ack, 102)
}

// unreachable is a message of ICMP that sends back a packet.
func (c *tape) unreachable(from string, code byte, about []byte) *tape {
	to := netip.AddrFrom4([4]byte(about[12:16]))
	return c.ip(pcaptest.ICMP(netip.MustParseAddr(from), to, 3, code, slices.Concat(make([]byte, 4), about[:28])...))
}

// pcap is the capture as a file.
func (c *tape) pcap() []byte { return pcaptest.Pcap{Packets: c.packets}.Bytes() }

// dnsName writes a name as DNS does.
func dnsName(s string) (b []byte) {
	for label := range strings.SplitSeq(s, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// answer is a name server's: to the question for name and kind, with records of name, kind
// and data. A name of "" is the one asked for.
type rr struct {
	name string
	kind uint16
	data []byte
}

func answer(name string, kind uint16, records ...rr) []byte {
	b := []byte{0, 7, 0x81, 0x80, 0, 1, 0, byte(len(records)), 0, 0, 0, 0}
	b = append(b, dnsName(name)...)
	b = append(b, byte(kind>>8), byte(kind), 0, 1)
	for _, r := range records {
		if r.name == "" {
			b = append(b, 0xc0, 12)
		} else {
			b = append(b, dnsName(r.name)...)
		}
		b = append(b, byte(r.kind>>8), byte(r.kind), 0, 1, 0, 0, 1, 0, byte(len(r.data)>>8), byte(len(r.data)))
		b = append(b, r.data...)
	}
	return b
}

func bytesOf(addr string) []byte { return netip.MustParseAddr(addr).AsSlice() }

// netbios is the registration of a name.
func netbios(name string, service byte, flags uint16, addr string) []byte {
	b := []byte{0x80, 1, 0x29, 0x10, 0, 1, 0, 0, 0, 0, 0, 1, 32}
	for _, c := range fmt.Sprintf("%-15s", name) + string(rune(service)) {
		b = append(b, 'A'+byte(c)>>4, 'A'+byte(c)&15)
	}
	b = append(b, 0, 0, 32, 0, 1, 0xc0, 12, 0, 32, 0, 1, 0, 4, 0x93, 0xe0, 0, 6, byte(flags>>8), byte(flags))
	return append(b, bytesOf(addr)...)
}

// dhcp is a request for an address, with the name of who asks.
func dhcp(name, addr string) []byte {
	b := make([]byte, 236)
	b[0], b[1], b[2] = 1, 1, 6
	b = append(b, 0x63, 0x82, 0x53, 0x63, 53, 1, 3, 0, 50, 4)
	b = append(b, bytesOf(addr)...)
	b = append(b, 12, byte(len(name)))
	return append(append(b, name...), 255)
}

// day is what a file server might say in a morning.
func day() *tape {
	c := new(tape)
	c.tcp("192.0.2.20:49877", "192.0.2.11:3389", psh|ack, 5000, make([]byte, 90)...) // runs already
	c.tcp("192.0.2.11:3389", "192.0.2.20:49877", psh|ack, 7000, make([]byte, 200)...)
	c.toAll(pcaptest.UDP(pcaptest.Addr("192.0.2.11:137"), pcaptest.Addr("192.0.2.255:137"), netbios("FS01", 0x20, 0x6000, "192.0.2.11")...))
	c.toAll(pcaptest.UDP(pcaptest.Addr("192.0.2.11:137"), pcaptest.Addr("192.0.2.255:137"), netbios("CORP", 0, 0xe000, "192.0.2.11")...))
	for i := range 3 {
		client := fmt.Sprintf("192.0.2.%d:%d", 20+i, 50000+i)
		c.connect(client, "192.0.2.11:445", 300)
	}
	c.connect("192.0.2.20:50010", "192.0.2.11:445", 50)
	c.udp("192.0.2.11:53001", "192.0.2.2:53", answer("dc01.corp.example.com", 1)...)
	c.udp("192.0.2.2:53", "192.0.2.11:53001", answer("dc01.corp.example.com", 1, rr{"", 1, bytesOf("192.0.2.2")})...)
	c.udp("192.0.2.2:53", "192.0.2.11:53002", answer("Intra.corp.example.com", 28, rr{"", 5, dnsName("web7.example.com")}, rr{"web7.example.com", 28, bytesOf("2001:db8::7")})...)
	c.udp("192.0.2.2:53", "192.0.2.11:53003", answer("30.2.0.192.in-addr.arpa", 12, rr{"", 12, dnsName("sql01.example.com")})...)
	c.connect("192.0.2.11:49200", "192.0.2.2:88", 1200).connect("192.0.2.11:49201", "192.0.2.2:389", 400)
	c.connect("192.0.2.11:49202", "192.0.2.30:1433", 4000)
	c.connect("[2001:db8::11]:49203", "[2001:db8::7]:443", 900)
	c.udp("192.0.2.11:123", "192.0.2.2:123", make([]byte, 48)...).udp("192.0.2.2:123", "192.0.2.11:123", make([]byte, 48)...)
	c.toAll(pcaptest.UDP(pcaptest.Addr("0.0.0.0:68"), pcaptest.Addr("255.255.255.255:67"), dhcp("pc23", "192.0.2.23")...))
	c.udp("[fe80::1]:5355", "[ff02::1:3]:5355", answer("fs01", 1)...)
	c.ip(pcaptest.ICMP(netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("192.0.2.11"), 8, 0, 0, 1, 0, 1))
	c.ip(pcaptest.ICMP(netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.20"), 0, 0, 0, 1, 0, 1))
	c.tcp("192.0.2.20:50020", "192.0.2.11:23", syn, 1).tcp("192.0.2.11:23", "192.0.2.20:50020", rst|ack, 0) // refused
	c.tcp("192.0.2.11:49210", "203.0.113.9:80", syn, 1)                                                     // dropped
	c.wait(3*time.Second).tcp("192.0.2.11:49210", "203.0.113.9:80", syn, 1)
	lost := pcaptest.UDP(pcaptest.Addr("192.0.2.11:50500"), pcaptest.Addr("192.0.2.40:514"))
	c.ip(lost).unreachable("192.0.2.40", 3, lost)
	c.frame(append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x06"), make([]byte, 46)...)) // ARP
	c.wait(10*time.Minute).udp("192.0.2.11:123", "192.0.2.2:123", make([]byte, 48)...)
	return c
}

// samples are the files in testdata, which this test keeps as they are made here.
func samples() map[string][]byte {
	ng := new(pcaptest.NG).Section()
	ng.Interface(1, 0, ng.Option(9, []byte{9}), ng.Option(11, []byte("\x00host 192.0.2.11")))
	for _, p := range day().packets {
		ng.Packet(p, 1e9)
	}
	ng.Names(map[netip.Addr]string{netip.MustParseAddr("192.0.2.20"): "pc20.example.com"}).Statistics(0, 3, 0)

	odd := new(tape)
	a, b := netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("198.51.100.7")
	odd.ip(pcaptest.IP(a, b, 47, make([]byte, 30))).ip(pcaptest.IP(b, a, 47, make([]byte, 30))).ip(pcaptest.IP(a, b, 50, make([]byte, 60)))
	datagram := pcaptest.UDP(netip.AddrPortFrom(a, 50001), netip.AddrPortFrom(b, 2049), make([]byte, 2000)...)[20:]
	odd.ip(pcaptest.Fragment(a, b, 17, 7, 0, true, datagram[:1480])).ip(pcaptest.Fragment(a, b, 17, 7, 1480, false, datagram[1480:]))
	odd.ip(pcaptest.Fragment(b, a, 17, 8, 1480, false, make([]byte, 100)))
	odd.ip([]byte{0x45, 0, 0}).frame([]byte{1})
	odd.udp("198.51.100.7:53", "192.0.2.11:50002", answer("a\x1b[31mb.example.com", 1, rr{"", 1, bytesOf("192.0.2.66")}, rr{"ok.example.com", 1, bytesOf("192.0.2.67")})...)
	for i := range odd.packets {
		odd.packets[i].Medium = 0xe001 // Ethernet, by pcap's number
	}
	odd.packets = append(odd.packets, pcaptest.Packet{At: start, Data: make([]byte, 40), Medium: 6}, pcaptest.Packet{At: start, Data: []byte("a filter"), Medium: 0xffff})

	short := new(tape)
	short.connect("192.0.2.20:50000", "192.0.2.11:445", 500)
	for i, p := range short.packets {
		short.packets[i].Length, short.packets[i].Data = len(p.Data), p.Data[:min(len(p.Data), 60)]
	}
	short.packets = append(short.packets, pcaptest.Packet{At: start.Add(time.Second), Length: 60, Data: short.packets[0].Data[:30]})
	cut := append(short.pcap(), 1, 2, 3, 4, 5)

	return map[string][]byte{
		"server_2008/fs01.pcapng":     ng.Bytes(),
		"network_monitor/fs01.cap":    pcaptest.Netmon{Major: 2, Medium: 1, Start: start, Packets: day().packets}.Bytes(),
		"odd/odd.cap":                 pcaptest.Netmon{Major: 2, Minor: 3, Start: start, Packets: odd.packets}.Bytes(),
		"cut_and_short/cut.pcap":      cut,
		"empty/empty.pcap.gz":         pcaptest.Gzip(pcaptest.Pcap{}.Bytes()),
		"damaged/damaged.pcap":        append(pcaptest.Pcap{Packets: day().packets[:12]}.Bytes(), bytes.Repeat([]byte{0xff}, 64)...),
		"other_clock/big_nano.pcap":   pcaptest.Pcap{Big: true, Nano: true, Packets: day().packets[:6]}.Bytes(),
		"unread_link/wireless.pcap":   pcaptest.Pcap{Link: 105, Packets: day().packets[:6]}.Bytes(),
		"no_capture/systeminfo.pcap":  []byte("Host Name: FS01\r\n"),
		"simple_blocks/simple.pcapng": new(pcaptest.NG).Section().Interface(101, 0).SimplePacket(pcaptest.Packet{Data: pcaptest.TCP(pcaptest.Addr("192.0.2.20:50000"), pcaptest.Addr("192.0.2.11:445"), syn, 1)}).Bytes(),
	}
}

func TestSamples(t *testing.T) {
	for name, b := range samples() {
		if name != "no_capture/systeminfo.pcap" {
			golden.Check(t, filepath.Join("testdata", filepath.FromSlash(name)), b)
		}
	}
}

func TestGolden(t *testing.T) { evidencetest.Golden(t, capture.Reader) }
func FuzzRead(f *testing.F)   { evidencetest.Fuzz(f, capture.Reader) }

// read reads a capture by itself.
func read(t testing.TB, b []byte) *host.Host {
	t.Helper()
	h, err := readAt(context.Background(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func readAt(ctx context.Context, r io.ReaderAt, size int64) (*host.Host, error) {
	h := new(host.Host)
	_, err := capture.Reader.Read(ctx, evidence.Input{Name: "input", File: io.NewSectionReader(r, 0, size)}, h)
	return h, err
}

// talks shows the conversations of a capture, one a line.
func talks(h *host.Host) (lines []string) {
	for _, c := range h.Traffic.All() {
		for _, s := range c.Seen {
			line := fmt.Sprintf("%s > %s %d/%d: %d times, %d packets", c.Client, c.Server, c.Proto, c.Port, s.Times, s.Packets)
			if s.Refused > 0 {
				line += fmt.Sprintf(", %d refused", s.Refused)
			}
			if !s.Sure {
				line += ", not sure"
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// TestCounting: what a connection is, who began it, and what refused means.
func TestCounting(t *testing.T) {
	const c, d, s = "192.0.2.20:50000", "192.0.2.20:50001", "192.0.2.11:445"
	rpc := "192.0.2.11:49155"
	late := 5 * time.Second
	for _, tc := range []struct {
		name string
		tape *tape
		want []string
	}{
		{"connection", new(tape).connect(c, s, 1), []string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 8 packets"}},
		{"two_connections", new(tape).connect(c, s, 1).connect(d, s, 1), []string{"192.0.2.20 > 192.0.2.11 6/445: 2 times, 16 packets"}},
		{
			"same_ports_again", new(tape).connect(c, s, 1).tcp(c, s, syn, 555).tcp(s, c, syn|ack, 1).tcp(c, s, ack, 556),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 2 times, 11 packets"},
		},
		{"same_ports_and_number_again", new(tape).connect(c, s, 1).connect(c, s, 1), []string{"192.0.2.20 > 192.0.2.11 6/445: 2 times, 16 packets"}},
		{
			"again_after_a_reset", new(tape).tcp(c, s, syn, 7).tcp(s, c, syn|ack, 0).tcp(c, s, rst, 8).tcp(c, s, syn, 7).tcp(s, c, syn|ack, 0).tcp(c, s, ack, 8),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 2 times, 6 packets"},
		},
		{"syn_repeated", new(tape).tcp(c, s, syn, 7).tcp(c, s, syn, 7).tcp(s, c, syn|ack, 1).tcp(s, c, syn|ack, 1).tcp(c, s, ack, 8), []string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 5 packets"}},
		{"server_on_a_high_port", new(tape).connect(c, rpc, 1), []string{"192.0.2.20 > 192.0.2.11 6/49155: 1 times, 8 packets"}},
		{"answer_alone_shows_who_began", new(tape).tcp(rpc, c, syn|ack, 1).tcp(rpc, c, ack, 2), []string{"192.0.2.20 > 192.0.2.11 6/49155: 1 times, 2 packets"}},
		{"answer_before_its_question", new(tape).ip(answered(c, rpc)).tcp(c, rpc, syn, 7).tcp(c, rpc, ack, 8), []string{"192.0.2.20 > 192.0.2.11 6/49155: 1 times, 3 packets"}},
		{"from_the_client_alone", new(tape).tcp(c, s, syn, 7).tcp(c, s, ack, 8).wait(late).tcp(c, s, ack, 9), []string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 3 packets"}},
		{"reset", new(tape).tcp(c, s, syn, 7).tcp(s, c, rst|ack, 0), []string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 2 packets, 1 refused"}},
		{
			"reset_and_tried_again", new(tape).tcp(c, s, syn, 7).tcp(s, c, rst|ack, 0).tcp(c, s, syn, 7).tcp(s, c, rst|ack, 0),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 4 packets, 1 refused"},
		},
		{
			"reset_and_then_accepted", new(tape).tcp(c, s, syn, 7).tcp(s, c, rst|ack, 0).tcp(c, s, syn, 7).tcp(s, c, syn|ack, 0).tcp(c, s, ack, 8),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 5 packets"},
		},
		{
			"reset_after_it_worked", new(tape).tcp(c, s, syn, 7).tcp(s, c, syn|ack, 0).tcp(c, s, ack, 8).tcp(s, c, rst, 1),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 4 packets"},
		},
		{
			"no_answer", new(tape).tcp(c, s, syn, 7).wait(late).udp("192.0.2.1:520", "224.0.0.9:520"),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 1 packets, 1 refused", "192.0.2.1 > 224.0.0.9 17/520: 1 times, 1 packets"},
		},
		{"no_answer_yet", new(tape).tcp(c, s, syn, 7), []string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 1 packets"}},
		{
			"prohibited_by_a_firewall", new(tape).tcp(c, s, syn, 7).unreachable("192.0.2.1", 13, pcaptest.TCP(pcaptest.Addr(c), pcaptest.Addr(s), syn, 7)),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 1 packets, 1 refused", "192.0.2.1 > 192.0.2.20 1/3: 1 times, 1 packets"},
		},
		{
			"told_to_send_smaller_packets", new(tape).udp("192.0.2.20:5000", "192.0.2.11:53").unreachable("192.0.2.1", 4, pcaptest.UDP(pcaptest.Addr("192.0.2.20:5000"), pcaptest.Addr("192.0.2.11:53"))),
			[]string{"192.0.2.20 > 192.0.2.11 17/53: 1 times, 1 packets", "192.0.2.1 > 192.0.2.20 1/3: 1 times, 1 packets"},
		},
		{"running_by_known_port", new(tape).tcp(s, c, ack, 1).tcp(c, s, ack, 1), []string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 2 packets, not sure"}},
		{"running_known_above_unknown", new(tape).tcp("192.0.2.20:1100", "192.0.2.11:3389", ack, 1), []string{"192.0.2.20 > 192.0.2.11 6/3389: 1 times, 1 packets, not sure"}},
		{"running_by_lower_port", new(tape).tcp("192.0.2.11:4711", "192.0.2.20:33000", ack, 1), []string{"192.0.2.20 > 192.0.2.11 6/4711: 1 times, 1 packets, not sure"}},
		{
			"running_to_a_port_seen_to_accept", new(tape).tcp("192.0.2.21:49152", rpc, ack, 1).connect(c, rpc, 1),
			[]string{"192.0.2.20 > 192.0.2.11 6/49155: 1 times, 8 packets", "192.0.2.21 > 192.0.2.11 6/49155: 1 times, 1 packets, not sure"},
		},
		{
			"ran_and_began_again", new(tape).tcp(c, s, ack, 1).tcp(c, s, syn, 2).tcp(s, c, syn|ack, 2).tcp(c, s, ack, 3),
			[]string{"192.0.2.20 > 192.0.2.11 6/445: 1 times, 1 packets, not sure", "192.0.2.20 > 192.0.2.11 6/445: 1 times, 3 packets"},
		},
		{"question_and_answer", new(tape).udp("192.0.2.11:50000", "192.0.2.2:53").udp("192.0.2.2:53", "192.0.2.11:50000"), []string{"192.0.2.11 > 192.0.2.2 17/53: 1 times, 2 packets"}},
		{"answer_alone", new(tape).udp("192.0.2.2:53", "192.0.2.11:50000"), []string{"192.0.2.11 > 192.0.2.2 17/53: 1 times, 1 packets, not sure"}},
		{
			"pauses_part_conversations", new(tape).udp("192.0.2.11:123", "192.0.2.2:123").wait(64*time.Second).udp("192.0.2.11:123", "192.0.2.2:123").wait(2*time.Second).udp("192.0.2.2:123", "192.0.2.11:123"),
			[]string{"192.0.2.11 > 192.0.2.2 17/123: 1 times, 1 packets, not sure", "192.0.2.11 > 192.0.2.2 17/123: 1 times, 2 packets"},
		},
		{"broadcast_in_a_subnet", new(tape).toAll(pcaptest.UDP(pcaptest.Addr("192.0.2.11:138"), pcaptest.Addr("192.0.2.255:138"))), []string{"192.0.2.11 > 192.0.2.255 17/138: 1 times, 1 packets"}},
		{"multicast_from_a_known_port", new(tape).udp("192.0.2.11:1900", "239.255.255.250:50000"), []string{"192.0.2.11 > 239.255.255.250 17/50000: 1 times, 1 packets"}},
		{
			"pings_both_ways", new(tape).ping("192.0.2.11", "192.0.2.20", 8).ping("192.0.2.20", "192.0.2.11", 0).ping("192.0.2.20", "192.0.2.11", 8).ping("2001:db8::1", "2001:db8::2", 129),
			[]string{"192.0.2.20 > 192.0.2.11 1/8: 1 times, 1 packets", "192.0.2.11 > 192.0.2.20 1/8: 1 times, 2 packets", "2001:db8::2 > 2001:db8::1 58/128: 1 times, 1 packets"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, talks(read(t, tc.tape.pcap()))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// answered is the answer to a SYN with sequence number 7.
func answered(client, server string) []byte {
	b := pcaptest.TCP(pcaptest.Addr(server), pcaptest.Addr(client), syn|ack, 900)
	binary.BigEndian.PutUint32(b[28:], 8)
	return b
}

func (c *tape) ping(from, to string, kind byte) *tape {
	return c.ip(pcaptest.ICMP(netip.MustParseAddr(from), netip.MustParseAddr(to), kind, 0))
}

// TestOrderOfPacketsIsKept: the same packets give the same however often they are read.
func TestSameTwice(t *testing.T) {
	b := samples()["server_2008/fs01.pcapng"]
	first := read(t, b)
	for range 5 {
		if diff := cmp.Diff(evidencetest.View(first), evidencetest.View(read(t, b))); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	}
}

// TestOneDirection: a mirror port that shows half is told by what it shows.
func TestOneDirection(t *testing.T) {
	c := new(tape)
	for i := range 20 {
		client := fmt.Sprintf("192.0.2.20:%d", 50000+i)
		c.tcp(client, "192.0.2.11:445", syn, 1).tcp(client, "192.0.2.11:445", ack, 2)
	}
	h := read(t, c.pcap())
	if !slices.Contains(h.Watches[0].Limits, "Of nearly all connections one direction only was captured.") {
		t.Errorf("limits: %q", h.Watches[0].Limits)
	}
	if got := talks(h); !slices.Equal(got, []string{"192.0.2.20 > 192.0.2.11 6/445: 20 times, 40 packets"}) {
		t.Errorf("talks: %q", got)
	}
}

// TestHostileNames: what a packet says is a name is one only if it looks like one, and
// pointers in circles end.
func TestHostileNames(t *testing.T) {
	circle := answer("x.example.com", 1, rr{"", 1, bytesOf("192.0.2.1")})
	circle[12], circle[13] = 0xc0, 12
	forward := answer("x.example.com", 1, rr{"", 1, bytesOf("192.0.2.1")})
	copy(forward[12:], []byte{0xc0, 40})
	c := new(tape)
	for _, b := range [][]byte{
		circle, forward, answer("<b>.example.com", 1, rr{"", 1, bytesOf("192.0.2.2")}), answer("=1+1", 1, rr{"", 1, bytesOf("192.0.2.3")}),
		answer(`a\".example.com`, 1, rr{"", 1, bytesOf("192.0.2.4")}), answer("....", 1, rr{"", 1, bytesOf("192.0.2.5")}),
		answer("group.example.com", 1, rr{"", 1, bytesOf("224.0.0.1")}), answer("none.example.com", 1, rr{"", 1, bytesOf("0.0.0.0")}),
		answer("fine.example.com", 1, rr{"", 1, bytesOf("192.0.2.6")}),
		answer("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", 12, rr{"", 12, dnsName("six.example.com")}),
	} {
		c.udp("192.0.2.53:53", "192.0.2.11:50000", b...)
	}
	for i := range 40 { // one address with ever more names
		c.udp("192.0.2.53:53", "192.0.2.11:50000", answer(fmt.Sprintf("n%d.example.com", i), 1, rr{"", 1, bytesOf("192.0.2.7")})...)
	}
	h := read(t, c.pcap())
	var got []string
	for _, n := range h.Names {
		got = append(got, n.Addr.String()+" "+n.Name)
	}
	want := []string{"192.0.2.6 fine.example.com", "2001:db8::1 six.example.com"}
	for i := range 16 {
		want = append(want, fmt.Sprintf("192.0.2.7 n%d.example.com", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Contains(h.Watches[0].Limits, "24 names were left out, since there are too many.") {
		t.Errorf("limits: %q", h.Watches[0].Limits)
	}
}

// TestStopsWithItsContext: a capture is not read on once nobody waits for it.
func TestStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := newStream(1 << 30)
	s.read = func(n int64) {
		if n > 4<<20 {
			cancel()
		}
	}
	_, err := readAt(ctx, s, s.size)
	if !errors.Is(err, context.Canceled) || s.n.Load() > 16<<20 {
		t.Errorf("after %d MiB: %v", s.n.Load()>>20, err)
	}
	cancel()
}

// TestAnyBytesDoNoHarm reads a good capture with bytes changed here and there.
func TestAnyBytesDoNoHarm(t *testing.T) {
	for name, b := range samples() {
		r := rand.New(rand.NewPCG(1, uint64(len(name))))
		for range 300 {
			c := bytes.Clone(b)
			for range 1 + r.IntN(8) {
				c[r.IntN(len(c))] = byte(r.Uint32())
			}
			h, err := readAt(context.Background(), bytes.NewReader(c), int64(len(c)))
			if err == nil && len(h.Watches) != 1 {
				t.Fatalf("%s: %d watches", name, len(h.Watches))
			}
		}
	}
}
