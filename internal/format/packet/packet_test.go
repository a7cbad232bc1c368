package packet_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/packet"
	"github.com/oldguard/oldguard/internal/format/pcap"
	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
)

var (
	client4, server4 = pcaptest.Addr("192.0.2.20:50000"), pcaptest.Addr("192.0.2.11:445")
	client6, server6 = pcaptest.Addr("[2001:db8::20]:50000"), pcaptest.Addr("[2001:db8::11]:53")
	tcp              = pcaptest.TCP(client4, server4, pcaptest.SYN, 7)
	udp              = pcaptest.UDP(client6, server6, []byte("hello")...)
)

func addr(a packet.Addr) netip.Addr { return netip.AddrFrom16(a).Unmap() }

// say puts a packet in a line.
func say(o packet.Outcome, p *packet.Packet) string {
	if o != packet.Decoded {
		return []string{"", "not IP", "unknown link", "cut", "damaged"}[o]
	}
	s := fmt.Sprintf("%s > %s proto %d len %d", netip.AddrPortFrom(addr(p.Src), p.SrcPort), netip.AddrPortFrom(addr(p.Dst), p.DstPort), p.Proto, p.Length)
	for _, part := range []struct {
		show bool
		text string
	}{
		{p.Flags != 0, fmt.Sprintf(" flags %d seq %d", p.Flags, p.Seq)},
		{p.Proto == packet.ICMP || p.Proto == packet.ICMPv6, fmt.Sprintf(" type %d code %d", p.Type, p.Code)},
		{len(p.Payload) > 0, fmt.Sprintf(" %q", p.Payload)},
		{p.Fragment == packet.First, fmt.Sprintf(" first of %d", p.ID)},
		{p.Fragment == packet.Later, fmt.Sprintf(" part of %d", p.ID)},
		{p.Broadcast, " to all"},
	} {
		if part.show {
			s += part.text
		}
	}
	return s
}

