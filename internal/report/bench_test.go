package report

import (
	"io"
	"testing"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/catalog"
)

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
