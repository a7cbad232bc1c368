package capture_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/host"
)

// stream is a capture of any size that exists only while it is read. It is made of pieces of the
// same length, each a few connections with a server, from another client or to another port each time.
type stream struct {
	size  int64
	head  []byte
	piece []byte
	spots []int // of the packets in a piece
	// change makes a piece its own: b is the piece, at the places of its packets.
	change func(b []byte, spots []int, number uint64)
	read   func(int64) // with all that was read so far
	n      atomic.Int64
}

const recordHead = 16

// newStream is a capture in which some 60,000 clients use five ports of a server: per piece
// one connection with short and full frames, as a copy of files looks.
func newStream(size int64) *stream {
	c := new(tape)
	const client, server = "10.0.0.1:50000", "192.0.2.11:445"
	c.tcp(client, server, syn, 1).tcp(server, client, syn|ack, 1).tcp(client, server, ack, 2)
	for range 8 {
		c.tcp(client, server, psh|ack, 2, make([]byte, 120)...)
		for range 3 {
			c.tcp(server, client, ack, 2, make([]byte, 1460)...)
		}
		c.tcp(client, server, ack, 122)
	}
	c.tcp(client, server, fin|ack, 500).tcp(server, client, fin|ack, 600).tcp(client, server, ack, 501)
	return makeStream(size, c, func(b []byte, spots []int, number uint64) {
		port := []uint16{445, 139, 135, 3389, 49155}[number%5]
		second := uint32(start.Unix() + int64(number/500))
		for _, at := range spots {
			binary.LittleEndian.PutUint32(b[at:], second)
			ip := b[at+recordHead+14:]
			client, clientPort, serverPort := ip[12:16], ip[20:], ip[22:]
			if ip[12] != 10 {
				client, clientPort, serverPort = ip[16:20], ip[22:], ip[20:]
			}
			binary.BigEndian.PutUint32(client, 10<<24|uint32(number%60_000))
			binary.BigEndian.PutUint16(clientPort, uint16(50_000+number/60_000%15_000))
			binary.BigEndian.PutUint16(serverPort, port)
		}
	})
}

func makeStream(size int64, c *tape, change func([]byte, []int, uint64)) *stream {
	file := c.pcap()
	s := &stream{head: file[:24], piece: file[24:], change: change, read: func(int64) {}}
	at := 0
	for _, p := range c.packets {
		s.spots = append(s.spots, at)
		at += recordHead + len(p.Data)
	}
	s.size = 24 + size/int64(len(s.piece))*int64(len(s.piece))
	return s
}

func (s *stream) pieces() uint64 { return uint64(s.size-24) / uint64(len(s.piece)) }

// ReadAt makes what is asked for.
func (s *stream) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	if off < 24 {
		done = copy(b, s.head[off:])
	}
	buf := make([]byte, len(s.piece))
	for done < len(b) && off+int64(done) < s.size {
		at := off + int64(done) - 24
		number := uint64(at) / uint64(len(s.piece))
		into := b[done:]
		if at%int64(len(s.piece)) == 0 && len(into) >= len(s.piece) {
			copy(into, s.piece)
			s.change(into, s.spots, number)
			done += len(s.piece)
			continue
		}
		copy(buf, s.piece)
		s.change(buf, s.spots, number)
		done += copy(into, buf[at%int64(len(s.piece)):])
	}
	s.read(s.n.Add(int64(done)))
	return done, nil
}

// inUse is the memory that the program holds: the heap with its free parts, as the system
// counts it.
func inUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// peak reads a stream and gives the host, and the most memory that was in use beyond what was before.
func peak(t testing.TB, s *stream) (h *host.Host, most uint64) {
	t.Helper()
	debug.FreeOSMemory()
	before, next := inUse(), int64(0)
	s.read = func(n int64) {
		if n >= next {
			most, next = max(most, inUse()), n+16<<20
		}
	}
	h, err := readAt(context.Background(), s, s.size)
	if err != nil {
		t.Fatal(err)
	}
	most = max(most, inUse())
	return h, most - min(before, most)
}

// streamSize is two gigabytes, or what proves the same where time is short.
func streamSize() int64 {
	if raceEnabled || testing.Short() {
		return 100 << 20
	}
	return 2 << 30
}

const mostMemory = 200 << 20

