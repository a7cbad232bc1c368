package pcap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/pcap"
	"github.com/oldguard/oldguard/internal/format/pcap/pcaptest"
)

// seen is one packet as a line, so that differences can be read.
func seen(p *pcap.Packet) string {
	at := "no time"
	if p.Time != 0 {
		at = time.Unix(0, p.Time).UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s link %d: %d of %d, %x", at, p.Link, len(p.Data), p.Length, p.Data[:min(len(p.Data), 4)])
}

// read gives the packets of a file and what ended it.
func read(b []byte) (lines []string, meta pcap.Meta, err error) {
	r, err := pcap.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, meta, err
	}
	var p pcap.Packet
	for {
		if err := r.Next(&p); err != nil {
			if again := r.Next(&p); !errors.Is(again, err) {
				return lines, meta, fmt.Errorf("%w, and then %w", err, again)
			}
			return lines, r.Meta(), err
		}
		lines = append(lines, seen(&p))
	}
}

var start = time.Date(2026, 11, 2, 8, 15, 30, 123_000_000, time.UTC)

// packets are three that every format can hold: to the millisecond and of Ethernet.
func packets() []pcaptest.Packet {
	fill := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	return []pcaptest.Packet{
		{At: start, Data: fill(1, 60), Medium: 1},
		{At: start.Add(250 * time.Millisecond), Data: fill(2, 61), Length: 1514, Medium: 1},
		{At: start.Add(3 * time.Second), Data: fill(3, 1514), Medium: 1},
	}
}

var want = []string{
	"2026-11-02T08:15:30.123Z link 1: 60 of 60, 01010101",
	"2026-11-02T08:15:30.373Z link 1: 61 of 1514, 02020202",
	"2026-11-02T08:15:33.123Z link 1: 1514 of 1514, 03030303",
}

// ng writes the packets as pcapng, with what a reader must pass over in between.
func ng(big bool, resolution byte, unit uint64) []byte {
	f := &pcaptest.NG{Big: big}
	f.Section().Interface(1, 0, f.Option(2, []byte("eth0")), f.Option(9, []byte{resolution}))
	for _, p := range packets() {
		f.Block(0x80000001, []byte("of somebody")).Packet(p, unit, f.Option(1, []byte("a comment")))
	}
	return f.Bytes()
}

// files are the packets in every form.
func files() map[string][]byte {
	all := map[string][]byte{
		"pcapng":               ng(false, 6, 1e6),
		"pcapng_big":           ng(true, 6, 1e6),
		"pcapng_nanoseconds":   ng(false, 9, 1e9),
		"pcapng_milliseconds":  ng(false, 3, 1e3),
		"pcapng_by_powers":     ng(false, 0x80|30, 1<<30),
		"netmon_1":             pcaptest.Netmon{Major: 1, Minor: 1, Medium: 1, Start: start, Packets: packets()}.Bytes(),
		"netmon_2_0":           pcaptest.Netmon{Major: 2, Medium: 1, Start: start, Packets: packets()}.Bytes(),
		"netmon_2_0_backwards": pcaptest.Netmon{Major: 2, Medium: 1, Start: start, Packets: packets(), Backwards: true}.Bytes(),
	}
	for minor := range uint8(3) {
		all[fmt.Sprintf("netmon_2_%d", minor+1)] = pcaptest.Netmon{Major: 2, Minor: minor + 1, Start: start, Packets: packets()}.Bytes()
	}
	old := new(pcaptest.NG).Section().Interface(1, 65535)
	for _, p := range packets() {
		old.OldPacket(p, 0)
	}
	all["pcapng_old_blocks"] = old.Bytes()
	for name, f := range map[string]pcaptest.Pcap{
		"pcap": {}, "pcap_big": {Big: true}, "pcap_nano": {Nano: true}, "pcap_nano_big": {Nano: true, Big: true},
		"pcap_modified": {Modified: true}, "pcap_modified_big": {Modified: true, Big: true},
		"pcap_with_checksums": {Link: 0x44000001},
	} {
		f.Packets = packets()
		all[name] = f.Bytes()
	}
	for _, name := range []string{"pcap", "pcapng_big"} {
		all[name+"_gzip"] = pcaptest.Gzip(all[name])
	}
	return all
}

