package capture_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/policy/netnstest"
)

// line is the work on a network of its own: sockets that talk while tcpdump listens.
type line struct {
	closers []io.Closer
	errs    []error
	missed  bool // tcpdump missed packets, by its own count
}

func (l *line) must(err error) bool {
	if err != nil {
		l.errs = append(l.errs, err)
	}
	return err == nil
}

func (l *line) keep(c io.Closer) { l.closers = append(l.closers, c) }

// serve answers each connection to addr with what it says.
func (l *line) serve(addr string) {
	s, err := net.Listen("tcp", addr)
	if !l.must(err) {
		return
	}
	l.keep(s)
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
}

// echo answers each datagram to addr.
func (l *line) echo(addr string) {
	s, err := net.ListenPacket("udp", addr)
	if !l.must(err) {
		return
	}
	l.keep(s)
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := s.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = s.WriteTo(b[:n], from)
		}
	}()
}

// dial connects from an address.
func (l *line) dial(network, from, to string) net.Conn {
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	if network == "udp" {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
	}
	c, err := d.Dial(network, to)
	if err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			l.must(err)
		}
		return nil
	}
	return c
}

// say sends n bytes and reads them back.
func (l *line) say(c net.Conn, n int) {
	l.must(c.SetDeadline(time.Now().Add(5 * time.Second)))
	if _, err := c.Write(make([]byte, n)); l.must(err) {
		_, err := io.ReadFull(c, make([]byte, n))
		l.must(err)
	}
}

// talk is one connection from its beginning to its end.
func (l *line) talk(network, from, to string, n int) {
	if c := l.dial(network, from, to); c != nil {
		l.say(c, n)
		l.must(c.Close())
	}
}

// TestPeerCapturesLive lets tcpdump capture what real sockets say in a network namespace: we find
// what was said, and what tshark finds.
func TestPeerCapturesLive(t *testing.T) {
	tcpdump := peer.Need(t, "tcpdump")
	peer.Need(t, "tshark")
	ns := netnstest.New(t)
	file := filepath.Join(t.TempDir(), "live.pcap")
	for range 5 {
		l := new(line)
		ns.Do(func() { l.live(tcpdump, file) })
		for _, c := range l.closers {
			_ = c.Close() // listeners
		}
		if err := errors.Join(l.errs...); err != nil {
			t.Fatal(err)
		}
		if !l.missed {
			break
		}
		t.Log("tcpdump missed packets; once more")
	}
	got, h := ourFlows(t, file)
	want := []string{
		"127.0.0.2 > 127.0.0.1 17/5353: 1 times, 1 packets, 1 refused",
		"127.0.0.2 > 127.0.0.1 6/445: 6 times",
		"127.0.0.2 > 127.0.0.1 6/81: 2 times, 4 packets, 2 refused",
		"127.0.0.3 > 127.0.0.1 17/53: 4 times, 8 packets",
		"127.0.0.3 > 127.0.0.1 6/445: 1 times",
		"127.0.0.3 > 127.0.0.1 6/49155: 2 times",
		"127.0.0.4 > 127.0.0.1 6/3389: 1 times, not sure",
		"::1 > ::1 6/3389: 3 times",
	}
	var said []string
	for _, s := range talks(h) {
		if strings.Contains(s, " 1/3: ") { // the messages that refuse
			continue
		}
		// How many packets a connection takes is the system's choice; tshark counts them below.
		if head, rest, ok := strings.Cut(s, " times, "); ok && strings.Contains(s, " 6/") && !strings.Contains(s, "/81:") {
			_, rest, _ = strings.Cut(rest, " packets")
			s = head + " times" + rest
		}
		said = append(said, s)
	}
	slices.Sort(said)
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-said +found):\n%s", diff)
	}
	for i := range got { // tshark is not asked what ICMP says about UDP
		if strings.Contains(got[i], " 17/") {
			got[i] = strings.Replace(got[i], "1 refused", "0 refused", 1)
		}
	}
	if diff := cmp.Diff(tsharkFlows(t, file), got); diff != "" {
		t.Errorf("(-tshark +ours):\n%s", diff)
	}
}

// live is what is said while tcpdump listens.
func (l *line) live(tcpdump, file string) {
	for _, addr := range []string{"127.0.0.1:445", "127.0.0.1:3389", "127.0.0.1:49155", "[::1]:3389"} {
		l.serve(addr)
	}
	l.echo("127.0.0.1:53")
	before := l.dial("tcp", "127.0.0.4:0", "127.0.0.1:3389")
	if before == nil {
		l.errs = append(l.errs, errors.New("no connection before the capture"))
		return
	}
	cmd := exec.Command(tcpdump, "-i", "lo", "-n", "-U", "--immediate-mode", "-B", "32768", "-s", "256", "-Z", "root", "-w", file)
	stderr, err := cmd.StderrPipe()
	if !l.must(err) || !l.must(cmd.Start()) {
		return
	}
	var words strings.Builder
	read := make(chan struct{})
	defer func() {
		l.must(cmd.Process.Signal(os.Interrupt))
		<-read
		l.must(cmd.Wait())
		l.missed = !strings.Contains(words.String(), "\n0 packets dropped by kernel")
	}()
	end := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer end.Stop()
	out := bufio.NewReader(stderr)
	for {
		s, err := out.ReadString('\n')
		if !l.must(err) {
			close(read)
			return
		}
		if strings.Contains(s, "listening on") {
			break
		}
	}
	go func() {
		defer close(read)
		_, _ = io.Copy(&words, out)
	}()

	l.say(before, 100)
	for i := range 6 {
		l.talk("tcp", "127.0.0.2:0", "127.0.0.1:445", 1+i*9_000)
	}
	l.talk("tcp", "127.0.0.3:0", "127.0.0.1:445", 10)
	l.talk("tcp", "127.0.0.3:0", "127.0.0.1:49155", 1000)
	l.talk("tcp", "127.0.0.3:0", "127.0.0.1:49155", 1000)
	for range 3 {
		l.talk("tcp", "[::1]:0", "[::1]:3389", 500)
	}
	for range 4 {
		l.talk("udp", "127.0.0.3:0", "127.0.0.1:53", 60)
	}
	for range 2 {
		if c := l.dial("tcp", "127.0.0.2:0", "127.0.0.1:81"); c != nil {
			l.errs = append(l.errs, errors.New("somebody answers on port 81"))
		}
	}
	if c := l.dial("udp", "127.0.0.2:0", "127.0.0.1:5353"); c != nil {
		_, err := c.Write([]byte("anybody?"))
		l.must(err)
		l.must(c.SetDeadline(time.Now().Add(5 * time.Second)))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			l.errs = append(l.errs, fmt.Errorf("a port without a listener gave %w", err))
		}
		l.must(c.Close())
	}
	// The connection from before ends last, so all that came earlier is in the file by then.
	l.say(before, 100)
	l.must(before.Close())
	time.Sleep(300 * time.Millisecond)
}
