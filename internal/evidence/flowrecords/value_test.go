package flowrecords

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/traffic"
	"github.com/oldguard/oldguard/internal/host"
)

func TestClockwork(t *testing.T) {
	const eight = "2019-03-19 08:00:04"
	for text, want := range map[string]string{
		"2019-03-19 08:00:04":             eight,
		"2019-03-19T08:00:04Z":            eight,
		"2019-03-19T10:00:04+02:00":       eight,
		"2019-03-19T03:00:04.000000-0500": eight,
		"2019-03-19 08:00:04 UTC":         eight,
		"2019/03/19T08:00:04":             eight,
		"2019/03/19.08:00:04":             eight,
		"2019/03/19 08:00:04":             eight,
		"2019-03-19":                      "2019-03-19 00:00:00",
		"1552982404":                      eight,
		"1552982404.250000":               eight,
		"1552982404250":                   eight,
		"1552982404250000":                eight,
		"1552982404250000000":             eight,
		"19Mar2019 8:00:04":               eight,
		"19 Mar 2019, 8:00:04":            eight,
		"Mar 19 2019 08:00:04":            eight,
		"Mar 19, 2019 @ 08:00:04.000":     eight,
		"March 19, 2019 8:00:04 AM":       eight,
		"19/Mar/2019:10:00:04 +0200":      eight,
		"Mar 19, 2019 08:00:04 PM":        "2019-03-19 20:00:04",
		"Mar 19, 2019 12:00:04 AM":        "2019-03-19 00:00:04",
		"Tue, 19 Mar 2019 08:00:04 GMT":   eight,
		"19/03/2019 08:00:04":             eight,
		"19.3.2019 08:00:04":              eight,
		"03/19/2019 8:00:04 AM":           eight,
		"3/4/2019 08:00:04":               "", // the third of April, or the fourth of March
		"08:00:04":                        "",
		"08:00:04.123456":                 "",
		"Mar 19 08:00:04":                 "",
		"0":                               "",
		"1970-01-01 00:00:00":             "",
		"2019-02-30 08:00:04":             "",
		"":                                "",
		"yesterday":                       "",
		"99999999999999999999":            "",
	} {
		c := clockwork{}
		got := c.at([]byte(text))
		if shown := got.Format(time.DateTime); want != "" && shown != want || want == "" && !got.IsZero() {
			t.Errorf("at(%q) = %v, want %q", text, got, want)
		}
	}
	c := clockwork{ask: func() evidence.DateOrder { return evidence.MonthFirst }}
	for range 2 { // asked once
		if got := c.at([]byte("3/4/2019 08:00:04")); got.Format(time.DateTime) != "2019-03-04 08:00:04" {
			t.Errorf("month first: %v", got)
		}
	}
}

