package report

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/all"
)

// assessed assesses the only machine in a folder.
func assessed(tb testing.TB, dir, day string) *assess.Assessment {
	tb.Helper()
	on, err := time.Parse(time.DateOnly, day)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := catalog.Embedded()
	if err != nil {
		tb.Fatal(err)
	}
	in := []evidence.Input{{Name: filepath.Base(dir), Tree: os.DirFS(dir)}}
	for h, err := range evidence.Read(tb.Context(), all.Readers(), in, evidence.Options{}) {
		if err != nil {
			tb.Fatal(err)
		}
		return assess.Assess(h, c, assess.Policy{}, on)
	}
	tb.Fatalf("no machine in %s", dir)
	return nil
}

// BenchmarkWrite writes a machine that lacks much in each format.
func BenchmarkWrite(b *testing.B) {
	a := assessed(b, "../../examples/fs01", "2026-02-01")
	for _, f := range Formats() {
		b.Run(f.Name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := f.Open(io.Discard, Options{Findings: f.Findings})
				if err := Write(w, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAssess is here for comparison: what is written was assessed before.
func BenchmarkAssess(b *testing.B) {
	a := assessed(b, "../../examples/fs01", "2026-02-01")
	c, err := catalog.Embedded()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		assess.Assess(a.Host, c, assess.Policy{OnlyOpen: true}, a.AsOf.Time())
	}
}
