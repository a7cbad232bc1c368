package catalog_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/oldguard/oldguard/internal/catalog"
)

func file(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("catalog.bin")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUncoveredRelease(t *testing.T) {
	c, err := catalog.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Records("windows-server-2003"); !errors.Is(err, catalog.ErrNotCovered) {
		t.Errorf("got %v, want ErrNotCovered", err)
	}
}

func TestDamagedCatalogue(t *testing.T) {
	whole := file(t)
	for name, b := range map[string][]byte{
		"empty": nil, "no_magic": []byte("something else entirely, and long enough"), "cut_in_header": whole[:200], "cut_in_body": whole[:len(whole)/2],
	} {
		c, err := catalog.Open(bytes.NewReader(b), int64(len(b)))
		if name != "cut_in_body" {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := c.Records("windows-vista-sp2"); err == nil {
			t.Errorf("%s: a release past the cut reads without error", name)
		}
	}
}

// FuzzOpen: whatever the bytes, opening and reading a catalogue gives a result or an error.
func FuzzOpen(f *testing.F) {
	whole := file(f)
	f.Add(whole[:4096])
	f.Add(whole[:64])
	f.Fuzz(func(_ *testing.T, b []byte) {
		c, err := catalog.Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_, _ = c.CVEs()
		for _, r := range c.Releases() {
			_, _ = c.Records(r.ID)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	whole := file(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := catalog.Open(bytes.NewReader(whole), int64(len(whole))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecords(b *testing.B) {
	whole := file(b)
	b.ReportAllocs()
	for b.Loop() {
		c, err := catalog.Open(bytes.NewReader(whole), int64(len(whole)))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Records("windows-server-2008-sp2"); err != nil {
			b.Fatal(err)
		}
		if _, err := c.CVEs(); err != nil {
			b.Fatal(err)
		}
	}
}
