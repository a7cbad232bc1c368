//nolint:gosec // addresses, ports and lengths here are made by the test itself
package prooftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/oldguard/oldguard/internal/policy"
)

// A scan puts packets on the wire as they are and looks at the wire at the other end, before any
// system there answers or refuses. So a packet that is dropped costs no waiting. What got lost on
// the way would look like dropped: the router counts what comes to it and the ends count what they
// could not take in, and a round with a loss is done again.

const (
	magic     = 0x6f6c6467 // of TCP's sequence number, and what other payloads begin with
	rounds    = 5
	quiet     = 40 * time.Millisecond // without anything new: a round is over
	toReceive = 64 << 20
)

var counted = regexp.MustCompile(`packets (\d+)`)

type scanner struct {
	w    *world
	taps []*tap
	fail int
	sent int // probes with ports, which the router counts
}

// tap is an end of a wire: packets are put on it and seen on it.
type tap struct {
	fd    int
	index int
	here  net.HardwareAddr
	there net.HardwareAddr // of the router
	dir   policy.Direction // of conversations that arrive
	stop  atomic.Bool
	done  chan struct{}

	mu   sync.Mutex
	seen map[policy.Packet]bool
	last atomic.Int64 // when anything was seen
}

func newScanner(w *world) *scanner {
	w.t.Helper()
	s := &scanner{w: w}
	// Neighbours are known from here on, however long it takes.
	var batch strings.Builder
	for i, l := range w.links() {
		var here, there net.HardwareAddr
		var index int
		l.ns.Do(func() {
			if f, err := net.InterfaceByName("eth0"); err == nil {
				here, index = f.HardwareAddr, f.Index
			}
		})
		w.router.Do(func() {
			if f, err := net.InterfaceByName(l.at); err == nil {
				there = f.HardwareAddr
			}
		})
		for _, a := range append(slices.Clone(l.addrs), netip.MustParseAddr(fmt.Sprintf("169.254.%d.2", i)), netip.MustParseAddr("fe80::2")) {
			fmt.Fprintf(&batch, "neigh replace %s lladdr %s dev %s nud permanent\n", a, here, l.at)
		}
		// Nobody has to answer.
		l.ns.Run("table inet deaf {\nchain in {\ntype filter hook prerouting priority -400\nmeta l4proto { tcp, udp, icmp } drop\nicmpv6 type echo-request drop\n}\n}\n", "nft", "-f", "-")
		dir := policy.Out
		if l.ns == w.machine {
			dir = policy.In
		}
		tp := &tap{index: index, here: here, there: there, dir: dir, done: make(chan struct{}), seen: map[policy.Packet]bool{}}
		var err error
		l.ns.Do(func() { err = tp.open() })
		if err != nil {
			w.t.Fatal(err)
		}
		go tp.watch()
		s.taps = append(s.taps, tp)
	}
	w.router.Run(batch.String(), "ip", "-batch", "-")
	w.router.Run(fmt.Sprintf("table inet audit {\ncounter seen {\n}\nchain in {\ntype filter hook prerouting priority -400\n"+
		"tcp sequence %#x counter name seen\nmeta l4proto udp @th,64,32 %#[1]x counter name seen\n}\n}\n", magic), "nft", "-f", "-")
	return s
}

func (s *scanner) close() {
	for _, tp := range s.taps {
		tp.stop.Store(true)
		<-tp.done
		_ = unix.Close(tp.fd)
	}
}

func (tp *tap) open() (err error) {
	if tp.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL))); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(tp.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, toReceive); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(tp.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}); err != nil {
		return err
	}
	return unix.Bind(tp.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: tp.index})
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

// watch notes each probe that arrives.
func (tp *tap) watch() {
	defer close(tp.done)
	b := make([]byte, 2048)
	for !tp.stop.Load() {
		n, from, err := unix.Recvfrom(tp.fd, b, 0)
		if err != nil {
			continue // nothing came
		}
		if f, ok := from.(*unix.SockaddrLinklayer); !ok || f.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		k, ok := parse(b[:n], tp.dir)
		if !ok {
			continue
		}
		tp.mu.Lock()
		tp.seen[k] = true
		tp.mu.Unlock()
		tp.last.Store(now())
	}
}

func now() int64 { return time.Now().UnixNano() } //nolint:forbidigo // silence is a matter of time

// lost counts what a tap could not take in since it was asked before.
func (tp *tap) lost() uint32 {
	st, err := unix.GetsockoptTpacketStats(tp.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 1
	}
	return st.Drops
}

