package web

import (
	"fmt"
	"sync"
	"time"
)

// limiter gives everyone so many requests a second, with room for a burst. The zero value
// is ready.
type limiter struct {
	mu   sync.Mutex
	seen map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

const (
	perSecond = 50
	burst     = 500
	maxSeen   = 50_000 // when it is full all begin anew: no flood takes the memory
)

// take takes one request, and says how long to wait where there is none left.
func (l *limiter) take(key string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || len(l.seen) >= maxSeen {
		l.seen = map[string]bucket{}
	}
	b, known := l.seen[key]
	if !known {
		b.left = burst
	} else {
		b.left = min(burst, b.left+perSecond*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.left < 1 {
		l.seen[key] = b
		return time.Duration((1 - b.left) / perSecond * float64(time.Second))
	}
	b.left--
	l.seen[key] = b
	return 0
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
	return "address " + v.address
}
