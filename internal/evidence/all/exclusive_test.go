package all_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
)

// second are the readers that would take samples of the first if it did not stand before
// them in all.Readers: a list with a column or a key HotFixID is hotfix's if it is of nothing
// that says more.
var second = map[string]string{"wmicqfe": "hotfix", "wmi": "hotfix", "computerinfo": "hotfix", "lansweeper": "hotfix"}

// TestExclusive: no reader takes a sample of another for its own, wherever it stands in the
// list, but those above.
func TestExclusive(t *testing.T) {
	readers := all.Readers()
	names := map[string]bool{}
	for _, r := range readers {
		names[r.Name] = true
	}
	files := map[string][]byte{}
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(p, "/testdata/") || d.Name() == "want.json" || strings.Contains(p, "/fuzz/") {
			return err
		}
		files[p], err = fs.ReadFile(root, p)
		return err
	})
	if err != nil || len(files) < 60 {
		t.Fatalf("found %d samples: %v", len(files), err)
	}
	for p, b := range files {
		owner, _, _ := strings.Cut(p, "/")
		if !names[owner] {
			continue // of a package that is no reader
		}
		head := b[:min(len(b), 32<<10)]
		probe := evidence.Probe{Name: p, Head: head, Text: evidence.Decode(head)}
		var got []string
		for _, r := range readers {
			if r.Sniff(probe) && (len(got) == 0 || second[owner] != r.Name) {
				got = append(got, r.Name)
			}
		}
		if !slices.Equal(got, []string{owner}) {
			t.Errorf("%s is taken by %q", p, got)
		}
	}
}

// TestExclusiveReal: real files are taken by those who read them, and by no newer reader.
func TestExclusiveReal(t *testing.T) {
	dir := dataDir(t)
	own := []string{"systeminfo", "wmicqfe", "hotfix"}
	var files []string
	for _, pattern := range []string{"systeminfo/*/*.txt", "wua/*.txt"} {
		got, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, got...)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head := b[:min(len(b), 32<<10)]
		probe := evidence.Probe{Name: filepath.Base(file), Head: head, Text: evidence.Decode(head)}
		for _, r := range all.Readers() {
			if r.Sniff(probe) && !slices.Contains(own, r.Name) {
				t.Errorf("%s is taken by %s", filepath.Base(file), r.Name)
			}
		}
	}
}
