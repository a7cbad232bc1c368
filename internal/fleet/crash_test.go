package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

// serverEnv makes this test's program a server: its value is the folder, and behind a
// space the address of the database, if it is not SQLite. programEnv is what it says it is.
const (
	serverEnv  = "OLDGUARD_TEST_FLEET"
	programEnv = "OLDGUARD_TEST_PROGRAM"
)

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

// serve is a server until its standard input ends.
func serve(at string) error {
	dir, database, _ := strings.Cut(at, " ")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	db, err := store.Open(ctx, store.Config{Dir: dir, Database: database, Log: log})
	if err != nil {
		return err
	}
	cat, err := catalog.Embedded()
	if err != nil {
		return err
	}
	s, err := fleet.New(ctx, fleet.Config{Store: db, Dir: dir, Readers: all.Readers(), Catalog: cat, Program: os.Getenv(programEnv), Now: time.Now, Log: log})
	if err != nil {
		return err
	}
	stop, err := db.Work(ctx, s.Works())
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /evidence", func(w http.ResponseWriter, r *http.Request) {
		u, added, failed := s.Receive(r.Context(), r.Body, fleet.Meta{Name: r.FormValue("name"), Key: r.Header.Get("Idempotency-Key"), Via: fleet.ViaAPI})
		switch {
		case failed != nil:
			http.Error(w, failed.Error(), http.StatusInternalServerError)
		case added:
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, u.ID)
		default:
			fmt.Fprint(w, u.ID)
		}
	})
	mux.HandleFunc("GET /overview", func(w http.ResponseWriter, r *http.Request) {
		o, failed := db.Overview(r.Context(), time.Now())
		if failed != nil {
			http.Error(w, failed.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(o)
	})
	mux.HandleFunc("GET /run", func(w http.ResponseWriter, r *http.Request) {
		runs, failed := db.Runs(r.Context(), 1)
		if failed != nil {
			http.Error(w, failed.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(append(runs, fleet.Run{})[0])
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go server.Serve(l)
	io.Copy(io.Discard, os.Stdin)
	return errors.Join(server.Close(), stop(), db.Close())
}

// process is a running server.
type process struct {
	*storetest.Process
	addr string
}

func run(t *testing.T, at string) *process {
	t.Helper()
	p := storetest.Start(t, serverEnv+"="+at)
	return &process{p, "http://" + p.First}
}

// ask gives what the server answers.
func ask[T any](t *testing.T, p *process, path string) (answer T) {
	t.Helper()
	res, err := http.Get(p.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %s: %v", path, res.Status, err)
	}
	return answer
}

// drain waits until all uploads are read.
func (p *process) drain(t *testing.T) {
	t.Helper()
	for last, begin := "", time.Now(); ; time.Sleep(20 * time.Millisecond) {
		o := ask[fleet.Overview](t, p, "/overview")
		switch now := fmt.Sprint(o.Uploads, o.Hosts); {
		case o.Uploads == 0:
			return
		case now != last:
			last, begin = now, time.Now()
		case time.Since(begin) > time.Minute:
			t.Fatalf("%d uploads are still not read", o.Uploads)
		}
	}
}

// TestKilled sends uploads to a server that is killed again and again. What was
// acknowledged must be there, assessed once, and nothing twice. With OLDGUARD_BIG=1 it is
// killed 50 times during 500 uploads.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	t.Run("sqlite", func(t *testing.T) { killed(t, "") })
	t.Run("postgresql", func(t *testing.T) { killed(t, storetest.PostgreSQL(t)(t)) })
}

func killed(t *testing.T, database string) {
	uploads, kills := 40, 4
	if raceEnabled {
		uploads, kills = 20, 2
	}
	if os.Getenv("OLDGUARD_BIG") != "" {
		uploads, kills = 500, 50
	}
	dir := t.TempDir()
	at := strings.TrimSpace(dir + " " + database)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)

	var addr atomic.Pointer[string]
	p := run(t, at)
	addr.Store(&p.addr)
	begin := time.Now()

	// Each upload is of a machine of its own, but every tenth is an archive of two. Each
	// is sent until it is acknowledged, and some are sent again after that.
	type sent struct {
		name     string
		machines []string
		body     []byte
	}
	list := make([]sent, uploads)
	machines := map[string]bool{}
	for i := range list {
		names := []string{fmt.Sprintf("K%04d", i)}
		text := func(name string) string { return with(t, "FS01", name) }
		if i%10 == 9 {
			names = append(names, fmt.Sprintf("L%04d", i))
			var b bytes.Buffer
			files := func(yield func(fleet.File, error) bool) {
				for _, n := range names {
					yield(fleet.File{Name: n + "/systeminfo.txt", Open: func() (io.ReadCloser, error) {
						return io.NopCloser(strings.NewReader(text(n))), nil
					}}, nil)
				}
			}
			if err := fleet.Archive(&b, files); err != nil {
				t.Fatal(err)
			}
			list[i] = sent{fmt.Sprintf("%d.zip", i), names, b.Bytes()}
		} else {
			list[i] = sent{fmt.Sprintf("%d.txt", i), names, []byte(text(names[0]))}
		}
		for _, n := range names {
			machines[n] = true
		}
	}
	var done atomic.Int64
	var repeats, failures atomic.Int64
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			client := &http.Client{Timeout: 20 * time.Second}
			send := func(i int) bool {
				u := *addr.Load() + "/evidence?name=" + url.QueryEscape(list[i].name)
				req, err := http.NewRequest(http.MethodPost, u, bytes.NewReader(list[i].body))
				if err != nil {
					t.Error(err)
					return true
				}
				req.Header.Set("Idempotency-Key", fmt.Sprintf("key-%d", i))
				res, err := client.Do(req)
				if err != nil {
					return false
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				return res.StatusCode == http.StatusAccepted || res.StatusCode == http.StatusOK
			}
			for i := range next {
				for !send(i) {
					failures.Add(1)
					time.Sleep(5 * time.Millisecond)
				}
				if i%7 == 0 && send(i) {
					repeats.Add(1)
				}
				done.Add(1)
			}
		})
	}
	go func() {
		for i := range list {
			next <- i
		}
		close(next)
	}()

	// Each kill is at a random moment of a stretch of its own of the uploads, be it while
	// one is received, read or stored.
	count := 0
	for k := range kills {
		from := int64(k * uploads / kills)
		for done.Load() < from+random.Int64N(int64(uploads/kills)) {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(random.IntN(30_000)) * time.Microsecond)
		p.Kill()
		count++
		p = run(t, at)
		addr.Store(&p.addr)
	}
	wg.Wait()
	sending := time.Since(begin)
	p.drain(t)
	p.End(t)
	t.Logf("%d uploads of %d machines sent in %v through %d kills, all read %v later; %d attempts failed, %d uploads were sent twice",
		uploads, len(machines), sending.Round(time.Millisecond), count, (time.Since(begin) - sending).Round(time.Millisecond), failures.Load(), repeats.Load())

	db, err := store.Open(t.Context(), store.Config{Dir: dir, Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stored := map[string]fleet.Upload{}
	for q := (fleet.UploadQuery{}); ; {
		page, err := db.Uploads(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page {
			if _, twice := stored[u.Key]; twice {
				t.Errorf("upload %s is there twice", u.Key)
			}
			stored[u.Key] = u
			q.After = u.ID
		}
		if len(page) < fleet.MaxPage {
			break
		}
	}
	if len(stored) != uploads {
		t.Errorf("%d uploads are there, %d were acknowledged", len(stored), uploads)
	}
	for i, s := range list {
		u, ok := stored[fmt.Sprintf("key-%d", i)]
		if !ok {
			t.Errorf("upload %d was acknowledged and is not there", i)
			continue
		}
		seen, err := db.Sightings(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if u.State != fleet.UploadDone || u.Machines != len(s.machines) || len(seen) != len(s.machines) {
			t.Errorf("upload %d is %s, %d machines of %d, %d times: %s", i, u.State, u.Machines, len(s.machines), len(seen), u.Error)
		}
	}
	hosts := map[string]bool{}
	for q := (fleet.HostQuery{}); ; {
		page, err := db.Hosts(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range page.Hosts {
			if hosts[h.Name] || !machines[h.Name] {
				t.Errorf("machine %s is there twice, or was never sent", h.Name)
			}
			hosts[h.Name] = true
			if h.Version != 1 || h.Release == "" || h.Affected == 0 || h.Conflicts > 0 {
				t.Errorf("machine %s was assessed %d times: %+v", h.Name, h.Version, h)
			}
			changes, err := db.Changes(t.Context(), fleet.ChangeQuery{Host: h.ID})
			if err != nil || len(changes) != 1 || !changes[0].First {
				t.Errorf("history of %s: %+v %v", h.Name, changes, err)
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(hosts) != len(machines) {
		t.Errorf("%d machines are there, want %d", len(hosts), len(machines))
	}
}