func TestScaled(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "420160": 420160, "3.1 M": 3100000, "3.1M": 3100000, "1.0 G": 1000000000, "1.2k": 1200, "12 K": 12000, "1.5": 2, "7 T": 7e12,
		"": -1, "-7": -1, "M": -1, "1.2.3": -1, "1e3": -1, "9999999999 T": -1, "3.1 X": -1,
	} {
		got, ok := scaled([]byte(text))
		if ok != (want >= 0) || ok && got != uint64(want) {
			t.Errorf("scaled(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
}

func TestFlagsOf(t *testing.T) {
	const s, a, r, all = traffic.SYN, traffic.ACK, traffic.RST, traffic.FIN | traffic.SYN | traffic.PSH | traffic.ACK
	for text, want := range map[string]traffic.TCPFlags{
		"......S.": s, "...AP.SF": all, ".AP.SF": all, "S": s, "SA": s | a, "FS PA": all, " S ": s, "R A": r | a, "27": all, "0x1b": all, "0x02": s, "2": s,
		"SYN": s, "SYN|ACK": s | a, "SYN,ACK": s | a, "RST ACK": r | a, "CES": s,
		"........": 0, "": 0, "0": 0, "0x400000": 0, "zzz": 0, "Established": 0, "-": 0,
	} {
		if got, known := flagsOf([]byte(text)); got != want && known || known != (want != 0) {
			t.Errorf("flagsOf(%q) = %x, %v; want %x", text, got, known, want)
		}
	}
}

func TestServiceOf(t *testing.T) {
	type service struct {
		proto host.IPProto
		port  uint16
	}
	for text, want := range map[string]service{
		"tcp/443": {host.TCP, 443}, "443/tcp": {host.TCP, 443}, "TCP-443": {host.TCP, 443}, "udp_53": {host.UDP, 53}, "https (TCP/443)": {host.TCP, 443},
		"microsoft-ds (TCP/445)": {host.TCP, 445}, "UDP (17)": {host.UDP, 0}, "TCP": {host.TCP, 0}, "tcp:8080": {host.TCP, 8080},
		"443": {0, 443}, "https": {0, 443}, "domain-udp": {0, 53}, "backup-agent": {}, "": {}, "/": {}, "(": {}, "()": {}, "tcp/": {}, "a (b)": {},
	} {
		p, hasProto, n, hasPort := serviceOf([]byte(text))
		if p != want.proto || n != want.port || hasProto != (want.proto != 0) || hasPort != (want.port != 0) {
			t.Errorf("serviceOf(%q) = %d %v, %d %v; want %v", text, p, hasProto, n, hasPort, want)
		}
	}
}

func TestEndpointOf(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1:445": "192.0.2.1 445", "192.0.2.1:445:X1": "192.0.2.1 445", "[2001:db8::1]:445": "2001:db8::1 445", "2001:db8::1": "2001:db8::1",
		"fs01 (192.0.2.1)": "192.0.2.1 fs01", "192.0.2.1 (fs01)": "192.0.2.1 fs01", "fs01 (2001:db8::1)": "2001:db8::1 fs01",
		"fs01": "", "": "", "(": "", "()": "", "a()": "", "192.0.2.1:x": "", "192.0.2.1:99999": "", "::::": "", "2001:db8::1:": "", "((((((192.0.2.1))))))": "",
	} {
		e, ok := endpointOf([]byte(text))
		got := ""
		if ok {
			got = e.addr.String()
			if e.hasPort {
				got += " " + strconv.Itoa(int(e.port))
			}
			if len(e.name) > 0 {
				got += " " + string(e.name)
			}
		}
		if got != want {
			t.Errorf("endpointOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestRefusedBy(t *testing.T) {
	for word, want := range map[string]string{
		"Deny": "refused", "DROP": "refused", "reset-both": "refused", "Denied Connection": "refused", "block-continue": "", "allow": "let", "server-rst": "let",
		"Accept": "let", "ACCEPT": "let", "": "", "mystery": "", "a word that is far too long to be one": "",
	} {
		got := ""
		if refused, known := refusedBy([]byte(word)); refused {
			got = "refused"
		} else if known {
			got = "let"
		}
		if got != want {
			t.Errorf("refusedBy(%q) = %q, want %q", word, got, want)
		}
	}
}

// TestPairs: who began, in every way in which that is told or guessed.
func TestPairs(t *testing.T) {
	const s, sa, all, ra = traffic.SYN, traffic.SYN | traffic.ACK, traffic.SYN | traffic.ACK | traffic.PSH | traffic.FIN, traffic.RST | traffic.ACK
	at := func(seconds float64) time.Time {
		return time.Date(2019, 3, 19, 8, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
	}
	type rec struct {
		from, to     string // "a" or "b"
		sport, dport uint16
		flags        traffic.TCPFlags
		first        float64 // below zero for no clock
		kind         kind
		refused      bool
	}
	tests := []struct {
		name  string
		proto host.IPProto
		recs  []rec
		want  []string // client, port, times, refused, sure
	}{
		{"flags_say_syn_first", host.TCP, []rec{{"b", "a", 5000, 40000, all, 0.1, oneSided, false}, {"a", "b", 40000, 5000, all, 0, oneSided, false}}, []string{"a 5000 1 0 true"}},
		{"same_moment_and_known_port", host.TCP, []rec{{"b", "a", 445, 40000, all, 0, oneSided, false}, {"a", "b", 40000, 445, all, 0, oneSided, false}}, []string{"a 445 1 0 false"}},
		{"syn_alone", host.TCP, []rec{{"a", "b", 40000, 445, s, 0, oneSided, false}}, []string{"a 445 1 1 true"}},
		{"syn_and_reset", host.TCP, []rec{{"a", "b", 445, 40000, s, 0, oneSided, false}, {"b", "a", 40000, 445, ra, 0, oneSided, false}}, []string{"a 40000 1 1 true"}},
		{"scan_from_a_known_port", host.TCP, []rec{{"a", "b", 80, 40000, s, 0, oneSided, false}}, []string{"a 40000 1 1 true"}},
		{"first_flags_only_and_many_packets", host.TCP, []rec{{"a", "b", 40000, 445, s, 0, oneSided, false}, {"b", "a", 445, 40000, sa, 0, oneSided, false}}, []string{"a 445 1 0 true"}},
		{"no_flags_first_seen", host.TCP, []rec{{"a", "b", 40000, 41000, 0, 0, oneSided, false}, {"b", "a", 41000, 40000, 0, 1, oneSided, false}}, []string{"a 41000 1 0 false"}},
		{"ephemeral", host.TCP, []rec{{"a", "b", 50000, 8123, 0, 0, oneSided, false}}, []string{"a 8123 1 0 false"}},
		{"lower_port", host.UDP, []rec{{"a", "b", 9007, 8123, 0, 0, oneSided, false}}, []string{"a 8123 1 0 false"}},
		{"answer_alone", host.UDP, []rec{{"a", "b", 53, 40000, 0, 0, oneSided, false}}, []string{"b 53 1 0 false"}},
		{"known_on_both_sides", host.UDP, []rec{{"a", "b", 123, 123, 0, 0, oneSided, false}, {"b", "a", 123, 123, 0, 1, oneSided, false}}, []string{"a 123 1 0 false"}},
		{"goes_on", host.TCP, []rec{{"a", "b", 40000, 445, all, 0, oneSided, false}, {"a", "b", 40000, 445, traffic.ACK, 290, oneSided, false}, {"b", "a", 445, 40000, sa, 0.5, oneSided, false}}, []string{"a 445 1 0 true"}},
		{"again_after_an_hour", host.TCP, []rec{{"a", "b", 40000, 445, all, 0, oneSided, false}, {"a", "b", 40000, 445, all, 3600, oneSided, false}}, []string{"a 445 2 0 false"}},
		{"port_used_again", host.TCP, []rec{{"a", "b", 40000, 445, all, 0, oneSided, false}, {"a", "b", 40000, 445, all, 60, oneSided, false}}, []string{"a 445 2 0 false"}},
		{"no_clock", host.TCP, []rec{{"a", "b", 40000, 445, 0, -1, oneSided, false}, {"b", "a", 445, 40000, 0, -1, oneSided, false}, {"a", "b", 40000, 445, 0, -1, oneSided, false}}, []string{"a 445 2 0 false"}},
		{"asked", host.TCP, []rec{{"a", "b", 445, 40000, 0, 0, asked, false}}, []string{"a 40000 1 0 true"}},
		{"asked_twice", host.TCP, []rec{{"a", "b", 40000, 445, 0, 0, asked, false}, {"a", "b", 40000, 445, 0, 1, asked, true}}, []string{"a 445 2 1 true"}},
		{"answers_are_logged_too", host.TCP, []rec{{"b", "a", 445, 40000, 0, 0, asked, false}, {"a", "b", 40000, 445, 0, 0, asked, false}}, []string{"a 445 1 0 false"}},
		{"late_answer_refused", host.TCP, []rec{{"b", "a", 443, 50000, 0, 0, asked, true}}, nil},
		{"late_reset_refused", host.TCP, []rec{{"b", "a", 8123, 50000, ra, 0, asked, true}}, nil},
		{"session_from_a_known_port", host.TCP, []rec{{"a", "b", 445, 40000, 0, 0, whole, false}}, []string{"a 40000 1 0 true"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := map[string]netip.Addr{"a": netip.MustParseAddr("192.0.2.1"), "b": netip.MustParseAddr("192.0.2.2")}
			for range 2 { // and with the addresses the other way round
				h := new(host.Host)
				x := reading{h: h, in: evidence.Input{Name: "x"}}
				x.pairs.emit = x.emit
				for _, r := range tt.recs {
					f := flow{
						kind: r.kind, src: addr[r.from], dst: addr[r.to], sport: r.sport, dport: r.dport, hasSource: true, proto: tt.proto, icmp: unshown,
						packets: 2, flags: r.flags, flagsKnown: r.flags != 0, refused: r.refused, sure: true,
					}
					if r.first >= 0 {
						f.first = at(r.first)
						f.last = f.first.Add(time.Second / 2)
					}
					x.take(&f)
				}
				x.pairs.flush()
				var got []string
				for _, c := range h.Traffic.All() {
					for _, s := range c.Seen {
						client := "a"
						if c.Client == addr["b"] {
							client = "b"
						}
						got = append(got, fmt.Sprint(client, " ", c.Port, " ", s.Times, " ", s.Refused, " ", s.Sure))
					}
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("traffic (-want +got):\n%s", diff)
				}
				addr["a"], addr["b"] = addr["b"], addr["a"]
			}
		})
	}
}

// TestPairsAreBounded: what waits too long goes on its own, and nothing is lost.
func TestPairsAreBounded(t *testing.T) {
	x := reading{h: new(host.Host), in: evidence.Input{Name: "x"}}
	n, waiting := 0, 0
	x.pairs.emit = func(*pending) { n++ }
	const all = maxPending + 5000
	for i := range all {
		x.take(&flow{
			src: netip.AddrFrom4([4]byte{192, 0, byte(i >> 16), byte(i >> 8)}), dst: netip.MustParseAddr("192.0.2.10"), sport: uint16(20000 + i&0xff), dport: 445,
			hasSource: true, proto: host.TCP, icmp: unshown,
		})
		waiting = max(waiting, len(x.pairs.slots), len(x.pairs.at))
	}
	x.pairs.flush()
	if n != all || waiting > maxPending {
		t.Errorf("%d of %d came out, and %d waited", n, all, waiting)
	}
}
