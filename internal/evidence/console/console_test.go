package console_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/evidence/console"
	"github.com/oldguard/oldguard/internal/evidence/evidencetest"
	"github.com/oldguard/oldguard/internal/golden"
)

// TestGolden reads texts of several outputs as whatever reader recognises them reads them.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "*", "all.txt"))
	if err != nil || len(cases) == 0 {
		t.Fatal("there are no samples", err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			decoded := evidence.Decode(text)
			for _, p := range console.Parts(evidence.Input{Name: "all.txt"}, decoded) {
				part, err := p.Text()
				if err != nil {
					t.Fatal(err)
				}
				first, _ := evidence.NextLine(strings.TrimLeft(part, "\r\n"))
				parts = append(parts, p.Name+": "+first)
			}
			tree := fstest.MapFS{"all.txt": {Data: text}}
			golden.JSON(t, filepath.Join(dir, "want.json"), map[string]any{"parts": parts, "hosts": evidencetest.Read(t, all.Readers(), tree)})
		})
	}
}

// TestOneOutput: the samples of the readers of one output are not taken apart, whatever
// titles and prompts are in them.
func TestOneOutput(t *testing.T) {
	n := 0
	for _, reader := range []string{"netstat", "ipconfig", "tasklist", "routeprint", "sc", "netcmd", "nbtstat", "systeminfo", "wmicqfe", "hotfix", "wmi", "ver", "advfirewall", "regexport", "slmgr", "dism"} {
		files, err := filepath.Glob(filepath.Join("..", reader, "testdata", "*", "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no samples: %v", reader, err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil || filepath.Base(file) == "want.json" || strings.Contains(filepath.ToSlash(file), "/fuzz/") {
				continue
			}
			n++
			for _, p := range console.Parts(evidence.Input{Name: file}, evidence.Decode(b)) {
				t.Errorf("a part %s", p.Name)
			}
		}
	}
	if n < 100 {
		t.Errorf("found %d samples only", n)
	}
}

// FuzzParts: the parts are parts of the text, in its order.
func FuzzParts(f *testing.F) {
	cases, err := filepath.Glob(filepath.Join("testdata", "*", "all.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(evidence.Decode(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		names := map[string]bool{}
		rest := text
		for _, p := range console.Parts(evidence.Input{Name: "x"}, text) {
			b := make([]byte, p.File.Size())
			if _, err := p.File.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if names[p.Name] || !strings.HasPrefix(p.Name, "x/") {
				t.Errorf("a part is named %q", p.Name)
			}
			names[p.Name] = true
			_, after, ok := strings.Cut(rest, string(b))
			if !ok || len(b) == 0 {
				t.Fatalf("%s is not in what is left of the text: %q", p.Name, b)
			}
			rest = after
		}
	})
}
