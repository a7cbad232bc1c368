package web

import (
	"net"
	"net/netip"
	"sync"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// How many connections and uploads there may be at the same time. A connection takes some 20
// KiB, and is closed after two minutes of silence; an upload takes disk until it has come.
const (
	maxConnections = 2048
	maxOfOne       = 256 // connections of one client
	maxUploads     = 32
	maxUploadsOf   = 8 // of one client

	// sendBuffer is what the system keeps of an answer for a connection; by itself it may keep
	// some MiB. Linux lets the program go on once a third of it was taken: as much as usualPace
	// asks for.
	sendBuffer = 64 << 10
)

// slots count what goes on at the same time, of each client and of all.
type slots struct {
	mu   sync.Mutex
	by   map[string]int
	held int
}

// take takes a slot, unless the client or all together have as many as they may. A client
// without a key counts among all alone. Call free once.
func (s *slots) take(key string, ofOne, ofAll int) (free func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held >= ofAll || key != "" && s.by[key] >= ofOne {
		return nil, false
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.held++
	s.by[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held--
		if s.by[key]--; s.by[key] == 0 {
			delete(s.by, key)
		}
	}, true
}

// Bounded gives a listener that has no more than some connections at the same time, of each
// client and of all; what comes beyond that is closed at once. The connections of a proxy, which
// are those of many, are bounded together with all others only.
func Bounded(l net.Listener, proxies []netip.Prefix) net.Listener {
	return &bounded{Listener: l, proxies: proxies, ofOne: maxOfOne, ofAll: maxConnections}
}

type bounded struct {
	net.Listener

	proxies      []netip.Prefix
	ofOne, ofAll int
	slots        slots
}

// Accept gives the next connection for which there is room.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		free, ok := b.slots.take(b.client(c.RemoteAddr()), b.ofOne, b.ofAll)
		if ok {
			if t, is := c.(*net.TCPConn); is {
				_ = t.SetWriteBuffer(sendBuffer) // else it is as large as the system likes
			}
			return &boundedConn{Conn: c, free: sync.OnceFunc(free)}, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

func (b *bounded) client(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	if at := ap.Addr().Unmap().WithZone(""); trusted(at, b.proxies) {
		return ""
	}
	return access.Neighbourhood(ap.Addr().String())
}

type boundedConn struct {
	net.Conn

	free func()
}

// Close closes the connection and gives its slot back.
func (c *boundedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
