package flowrecords_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/host"
	"github.com/oldguard/oldguard/internal/peer"
)

// packets writes a capture, so that real exporters make flows of it.
type packets struct {
	bytes.Buffer
}

const (
	fin, syn, rst, psh, ack = 1, 2, 4, 8, 16
	captured                = 1552982400 // 2019-03-19 08:00:00 UTC
)

func newPackets() *packets {
	p := new(packets)
	p.uint32s(0xa1b2c3d4, 2|4<<16, 0, 0, 65535, 1) // pcap 2.4, Ethernet
	return p
}

func (p *packets) uint32s(values ...uint32) {
	for _, v := range values {
		p.Write(binary.LittleEndian.AppendUint32(nil, v))
	}
}

// add writes one packet, so many milliseconds after the beginning.
func (p *packets) add(ms int, src, dst string, proto byte, payload []byte) {
	a, b := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	frame := append(make([]byte, 12), 0x08, 0x00)
	if a.Is4() {
		head := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0}
		binary.BigEndian.PutUint16(head[2:], uint16(20+len(payload)))
		head = append(append(head, a.AsSlice()...), b.AsSlice()...)
		sum := uint32(0)
		for i := 0; i < len(head); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(head[i:]))
		}
		binary.BigEndian.PutUint16(head[10:], ^uint16(sum+sum>>16))
		frame = append(frame, head...)
	} else {
		frame[12], frame[13] = 0x86, 0xdd
		head := []byte{0x60, 0, 0, 0, 0, 0, proto, 64}
		binary.BigEndian.PutUint16(head[4:], uint16(len(payload)))
		frame = append(append(append(frame, head...), a.AsSlice()...), b.AsSlice()...)
	}
	frame = append(frame, payload...)
	p.uint32s(captured+uint32(ms/1000), uint32(ms%1000*1000), uint32(len(frame)), uint32(len(frame)))
	p.Write(frame)
}

func (p *packets) tcp(ms int, src string, sport uint16, dst string, dport uint16, flags byte, size int) {
	head := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	head = append(head, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0)
	p.add(ms, src, dst, 6, append(head, make([]byte, size)...))
}

func (p *packets) udp(ms int, src string, sport uint16, dst string, dport uint16, size int) {
	head := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, sport), dport)
	head = append(binary.BigEndian.AppendUint16(head, uint16(8+size)), 0, 0)
	p.add(ms, src, dst, 17, append(head, make([]byte, size)...))
}

func (p *packets) icmp(ms int, src, dst string, proto, kind byte) {
	p.add(ms, src, dst, proto, []byte{kind, 0, 0, 0, 0, 1, 0, 1})
}

// session is a whole TCP connection.
func (p *packets) session(ms int, client string, cport uint16, server string, sport uint16, answers int) {
	p.tcp(ms, client, cport, server, sport, syn, 0)
	p.tcp(ms+10, server, sport, client, cport, syn|ack, 0)
	p.tcp(ms+20, client, cport, server, sport, ack, 0)
	p.tcp(ms+30, client, cport, server, sport, psh|ack, 200)
	for i := range answers {
		p.tcp(ms+40+i%500, server, sport, client, cport, psh|ack, 1000)
	}
	p.tcp(ms+600, client, cport, server, sport, fin|ack, 0)
	p.tcp(ms+610, server, sport, client, cport, fin|ack, 0)
	p.tcp(ms+620, client, cport, server, sport, ack, 0)
}

