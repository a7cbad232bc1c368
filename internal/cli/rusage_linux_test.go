package cli

import (
	"os"
	"syscall"
)

// peakMemory gives the most memory a process held, or less than that: Linux counts what
// the process that started it held by then. That is this one, whose own peak is floor.
func peakMemory(p *os.ProcessState) (peak, floor int64) {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return 0, 0
	}
	return p.SysUsage().(*syscall.Rusage).Maxrss << 10, own.Maxrss << 10
}