func TestEveryFormHoldsTheSame(t *testing.T) {
	for name, b := range files() {
		t.Run(name, func(t *testing.T) {
			want := want
			if name == "pcapng_by_powers" { // 2^-30 seconds are not whole nanoseconds
				want = []string{
					"2026-11-02T08:15:30.122999999Z link 1: 60 of 60, 01010101",
					"2026-11-02T08:15:30.372999999Z link 1: 61 of 1514, 02020202",
					"2026-11-02T08:15:33.122999999Z link 1: 1514 of 1514, 03030303",
				}
			}
			got, meta, err := read(b)
			if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
				t.Errorf("ended with %v (-want +got):\n%s", err, diff)
			}
			if wall := strings.HasPrefix(name, "netmon") && name != "netmon_2_3"; meta.LocalTime != wall {
				t.Errorf("times of a clock on a wall: %v", meta.LocalTime)
			}
			if !pcap.Is(b[:min(len(b), 40)]) {
				t.Error("it is not known by its beginning")
			}
		})
	}
}

// TestCutAnywhere: of a file that ends early the packets that are whole are read, and it is
// said, unless it ends between two.
func TestCutAnywhere(t *testing.T) {
	for name, b := range files() {
		t.Run(name, func(t *testing.T) {
			before := 0
			for n := range b {
				got, _, err := read(b[:n])
				// Without their table frames come as they lie, and powers of two are not whole nanoseconds.
				other := name == "netmon_2_0_backwards" || name == "pcapng_by_powers"
				if len(got) > len(want) || !other && !strings.HasPrefix(strings.Join(want, "\n"), strings.Join(got, "\n")) {
					t.Fatalf("cut at %d: %q", n, got)
				}
				if len(got) < before {
					t.Fatalf("cut at %d it has %d packets, one byte earlier %d", n, len(got), before)
				}
				before = len(got)
				if errors.Is(err, io.EOF) && strings.HasSuffix(name, "gzip") {
					t.Errorf("cut at %d, a packed file ends as if it were whole", n)
				}
				if err == nil {
					t.Fatalf("cut at %d: no end", n)
				}
			}
			if whole := strings.HasPrefix(name, "netmon"); before < 2 && !whole {
				t.Errorf("but for its last byte it holds %d packets", before)
			}
		})
	}
	// Between two packets a cut cannot be seen.
	b := files()["pcap"]
	if got, _, err := read(b[:24+16+60]); len(got) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("cut between packets: %q, %v", got, err)
	}
	if got, _, err := read(b[:len(b)-1]); len(got) != 2 || !errors.Is(err, pcap.ErrCut) {
		t.Errorf("cut within a packet: %q, %v", got, err)
	}
}

func TestSections(t *testing.T) {
	f := new(pcaptest.NG).Section()
	f.Interface(1, 0).Interface(113, 96, f.Option(9, []byte{9}), f.Option(14, f.Uint64(3600)), f.Option(11, append([]byte{0}, "tcp port 445"...)))
	f.Packet(pcaptest.Packet{At: start, Data: []byte{1}}, 1e6)
	f.Packet(pcaptest.Packet{At: start, Data: []byte{2}, Interface: 1}, 1e9)
	f.Packet(pcaptest.Packet{At: start, Data: []byte{3}, Interface: 2}, 1e6) // an interface that is not there
	f.Statistics(0, 5, 2).Statistics(0, 10, 2).Statistics(1, 1, 0).Statistics(9, 100, 0)
	f.Big = true
	f.Section().Interface(101, 2)
	f.SimplePacket(pcaptest.Packet{Data: []byte{4, 4}, Length: 90})
	f.Packet(pcaptest.Packet{At: start, Data: []byte{5}}, 1e6, f.Option(4, f.Uint64(3)))
	f.Statistics(0, 4, 0)
	f.Names(map[netip.Addr]string{netip.MustParseAddr("192.0.2.11"): "fs01.example.com", netip.MustParseAddr("2001:db8::11"): "six.example.com"})
	got, meta, err := read(f.Bytes())
	want := []string{
		"2026-11-02T08:15:30.123Z link 1: 1 of 1, 01",
		"2026-11-02T09:15:30.123Z link 113: 1 of 1, 02",
		"no time link -1: 1 of 1, 03",
		"no time link 101: 2 of 90, 0404",
		"2026-11-02T08:15:30.123Z link 101: 1 of 1, 05",
	}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v (-want +got):\n%s", err, diff)
	}
	wantMeta := pcap.Meta{
		Format: "pcapng", Lost: 17, LostTold: true, Filters: []string{"tcp port 445"},
		Names: []pcap.Name{{Addr: netip.MustParseAddr("192.0.2.11"), Name: "fs01.example.com"}, {Addr: netip.MustParseAddr("2001:db8::11"), Name: "six.example.com"}},
	}
	if diff := cmp.Diff(wantMeta, meta, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("meta (-want +got):\n%s", diff)
	}
}

