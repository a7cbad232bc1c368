package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oldguard/oldguard/internal/evidence"
)

// TestMeter: nothing in the first second, then a line at most ten times a second, in which a large file
// has its own progress.
func TestMeter(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	m := &meter{w: &out, now: func() time.Time { return now }, next: now.Add(meterDelay)}
	var shown []string
	for _, s := range []struct {
		after time.Duration
		p     evidence.Progress
	}{
		{900 * time.Millisecond, evidence.Progress{File: "fs01.pcap", Done: 100 << 20, Size: 2 << 30, FilesTotal: 2}},
		{100 * time.Millisecond, evidence.Progress{File: "in/fs01.pcap", Done: 900 << 20, Size: 2 << 30, FilesTotal: 2}},
		{10 * time.Millisecond, evidence.Progress{File: "in/fs01.pcap", Done: 901 << 20, Size: 2 << 30, FilesTotal: 2}},
		{90 * time.Millisecond, evidence.Progress{File: "in/\x1b[2J\n" + strings.Repeat("x", 50), Done: 2 << 30, Size: 2 << 30, FilesTotal: 2}},
		{time.Second, evidence.Progress{File: "in/fs01.pcap", Files: 1, FilesTotal: 2}},
		{time.Second, evidence.Progress{Files: 2, FilesTotal: 2, Machines: 1, MachinesTotal: 1}},
	} {
		now = now.Add(s.after)
		out.Reset()
		m.show(s.p)
		shown = append(shown, out.String())
	}
	out.Reset()
	m.clear()
	shown = append(shown, out.String())
	want := []string{
		"", "\r\x1b[Kreading 0 of 2 files: 43 % of fs01.pcap, 2048 MiB", "",
		"\r\x1b[Kreading 0 of 2 files: 100 % of \uFFFD[2J\uFFFD" + strings.Repeat("x", 30) + "…, 2048 MiB",
		"\r\x1b[Kreading 1 of 2 files", "\r\x1b[Kmachine 1 of 1", "\r\x1b[K",
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
