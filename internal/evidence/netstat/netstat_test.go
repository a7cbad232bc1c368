package netstat_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/evidence/netstat"
	"github.com/oldguard/oldguard/internal/host"
)

func TestGolden(t *testing.T) { evidencetest.Golden(t, netstat.Reader) }

func FuzzRead(f *testing.F) { evidencetest.Fuzz(f, netstat.Reader) }

// busy is a table of a server with that many connections, four from each client.
func busy(lines int) string {
	var b strings.Builder
	b.WriteString("\r\nActive Connections\r\n\r\n  Proto  Local Address          Foreign Address        State           PID\r\n")
	b.WriteString("  TCP    0.0.0.0:445            0.0.0.0:0              LISTENING       4\r\n")
	for i := range lines {
		peer := fmt.Sprintf("198.51.%d.%d:%d", 100+i/4/250%2, i/4%250+1, 49152+i%16000)
		fmt.Fprintf(&b, "  TCP    192.0.2.11:445         %-22s ESTABLISHED     4\r\n", peer)
	}
	return b.String()
}

func read(t testing.TB, text string) *host.Host {
	t.Helper()
	h := new(host.Host)
	if _, err := netstat.Reader.Read(context.Background(), evidence.TextInput("netstat.txt", text), h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestMany: a conversation that goes on with thousands of processes, and thousands of samples,
// are read in time that grows with the file, and all connections are counted.
func TestMany(t *testing.T) {
	var owners, samples strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&owners, "  TCP    192.0.2.11:%d       198.51.100.7:443       ESTABLISHED     %d\n", 49152+i%16000, i+1)
	}
	for i := range 5_000 {
		fmt.Fprintf(&samples, "%s\n09:%02d\n  TCP    192.0.2.11:50000       198.51.100.7:443       ESTABLISHED     %d\n", "25.11.2026", i%60, 4)
	}
	for name, tc := range map[string]struct {
		text              string
		talks, times      int
		sightings, sample int
	}{
		"clients":   {busy(100_000), 500, 100_000, 500, 1},
		"processes": {owners.String(), 1, 50_000, 33, 1},
		"samples":   {samples.String(), 1, 1, 1, 5_000},
	} {
		t.Run(name, func(t *testing.T) {
			h := read(t, tc.text)
			times, sightings := 0, 0
			for _, c := range h.Traffic.All() {
				for _, s := range c.Seen {
					times += s.Times
					sightings++
				}
			}
			if h.Traffic.Len() != tc.talks || times != tc.times || sightings != tc.sightings || len(h.Watches) != 1 || h.Watches[0].Records != uint64(tc.sample) {
				t.Errorf("%d talks of %d, %d times of %d, %d sightings of %d, watches %+v", h.Traffic.Len(), tc.talks, times, tc.times, sightings, tc.sightings, h.Watches)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	text := busy(50_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if h := read(b, text); h.Traffic.Len() != 500 {
			b.Fatalf("%d talks", h.Traffic.Len())
		}
	}
}