// sample writes the packets of the conversations in spokenInSample.
func sample() []byte {
	p := newPackets()
	p.session(0, "192.0.2.50", 50001, "192.0.2.10", 445, 3)
	p.session(1000, "2001:db8::50", 50002, "2001:db8::10", 3389, 3)
	p.session(2000, "192.0.2.10", 49200, "198.51.100.7", 443, 1500)
	p.udp(3000, "192.0.2.10", 53000, "192.0.2.2", 53, 30)
	p.udp(3010, "192.0.2.2", 53, "192.0.2.10", 53000, 90)
	p.icmp(4000, "192.0.2.50", "192.0.2.10", 1, 8)
	p.icmp(4010, "192.0.2.10", "192.0.2.50", 1, 0)
	p.tcp(5000, "203.0.113.9", 40000, "192.0.2.10", 23, syn, 0)
	p.tcp(5010, "192.0.2.10", 23, "203.0.113.9", 40000, rst|ack, 0)
	p.tcp(6000, "192.0.2.10", 49300, "192.0.2.99", 1433, syn, 0)
	p.tcp(7000, "192.0.2.10", 49300, "192.0.2.99", 1433, syn, 0)
	p.udp(8000, "192.0.2.10", 514, "192.0.2.7", 514, 100)
	p.add(9000, "192.0.2.9", "192.0.2.10", 47, []byte("not really GRE, but of its number"))
	return p.Bytes()
}

// summary is what all forms can show of a conversation.
type summary struct {
	Times, Refused int
	Packets        uint64
}

var spokenInSample = map[string]summary{
	"192.0.2.50 192.0.2.10 6 445":      {1, 0, 10},
	"2001:db8::50 2001:db8::10 6 3389": {1, 0, 10},
	"192.0.2.10 198.51.100.7 6 443":    {1, 0, 1507},
	"192.0.2.10 192.0.2.2 17 53":       {1, 0, 2},
	"192.0.2.50 192.0.2.10 1 8":        {1, 0, 2},
	"203.0.113.9 192.0.2.10 6 23":      {1, 1, 2},
	"192.0.2.10 192.0.2.99 6 1433":     {1, 1, 2},
	"192.0.2.10 192.0.2.7 17 514":      {1, 0, 1},
	"192.0.2.9 192.0.2.10 47 0":        {1, 0, 1},
}

func summaries(t *testing.T, text string) (map[string]summary, *host.Host) {
	t.Helper()
	h := readText(t, text)
	out := map[string]summary{}
	for _, c := range h.Traffic.All() {
		k := fmt.Sprint(c.Client, " ", c.Server, " ", c.Proto, " ", c.Port)
		for _, s := range c.Seen {
			out[k] = summary{s.Times, s.Refused, s.Packets}
		}
	}
	for _, w := range h.Watches {
		if w.Skipped > 0 {
			t.Errorf("%d of %d records were skipped: %q", w.Skipped, w.Records, w.Limits)
		}
	}
	return out, h
}

// run runs a program with its times in UTC and gives what it prints.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, stderr.String())
	}
	return stdout.String()
}

// formats are the ways in which nfdump prints flows; flags are shown by some.
var formats = []struct {
	args         []string
	flags, clock bool // clock: to the millisecond
}{
	{[]string{"-o", "line"}, false, true},
	{[]string{"-o", "line6"}, false, true},
	{[]string{"-o", "long"}, true, true},
	{[]string{"-o", "long6"}, true, true},
	{[]string{"-o", "extended"}, true, true},
	{[]string{"-o", "extended6"}, true, true},
	{[]string{"-q", "-o", "line"}, false, true},
	{[]string{"-q", "-o", "long6"}, true, true},
	{[]string{"-q", "-o", "extended"}, true, true},
	{[]string{"-N", "-o", "long6"}, true, true},
	{[]string{"-o", "biline"}, false, true},
	{[]string{"-o", "bilong"}, true, true},
	{[]string{"-b", "-o", "biline6"}, false, true},
	{[]string{"-b", "-o", "bilong6"}, true, true},
	{[]string{"-B", "-o", "bilong6"}, true, true},
	{[]string{"-B", "-q", "-o", "bilong6"}, true, true},
	{[]string{"-o", "fmt:%ts %td %pr %sap -> %dap %flg %pkt %byt %fl"}, true, true},
	{[]string{"-o", "csv"}, true, false},
	{[]string{"-q", "-o", "pipe"}, true, true},
	{[]string{"-o", "pipe"}, true, true},
	{[]string{"-o", "json"}, true, true},
}

