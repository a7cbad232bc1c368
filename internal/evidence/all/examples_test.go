package all_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
	"github.com/oldguard/oldguard/internal/evidence/systeminfo"
	"github.com/oldguard/oldguard/winver"
)

// TestExamples: the example machines are read without a gap and without dispute, and their
// sources agree about the updates.
func TestExamples(t *testing.T) {
	type machine struct {
		Name, Product, Build string
		Updates, Sources     int
	}
	tree := os.DirFS(filepath.Join("..", "..", "..", "examples"))
	var got []machine
	for h, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Name: "examples", Tree: tree}}, evidence.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Gaps) > 0 || h.Build.Disputed() || h.Name.Disputed() {
			t.Errorf("%s: gaps %+v, build %+v, name %+v", h.Name.Or("?"), h.Gaps, h.Build, h.Name)
		}
		m := machine{h.Name.Or(""), h.Product.Or(""), h.Build.Or(winver.Build{}).String(), h.Updates.Len(), len(h.Updates.Listings())}
		for _, kb := range h.Updates.All() {
			if len(h.Updates.Sources(kb)) != m.Sources {
				t.Errorf("%s: %v is in one list only", m.Name, kb)
			}
		}
		got = append(got, m)
	}
	want := []machine{
		{"APP03", "Microsoft Windows Server 2012 R2 Standard", "6.3.9600", 8, 2},
		{"FS01", "Microsoft Windows Server 2008 Standard", "6.0.6003", 12, 2},
		{"FS02", "Microsoft Windows Server 2008 Enterprise", "6.0.6002", 2, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("machines (-want +got):\n%s", diff)
	}
}

// TestReadersAreDocumented: the manual is made of these values.
func TestReadersAreDocumented(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range all.Readers() {
		if r.Name == "" || seen[r.Name] || len(r.Doc) < 100 || r.Sniff == nil || r.Read == nil {
			t.Errorf("reader %q lacks a name of its own, its documentation, Sniff or Read", r.Name)
		}
		seen[r.Name] = true
	}
	if all.Readers()[0].Name != systeminfo.Reader.Name {
		t.Error("systeminfo is not the most trusted reader; say why here and in all.go")
	}
}

// BenchmarkReadMachine reads the example file server: two files, as assess does.
func BenchmarkReadMachine(b *testing.B) {
	tree := os.DirFS(filepath.Join("..", "..", "..", "examples", "fs01"))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range evidence.Read(context.Background(), all.Readers(), []evidence.Input{{Name: "fs01", Tree: tree}}, evidence.Options{}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
