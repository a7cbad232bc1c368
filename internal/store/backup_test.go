package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/fleet/alert"
	"github.com/oldguard/oldguard/internal/store"
	"github.com/oldguard/oldguard/internal/store/backup"
	"github.com/oldguard/oldguard/internal/store/storetest"
)

var moment = store.BackupOptions{Now: time.Date(2026, 11, 25, 3, 15, 0, 0, time.UTC), Program: "test"}

// everything takes what a backup holds, as text that can be compared.
type everything struct {
	rows     map[string][]string
	jobs     []string
	evidence map[string]string
}

func (e *everything) Row(t *backup.Table, values []any) error {
	var b strings.Builder
	for i, v := range values {
		fmt.Fprintf(&b, "%s=%#v ", t.Columns[i], v)
	}
	e.rows[t.Name] = append(e.rows[t.Name], b.String())
	return nil
}

func (e *everything) Job(j backup.Job) error {
	e.jobs = append(e.jobs, j.Kind+" "+string(j.Args))
	return nil
}

func (e *everything) Evidence(hash string, r io.Reader) error {
	b, err := io.ReadAll(r)
	e.evidence[hash] = string(b)
	return err
}

func read(t *testing.T, file []byte) (backup.Header, *everything, backup.End) {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e := &everything{rows: map[string][]string{}, evidence: map[string]string{}}
	end, err := r.Read(e)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header, e, end
}

func save(t *testing.T, c store.Config) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, _, err := store.Backup(t.Context(), c, moment, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fill puts rows with all kinds of values into every table, jobs and evidence.
func fill(t *testing.T, c store.Config) {
	t.Helper()
	db, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if failed := db.Close(); failed != nil {
			t.Error(failed)
		}
	}()
	columns, err := db.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range store.Saved {
		for n := 1; n <= 3; n++ {
			var names, values []string
			for _, c := range columns[table] {
				if c.Name == "id" {
					continue // they are given from 1 on
				}
				names = append(names, c.Name)
				values = append(values, value(table, c, n))
			}
			if err = db.Exec(t.Context(), "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(values, ", ")+")"); err != nil {
				t.Fatalf("%s: %v", table, err)
			}
		}
	}
	if err = db.Exec(t.Context(), "DELETE FROM risk WHERE id = 3"); err != nil { // an id that must not come again
		t.Fatal(err)
	}
	kept, err := fleet.OpenFolder(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "one", strings.Repeat("\x00two", 1<<20)} {
		hash, size, err := kept.Add(t.Context(), strings.NewReader(text), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := db.AddUpload(t.Context(), fleet.Upload{Key: hash, Hash: hash, Name: "a file", Size: size}); err != nil {
			t.Fatal(err)
		}
	}
}

// value gives the n-th value of a column, as it stands in a statement.
func value(table string, c store.Column, n int) string {
	switch {
	case table == "upload" && c.Name == "hash":
		sum := sha256.Sum256([]byte{byte(n)}) // evidence that is not there
		return "'" + hex.EncodeToString(sum[:]) + "'"
	case table == "delivery" && c.Name == "state":
		return fmt.Sprint(n - 1) // waiting, claimed, sent
	case table == "delivery" && c.Name == "message":
		return "'{}'"
	case table == "sighting" && c.Name == "body" && n == 2:
		return "NULL"
	}
	switch c.Kind {
	case "text":
		return fmt.Sprintf(`'%s.%s %d ★ "''\	<\x00?$1'`, table, c.Name, n)
	case "blob":
		return map[bool]string{true: "X'00ff27'", false: `'\x00ff27'::bytea`}[c.Lite]
	case "bool":
		return map[bool]string{true: "TRUE", false: "FALSE"}[n%2 == 0]
	case "big":
		if c.Name != "id" && !strings.HasSuffix(c.Name, "_id") {
			return fmt.Sprint(int64(n) << 60)
		}
	}
	return fmt.Sprint(n)
}