// TestPeerNfdump: what nfdump makes of packets and prints, in every form, is what was spoken.
func TestPeerNfdump(t *testing.T) {
	nfdump, nfpcapd := peer.Need(t, "nfdump"), peer.Need(t, "nfpcapd")
	dir := t.TempDir()
	capture, flows := filepath.Join(dir, "sample.pcap"), filepath.Join(dir, "flows")
	if err := os.WriteFile(capture, sample(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(flows, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, nfpcapd, "-r", capture, "-l", flows)
	for _, f := range formats {
		t.Run(strings.NewReplacer(" ", "_", "%", "").Replace(strings.Join(f.args, "_")), func(t *testing.T) {
			text := run(t, nfdump, append([]string{"-R", flows}, f.args...)...)
			got, h := summaries(t, text)
			want := map[string]summary{}
			for k, s := range spokenInSample {
				if strings.Contains(k, " 47 ") { // nfpcapd takes GRE for a tunnel and looks inside
					continue
				}
				if !f.flags {
					s.Refused = 0
				}
				want[k] = s
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("traffic (-want +got):\n%s\nof\n%s", diff, text)
			}
			first, last := time.Unix(captured, 0).UTC(), time.Unix(captured+8, 0).UTC()
			if w := h.Watches[0]; !w.First.Equal(first) || !w.Last.Equal(last) {
				t.Errorf("from %v to %v, want %v to %v", w.First, w.Last, first, last)
			}
			for _, c := range h.Traffic.All() {
				if s := c.Seen[0]; f.flags && f.clock && c.Proto == host.TCP && !s.Sure && !strings.HasPrefix(f.args[0], "-b") && !strings.HasPrefix(f.args[0], "-B") {
					t.Errorf("%+v: who began should be seen", c)
				}
			}
		})
	}
}

// TestPeerNetFlow: flows that softflowd exports as NetFlow 9 over the network, nfcapd collects and
// nfdump prints.
func TestPeerNetFlow(t *testing.T) {
	nfdump, nfcapd, softflowd := peer.Need(t, "nfdump"), peer.Need(t, "nfcapd"), peer.Need(t, "softflowd")
	dir := t.TempDir()
	capture, flows := filepath.Join(dir, "sample.pcap"), filepath.Join(dir, "flows")
	if err := os.WriteFile(capture, sample(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(flows, 0o700); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	collector := exec.Command(nfcapd, "-b", "127.0.0.1", "-p", port, "-l", flows, "-t", "3600")
	var log bytes.Buffer
	collector.Stdout, collector.Stderr = &log, &log
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- collector.Wait() }()
	stop := sync.OnceFunc(func() {
		_ = collector.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = collector.Process.Kill()
			t.Errorf("nfcapd did not end:\n%s", log.String())
		}
	})
	t.Cleanup(stop)
	waiting(t, port)
	run(t, softflowd, "-r", capture, "-n", "127.0.0.1:"+port, "-v", "9", "-d", "-p", filepath.Join(dir, "pid"), "-c", "none")
	waiting(t, port)
	stop()
	for _, format := range []string{"csv", "json", "long6", "pipe"} {
		text := run(t, nfdump, "-R", flows, "-o", format)
		got, _ := summaries(t, text)
		if diff := cmp.Diff(spokenInSample, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s\nof\n%s\nnfcapd: %s", format, diff, text, log.String())
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// waiting waits until the socket on a port is there and, in its queue, nothing is left to be read. It
// asks the system: to try the port would take it from who is about to open it. softflowd has ended when
// what it sent is waited for, and on the loopback what is sent is there.
func waiting(t *testing.T, port string) {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		b, err := os.ReadFile("/proc/net/udp")
		if err != nil {
			time.Sleep(time.Second) // not on Linux
			return
		}
		for line := range strings.Lines(string(b)) { // sl local_address rem_address st tx_queue:rx_queue
			f := strings.Fields(line)
			if len(f) > 4 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) && strings.HasSuffix(f[4], ":00000000") {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nobody reads what comes on port %s", port)
}
