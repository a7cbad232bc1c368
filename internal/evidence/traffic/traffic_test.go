package traffic_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

func TestAddr(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "255.255.255.255": "255.255.255.255", "0.0.0.0": "0.0.0.0", "2001:db8::1": "2001:db8::1",
		"[2001:db8::1]": "2001:db8::1", "fe80::1%11": "fe80::1", "::ffff:192.0.2.1": "192.0.2.1",
		"192.0.2": "", "192.0.2.256": "", "192.0.2.01": "", "192.0.2.1.": "", "192.0.2.1.1": "", ".192.0.2": "", "192..2.1": "", "1234.0.0.1": "",
		"": "", "-": "", "fs01": "", "2001:db8::g": "", "2001:db8..1:2": "", "[": "", "[]": "", ":": "",
	} {
		got, ok := traffic.Addr([]byte(text))
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("Addr(%q) = %v, %v; want %q", text, got, ok, want)
		}
	}
}

// FuzzAddr: what is read is what the library reads, and no IPv4 address is missed.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "2001:db8::1", "00.0.0.0", "1.2.3.4.5", "[::1]", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := traffic.Addr([]byte(s))
		want, err := netip.ParseAddr(s)
		if err == nil && want.Is4() && (!ok || got != want) {
			t.Errorf("Addr(%q) = %v, %v; want %v", s, got, ok, want)
		}
		if ok && err != nil && s[0] != '[' {
			t.Errorf("Addr(%q) = %v, and netip says %v", s, got, err)
		}
	})
}

func TestProto(t *testing.T) {
	for text, want := range map[string]host.IPProto{
		"TCP": host.TCP, "tcp": host.TCP, "6": host.TCP, "Udp": host.UDP, "17": host.UDP, "IPv6-ICMP": host.ICMPv6, "ICMP6": host.ICMPv6, "58": host.ICMPv6,
		"ICMP": host.ICMP, "GRE": 47, "255": 255,
	} {
		if got, ok := traffic.Proto([]byte(text)); !ok || got != want {
			t.Errorf("Proto(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", "256", "SMB2", "99999999999999999999", "a name that is too long"} {
		if got, ok := traffic.Proto([]byte(text)); ok {
			t.Errorf("Proto(%q) = %d", text, got)
		}
	}
}

func TestTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"08:00:01": 8*time.Hour + time.Second, "8:00:01": 8*time.Hour + time.Second, "23:59:59.250": 24*time.Hour - 750*time.Millisecond,
		"00:00:00.123456": 123456 * time.Microsecond, "00:00:00,5": 500 * time.Millisecond,
		"24:00:00": -1, "08:60:00": -1, "08:00": -1, "08:00:00.": -1, "08:00:00.x": -1, "": -1, "08-00-00": -1,
	} {
		if got, ok := traffic.Clock([]byte(text)); ok != (want >= 0) || ok && got != want {
			t.Errorf("Clock(%q) = %v, %v; want %v", text, got, ok, want)
		}
	}
	for text, want := range map[string]string{
		"2019-03-19": "2019-03-19", "2019/03/19": "2019-03-19", "2020-02-29": "2020-02-29",
		"2019-02-29": "", "2019-13-01": "", "1979-01-01": "", "2019-03/19": "", "19-03-2019": "", "": "", "2019-3-19": "",
	} {
		got, ok := traffic.Day([]byte(text))
		if ok != (want != "") || ok && got.Format(time.DateOnly) != want {
			t.Errorf("Day(%q) = %v, %v; want %q", text, got, ok, want)
		}
	}
}

func TestServer(t *testing.T) {
	for _, tt := range []struct {
		a, b uint16
		want int
	}{
		{445, 50001, 1},
		{50001, 445, 2},
		{3389, 50001, 1},
		{123, 123, 0},
		{49155, 50001, 0},
		{0, 50001, 0},
		{53, 1433, 0},
	} {
		if got := traffic.Server(tt.a, tt.b); got != tt.want {
			t.Errorf("Server(%d, %d) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestStray(t *testing.T) {
	for _, tt := range []struct {
		name     string
		proto    host.IPProto
		flags    traffic.TCPFlags
		known    bool
		from, to uint16
		want     bool
	}{
		{"first_packet", host.TCP, traffic.SYN, true, 50001, 445, false},
		{"answer", host.TCP, traffic.SYN | traffic.ACK, true, 445, 50001, true},
		{"late_reset", host.TCP, traffic.RST | traffic.ACK, true, 443, 50342, true},
		{"no_flags_shown", host.TCP, 0, false, 50001, 445, false},
		{"question", host.UDP, 0, false, 50001, 53, false},
		{"late_answer", host.UDP, 0, false, 53, 50001, true},
		{"both_serve", host.UDP, 0, false, 137, 137, false},
		{"echo", host.ICMP, 0, false, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := traffic.Stray(tt.proto, tt.flags, tt.known, tt.from, tt.to); got != tt.want {
				t.Errorf("stray %v, want %v", got, tt.want)
			}
		})
	}
}
