// Package storetest holds what every store must do, and starts a PostgreSQL server to hold
// it against one. It is for tests only.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oldguard/oldguard/internal/peer"
	"github.com/oldguard/oldguard/internal/store"
)

// PostgreSQL starts a server for the time of the test, reached by a socket in a folder of
// its own, or takes that of TEST_POSTGRES_URL. It gives a function that makes a new
// database each time and gives its address.
func PostgreSQL(t *testing.T) (database func(t *testing.T) string) {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		server = start(t)
	}
	var n atomic.Int64
	var template sync.Once
	return func(t *testing.T) string {
		t.Helper()
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal("TEST_POSTGRES_URL is not of the form postgres://…")
		}
		name := fmt.Sprintf("oldguard_test_%d_%d", os.Getpid(), n.Add(1))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		do := func(sql string) error {
			c, err := pgx.Connect(ctx, server)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close(ctx) }()
			_, err = c.Exec(ctx, sql)
			return err
		}
		first := fmt.Sprintf("oldguard_test_%d", os.Getpid())
		template.Do(func() {
			if err := do("CREATE DATABASE " + first); err != nil {
				t.Fatal(err)
			}
			u.Path = "/" + first
			migrated(t, store.Config{Dir: t.TempDir(), Database: u.String()})
		})
		if err := do("CREATE DATABASE " + name + " TEMPLATE " + first); err != nil {
			t.Fatal(err)
		}
		if os.Getenv("TEST_POSTGRES_URL") != "" {
			t.Cleanup(func() {
				ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := do("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
					t.Error(err)
				}
			})
		}
		u.Path = "/" + name
		return u.String()
	}
}

// migrated makes the tables of a store.
func migrated(t testing.TB, c store.Config) {
	t.Helper()
	db, err := store.Open(context.Background(), c)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

var template struct {
	sync.Once
	content []byte
}

// SQLite puts a database with its tables into a folder, as opening a store there would:
// that takes a while, and tests open many. It is for tests that are not about it.
func SQLite(t testing.TB, dir string) {
	t.Helper()
	const name = "oldguard.sqlite"
	template.Do(func() {
		first := t.TempDir()
		migrated(t, store.Config{Dir: first})
		b, err := os.ReadFile(filepath.Join(first, name)) // #nosec G304 -- for tests
		if err != nil {
			t.Fatal(err)
		}
		template.content = b
	})
	if err := os.WriteFile(filepath.Join(dir, name), template.content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts a server, as another user if need be: it refuses to run as root.
func start(t *testing.T) string {
	t.Helper()
	postgres := peer.Need(t, "postgres")
	dir, err := os.MkdirTemp("", "oldguard-pg") // shorter than that of the test: a socket's path is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	other, err := lesser(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	run := func(program string, args ...string) *exec.Cmd {
		c := exec.Command(program, args...) // #nosec G204 -- for tests
		c.Dir, c.SysProcAttr = dir, other
		c.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
		return c
	}
	if out, err := run(filepath.Join(filepath.Dir(postgres), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	// What is tested is that this program may be killed, not that the server may.
	c := run(postgres, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off",
		"-c", "full_page_writes=off", "-c", "shared_buffers=64MB", "-c", "max_connections=60")
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // the log says more
		close(ended)
	}()
	t.Cleanup(func() {
		_ = c.Process.Signal(os.Interrupt) // fast shutdown
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = c.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Log(strings.TrimSpace(log.String()))
		}
	})
	address := "postgres://postgres@/postgres?host=" + url.QueryEscape(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			if err = errors.Join(conn.Ping(ctx), conn.Close(ctx)); err == nil {
				return address
			}
		}
		select {
		case <-ended:
			t.Fatalf("PostgreSQL ended\n%s", log.String())
		case <-ctx.Done():
			t.Fatalf("PostgreSQL does not answer: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
