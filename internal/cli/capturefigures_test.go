package cli

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// captureMemory is what plan isolate may take of a capture, whatever is in it.
const captureMemory = 200 << 20

// TestFiguresOfCapture measures the whole program on a capture with more conversations than are
// kept, each with a machine of its own, which is the worst there can be; and with OLDGUARD_BIG=1 on one of 2 GiB.
func TestFiguresOfCapture(t *testing.T) {
	if testing.Short() {
		t.Skip("measures memory")
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "oldguard.exe")
	if out, err := exec.Command("go", "build", "-o", exe, "../../cmd/oldguard").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	size, formats := int64(0), []string{"json"}
	if os.Getenv("OLDGUARD_BIG") != "" {
		size, formats = 2<<30, []string{"text", "json", "html", "nftables", "iptables", "csv"}
	}
	file := filepath.Join(dir, "busy.pcap")
	worstCapture(t, file, answered, scanned, size)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			began := time.Now()
			var took time.Duration
			var peak memory
			for range 3 { // where others take the processor, memory is given back later
				took, peak = measure(t, exe, io.Discard, "plan", "isolate", "--as-of", "2026-11-25", "--address", "192.0.2.11", "--inside", "192.0.2.0/24", "--format", format, file)
				if !peak.above(captureMemory) {
					break
				}
			}
			t.Logf("capture of %d MiB, %d conversations, %s, whole process: %v, %s", info.Size()>>20, answered+scanned, format, took.Round(time.Millisecond), peak)
			if peak.above(captureMemory) {
				t.Errorf("took %s, at most %d MiB", peak, captureMemory>>20)
			}
			if limit := 2 * time.Minute; time.Since(began) > limit {
				t.Errorf("took more than %v", limit)
			}
		})
	}
}

// What the worst capture holds: more of both kinds than are kept.
const (
	answered = 155_000
	scanned  = 55_000
)

// worstCapture writes a capture: connections with a server, each of another client, then a scan by as many
// more, then frames of the connections until the file has the size.
func worstCapture(t *testing.T, name string, answered, scanned uint32, size int64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	frame := newFrame()
	written := int64(24)
	_, err = w.Write(frame.head())
	put := func(client uint32, port uint16, back bool, flags byte, data int) {
		if err == nil {
			var n int
			n, err = w.Write(frame.bytes(client, port, back, flags, data))
			written += int64(n)
		}
	}
	ports := [...]uint16{445, 139, 135, 8081, 1433}
	const fin, syn, rst, ack = 1, 2, 4, 16
	for i := range answered {
		p := ports[i%5]
		put(i, p, false, syn, 0)
		put(i, p, true, syn|ack, 0)
		put(i, p, false, ack, 0)
		put(i, p, true, ack, 4)
	}
	for i := range scanned {
		put(answered+i, uint16(2000+i%50_000), false, syn, 0)
		put(answered+i, uint16(2000+i%50_000), true, rst|ack, 0)
	}
	for i := uint32(0); written < size; i++ {
		put(i%answered, ports[i%answered%5], true, ack, 1460)
	}
	if err == nil {
		err = w.Flush()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
}

// frame is a TCP packet on Ethernet, changed for each use.
type frame struct {
	b    []byte
	time uint64 // in microseconds
}

const (
	recordSize = 16
	etherSize  = 14
	headsSize  = 40 // of IP and TCP
)

func newFrame() *frame {
	f := &frame{b: make([]byte, recordSize+etherSize+headsSize+1460), time: 1_793_000_000_000_000}
	copy(f.b[recordSize+12:], "\x08\x00\x45")
	ip := f.b[recordSize+etherSize:]
	ip[8], ip[9], ip[32] = 64, 6, 0x50
	return f
}

// head is that of the file.
func (*frame) head() []byte {
	b := make([]byte, 24)
	binary.LittleEndian.PutUint32(b, 0xa1b2c3d4)
	b[4], b[6], b[16], b[18], b[20] = 2, 4, 0, 4, 1
	return b
}

// bytes is a packet between a client and a port of 192.0.2.11, or back.
func (f *frame) bytes(client uint32, port uint16, back bool, flags byte, data int) []byte {
	f.time += 500
	size := uint32(etherSize + headsSize + data)
	le := binary.LittleEndian
	le.PutUint32(f.b, uint32(f.time/1e6))
	le.PutUint32(f.b[4:], uint32(f.time%1e6))
	le.PutUint32(f.b[8:], size)
	le.PutUint32(f.b[12:], size)
	ip := f.b[recordSize+etherSize:]
	binary.BigEndian.PutUint16(ip[2:], uint16(headsSize+data))
	from, to, fromPort, toPort := ip[12:16], ip[16:20], ip[20:22], ip[22:24]
	if back {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	binary.BigEndian.PutUint32(from, 10<<24|client+1)
	copy(to, "\xc0\x00\x02\x0b")
	binary.BigEndian.PutUint16(fromPort, 50_000)
	binary.BigEndian.PutUint16(toPort, port)
	binary.BigEndian.PutUint32(ip[24:], client)
	ip[33] = flags
	return f.b[:recordSize+int(size)]
}

// TestPipedCapture: what comes through a pipe is read as a file is, however large it is, and leaves no
// file behind.
func TestPipedCapture(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "spare"))
	t.Setenv("TMP", filepath.Join(dir, "spare"))
	for _, d := range []string{"spare", "captures"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "captures", "busy.pcap")
	worstCapture(t, name, 1000, 100, 20<<20)
	said := func(in io.Reader, arg string) string {
		var out, stderr bytes.Buffer
		e := Env{Stdin: in, Stdout: &out, Stderr: &stderr, Getenv: func(string) string { return "" }, Now: time.Now}
		if status := Run(t.Context(), []string{"plan", "isolate", "--as-of", "2026-11-25", "--address", "192.0.2.11", "--format", "nftables", arg}, e); status != statusBad {
			t.Fatalf("status %d: %s", status, stderr.String())
		}
		return out.String()
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if file, piped := said(nil, name), said(f, "-"); file != piped || len(file) < 1000 {
		t.Errorf("the file gives %d bytes, the pipe %d others", len(file), len(piped))
	}
	if left, err := os.ReadDir(filepath.Join(dir, "spare")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
