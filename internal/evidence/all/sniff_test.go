package all_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
)

// TestNobodyTakesAnothersFile: of all readers, the one whose sample a file is says first
// that it is its own.
func TestNobodyTakesAnothersFile(t *testing.T) {
	for _, r := range all.Readers() {
		files, err := filepath.Glob(filepath.Join("..", r.Name, "testdata", "*", "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no samples: %v", r.Name, err)
		}
		for _, file := range files {
			if filepath.Base(file) == "want.json" || strings.Contains(filepath.ToSlash(file), "/testdata/fuzz/") {
				continue
			}
			head, err := os.ReadFile(file)
			if err != nil {
				continue // a folder
			}
			head = head[:min(len(head), 32<<10)]
			taker := "nobody"
			for _, other := range all.Readers() {
				if other.Sniff(evidence.Probe{Name: filepath.Base(file), Head: head, Text: evidence.Decode(head)}) {
					taker = other.Name
					break
				}
			}
			if taker != r.Name {
				t.Errorf("%s is taken by %s", file, taker)
			}
		}
	}
}
