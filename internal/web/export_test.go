package web

import (
	"net"
	"net/netip"
	"time"
)

// SetPace makes the server less patient than it is. Call it before Handler.
func (s *Server) SetPace(bytes int, d time.Duration) { s.pace = pace{bytes, d} }

// BoundedTo is Bounded with other bounds.
func BoundedTo(l net.Listener, proxies []netip.Prefix, ofOne, ofAll int) net.Listener {
	return &bounded{Listener: l, proxies: proxies, ofOne: ofOne, ofAll: ofAll}
}

// Limiter is the limiter of requests.
type Limiter = limiter

// Take is take.
func (l *limiter) Take(key string, now time.Time) time.Duration { return l.take(key, now) }

// Size is how many it remembers.
func (l *limiter) Size() int { return len(l.seen) + len(l.before) }

// What a test must exceed.
const (
	MaxSeen      = maxSeen
	Burst        = burst
	MaxUploadsOf = maxUploadsOf
)

// UploadRoutes are the routes that take files.
func UploadRoutes() map[string]bool { return uploads }
