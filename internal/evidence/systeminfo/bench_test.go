package systeminfo_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/oldguard/oldguard/internal/evidence"
	"github.com/oldguard/oldguard/internal/evidence/systeminfo"
	"github.com/oldguard/oldguard/internal/host"
)

func BenchmarkReadSysteminfo(b *testing.B) {
	for _, name := range []string{"server_2008_6003_oem", "server_2008_6003_utf16", "german_cp850"} {
		b.Run(name, func(b *testing.B) {
			text, err := os.ReadFile(filepath.Join("testdata", name, "systeminfo.txt"))
			if err != nil {
				b.Fatal(err)
			}
			in := evidence.TextInput(name, string(text))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				h := new(host.Host)
				if _, err := systeminfo.Reader.Read(context.Background(), in, h); err != nil || !h.Build.Known() {
					b.Fatalf("build %v, error %v", h.Build, err)
				}
			}
		})
	}
}
