package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	oneMachineTime   = 60 * time.Millisecond
	oneMachineMemory = 64 << 20
	fleetTime        = 30 * time.Second
	fleetMemory      = 256 << 20 // flat: it does not grow with the number of machines
)

// TestFigures measures the whole program as people run it: one machine, and with
// OLDGUARD_BIG=1 ten thousand of them. A busy computer is no fault of the program: of the
// time for one machine the best of ten runs counts.
func TestFigures(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	exe := filepath.Join(t.TempDir(), "oldguard.exe")
	if out, err := exec.Command("go", "build", "-o", exe, "../../cmd/oldguard").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, format := range []string{"text", "json", "jsonl"} {
		t.Run("one_machine_"+format, func(t *testing.T) {
			best, most := time.Hour, memory{}
			for range 10 {
				took, peak := measure(t, exe, io.Discard, "assess", "--as-of", "2026-02-01", "--format", format, "../../examples/fs01")
				best, most = min(best, took), most.or(peak)
			}
			t.Logf("one machine, %s, whole process: %v (best of 10), %s", format, best.Round(time.Millisecond), most)
			if best > oneMachineTime {
				t.Errorf("took %v, at most %v", best, oneMachineTime)
			}
			if most.above(oneMachineMemory) {
				t.Errorf("took %s, at most %d MiB", most, oneMachineMemory>>20)
			}
		})
	}
	machines, limit := 200, time.Duration(0)
	if os.Getenv("OLDGUARD_BIG") != "" {
		machines, limit = 10_000, fleetTime
	}
	dir := wholeFleet(t, machines)
	for _, f := range []struct {
		format string
		lines  int // of each machine, at least
	}{{"text", 5}, {"jsonl", 1}} {
		t.Run("ten_thousand_machines_"+f.format, func(t *testing.T) {
			var n lines
			took, peak := measure(t, exe, &n, "assess", "--as-of", "2026-02-01", "--format", f.format, "--jobs", "2", dir)
			t.Logf("%d machines, %s, whole process: %v, %s", machines, f.format, took.Round(time.Millisecond), peak)
			if want := f.lines * machines; int(n) < want {
				t.Errorf("wrote %d lines about %d machines, want at least %d", n, machines, want)
			}
			if limit > 0 && took > limit {
				t.Errorf("took %v, at most %v", took, limit)
			}
			if peak.above(fleetMemory) {
				t.Errorf("took %s, at most %d MiB", peak, fleetMemory>>20)
			}
		})
	}
}

// measure runs the program and gives its wall time and peak memory.
func measure(t *testing.T, exe string, out io.Writer, args ...string) (time.Duration, memory) {
	t.Helper()
	c := exec.CommandContext(t.Context(), exe, args...)
	var stderr bytes.Buffer
	c.Stdout, c.Stderr = out, &stderr
	begin := time.Now()
	err := c.Run()
	took := time.Since(begin)
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != statusBad {
		t.Fatalf("%v: %v, want status %d\n%s", args, err, statusBad, stderr.String())
	}
	peak, floor := peakMemory(c.ProcessState)
	return took, memory{peak, floor}
}

// fleet makes a folder with the systeminfo of n machines, which differ in name.
func wholeFleet(t *testing.T, n int) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/fs01/systeminfo.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i := range n {
		named := bytes.Replace(text, []byte("FS01"), fmt.Appendf(nil, "H%05d", i), 1)
		if bytes.Equal(named, text) {
			t.Fatal("the example does not name FS01")
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("h%05d.txt", i)), named, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// lines counts lines.
type lines int

// Write counts.
func (n *lines) Write(p []byte) (int, error) {
	*n += lines(bytes.Count(p, []byte("\n")))
	return len(p), nil
}

// memory is the most that a process held. Nothing less than floor could be seen.
type memory struct{ peak, floor int64 }

func (m memory) or(n memory) memory {
	return memory{max(m.peak, n.peak), max(m.floor, n.floor)}
}

// above reports whether the process surely held more than limit.
func (m memory) above(limit int64) bool { return m.peak > limit && m.peak > m.floor }

// String writes mebibytes.
func (m memory) String() string {
	switch {
	case m.peak == 0:
		return "memory not measured"
	case m.peak <= m.floor:
		return fmt.Sprintf("%.1f MiB or less", float64(m.peak)/(1<<20))
	}
	return fmt.Sprintf("%.1f MiB", float64(m.peak)/(1<<20))
}
