package web

import (
	"fmt"
	"sync"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// limiter gives everyone so many requests a second, with room for a burst. The zero value
// is ready.
type limiter struct {
	mu sync.Mutex
	// Those that asked lately, and those that asked before: who asks is taken over. When
	// there are many of the former, the latter are forgotten. So a flood of addresses takes
	// no memory, and does not make anybody forgotten who asks meanwhile.
	seen, before map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

const (
	perSecond = 50
	burst     = 500
	maxSeen   = 25_000 // in each of the two
)

// take takes one request, and says how long to wait where there is none left.
func (l *limiter) take(key string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.seen[key]
	if !known {
		if b, known = l.before[key]; !known {
			b = bucket{burst, now}
		}
		if l.seen == nil || len(l.seen) >= maxSeen {
			l.seen, l.before = map[string]bucket{}, l.seen
		}
	}
	b.left = min(burst, b.left+perSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	wait := time.Duration(0)
	if b.left < 1 {
		wait = time.Duration((1 - b.left) / perSecond * float64(time.Second))
	} else {
		b.left--
	}
	l.seen[key] = b
	return wait
}

// limitKey is whose requests are counted together: a person's or a token's, else those of an
// address.
func limitKey(v visit) string {
	switch {
	case v.who.Token != 0:
		return fmt.Sprint("token ", v.who.Token)
	case v.who.User != 0:
		return fmt.Sprint("user ", v.who.User)
	}
	return "address " + access.Neighbourhood(v.address)
}
