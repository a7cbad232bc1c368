package alert_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/notify"
	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

// serverEnv makes this test's program a server: its value is the folder, the address of the
// webhook, the port of the mail server and, if it is not SQLite, the address of the database.
const serverEnv = "OLDGUARD_TEST_ALERT"

func TestMain(m *testing.M) {
	if at := os.Getenv(serverEnv); at != "" {
		if err := serve(at); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The messages of the test, and the secret of its webhook.
const (
	hooks      = 60
	mails      = 30
	hookSecret = "sixteen letters or more"
)

// serve queues the messages, unless it did, and sends them. It says "ready" once they are
// stored, "done" once none waits any more, and goes on until its standard input ends.
func serve(at string) error {
	word := append(strings.Fields(at), "")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := store.Open(ctx, store.Config{Dir: word[0], Database: word[3]})
	if err != nil {
		return err
	}
	s, err := alert.New(ctx, alert.Config{
		Store: db.Alerts(), Fleet: db, InUse: func() *catalog.Catalog { return nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler), Local: true,
	})
	if err != nil {
		return err
	}
	there, err := s.Store.Deliveries(ctx, 0, 1)
	if err == nil && len(there) == 0 {
		err = queue(ctx, s, word[1], word[2])
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	stop, err := db.Work(ctx, s.Works()[1:2])
	if err != nil {
		return err
	}
	go func() {
		for {
			list, failed := s.Store.Deliveries(ctx, 0, 0)
			busy := failed != nil
			for _, d := range list {
				busy = busy || d.State == alert.Waiting || d.State == alert.Claimed
			}
			if !busy {
				fmt.Println("done")
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	return errors.Join(stop(), db.Close())
}

func queue(ctx context.Context, s *alert.Server, hook, port string) error {
	a, err1 := s.PutChannel(ctx, alert.Channel{Name: "hook", Kind: "webhook", Settings: notify.Settings{"url": notify.Secret(hook), "secret": hookSecret}})
	b, err2 := s.PutChannel(ctx, alert.Channel{Name: "mail", Kind: "smtp", Settings: notify.Settings{
		"host": "127.0.0.1", "port": notify.Secret(port), "encryption": "none", "from": "oldguard@example.com", "to": "ops@example.com",
	}})
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	var list []alert.Delivery
	for i := range hooks + mails {
		d := alert.Delivery{Channel: a, Made: s.Now(), Message: notify.Message{ID: fmt.Sprintf("m%03d", i), Subject: "s", At: s.Now()}}
		if i%3 == 2 {
			d.Channel = b
		}
		list = append(list, d)
	}
	return s.Store.Queue(ctx, list, nil)
}

// receiver takes webhooks, and counts by message.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	tried  map[string]int
	taken  map[string]int
	victim chan struct{} // whoever takes from it took a message and never answers
	caught chan struct{}
}

// ServeHTTP refuses every fifth message once, as a server does that is overloaded.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender died while it sent
	}
	if failed := notify.Verify([]byte(hookSecret), req.Header, body, time.Now(), time.Minute); failed != nil {
		r.t.Errorf("%s: %v", body, failed)
	}
	id := req.Header.Get(notify.IDHeader)
	r.mu.Lock()
	r.tried[id]++
	refuse := r.tried[id] == 1 && strings.HasSuffix(id, "0")
	if !refuse {
		r.taken[id]++
	}
	r.mu.Unlock()
	if refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	select {
	case <-r.victim:
		r.caught <- struct{}{}
		<-req.Context().Done()
	case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
	}
}

// TestPeerKilledWhileSending kills a server again and again while a webhook and a mail server
// have taken a message and not answered yet. Every message goes once, or is said not to be
// known, and none goes twice.
func TestPeerKilledWhileSending(t *testing.T) {
	program := peer.Need(t, "aiosmtpd")
	t.Run("sqlite", func(t *testing.T) { killed(t, program, "", 3) })
	t.Run("postgresql", func(t *testing.T) { killed(t, program, storetest.PostgreSQL(t)(t), 1) })
}

func killed(t *testing.T, program, database string, kills int) {
	r := &receiver{t: t, tried: map[string]int{}, taken: map[string]int{}, victim: make(chan struct{}, 1), caught: make(chan struct{}, 1)}
	hook := httptest.NewServer(r)
	defer hook.Close()
	port, printed := mailServer(t, program)
	dir := t.TempDir()
	at := strings.Join([]string{dir, hook.URL, port, database}, " ")
	for range kills {
		r.victim <- struct{}{}
		p := start(t, at)
		select {
		case <-r.caught:
		case line := <-p.Lines:
			t.Fatalf("the server says %q before it was killed", line)
		case <-time.After(time.Minute):
			t.Fatal("no message came")
		}
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		p.Kill()
	}
	p := start(t, at)
	select {
	case line := <-p.Lines:
		if line != "done" {
			t.Fatalf("the server says %q", line)
		}
	case <-time.After(time.Minute):
		t.Fatal("messages still wait")
	}
	p.End(t)

	db, err := store.Open(t.Context(), store.Config{Dir: dir, Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list, err := db.Alerts().Deliveries(t.Context(), 0, 0)
	if err != nil || len(list) != hooks+mails {
		t.Fatalf("%d messages, %v", len(list), err)
	}
	taken := printed()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range r.taken {
		taken[id] += n
	}
	states, lost := map[alert.DeliveryState]int{}, 0
	for _, d := range list {
		states[d.State]++
		n := taken[d.Message.ID]
		if d.State != alert.Sent && d.State != alert.Unsure || n > 1 || d.State == alert.Sent && n != 1 {
			t.Errorf("message %s to %s is %s, and came %d times: %s", d.Message.ID, d.Name, d.State, n, d.Error)
		}
		if d.State == alert.Unsure && n == 0 {
			lost++
		}
	}
	if states[alert.Unsure] < kills {
		t.Errorf("%d messages are not known to have gone, after %d kills", states[alert.Unsure], kills)
	}
	t.Logf("%d sent, %d not known, of which %d did not come", states[alert.Sent], states[alert.Unsure], lost)
}

func start(t *testing.T, at string) *storetest.Process {
	t.Helper()
	p := storetest.Start(t, serverEnv+"="+at)
	if p.First != "ready" {
		t.Fatalf("the server says %q", p.First)
	}
	return p
}

var messageID = regexp.MustCompile(`(?m)^Message-ID: <(m\d+)@`)

// mailServer starts a mail server; printed ends it and gives how often it took each message.
func mailServer(t *testing.T, program string) (port string, printed func() map[string]int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ = net.SplitHostPort(address)
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(t.TempDir() + "/mails")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "-n", "-l", address, "-c", "aiosmtpd.handlers.Debugging", "stdout")
	c.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	c.Stdout = out
	if err = c.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		c.Process.Kill()
		c.Wait()
		out.Close()
	})
	t.Cleanup(stop)
	for range 200 {
		conn, failed := net.Dial("tcp", address)
		if failed == nil {
			conn.Close()
			return port, func() map[string]int {
				stop()
				text, failed := os.ReadFile(out.Name())
				if failed != nil {
					t.Fatal(failed)
				}
				n := map[string]int{}
				for _, m := range messageID.FindAllSubmatch(text, -1) {
					n[string(m[1])]++
				}
				return n
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the mail server does not listen")
	return "", nil
}
