package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/internal/store"
)

// served fills a folder as a server does that received one file.
func served(t *testing.T, dir string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cat, done, err := openCatalog("")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	fl, err := fleet.New(t.Context(), fleet.Config{Store: db, Dir: dir, Readers: all.Readers(), Catalog: cat, Program: "test", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../examples/fs01/systeminfo.txt")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := fl.Receive(t.Context(), bytes.NewReader(text), fleet.Meta{Name: "fs01.txt", Via: fleet.ViaAPI}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	data, backups := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	served(t, data)
	if err := os.MkdirAll(backups, 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 25, 3, 15, 0, 0, time.UTC)
	run := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		status := Run(context.WithoutCancel(t.Context()), args, Env{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: func() time.Time { return now }, Getenv: func(string) string { return "" },
		})
		if status != want {
			t.Fatalf("%q gives %d; want %d\n%s%s", args, status, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	if err := os.WriteFile(filepath.Join(backups, "oldguard-backup-of-mine.tar.zst"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var got string
	for range 3 {
		got = run(0, "backup", "--data", data, "--output", backups, "--keep", "2")
		now = now.Add(24 * time.Hour)
	}
	if !strings.Contains(got, "20261127T031500Z") || !regexp.MustCompile(`uploads +1\n(.*\n)*.*files of evidence +1, .* KiB\n.*jobs not done +1\n`).MatchString(got) {
		t.Errorf("backup says\n%s", got)
	}
	entries, err := os.ReadDir(backups)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, failed := e.Info(); failed != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info, failed)
		}
	}
	if want := "oldguard-backup-20261126T031500Z.tar.zst oldguard-backup-20261127T031500Z.tar.zst oldguard-backup-of-mine.tar.zst"; err != nil || strings.Join(names, " ") != want {
		t.Errorf("kept %q; want %q; %v", names, want, err)
	}
	file := filepath.Join(backups, names[0])
	var c contents
	if err = json.Unmarshal([]byte(run(0, "restore", file, "--check", "--format", "json")), &c); err != nil || c.End.Rows["upload"] != 1 || c.End.Evidence != 1 || c.Schema != "oldguard/backup-contents/1" {
		t.Errorf("%+v, %v", c, err)
	}
	other := filepath.Join(dir, "other")
	run(0, "restore", file, "--data", other)
	if got := run(1, "restore", file, "--data", other); !strings.Contains(got, "not empty") || !strings.Contains(got, "hint: ") {
		t.Errorf("over it: %s", got)
	}
	// What was restored can be saved again, and its evidence is looked at.
	again := filepath.Join(dir, "again.tar.zst")
	run(0, "backup", "--data", other, "-o", again)
	err = filepath.WalkDir(filepath.Join(other, "evidence"), func(p string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			err = os.WriteFile(p, []byte("something else"), 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := run(3, "backup", "--data", other, "-o", again); !strings.Contains(got, "is not in it: its SHA-256 is") {
		t.Errorf("altered evidence: %s", got)
	}
	if got := run(3, "restore", again, "--data", filepath.Join(dir, "third")); !strings.Contains(got, "is not in it") {
		t.Errorf("altered evidence comes back: %s", got)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(1, "restore", file, "--check"); !strings.Contains(got, "the backup is damaged") || !strings.Contains(got, "hint: ") {
		t.Errorf("cut off: %s", got)
	}
}

// TestBackupToPipe has a backup go through a pipe.
func TestBackupToPipe(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	served(t, data)
	r, w := io.Pipe()
	env := Env{Stdin: strings.NewReader(""), Stdout: w, Stderr: io.Discard, Now: time.Now, Getenv: func(string) string { return "" }}
	go func() {
		status := Run(context.WithoutCancel(t.Context()), []string{"backup", "--data", data, "--output", "-"}, env)
		if status != 0 {
			t.Errorf("backup gives %d", status)
		}
		_ = w.Close()
	}()
	var out bytes.Buffer
	to := Env{Stdin: r, Stdout: &out, Stderr: &out, Now: time.Now, Getenv: func(string) string { return "" }}
	if status := Run(t.Context(), []string{"restore", "-", "--data", filepath.Join(t.TempDir(), "data")}, to); status != 0 || !regexp.MustCompile(`uploads +1\n`).MatchString(out.String()) {
		t.Errorf("restore gives %d: %s", status, out.String())
	}
}