// run sends the packets and compares what arrives.
func (s *scanner) run(dir policy.Direction, list []policy.Packet) {
	t := s.w.t
	t.Helper()
	if len(list) == 0 || s.fail > 1 {
		return
	}
	s.w.result.Probes += len(list)
	want := map[policy.Packet]bool{}
	loose := map[policy.Packet]bool{}
	for _, k := range list {
		if k.Proto.HasPorts() {
			s.sent++
		}
		if s.passes(k) {
			want[k] = true
			// Where a connection tracker takes a message for an answer to nothing, it is not
			// the policy that drops it.
			loose[k] = k.Proto == policy.ICMP && !slices.Contains([]uint8{8, 13, 15, 17}, k.Type) || k.Proto == policy.ICMPv6 && k.Type != 128
		}
	}
	got := map[policy.Packet]bool{}
	todo := list
	for range rounds {
		before := s.count()
		s.lost()
		for _, k := range todo {
			s.send(dir, k)
		}
		sent := 0
		for _, k := range todo {
			if k.Proto.HasPorts() {
				sent++
			}
		}
		whole := false
		for range 20 { // where the system is busy, they come late
			if whole = s.count()-before >= sent; whole {
				break
			}
			s.settle()
		}
		s.settle()
		s.take(got)
		whole = whole && s.lost() == 0
		var missing []policy.Packet
		for _, k := range todo {
			if want[k] && !got[k] && !loose[k] {
				missing = append(missing, k)
			}
		}
		if whole {
			todo = missing
		}
		if len(todo) == 0 {
			break
		}
	}
	bad := s.holes(got)
	for _, k := range todo {
		if want[k] && !got[k] && !loose[k] {
			bad = append(bad, describe(k)+" is allowed and did not arrive")
		}
	}
	if len(bad) == 0 && len(todo) > 0 {
		bad = append(bad, fmt.Sprintf("packets were lost %d times on the way to the router, or behind it: nothing is proven", rounds))
	}
	slices.Sort(bad)
	if n := len(bad); n > maxMissing {
		bad = append(bad[:maxMissing], fmt.Sprintf("and %d more", n-maxMissing))
	}
	if len(bad) > 0 {
		s.fail++
		t.Error(strings.Join(bad, "\n"))
	}
	s.w.result.Passed += len(got)
}

// passes reports whether the policy lets a packet through.
func (s *scanner) passes(k policy.Packet) bool {
	alien := s.w.p.Interface != "" && len(s.w.p.Own) > 0 && !slices.Contains(s.w.p.Own, k.Local)
	a, _ := s.w.p.Decide(k)
	return a == policy.Accept && !alien
}

// take moves what was seen.
func (s *scanner) take(got map[policy.Packet]bool) {
	for _, tp := range s.taps {
		tp.mu.Lock()
		for k := range tp.seen {
			got[k] = true
		}
		tp.seen = map[policy.Packet]bool{}
		tp.mu.Unlock()
	}
}

// holes names what arrived and should not have.
func (s *scanner) holes(got map[policy.Packet]bool) (bad []string) {
	for k := range got {
		if !s.passes(k) {
			bad = append(bad, describe(k)+" arrived and is not allowed")
		}
	}
	return bad
}

// settle waits until nothing new arrives.
func (s *scanner) settle() {
	for {
		time.Sleep(quiet / 2)
		last := int64(0)
		for _, tp := range s.taps {
			last = max(last, tp.last.Load())
		}
		if now()-last > int64(quiet) {
			return
		}
	}
}

func (s *scanner) lost() (n uint32) {
	for _, tp := range s.taps {
		n += tp.lost()
	}
	return n
}

