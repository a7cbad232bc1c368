package web

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// pace is how fast a client must send and take. One that sends a byte a minute, or never
// reads, would hold a connection, and perhaps a file, for as long as it likes. Only the time
// counts in which the server waits for the client: an upload of any size may take as long as it
// needs, and so may an answer.
type pace struct {
	bytes int           // that many of a body, or all of it,
	time  time.Duration // must pass within that time
}

// usualPace is 2 KiB a second: a quarter of what one channel of ISDN carries.
var usualPace = pace{64 << 10, 30 * time.Second}

// errSlow is what reading a body gives if it comes too slowly.
var errSlow = fmt.Errorf("the body came too slowly: %w", os.ErrDeadlineExceeded)

// paced holds both directions of one request to a pace. Deadlines are of the connection with
// HTTP/1, and of the stream with HTTP/2.
type paced struct {
	pace

	control *http.ResponseController
	in, out progress
	// drained tells that the server itself may read what the handler leaves of the body, before
	// it answers: so HTTP/1 does.
	drained bool
}

// progress is what passed of the bytes that are next, and for how long that was waited.
type progress struct {
	bytes int
	spent time.Duration
}

func (p *progress) add(of pace, n int, spent time.Duration) {
	p.bytes += n
	p.spent += spent
	if p.bytes >= of.bytes {
		*p = progress{}
	}
}

// newPaced begins with a request. Where deadlines cannot be set, as in a test without a
// connection, there are none.
func newPaced(p pace, w http.ResponseWriter, r *http.Request) *paced {
	if p == (pace{}) {
		p = usualPace
	}
	c := &paced{pace: p, control: http.NewResponseController(w), drained: r.ProtoMajor == 1}
	if c.drained && r.Body != nil && r.Body != http.NoBody {
		_ = c.control.SetReadDeadline(now().Add(p.time)) // see above
	}
	return c
}

// now is the time of sockets, which is not that of Server.Now: no test can move it.
func now() time.Time { return time.Now() } //nolint:forbidigo // sockets want a time

// end lets the rest of the answer, which the server still has, be taken in time: behind what it
// reads of the body by itself.
func (c *paced) end() { _ = c.control.SetWriteDeadline(now().Add(2 * c.time)) } // see newPaced

// write writes to w as the client takes it.
func (c *paced) write(w io.Writer, b []byte) (n int, err error) {
	for {
		part := b[n:min(len(b), n+c.bytes)]
		begin := now()
		_ = c.control.SetWriteDeadline(begin.Add(c.time - c.out.spent)) // see newPaced
		m, err := w.Write(part)
		n += m
		c.out.add(c.pace, m, now().Sub(begin))
		if err != nil || n >= len(b) {
			_ = c.control.SetWriteDeadline(time.Time{}) // what the handler does next has no bound
			return n, err
		}
	}
}

// body gives the body of a request as it comes.
func (c *paced) body(r io.ReadCloser) io.ReadCloser {
	if r == nil || r == http.NoBody {
		return r
	}
	return &pacedBody{r, c}
}

type pacedBody struct {
	io.ReadCloser

	paced *paced
}

// Read reads, and gives errSlow if the client is too slow.
func (b *pacedBody) Read(p []byte) (n int, err error) {
	c := b.paced
	begin := now()
	_ = c.control.SetReadDeadline(begin.Add(c.time - c.in.spent)) // see newPaced
	n, err = b.ReadCloser.Read(p)
	c.in.add(c.pace, n, now().Sub(begin))
	if !c.drained || errors.Is(err, io.EOF) {
		// Behind its end net/http waits for the client to hang up, and with HTTP/2 a deadline
		// that passes ends the body for good.
		_ = c.control.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errSlow
	}
	return n, err
}
