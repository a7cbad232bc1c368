package fleet_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

// TestPeerBackedUp makes backups of a server that is receiving, reading and storing. Each
// is put into the other kind of database, and a server goes on from there: all that was
// acknowledged before the backup began is there, and everything in it is assessed once.
func TestPeerBackedUp(t *testing.T) {
	database := storetest.PostgreSQL(t)
	t.Run("from_sqlite", func(t *testing.T) { backedUp(t, "", database(t)) })
	t.Run("from_postgresql", func(t *testing.T) { backedUp(t, database(t), "") })
}

func backedUp(t *testing.T, database, other string) {
	const uploads = 20
	source := store.Config{Dir: t.TempDir(), Database: database}
	p := run(t, strings.TrimSpace(source.Dir+" "+database))
	var acknowledged atomic.Int64
	ended := make(chan error, 1)
	go func() {
		client := &http.Client{Timeout: 20 * time.Second}
		for i := range uploads {
			name := fmt.Sprintf("B%04d", i)
			res, err := client.Post(p.addr+"/evidence?name="+url.QueryEscape(name+".txt"), "text/plain", strings.NewReader(with(t, "FS01", name)))
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			if err != nil || res.StatusCode != http.StatusAccepted {
				ended <- fmt.Errorf("upload %d: %w", i, err)
				return
			}
			acknowledged.Add(1)
		}
		ended <- nil
	}()
	type taken struct {
		file         []byte
		acknowledged int64
	}
	var backups []taken
	for acknowledged.Load() < uploads-2 {
		b := taken{acknowledged: acknowledged.Load()}
		var w bytes.Buffer
		if _, _, err := store.Backup(t.Context(), source, store.BackupOptions{Now: time.Now()}, &w); err != nil {
			t.Fatal(err)
		}
		b.file = w.Bytes()
		backups = append(backups, b)
		time.Sleep(10 * time.Millisecond)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.drain(t)
	p.End(t)

	b := backups[len(backups)-1]
	c := store.Config{Dir: filepath.Join(t.TempDir(), "data"), Database: other}
	_, held, err := store.Restore(t.Context(), c, bytes.NewReader(b.file))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d backups; the last was begun after %d uploads, and holds %d uploads, %d machines, %d jobs",
		len(backups), b.acknowledged, held.Rows["upload"], held.Rows["host"], held.Jobs)
	if n := held.Rows["upload"]; n < b.acknowledged || held.Evidence != n || len(held.Damaged) > 0 {
		t.Errorf("%d uploads were acknowledged, and it holds %+v", b.acknowledged, held)
	}
	q := run(t, strings.TrimSpace(c.Dir+" "+other))
	q.drain(t)
	if o := ask[fleet.Overview](t, q, "/overview"); int64(o.Hosts) != held.Rows["upload"] {
		t.Errorf("%d machines are there of %d uploads", o.Hosts, held.Rows["upload"])
	}
	q.End(t)
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	page, err := db.Hosts(t.Context(), fleet.HostQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range page.Hosts {
		if h.Version != 1 || h.Affected == 0 {
			t.Errorf("machine %s was assessed %d times: %+v", h.Name, h.Version, h)
		}
	}
}