// TestTwoGigabytesInLittleMemory: a large capture is streamed, and what is found is right.
func TestTwoGigabytesInLittleMemory(t *testing.T) {
	s := newStream(streamSize())
	began := time.Now()
	h, most := peak(t, s)
	took := time.Since(began)
	packets := s.pieces() * uint64(len(s.spots))
	t.Logf("%d MiB, %d packets, %d conversations: %v, %.0f MB/s, %.0f packets/s, %d MiB of memory",
		s.size>>20, packets, h.Traffic.Len(), took.Round(time.Millisecond), float64(s.size)/1e6/took.Seconds(), float64(packets)/took.Seconds(), most>>20)
	if most > mostMemory {
		t.Errorf("it took %d MiB", most>>20)
	}
	w := h.Watches[0]
	if w.Records != packets || w.Skipped != 0 || len(h.Gaps) > 0 {
		t.Errorf("%d of %d packets were read, %d skipped; gaps %v", w.Records, packets, w.Skipped, h.Gaps)
	}
	times := 0
	for _, c := range h.Traffic.All() {
		for _, seen := range c.Seen {
			times += seen.Times
			if !seen.Sure || seen.Refused > 0 || seen.Packets != uint64(seen.Times*len(s.spots)) {
				t.Fatalf("%+v: %+v", c.Talk, seen)
			}
		}
	}
	if uint64(times)+uint64(h.Traffic.Lost) != s.pieces() {
		t.Errorf("%d connections and %d left out of %d", times, h.Traffic.Lost, s.pieces())
	}
}

// TestFloodsAreBounded: forged addresses and scans take no more memory than is set, and crowd out
// nothing that works; what was left out is counted.
func TestFloodsAreBounded(t *testing.T) {
	works := func(c *tape) *tape { return c.connect("192.0.2.20:50000", "192.0.2.11:445", 10) }
	flood := new(tape)
	for range 16 {
		flood.tcp("10.0.0.1:1000", "192.0.2.11:80", syn, 1)
	}
	works(flood)
	answers := new(tape)
	for range 6 {
		answers.tcp("10.0.0.1:1000", "192.0.2.11:80", syn, 1).tcp("192.0.2.11:80", "10.0.0.1:1000", syn|ack, 1).tcp("10.0.0.1:1000", "192.0.2.11:80", ack, 2)
	}
	works(answers)
	chatter := new(tape)
	for range 16 {
		chatter.udp("10.0.0.1:1000", "192.0.2.11:80", 1)
	}
	works(chatter)
	for _, tc := range []struct {
		name string
		tape *tape
		each int // packets of one connection
	}{{"syn_flood", flood, 1}, {"many_clients", answers, 3}, {"udp_flood", chatter, 1}} {
		t.Run(tc.name, func(t *testing.T) {
			size := int64(64 << 20)
			if raceEnabled || testing.Short() {
				size = 15 << 20 // past every bound but that of many answers
			}
			s := makeStream(size, tc.tape, func(b []byte, spots []int, number uint64) {
				for i, at := range spots {
					ip := b[at+recordHead+14:]
					client := uint64(i/tc.each) + number*16
					at := 12
					if ip[12] == 192 && ip[16] == 10 {
						at = 16
					}
					if ip[at] == 10 {
						ip[at+1], ip[at+2], ip[at+3] = byte(client>>16), byte(client>>8), byte(client)
					}
				}
			})
			h, most := peak(t, s)
			w := h.Watches[0]
			t.Logf("%d packets, %d conversations, %d left out, %d MiB of memory: %s", w.Records, h.Traffic.Len(), h.Traffic.Lost, most>>20, strings.Join(w.Limits, " "))
			if most > mostMemory || h.Traffic.Len() > host.MaxTalks {
				t.Errorf("%d conversations took %d MiB", h.Traffic.Len(), most>>20)
			}
			if h.Traffic.Lost == 0 && tc.name != "many_clients" {
				t.Error("nothing was left out")
			}
			if h.Traffic.Lost > 0 && !slices.ContainsFunc(w.Limits, func(s string) bool {
				return strings.HasPrefix(s, fmt.Sprint(h.Traffic.Lost)+" connections were left out")
			}) {
				t.Errorf("%d were left out, but it says %q", h.Traffic.Lost, w.Limits)
			}
			found := false
			for _, c := range h.Traffic.All() {
				found = found || c.Client.String() == "192.0.2.20" && c.Port == 445 && c.Seen[0].Sure
			}
			if !found {
				t.Error("the connection that worked is not there")
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, tc := range []struct {
		name string
		s    *stream
	}{
		{"copies", newStream(256 << 20)},
		{"small_packets", makeStream(64<<20, new(tape).connect("10.0.0.1:50000", "192.0.2.11:445", 10), func(b []byte, spots []int, number uint64) {
			for _, at := range spots {
				ip := b[at+recordHead+14:]
				port := ip[20:]
				if ip[12] != 10 {
					port = ip[22:]
				}
				binary.BigEndian.PutUint16(port, uint16(50_000+number%10_000))
			}
		})},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.SetBytes(tc.s.size)
			b.ReportAllocs()
			var most uint64
			for b.Loop() {
				_, m := peak(b, tc.s)
				most = max(most, m)
			}
			packets := float64(tc.s.pieces()) * float64(len(tc.s.spots)) * float64(b.N)
			b.ReportMetric(packets/b.Elapsed().Seconds(), "packets/s")
			b.ReportMetric(float64(most)/(1<<20), "MiB")
		})
	}
}