// TestDamage: what is before the damage is read, and the error says where it is.
func TestDamage(t *testing.T) {
	put := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	all := files()
	second := bytes.Index(all["pcapng"], bytes.Repeat([]byte{2}, 61)) - 28
	for _, tc := range []struct {
		name string
		b    []byte
		n    int
		want string
	}{
		{"pcap_huge_packet", put(all["pcap"], 24+16+60+8, 0xfffffff0), 1, "damaged at byte 100: a packet of 4294967280 bytes"},
		{"pcap_version", put(all["pcap"], 4, 7), 0, "pcap of version 7.0 is not known"},
		{"pcapng_tiny_block", put(all["pcapng"], second+4, 8), 1, fmt.Sprintf("damaged at byte %d: a block of 8 bytes", second)},
		{"pcapng_odd_block", put(all["pcapng"], second+4, 0x7d), 1, fmt.Sprintf("damaged at byte %d: a block of 125 bytes", second)},
		{"pcapng_huge_packet", put(all["pcapng"], second+4, 0xfffffff0), 1, "a block of 4294967280 bytes"},
		{"pcapng_huge_data", put(all["pcapng"], second+20, 0x7fffffff), 1, fmt.Sprintf("damaged at byte %d", second)},
		{"pcapng_trailer", put(all["pcapng"], second-4, 7), 1, "that ends as one of 7"},
		{"pcapng_version", put(all["pcapng"], 12, 9), 0, "pcapng of version 9.0 is not known"},
		{"netmon_version", put(all["netmon_2_0"], 4, 0x0300), 0, "version 3.0 is not known"},
		{"netmon_huge_table", put(put(all["netmon_2_0"], 24, 0), 28, uint32(len(all["netmon_2_0"]))), 0, "a table of"},
		{"netmon_frame_beyond", put(all["netmon_2_0"], len(all["netmon_2_0"])-4, 0xfffffff0), 2, "a frame beyond the end"},
		{"netmon_huge_frame", put(all["netmon_2_0"], 128+12, 0x7fffffff), 0, "damaged at byte 128: a frame of 2147483647 bytes"},
		{"nothing", nil, 0, "does not begin as a capture"},
		{"text", []byte("Host Name: FS01"), 0, "does not begin as a capture"},
		{"gzip_of_text", pcaptest.Gzip([]byte("Host Name: FS01")), 0, "does not begin as a capture"},
		{"gzip_of_netmon", pcaptest.Gzip(all["netmon_2_0"]), 0, "unpack it first"},
		{"section_without_order", put(all["pcapng"], 8, 0), 0, "does not begin as a capture"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := read(tc.b)
			if len(got) != tc.n || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%d packets, then %v; want %d, then %q", len(got), err, tc.n, tc.want)
			}
		})
	}
}

