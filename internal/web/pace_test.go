package web_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/access"
	"github.com/oldguard/oldguard/internal/web"
)

// impatience is the pace of tests: that many bytes within that time. A client that is in time
// sends in a tenth of it.
const (
	impatience      = 800 * time.Millisecond
	impatienceBytes = 4 << 10
)

// impatient makes a server like that of the site, but for its pace.
func (s *site) impatient() *httptest.Server {
	server := &web.Server{Guard: s.guard, Log: s.web.Log, Now: s.web.Now, Fleet: s.fleet, Store: s.db}
	server.SetPace(impatienceBytes, impatience)
	srv := httptest.NewUnstartedServer(server.Handler())
	srv.Listener = web.Bounded(srv.Listener, nil)
	return srv
}

// dial connects to a server by a socket of its own, which is closed at the end of the test.
func dial(t *testing.T, srv *httptest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSlowSenders: a body that does not go on ends the request, also one of which a byte comes
// now and then, and one that nobody reads; one that goes on is taken however long it lasts.
func TestSlowSenders(t *testing.T) {
	s := newSite(t)
	token := s.token("operator", access.Operator, access.See, access.Send).Reveal()
	srv := s.impatient()
	srv.Start()
	t.Cleanup(func() { // behind the tests that are parallel
		srv.Close()
		if coming, err := os.ReadDir(s.dir + "/evidence/coming"); err != nil || len(coming) != 0 {
			t.Errorf("of what was cut off there is left: %v, %v", coming, err)
		}
	})
	head := func(path, token string, size int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", path, token, size)
	}
	for _, tt := range []struct {
		name, head string
		piece      int
		pause      time.Duration
		size, want int
	}{
		{"nothing", head("/api/v1/evidence?name=a", token, 100_000), 0, 0, 100_000, http.StatusRequestTimeout},
		{"a_byte_now_and_then", head("/api/v1/evidence?name=b", token, 100_000), 1, impatience / 10, 100_000, http.StatusRequestTimeout},
		{"much_and_then_a_byte_now_and_then", head("/api/v1/evidence?name=c", token, 200_000) + strings.Repeat("x", 100_000), 1, impatience / 10, 100_000, http.StatusRequestTimeout},
		{"longer_than_the_time_but_in_time", head("/api/v1/evidence?name=d", token, 25*impatienceBytes), impatienceBytes, impatience / 10, 25 * impatienceBytes, http.StatusAccepted},
		{"a_form", head("/login", "", 60_000), 1, impatience / 10, 60_000, http.StatusBadRequest},
		{"a_body_that_nobody_reads", head("/api/v1/evidence", "nobody", 60_000), 0, 0, 60_000, http.StatusUnauthorized},
		{"of_no_route", head("/nothing", "", 60_000), 0, 0, 60_000, http.StatusNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, srv)
			begin := time.Now()
			if _, err := io.WriteString(c, tt.head); err != nil {
				t.Fatal(err)
			}
			answered := make(chan struct{})
			go func() {
				defer func() { _ = c.(*net.TCPConn).CloseWrite() }()
				for sent := 0; tt.piece > 0 && sent < tt.size; sent += tt.piece {
					select {
					case <-answered:
						return
					case <-time.After(tt.pause):
					}
					if _, err := c.Write(bytes.Repeat([]byte("y"), tt.piece)); err != nil {
						return
					}
				}
				<-answered
			}()
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			close(answered)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			took := time.Since(begin)
			if res.StatusCode != tt.want || err != nil {
				t.Errorf("%d %s, %v; want %d", res.StatusCode, body, err, tt.want)
			}
			if tt.want == http.StatusAccepted {
				if took < 2*impatience {
					t.Errorf("it took %v only: the test proves nothing", took)
				}
				return
			}
			if took < impatience*9/10 || took > 15*impatience {
				t.Errorf("it took %v", took)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection is open: %d, %v", n, err)
			}
		})
	}
}

// evidenceOf stores a file past HTTP, and gives the address from where it is read.
func (s *site) evidenceOf(size int) string {
	s.t.Helper()
	u, _, err := s.fleet.Receive(s.t.Context(), io.LimitReader(zeros{}, int64(size)), fleet.Meta{Name: "zeros", By: "test", Via: fleet.ViaAPI})
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("/uploads/%d/file", u.ID)
}

// TestSlowReaders: who does not take his answer is hung up on; who takes it slowly gets all.
func TestSlowReaders(t *testing.T) {
	s := newSite(t)
	root := s.setUp()
	const size = 24 << 20 // more than the system keeps for a socket
	path := s.evidenceOf(size)
	srv := s.impatient()
	srv.Start()
	defer srv.Close()
	cookie := sessionOf(root)
	ask := func(t *testing.T) net.Conn {
		t.Helper()
		c := dial(t, srv)
		if err := c.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: %s\r\n\r\n", path, cookie); err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("never_reads", func(t *testing.T) {
		c := ask(t)
		time.Sleep(3 * impatience)
		n, err := io.Copy(io.Discard, c)
		if n >= size {
			t.Errorf("all %d bytes were there, %v", n, err)
		}
	})
	t.Run("reads_slowly", func(t *testing.T) {
		c := ask(t)
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		defer res.Body.Close()
		got, begin := int64(0), time.Now()
		for ; time.Since(begin) < 3*impatience; time.Sleep(impatience / 20) { // much longer than one pace
			n, failed := io.CopyN(io.Discard, res.Body, 64<<10)
			if got += n; failed != nil {
				t.Fatalf("after %d bytes: %v", got, failed)
			}
		}
		n, err := io.Copy(io.Discard, res.Body)
		if got += n; got != size || err != nil {
			t.Errorf("%d bytes of %d, %v", got, size, err)
		}
	})
}