// within puts extension headers into an IPv6 packet.
func within(ip []byte, first byte, extensions ...byte) []byte {
	out := slices.Concat(ip[:40], extensions, ip[40:])
	out[6] = first
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

func TestDecode(t *testing.T) {
	const smb, dns = "192.0.2.20:50000 > 192.0.2.11:445 proto 6 len 40 flags 2 seq 7", `[2001:db8::20]:50000 > [2001:db8::11]:53 proto 17 len 53 "hello"`
	a4, b4 := client4.Addr(), server4.Addr()
	behind := func(kind uint16, more ...byte) []byte {
		f := pcaptest.Ethernet(nil)[:12]
		return append(binary.BigEndian.AppendUint16(f, kind), more...)
	}
	join := func(head string, ip []byte) []byte { return append([]byte(head), ip...) }
	noTotal := slices.Clone(tcp)
	noTotal[2], noTotal[3] = 0, 0
	options := slices.Concat([]byte{0x46}, tcp[1:20], []byte{1, 1, 1, 1}, tcp[20:])
	binary.BigEndian.PutUint16(options[2:], uint16(len(options)))
	toAll := pcaptest.Ethernet(tcp)
	copy(toAll, "\xff\xff\xff\xff\xff\xff")
	for _, tc := range []struct {
		name string
		link pcap.LinkType
		b    []byte
		want string
	}{
		{"ethernet", pcap.LinkEthernet, pcaptest.Ethernet(tcp), smb},
		{"ethernet_to_all", pcap.LinkEthernet, toAll, smb + " to all"},
		{"ethernet_six", pcap.LinkEthernet, pcaptest.Ethernet(udp), dns},
		{"vlan", pcap.LinkEthernet, pcaptest.Ethernet(tcp, 7), smb},
		{"vlan_in_vlan", pcap.LinkEthernet, pcaptest.Ethernet(udp, 7, 8), dns},
		{"vlans_without_end", pcap.LinkEthernet, pcaptest.Ethernet(tcp, 1, 2, 3, 4, 5, 6, 7, 8, 9), "damaged"},
		{"arp", pcap.LinkEthernet, behind(0x0806, make([]byte, 46)...), "not IP"},
		{"spanning_tree", pcap.LinkEthernet, behind(38, join("\x42\x42\x03", make([]byte, 43))...), "not IP"},
		{"snap", pcap.LinkEthernet, behind(48, join("\xaa\xaa\x03\x00\x00\x00\x08\x00", tcp)...), smb},
		{"pppoe", pcap.LinkEthernet, behind(0x8864, join("\x11\x00\x00\x01\x00\x2a\x00\x21", tcp)...), smb},
		{"pppoe_lcp", pcap.LinkEthernet, behind(0x8864, join("\x11\x00\x00\x01\x00\x0a\xc0\x21", make([]byte, 40))...), "not IP"},
		{"mpls", pcap.LinkEthernet, behind(0x8847, join("\x00\x01\x00\x40\x00\x01\x01\x40", tcp)...), smb},
		{"mpls_of_ethernet", pcap.LinkEthernet, behind(0x8847, join("\x00\x01\x01\x40\x00\x00\x00\x00", pcaptest.Ethernet(tcp))...), "not IP"},
		{"sll", pcap.LinkSLL, join("\x00\x00\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00\x08\x00", tcp), smb},
		{"sll_to_all", pcap.LinkSLL, join("\x00\x01\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00\x86\xdd", udp), dns + " to all"},
		{"sll2", pcap.LinkSLL2, join("\x86\xdd\x00\x00\x00\x00\x00\x02\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00", udp), dns},
		{"raw", pcap.LinkRaw, tcp, smb},
		{"raw_12_six", pcap.LinkRaw12, udp, dns},
		{"raw_as_ipv6", pcap.LinkIPv6, udp, dns},
		{"null_little", pcap.LinkNull, join("\x02\x00\x00\x00", tcp), smb},
		{"loop_big", pcap.LinkLoop, join("\x00\x00\x00\x18", udp), dns},
		{"ppp", pcap.LinkPPP, join("\xff\x03\x00\x57", udp), dns},
		{"ppp_compressed", pcap.LinkPPP, join("\x21", tcp), smb},
		{"wireless", 105, pcaptest.Ethernet(tcp), "unknown link"},
		{"nobody_knows", pcap.LinkUnknown, tcp, "unknown link"},
		{"no_total_length", pcap.LinkRaw, noTotal, smb},
		{"ip_options", pcap.LinkRaw, options, "192.0.2.20:50000 > 192.0.2.11:445 proto 6 len 44 flags 2 seq 7"},
		{"version_5", pcap.LinkRaw, join("\x50", tcp[1:]), "damaged"},
		{"head_too_short", pcap.LinkRaw, join("\x44", tcp[1:]), "damaged"},
		{"ping", pcap.LinkRaw, pcaptest.ICMP(a4, b4, 8, 0, 0, 1, 0, 1, 'x'), `192.0.2.20:0 > 192.0.2.11:0 proto 1 len 29 type 8 code 0 "x"`},
		{"neighbour", pcap.LinkRaw, pcaptest.ICMP(client6.Addr(), server6.Addr(), 135, 0), "[2001:db8::20]:0 > [2001:db8::11]:0 proto 58 len 48 type 135 code 0"},
		{"gre", pcap.LinkRaw, pcaptest.IP(a4, b4, 47, make([]byte, 8)), "192.0.2.20:0 > 192.0.2.11:0 proto 47 len 28"},
		{"six_in_four", pcap.LinkRaw, pcaptest.IP(a4, b4, 41, udp), "192.0.2.20:0 > 192.0.2.11:0 proto 41 len 73"},
		{"esp_six", pcap.LinkRaw, pcaptest.IP(client6.Addr(), server6.Addr(), 50, make([]byte, 20)), "[2001:db8::20]:0 > [2001:db8::11]:0 proto 50 len 60"},
		{"first_fragment", pcap.LinkRaw, pcaptest.Fragment(a4, b4, 17, 99, 0, true, udp[40:]), `192.0.2.20:50000 > 192.0.2.11:53 proto 17 len 33 "hello" first of 99`},
		{"later_fragment", pcap.LinkRaw, pcaptest.Fragment(a4, b4, 17, 99, 8, false, []byte("rest")), "192.0.2.20:0 > 192.0.2.11:0 proto 17 len 24 part of 99"},
		{"six_extensions", pcap.LinkRaw, within(udp, 0, 60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0), `[2001:db8::20]:50000 > [2001:db8::11]:53 proto 17 len 69 "hello"`},
		{"six_first_fragment", pcap.LinkRaw, within(udp, 44, 17, 0, 0, 1, 0, 0, 0, 9), `[2001:db8::20]:50000 > [2001:db8::11]:53 proto 17 len 61 "hello" first of 9`},
		{"six_later_fragment", pcap.LinkRaw, within(udp, 44, 17, 0, 0, 8, 0, 0, 0, 9), "[2001:db8::20]:0 > [2001:db8::11]:0 proto 17 len 61 part of 9"},
		{"six_extension_too_long", pcap.LinkRaw, within(udp, 0, 17, 200, 0, 0, 0, 0, 0, 0), "damaged"},
		{"udp_without_ports", pcap.LinkRaw, pcaptest.IP(a4, b4, 17, []byte{1, 2}), "damaged"},
		{"nothing", pcap.LinkEthernet, nil, "damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p packet.Packet
			if diff := cmp.Diff(tc.want, say(packet.Decode(tc.link, tc.b, len(tc.b), &p), &p)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCutAnywhere: a frame cut while capturing is cut and not damaged, until its ports are
// there; what is there then is the same as of the whole frame.
func TestCutAnywhere(t *testing.T) {
	for name, ip := range map[string][]byte{"tcp": tcp, "udp_six": udp, "extensions": within(udp, 0, 60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0)} {
		frame := pcaptest.Ethernet(ip, 5)
		var whole, p packet.Packet
		packet.Decode(pcap.LinkEthernet, frame, len(frame), &whole)
		ports := 18 + len(ip) - 20 + 4 // of TCP
		if name != "tcp" {
			ports = 18 + len(ip) - 13 + 4
		}
		for n := range frame {
			got := packet.Decode(pcap.LinkEthernet, frame[:n], len(frame), &p)
			switch {
			case n < ports && got != packet.Cut:
				t.Errorf("%s cut at %d: %s, want cut", name, n, say(got, &p))
			case n >= ports && (got != packet.Decoded || p.SrcPort != whole.SrcPort || p.DstPort != whole.DstPort || p.Length != whole.Length):
				t.Errorf("%s cut at %d: %s", name, n, say(got, &p))
			}
		}
	}
}

func TestQuoted(t *testing.T) {
	var p packet.Packet
	if got := say(packet.Quoted(tcp[:28], &p), &p); got != "192.0.2.20:50000 > 192.0.2.11:445 proto 6 len 40" {
		t.Errorf("8 bytes of TCP: %s", got)
	}
	if got := packet.Quoted(tcp[:22], &p); got != packet.Cut {
		t.Errorf("2 bytes of TCP: %d", got)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	frame := pcaptest.Ethernet(udp)
	var p packet.Packet
	if n := testing.AllocsPerRun(100, func() { packet.Decode(pcap.LinkEthernet, frame, len(frame), &p) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(int32(1), pcaptest.Ethernet(tcp), 0)
	f.Add(int32(1), pcaptest.Ethernet(within(udp, 0, 44, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9), 7, 8), 1000)
	f.Add(int32(113), append([]byte("\x00\x00\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00\x08\x00"), tcp...), 0)
	f.Add(int32(276), append([]byte("\x86\xdd\x00\x00\x00\x00\x00\x02\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00"), udp...), 0)
	f.Add(int32(0), append([]byte{2, 0, 0, 0}, tcp...), 0)
	f.Add(int32(9), append([]byte("\xff\x03\x00\x57"), udp...), 0)
	f.Fuzz(func(t *testing.T, link int32, b []byte, more int) {
		length := len(b) + max(min(more, 1<<20), 0)
		var p, again, quoted packet.Packet
		got := packet.Decode(pcap.LinkType(link), b, length, &p)
		if packet.Decode(pcap.LinkType(link), b, length, &again) != got || cmp.Diff(p, again) != "" {
			t.Error("the same bytes gave something else")
		}
		if got == packet.Decoded && (p.Length < 20 || len(p.Payload) > len(b)) {
			t.Errorf("%+v", p)
		}
		if got == packet.Cut && length == len(b) {
			t.Error("a whole frame counts as cut")
		}
		packet.Quoted(p.Payload, &quoted)
	})
}

func BenchmarkDecode(b *testing.B) {
	frame := pcaptest.Ethernet(pcaptest.TCP(client4, server4, pcaptest.ACK, 7, make([]byte, 600)...))
	b.SetBytes(int64(len(frame)))
	var p packet.Packet
	for b.Loop() {
		if packet.Decode(pcap.LinkEthernet, frame, len(frame), &p) != packet.Decoded {
			b.Fatal("not decoded")
		}
	}
}
