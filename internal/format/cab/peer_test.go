package cab_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/format/cab"
	"github.com/oldguard/oldguard/internal/format/cab/cabtest"
	"github.com/oldguard/oldguard/internal/peer"
)

// realCabinets gives all cabinets of the collection by name, those inside others included.
func realCabinets(t testing.TB) map[string][]byte {
	t.Helper()
	dir := os.Getenv("OLDGUARD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data") // beside the repository
	}
	found := map[string][]byte{}
	for _, sub := range []string{"msu", "signed"} {
		err := fs.WalkDir(os.DirFS(dir), sub, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(filepath.Join(dir, path))
			if err != nil || !cab.Is(b) {
				return err
			}
			return nested(path, b, found)
		})
		if err != nil {
			t.Skipf("no real cabinets here; set OLDGUARD_DATA: %v", err)
		}
	}
	return found
}

func nested(name string, b []byte, into map[string][]byte) error {
	into[name] = b
	c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return c.Walk(func(f *cab.File, r io.Reader) error {
		if !strings.HasSuffix(f.Name, ".cab") {
			return nil
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return nested(name+"/"+f.Name, b, into)
	})
}

// sums gives the digest of each file in a folder.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	tree := os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(tree, path)
		got[path] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// unpack writes the files of a cabinet into a folder, as a program would.
func unpack(b []byte, dir string) error {
	c, err := cab.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	made := map[string]bool{}
	return c.Walk(func(f *cab.File, r io.Reader) error {
		path, why := f.Path()
		if why != "" {
			return fmt.Errorf("%q: %s", f.Name, why)
		}
		path = filepath.Join(dir, filepath.FromSlash(path))
		if parent := filepath.Dir(path); !made[parent] {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
			made[parent] = true
		}
		w, err := os.Create(path)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		return w.Close()
	})
}

func TestPeerCabextract(t *testing.T) {
	cabextract := peer.Need(t, "cabextract")
	all := map[string][]byte{}
	for name, made := range cabinets() {
		all["made/"+name] = made.Bytes()
	}
	t.Run("real", func(t *testing.T) {
		found := realCabinets(t)
		if len(found) < 14 {
			t.Errorf("only %d real cabinets", len(found))
		}
		maps.Copy(all, found)
	})
	for name, b := range all {
		t.Run(name, func(t *testing.T) {
			file, theirs, ours := filepath.Join(t.TempDir(), "x.cab"), t.TempDir(), t.TempDir()
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(cabextract, "-q", "-d", theirs, file).CombinedOutput(); err != nil {
				t.Fatalf("cabextract: %v\n%s", err, out)
			}
			if err := unpack(b, ours); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sums(t, theirs), sums(t, ours)); diff != "" {
				t.Errorf("files differ (-cabextract +ours):\n%.2000s", diff)
			}
		})
	}
}

func TestPeerGcab(t *testing.T) {
	gcab := peer.Need(t, "gcab")
	dir := t.TempDir()
	want := map[string]string{"a.txt": "alpha", "ümlaut.txt": "beta", "big.bin": string(prose(300_000)), "empty": ""}
	args := []string{"-c", "-n", "x.cab"}
	for name, text := range want {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, name)
	}
	for _, option := range []string{"", "-z"} {
		cmd := exec.Command(gcab, args...)
		if option != "" {
			cmd = exec.Command(gcab, append([]string{option}, args...)...)
		}
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcab: %v\n%s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(dir, "x.cab"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := walk(open(t, b))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("gcab %s: contents differ (-want +got): %.300s", option, diff)
		}
	}
}

// TestPeerSpeed unpacks the same cabinets into folders by cabextract and by this package, in
// turn, and compares the best times.
func TestPeerSpeed(t *testing.T) {
	cabextract := peer.Need(t, "cabextract")
	if raceEnabled {
		t.Skip("the race detector is no measure of speed")
	}
	all := map[string][]byte{}
	for name, b := range realCabinets(t) {
		if len(b) > 500_000 { // and not thousands of small files, which time the file system
			all[filepath.Base(name)] = b
		}
	}
	all["mszip"] = cabtest.Cabinet{Folders: []cabtest.Folder{{Method: cab.MSZIP, Files: []cabtest.File{{Name: "a", Data: prose(40 << 20)}}}}}.Bytes()
	dir := t.TempDir()
	const copies = 20 // so that starting a process counts for little
	var theirs, ours time.Duration
	for name, b := range all {
		n := copies
		if len(b) > 5<<20 {
			n = 1
		}
		args := []string{"-q", "-d", filepath.Join(dir, "out")}
		for i := range n {
			file := filepath.Join(dir, fmt.Sprint(i, ".cab"))
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, file)
		}
		best := func(f func() error) time.Duration {
			d := time.Hour
			for range 3 {
				if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if err := f(); err != nil {
					t.Fatal(err)
				}
				d = min(d, time.Since(start))
			}
			return d
		}
		they := best(func() error { return exec.Command(cabextract, args...).Run() })
		we := best(func() error {
			for range n {
				if err := unpack(b, filepath.Join(dir, "out")); err != nil {
					return err
				}
			}
			return nil
		})
		t.Logf("%s × %d: cabextract %v, ours %v", name, n, they.Round(time.Millisecond), we.Round(time.Millisecond))
		theirs += they
		ours += we
	}
	t.Logf("all: cabextract %v, ours %v", theirs.Round(time.Millisecond), ours.Round(time.Millisecond))
	if ours > theirs*5/4 { // the machine has other things to do as well
		t.Errorf("ours took %v, cabextract %v", ours, theirs)
	}
}