// TestPaceOfHTTP2: with TLS browsers speak HTTP/2, where each request has a pace of its own.
func TestPaceOfHTTP2(t *testing.T) {
	s := newSite(t)
	token := s.token("operator", access.Operator, access.See, access.Send).Reveal()
	srv := s.impatient()
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	client := srv.Client()
	client.Timeout = 20 * time.Second
	client.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS13
	send := func(t *testing.T, name string, pieces int, pause time.Duration) (int, error) {
		t.Helper()
		r, w := io.Pipe()
		go func() {
			var err error
			for i := 0; i < pieces && err == nil; i++ {
				_, err = w.Write(bytes.Repeat([]byte("z"), impatienceBytes))
				time.Sleep(pause)
			}
			_ = w.CloseWithError(err)
		}()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/api/v1/evidence?name="+name, r)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		if res.ProtoMajor != 2 {
			t.Errorf("it spoke %s", res.Proto)
		}
		return res.StatusCode, err
	}
	if status, err := send(t, "in_time", 15, impatience/10); status != http.StatusAccepted || err != nil {
		t.Errorf("in time: %d, %v", status, err)
	}
	if status, err := send(t, "too_slow", 3, 4*impatience); status == http.StatusAccepted {
		t.Errorf("too slow: %d, %v", status, err)
	}
}

// TestUploadsAtOnce: one client holds no more than some uploads at the same time, and the others
// come all the same; when one is done there is room again.
func TestUploadsAtOnce(t *testing.T) {
	s := newSite(t)
	greedy, other := s.token("greedy", access.Operator, access.Send), s.token("other", access.Operator, access.Send)
	for route := range web.UploadRoutes() {
		known := false
		for _, r := range s.web.Routes() {
			known = known || r.Pattern() == route
		}
		if !known {
			t.Errorf("there is no route %q", route)
		}
	}
	type result struct {
		status int
		err    error
	}
	var held []*io.PipeWriter
	results := make(chan result, web.MaxUploadsOf)
	for i := range web.MaxUploadsOf {
		r, w := io.Pipe()
		held = append(held, w)
		go func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+fmt.Sprintf("/api/v1/evidence?name=%d", i), r)
			if err != nil {
				results <- result{0, err}
				return
			}
			req.Header.Set("Authorization", "Bearer "+greedy.Reveal())
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				results <- result{0, err}
				return
			}
			_ = res.Body.Close()
			results <- result{res.StatusCode, nil}
		}()
		if _, err := fmt.Fprintf(w, "evidence %d", i); err != nil {
			t.Fatal(err)
		}
	}
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if files, err := os.ReadDir(s.dir + "/evidence/coming"); err == nil && len(files) == len(held) {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("they did not begin")
		}
	}
	res, body := s.call("POST", "/api/v1/evidence?name=more", greedy, "one more")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "too many uploads at the same time") {
		t.Errorf("one more: %d %v %s", res.StatusCode, res.Header, body)
	}
	if res, body := s.call("POST", "/api/v1/evidence?name=other", other, "of another"); res.StatusCode != http.StatusAccepted {
		t.Errorf("another: %d %s", res.StatusCode, body)
	}
	for _, w := range held {
		_ = w.Close()
	}
	for range held {
		if r := <-results; r.status != http.StatusAccepted {
			t.Errorf("one of those held: %d, %v", r.status, r.err)
		}
	}
	if res, body := s.call("POST", "/api/v1/evidence?name=again", greedy, "again"); res.StatusCode != http.StatusAccepted {
		t.Errorf("afterwards: %d %s", res.StatusCode, body)
	}
}

// TestConnections: a client has no more than some connections at the same time, and all together
// no more than some; a proxy has as many as there are.
func TestConnections(t *testing.T) {
	const ofOne, ofAll = 3, 8
	for _, tt := range []struct {
		name    string
		proxies []netip.Prefix
		from    []string // loopback has many addresses on Linux
		want    int
	}{
		{"one_client", nil, []string{"127.0.0.1"}, ofOne},
		{"many_clients", nil, []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"}, ofAll},
		{"proxy", []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, []string{"127.0.0.1"}, ofAll},
		{"not_that_proxy", []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}, []string{"127.0.0.1"}, ofOne},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plain, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			_ = srv.Listener.Close()
			srv.Listener = web.BoundedTo(plain, tt.proxies, ofOne, ofAll)
			srv.Start()
			defer srv.Close()
			answered := func(c net.Conn) bool {
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					return false
				}
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				return err == nil && res.Body.Close() == nil
			}
			var open []net.Conn
			connect := func(from string) bool {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
				c, err := d.Dial("tcp", plain.Addr().String())
				if err != nil {
					if strings.Contains(err.Error(), "assign requested address") {
						t.Skip("loopback has one address here")
					}
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
				if !answered(c) {
					return false
				}
				open = append(open, c)
				return true
			}
			for i := range 3 * ofAll {
				connect(tt.from[i%len(tt.from)])
			}
			if len(open) != tt.want {
				t.Fatalf("%d connections; want %d", len(open), tt.want)
			}
			for i, c := range open {
				if !answered(c) {
					t.Errorf("connection %d does not go on", i)
				}
			}
			if err := open[0].Close(); err != nil {
				t.Fatal(err)
			}
			for begin := time.Now(); !connect(tt.from[0]); { // the other side must see it first
				if time.Since(begin) > 10*time.Second {
					t.Fatal("no room after one was closed")
				}
			}
		})
	}
}