// TestPeerBackup has what each database holds go to each, and come back the same.
func TestPeerBackup(t *testing.T) {
	database := storetest.PostgreSQL(t)
	places := map[string]func(t *testing.T) store.Config{
		"SQLite": func(t *testing.T) store.Config { return store.Config{Dir: filepath.Join(t.TempDir(), "data")} },
		"PostgreSQL": func(t *testing.T) store.Config {
			return store.Config{Dir: filepath.Join(t.TempDir(), "data"), Database: database(t)}
		},
	}
	for from, place := range places {
		t.Run("from_"+from, func(t *testing.T) {
			source := place(t)
			fill(t, source)
			file := save(t, source)
			h, want, end := read(t, file)
			if h.Database != from || h.Program != "test" || !h.Made.Equal(moment.Now) {
				t.Errorf("header %+v", h)
			}
			if len(end.Damaged) != 3 || end.Evidence != 3 || len(want.evidence) != 3 || end.Jobs != 3 || len(want.jobs) != 3 {
				t.Errorf("it holds %+v, jobs %q", end, want.jobs)
			}
			for _, table := range store.Saved {
				if len(want.rows[table]) < 2 {
					t.Errorf("table %s has %d rows in it", table, len(want.rows[table]))
				}
			}
			for to, place := range places {
				t.Run("to_"+to, func(t *testing.T) {
					c := place(t)
					if _, got, err := store.Restore(t.Context(), c, bytes.NewReader(file)); err != nil || !cmp.Equal(got, end) {
						t.Fatalf("%v\n%s", err, cmp.Diff(end, got))
					}
					_, got, _ := read(t, save(t, c))
					expected := *want
					expected.rows = maps.Clone(want.rows)
					expected.rows["delivery"] = got.rows["delivery"] // looked at below
					if d := cmp.Diff(expected, *got, cmp.AllowUnexported(everything{})); d != "" {
						t.Errorf("it comes back another (-want +got):\n%s", d)
					}
					db, err := store.Open(t.Context(), c)
					if err != nil {
						t.Fatal(err)
					}
					defer db.Close()
					list, err := db.Alerts().Deliveries(t.Context(), 0, 10)
					if err != nil || len(list) != 3 || list[0].State != alert.Sent || list[1].State != alert.Unsure || list[2].State != alert.Unsure {
						t.Errorf("messages: %+v, %v", list, err)
					}
					if r, err := db.AddRisk(t.Context(), fleet.Risk{Host: 1, CVE: "CVE-2020-1472", Reason: "it is fenced in", Until: 40000}); err != nil || r.ID != 4 {
						t.Errorf("the next id is %d; want 4, since 3 was given: %v", r.ID, err)
					}
					if _, _, err := store.Restore(t.Context(), c, bytes.NewReader(file)); !errors.Is(err, store.ErrNotEmpty) {
						t.Errorf("restored over it: %v", err)
					}
					if c.Database != "" {
						c.Dir = t.TempDir()
						if err := db.Close(); err != nil {
							t.Fatal(err)
						}
						if _, _, err := store.Restore(t.Context(), c, bytes.NewReader(file)); !errors.Is(err, store.ErrNotEmpty) {
							t.Errorf("restored over the database: %v", err)
						}
					}
				})
			}
		})
	}
}

// TestOlderBackup has a backup of the first version brought up to date.
func TestOlderBackup(t *testing.T) {
	source := store.Config{Dir: t.TempDir()}
	old, err := store.OpenAt(t.Context(), source, []int64{1, 100, 200})
	if err != nil {
		t.Fatal(err)
	}
	if err = old.Exec(t.Context(), "INSERT INTO channel (name, kind, settings) VALUES ('mail', 'smtp', '{}')"); err != nil {
		t.Fatal(err)
	}
	if err = old.Close(); err != nil {
		t.Fatal(err)
	}
	file := save(t, source)
	h, _, _ := read(t, file)
	if len(h.Migrations) != 3 || len(h.Tables) >= len(store.Saved) {
		t.Fatalf("it has migrations %v and %d tables", h.Migrations, len(h.Tables))
	}
	c := store.Config{Dir: filepath.Join(t.TempDir(), "data")}
	if _, _, err = store.Restore(t.Context(), c, bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	h, got, _ := read(t, save(t, c))
	if len(h.Migrations) <= 3 || len(h.Tables) != len(store.Saved) || len(got.rows["channel"]) != 1 {
		t.Errorf("it has migrations %v, %d tables, and channels %q", h.Migrations, len(h.Tables), got.rows["channel"])
	}
}

// TestBackupCoversTables fails when a table is added and left out of backups.
func TestBackupCoversTables(t *testing.T) {
	db := open(t, store.Config{})
	columns, err := db.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{"session": true, "setup": true, "goose_db_version": true, "sqlite_sequence": true}
	for _, table := range store.Saved {
		left[table] = true
	}
	for table := range columns {
		if !left[table] && !strings.HasPrefix(table, "river_") {
			t.Errorf("table %s is not in a backup", table)
		}
	}
}

// TestDamagedBackup has every cut and every altered byte refused, with nothing left behind.
func TestDamagedBackup(t *testing.T) {
	source := store.Config{Dir: t.TempDir()}
	fill(t, source)
	file := save(t, source)
	_, want, _ := read(t, file)
	dir := filepath.Join(t.TempDir(), "data")
	try := func(what string, b []byte) {
		t.Helper()
		_, _, err := store.Restore(t.Context(), store.Config{Dir: dir}, bytes.NewReader(b))
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: something is left: %v", what, err)
		}
	}
	for i := range 12 {
		cut := len(file) * i / 12
		try(fmt.Sprintf("cut off at %d of %d", cut, len(file)), file[:cut])
	}
	try("its last byte is missing", file[:len(file)-1])
	for i := range 12 {
		b := bytes.Clone(file)
		at := len(file)*i/12 + 5
		b[at] ^= 0x10
		if _, _, err := backup.Check(bytes.NewReader(b)); err == nil {
			// A bit of no consequence, such as one of the memory that unpacking takes.
			if _, got, _ := read(t, b); cmp.Diff(want, got, cmp.AllowUnexported(everything{})) != "" {
				t.Errorf("byte %d of %d altered: it is another backup", at, len(file))
			}
			continue
		}
		try(fmt.Sprintf("byte %d of %d altered", at, len(file)), b)
	}
	try("something else", []byte("PK\x03\x04 a ZIP archive"))
}

func TestBackupOfNothing(t *testing.T) {
	var b bytes.Buffer
	dir := filepath.Join(t.TempDir(), "none")
	if _, _, err := store.Backup(t.Context(), store.Config{Dir: dir}, moment, &b); !errors.Is(err, fs.ErrNotExist) || b.Len() > 0 {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a backup made the folder")
	}
}
