package flowrecords_test

import (
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/flowrecords"
	"github.com/oldguard/oldguard/internal/host"
)

// endless is a CSV of nfdump with any number of lines, all of one width, that are written when
// they are read. It remembers how much memory was in use then.
type endless struct {
	lines int
	peak  uint64
	reads int
}

const endlessHead = "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n"

// The lines: a question and its answer in turn, of five thousand clients.
const (
	question = "2019-03-19 08:00:00,2019-03-19 08:00:01,0.500,198.51.100.100,192.0.2.10,20000,00445,TCP,...AP.SF,0,0,000000,000000,0,0\n"
	reply    = "2019-03-19 08:00:00,2019-03-19 08:00:01,0.500,192.0.2.10,198.51.100.100,00445,20000,TCP,...AP.SF,0,0,000000,000000,0,0\n"
)

// line writes line i into b.
func (*endless) line(b []byte, i int) {
	n := i / 2
	digits := func(at, width, v int) {
		for j := width - 1; j >= 0; j-- {
			b[at+j] = byte('0' + v%10)
			v /= 10
		}
	}
	address, port := strings.Index(question, "198"), strings.Index(question, "20000")
	copy(b, question)
	if i%2 == 1 {
		copy(b, reply)
		address, port = strings.Index(reply, "198"), strings.Index(reply, "20000")
	}
	for _, at := range []int{0, 20} { // five hundred conversations in a second
		second := n / 500
		digits(at+11, 2, 8+second/3600)
		digits(at+14, 2, second/60%60)
		digits(at+17, 2, second%60)
	}
	digits(address+7, 3, 100+n%100)
	digits(address+11, 3, 100+n/100%50)
	digits(port, 5, 20000+n%40000)
	counts := strings.Index(question, "000000")
	digits(counts, 6, 1+n%900000)
	digits(counts+7, 6, 40+n%900000)
}

func (e *endless) size() int64 { return int64(len(endlessHead) + e.lines*len(question)) }

// ReadAt makes what is asked for.
func (e *endless) ReadAt(p []byte, at int64) (n int, err error) {
	if e.reads++; e.reads%64 == 0 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		e.peak = max(e.peak, m.HeapAlloc)
	}
	if at < int64(len(endlessHead)) {
		n = copy(p, endlessHead[at:])
	}
	width := int64(len(question))
	line := make([]byte, width)
	for n < len(p) {
		off := at + int64(n) - int64(len(endlessHead))
		i := int(off / width)
		if i >= e.lines {
			return n, io.EOF
		}
		e.line(line, i)
		n += copy(p[n:], line[off%width:])
	}
	return n, nil
}

func (e *endless) read(t testing.TB) *host.Host {
	t.Helper()
	h := new(host.Host)
	if _, err := flowrecords.Reader.Read(context.Background(), evidence.Input{Name: "x", File: io.NewSectionReader(e, 0, e.size())}, h); err != nil {
		t.Fatal(err)
	}
	if w := h.Watches[0]; w.Records != uint64(e.lines) || w.Skipped > 0 {
		t.Fatalf("%d records and %d skipped of %d lines: %q", w.Records, w.Skipped, e.lines, w.Limits)
	}
	return h
}

// cached keeps the lines, so that the benchmark does not measure how they are made.
type cached struct{ text string }

func (c *cached) ReadAt(p []byte, at int64) (int, error) {
	n := copy(p, c.text[min(at, int64(len(c.text))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// BenchmarkRead reads a million lines; a part of them is kept and read again and again.
func BenchmarkRead(b *testing.B) {
	const lines = 1_000_000
	e := &endless{lines: lines}
	var text strings.Builder
	if _, err := io.Copy(&text, io.NewSectionReader(e, 0, e.size())); err != nil {
		b.Fatal(err)
	}
	in := evidence.Input{Name: "x", File: io.NewSectionReader(&cached{text.String()}, 0, e.size())}
	b.SetBytes(e.size())
	b.ReportAllocs()
	for b.Loop() {
		h := new(host.Host)
		if _, err := flowrecords.Reader.Read(context.Background(), in, h); err != nil || h.Traffic.Len() != 5000 {
			b.Fatal(err, h.Traffic.Len())
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// TestMemoryIsBounded: four times the lines do not need more memory, and none needs much.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 60 MB")
	}
	const limit = 120 << 20
	var peaks []uint64
	sizes := []int{150_000, 450_000} // the former fills what waits for its other direction
	if raceEnabled {
		sizes = []int{10_000, 30_000}
	}
	for _, lines := range sizes {
		runtime.GC()
		e := &endless{lines: lines}
		e.read(t)
		peaks = append(peaks, e.peak)
		if e.peak > limit {
			t.Errorf("%d lines needed %d MiB, more than %d", lines, e.peak>>20, limit>>20)
		}
	}
	t.Logf("at most %d MiB for %d lines, %d MiB for %d", peaks[0]>>20, sizes[0], peaks[1]>>20, sizes[1])
}

// TestNothingIsSlow reads files that are made so that a careless parser takes the square of
// their length.
func TestNothingIsSlow(t *testing.T) {
	const size = 1 << 19
	const head = "time,source ip,destination ip,source port,destination port,protocol\n"
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	began := time.Now()
	for name, text := range map[string]string{
		"brackets":  head + fill("1,"+strings.Repeat("a(", 10_000)+strings.Repeat(")", 10_000)+",192.0.2.1,1,2,tcp\n"),
		"quotes":    head + fill("1,\"\"\"\"\"\",192.0.2.1,1,2,tcp\n"),
		"no_quote":  head + fill("1,\"192.0.2.1,192.0.2.1,1,2,tcp\n"),
		"headers":   fill(head),
		"commas":    head + fill(strings.Repeat(",", 60_000)+"\n"),
		"one_line":  head + fill("192.0.2.1,"),
		"keys":      fill("src=192.0.2.1 dst=192.0.2.2 proto=6 dpt=1 " + strings.Repeat("\"a=", 1000) + "\n"),
		"deep_json": "{\"src_ip\":\"192.0.2.1\",\"dst_ip\":\"192.0.2.2\",\"proto\":6,\"dst_port\":1,\"bytes\":1}\n" + fill("{\"a\":"),
		"wide_json": "{\"src_ip\":\"192.0.2.1\",\"dst_ip\":\"192.0.2.2\",\"proto\":6,\"dst_port\":1,\"bytes\":1}\n{" + fill("\"a\":1,"),
		"arrows":    "2019-03-19 08:00:00.000 0.000 TCP 192.0.2.1:1 -> 192.0.2.2:2 1 1 1\n" + fill("-> "),
	} {
		h := new(host.Host)
		in := evidence.Input{Name: "x", File: io.NewSectionReader(strings.NewReader(text), 0, int64(len(text)))}
		if _, err := flowrecords.Reader.Read(context.Background(), in, h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	} else {
		t.Logf("it took %v", took)
	}
}
