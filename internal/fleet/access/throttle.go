package access

import (
	"net/netip"
	"sync"
	"time"
)

// Throttle slows down whoever guesses passwords: after a few failures with one key, such as
// a name or an address, each further one costs twice the time of the one before. It is for
// use by many at once. The zero value is ready.
type Throttle struct {
	mu   sync.Mutex
	keys map[string]strikes
}

type strikes struct {
	n     int
	until time.Time
	last  time.Time
}

const (
	freeFailures = 5
	maxDelay     = 15 * time.Minute
	forgetAfter  = time.Hour
	// maxKeys bounds what is remembered; when it is full, those that are not held up are
	// forgotten first, and then all: a flood of names must not take the memory.
	maxKeys = 100_000
)

// Wait says how long the key has to wait as of now; 0 is not at all.
func (t *Throttle) Wait(key string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.keys[key].until.Sub(now))
}

// Failed counts a failure.
func (t *Throttle) Failed(key string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil {
		t.keys = map[string]strikes{}
	}
	s, known := t.keys[key]
	if !known && len(t.keys) >= maxKeys {
		t.forget(now)
	}
	if now.Sub(s.last) > forgetAfter {
		s.n = 0
	}
	s.n++
	s.last = now
	if over := s.n - freeFailures; over >= 0 {
		delay := maxDelay
		if over < 10 {
			delay = min(maxDelay, time.Second<<over)
		}
		s.until = now.Add(delay)
	}
	t.keys[key] = s
}

func (t *Throttle) forget(now time.Time) {
	for k, s := range t.keys {
		if !s.until.After(now) {
			delete(t.keys, k)
		}
	}
	if len(t.keys) >= maxKeys {
		clear(t.keys)
	}
}

// Succeeded forgets the failures of a key.
func (t *Throttle) Succeeded(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, key)
}

// Neighbourhood is what of an address counts as one client: all of it with IPv4, the first 64
// bits with IPv6, of which whoever has one address has all others. What is no address is given
// as it is.
func Neighbourhood(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}