// count is how many probes came to the router.
func (s *scanner) count() int {
	s.w.t.Helper()
	m := counted.FindStringSubmatch(s.w.router.Run("", "nft", "list", "counter", "inet", "audit", "seen"))
	if m == nil {
		s.w.t.Fatal("the router does not count")
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// audit fails if something came after all, or if the scan saw too little to have been one.
func (s *scanner) audit() {
	got := map[policy.Packet]bool{}
	time.Sleep(2 * quiet)
	if s.take(got); len(s.holes(got)) > 0 {
		s.w.t.Error(s.holes(got)[0])
	}
	if n := s.count(); n < s.sent {
		s.w.t.Errorf("of %d probes %d came to the router", s.sent, n)
	}
}

func (s *scanner) send(dir policy.Direction, k policy.Packet) {
	tp := s.taps[0]
	if dir == policy.In {
		tp = s.taps[1]
		if !slices.Contains(s.w.known, k.Remote) {
			tp = s.taps[2]
		}
	}
	b := tp.frame(k)
	for range 100 { // a full queue is emptied at once
		if err := unix.Sendto(tp.fd, b, 0, &unix.SockaddrLinklayer{Ifindex: tp.index, Halen: 6}); err == nil {
			return
		}
	}
}

// frame makes a packet that begins a conversation.
func (tp *tap) frame(k policy.Packet) []byte {
	src, dst, sport, dport := k.Remote, k.Local, k.RemotePort, k.LocalPort
	if k.Dir == policy.Out {
		src, dst, sport, dport = dst, src, dport, sport
	}
	be := binary.BigEndian
	b := make([]byte, 0, 96)
	b = append(append(b, tp.there...), tp.here...)
	var body []byte
	at := -1 // of the checksum
	switch k.Proto {
	case policy.TCP:
		body = be.AppendUint16(be.AppendUint16(body, sport), dport)
		body = be.AppendUint32(be.AppendUint32(body, magic), 0)
		body = append(body, 5<<4, 2, 0xff, 0xff, 0, 0, 0, 0)
		at = 16
	case policy.UDP:
		body = be.AppendUint16(be.AppendUint16(body, sport), dport)
		body = be.AppendUint16(body, 16)
		body = be.AppendUint32(append(body, 0, 0), magic)
		body = append(body, 0, 0, 0, 0)
		at = 6
	case policy.ICMP, policy.ICMPv6:
		// A number of its own for each direction: else one would be the answer to the other.
		body = append(body, k.Type, k.Code, 0, 0, 0x70, byte(k.Dir), 0, 1)
		body = be.AppendUint32(body, magic)
		at = 2
	default:
		body = be.AppendUint32(make([]byte, 0, 32), magic)
		body = append(body, make([]byte, 28)...)
	}
	sum := uint32(0)
	if k.Proto != policy.ICMP {
		sum = add(add(uint32(k.Proto)+uint32(len(body)), src.AsSlice()), dst.AsSlice())
	}
	if at >= 0 {
		be.PutUint16(body[at:], checksum(add(sum, body)))
	}
	if src.Is4() {
		b = append(b, 8, 0)
		h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, byte(k.Proto), 0, 0}
		be.PutUint16(h[2:], uint16(20+len(body)))
		h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
		be.PutUint16(h[10:], checksum(add(0, h)))
		return append(append(b, h...), body...)
	}
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
	b = append(be.AppendUint16(b, uint16(len(body))), byte(k.Proto), 64)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return append(b, body...)
}

// add sums octets as the internet checksum does.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func checksum(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// parse reads a probe; false for anything else on the wire.
func parse(b []byte, dir policy.Direction) (k policy.Packet, ok bool) {
	if len(b) < 14 {
		return k, false
	}
	var src, dst netip.Addr
	kind := binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	switch {
	case kind == 0x0800 && len(b) >= 20 && b[0] == 0x45:
		src, _ = netip.AddrFromSlice(b[12:16])
		dst, _ = netip.AddrFromSlice(b[16:20])
		k.Proto = policy.Proto(b[9])
		b = b[20:]
	case kind == 0x86dd && len(b) >= 40:
		src, _ = netip.AddrFromSlice(b[8:24])
		dst, _ = netip.AddrFromSlice(b[24:40])
		k.Proto = policy.Proto(b[6])
		b = b[40:]
	default:
		return k, false
	}
	mark := binary.BigEndian.AppendUint32(nil, magic)
	var sport, dport uint16
	switch {
	case k.Proto.HasPorts() && len(b) >= 12:
		sport, dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		at := 8
		if k.Proto == policy.TCP {
			at = 4
		}
		ok = bytes.Equal(b[at:at+4], mark)
	case (k.Proto == policy.ICMP || k.Proto == policy.ICMPv6) && len(b) >= 12:
		k.Type, k.Code = b[0], b[1]
		ok = bytes.Equal(b[8:12], mark)
	case len(b) >= 4:
		ok = bytes.Equal(b[:4], mark)
	}
	k.Dir, k.Local, k.Remote, k.LocalPort, k.RemotePort = dir, dst, src, dport, sport
	if dir == policy.Out {
		k.Local, k.Remote, k.LocalPort, k.RemotePort = src, dst, sport, dport
	}
	return k, ok
}
