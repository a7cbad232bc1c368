package host

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAdapterAddress(t *testing.T) {
	for _, tt := range []struct {
		in   string
		addr string
		bits int
		ok   bool
	}{
		{"192.0.2.11/255.255.255.0", "192.0.2.11", 24, true},
		{"192.0.2.11/255.255.255.255", "192.0.2.11", 32, true},
		{"192.0.2.11/0.0.0.0", "192.0.2.11", 0, true},
		{"192.0.2.11/255.0.255.0", "192.0.2.11", -1, true},
		{"192.0.2.11/24", "192.0.2.11", 24, true},
		{"192.0.2.11", "192.0.2.11", -1, true},
		{"fe80::1%11/64", "fe80::1", 64, true},
		{"2001:db8::11/129", "2001:db8::11", -1, true},
		{"::ffff:192.0.2.11", "192.0.2.11", -1, true},
		{"fs01", "", 0, false},
		{"", "", 0, false},
	} {
		addr, bits, ok := AdapterAddress(tt.in)
		if ok != tt.ok || ok && (addr.String() != tt.addr || bits != tt.bits) {
			t.Errorf("AdapterAddress(%q) = %v, %d, %v; want %s, %d, %v", tt.in, addr, bits, ok, tt.addr, tt.bits, tt.ok)
		}
	}
}

func TestTrafficAddsWhatIsOfOneSource(t *testing.T) {
	day := time.Date(2019, 3, 19, 0, 0, 0, 0, time.UTC)
	k := Talk{netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.2"), TCP, 445}
	var a, b Traffic
	a.Add(k, Sighting{From: Source{Reader: "capture", Input: "a", At: "packet 1"}, Times: 1, Packets: 3, First: day, Last: day, Sure: true})
	a.Add(k, Sighting{From: Source{Reader: "capture", Input: "a", At: "packet 9"}, Times: 2, Packets: 4, First: day.Add(-time.Hour), Last: day.Add(time.Hour), Sure: true})
	b.Add(k, Sighting{From: Source{Reader: "netstat", Input: "b"}, Times: 1})
	a.Merge(b)
	a.Merge(Traffic{})
	all := a.All()
	if len(all) != 1 || len(all[0].Seen) != 2 {
		t.Fatalf("All() = %+v; want one conversation with two sightings", all)
	}
	s := all[0].Seen[0]
	if all[0].Client.String() != "192.0.2.1" || s.Times != 3 || s.Packets != 7 || !s.First.Equal(day.Add(-time.Hour)) || !s.Last.Equal(day.Add(time.Hour)) {
		t.Errorf("conversation = %+v", all[0])
	}
	var c Traffic
	c.Merge(a)
	if c.Len() != 1 {
		t.Errorf("merged into nothing: %d conversations; want 1", c.Len())
	}
}

func TestTrafficIsBounded(t *testing.T) {
	var a Traffic
	addr := netip.MustParseAddr("10.0.0.0")
	for range MaxTalks + 10 {
		addr = addr.Next()
		a.Add(Talk{addr, addr, TCP, 1}, Sighting{Times: 1})
	}
	if a.Len() != MaxTalks || a.Lost != 10 {
		t.Errorf("%d conversations and %d lost; want %d and 10", a.Len(), a.Lost, MaxTalks)
	}
}

func TestOwnAddresses(t *testing.T) {
	var h Host
	for _, s := range []string{"192.0.2.11", "127.0.0.1", "0.0.0.0", "fe80::1", "2001:db8::1"} {
		h.Addresses = append(h.Addresses, Address{Addr: netip.MustParseAddr(s), Bits: -1})
	}
	h.Adapters = []Adapter{{Addresses: []string{"192.0.2.11/255.255.255.0", "no address"}}}
	own := h.Own()
	if len(own) != 2 || own[0].Addr.String() != "192.0.2.11" || own[0].Bits != 24 || own[1].Addr.String() != "2001:db8::1" {
		t.Errorf("Own() = %+v", own)
	}
}

// TestTrafficKeepsWhatIsSaid: what is packed comes out as it went in, whatever it is.
func TestTrafficKeepsWhatIsSaid(t *testing.T) {
	var a Traffic
	k := Talk{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2"), UDP, 53}
	var want []Sighting
	for i, at := range []string{"", "0", "00", "7", "file 007", "line 18446744073709551615", "no number", "packet 12", "packet 3"} {
		want = append(want, Sighting{
			From: Source{Reader: "r", Input: "i", At: at, Taken: time.Unix(5, 6).UTC()}, Times: i, Refused: 1, Packets: 1 << 63, Bytes: 9, PID: uint32(i), Program: at,
			First: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), Last: time.Date(9999, 1, 1, 0, 0, 0, i, time.UTC), Sure: i%2 == 0,
		})
	}
	for _, s := range slices.Backward(want) {
		a.Add(k, s)
	}
	a.Add(Talk{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), UDP, 53}, Sighting{})
	all := a.All()
	if len(all) != 2 || all[1].Talk != k || all[0].Seen[0] != (Sighting{}) {
		t.Fatalf("%+v", all)
	}
	if diff := cmp.Diff(want, all[1].Seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