// TestPlausible: what claims much and has little is not believed, nor does it take memory.
func TestPlausible(t *testing.T) {
	f := new(pcaptest.NG).Section()
	for range 3000 {
		f.Interface(1, 0)
	}
	f.Packet(pcaptest.Packet{At: start, Data: []byte{1}, Interface: 2500}, 1e6)
	names := map[netip.Addr]string{}
	for i := range 10_007 {
		names[netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})] = "n.example.com"
	}
	for len(names) > 0 { // a block holds 64 KiB of them
		some := map[netip.Addr]string{}
		for addr, name := range names {
			if some[addr] = name; len(some) == 2000 {
				break
			}
		}
		for addr := range some {
			delete(names, addr)
		}
		f.Names(some)
	}
	big := make([]byte, 1<<20)
	f.Packet(pcaptest.Packet{At: start, Data: big}, 1e6).Packet(pcaptest.Packet{At: start, Data: []byte{2}}, 1e6)
	got, meta, err := read(f.Bytes())
	if len(meta.Names) != 10_000 || meta.NamesLost != 7 {
		t.Errorf("%d names, and %d more", len(meta.Names), meta.NamesLost)
	}
	want := []string{"no time link -1: 1 of 1, 01", "2026-11-02T08:15:30.123Z link 1: 65536 of 1048576, 00000000", "2026-11-02T08:15:30.123Z link 1: 1 of 1, 02"}
	if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v (-want +got):\n%s", err, diff)
	}
	// A large packet in the middle of a packed file, and of one of Network Monitor.
	some := []pcaptest.Packet{{At: start, Data: []byte{1}, Medium: 1}, {At: start, Data: big, Medium: 1}, {At: start, Data: []byte{2}, Medium: 1}}
	for name, b := range map[string][]byte{
		"gzip": pcaptest.Gzip(pcaptest.Pcap{Packets: some}.Bytes()), "netmon": pcaptest.Netmon{Major: 2, Minor: 3, Start: start, Packets: some}.Bytes(),
	} {
		got, _, err = read(b)
		want = []string{"2026-11-02T08:15:30.123Z link 1: 1 of 1, 01", "2026-11-02T08:15:30.123Z link 1: 65536 of 1048576, 00000000", "2026-11-02T08:15:30.123Z link 1: 1 of 1, 02"}
		if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
			t.Errorf("%s ended with %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestTableBackAndForth: a table of frames that makes the reader jump does not make it read
// without end.
func TestTableBackAndForth(t *testing.T) {
	frame := make([]byte, 60)
	frames := make([]pcaptest.Packet, 40_000)
	for i := range frames {
		frames[i] = pcaptest.Packet{At: start, Data: frame}
	}
	b := pcaptest.Netmon{Major: 2, Medium: 1, Start: start, Packets: frames}.Bytes()
	table := int(binary.LittleEndian.Uint32(b[24:]))
	for i := 0; i < len(frames); i += 2 {
		binary.LittleEndian.PutUint32(b[table+4*i:], binary.LittleEndian.Uint32(b[table+4*(len(frames)-1):]))
	}
	at := &counted{b: b}
	r, err := pcap.NewReader(at, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var p pcap.Packet
	for err == nil {
		err = r.Next(&p)
	}
	if !strings.Contains(err.Error(), "back and forth") || at.n > 6*len(b) {
		t.Errorf("read %d bytes of a file of %d, then %v", at.n, len(b), err)
	}
}

type counted struct {
	b []byte
	n int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, c.b[min(off, int64(len(c.b))):])
	c.n += n
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

type broken struct{}

func (broken) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errors.New("the disk is gone")
	}
	return copy(p, pcaptest.Pcap{Packets: packets()}.Bytes()), nil
}

func TestErrorsOfTheFileAreTold(t *testing.T) {
	r, err := pcap.NewReader(broken{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var p pcap.Packet
	n := 0
	for ; err == nil; n++ {
		err = r.Next(&p)
	}
	if !strings.Contains(err.Error(), "the disk is gone") || n != 4 {
		t.Errorf("after %d packets: %v", n-1, err)
	}
}

func FuzzReader(f *testing.F) {
	for _, b := range files() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<18 {
			t.Skip("longer than what tells anything")
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := pcap.NewReader(bytes.NewReader(b), int64(len(b)))
		var p pcap.Packet
		n := 0
		var last []int
		for ; err == nil && n < 1<<20; n++ {
			if err = r.Next(&p); err == nil {
				last = []int{len(p.Data), p.Length, int(p.Link)}
				if p.Length < len(p.Data) || p.Time < 0 {
					t.Fatalf("packet %+v", p)
				}
			}
		}
		runtime.ReadMemStats(&after)
		// A window, one more for a table or the unpacker, and names.
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(40*len(b)+2<<20); got > limit {
			t.Errorf("%d bytes made the reader allocate %d, more than %d", len(b), got, limit)
		}
		if unpacked := bytes.HasPrefix(b, []byte("\x1f\x8b")); n > len(b)/8+2 && !unpacked {
			t.Errorf("%d packets of %d bytes", n, len(b))
		}
		if (err == nil) != (n == 1<<20) {
			t.Errorf("no end after %d packets; the last is %v", n, last)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	frames := make([]pcaptest.Packet, 20_000)
	sizes := []int{60, 60, 1514, 1514, 590}
	for i := range frames {
		frames[i] = pcaptest.Packet{At: start, Data: make([]byte, sizes[i%len(sizes)]), Medium: 1}
	}
	ng := new(pcaptest.NG).Section().Interface(1, 0)
	for _, p := range frames {
		ng.Packet(p, 1e6)
	}
	for name, file := range map[string][]byte{
		"pcap": pcaptest.Pcap{Packets: frames}.Bytes(), "pcapng": ng.Bytes(),
		"netmon": pcaptest.Netmon{Major: 2, Minor: 3, Start: start, Packets: frames}.Bytes(),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := pcap.NewReader(bytes.NewReader(file), int64(len(file)))
				var p pcap.Packet
				n := -1
				for ; err == nil; n++ {
					err = r.Next(&p)
				}
				if n != len(frames) {
					b.Fatalf("%d packets: %v", n, err)
				}
			}
		})
	}
}
