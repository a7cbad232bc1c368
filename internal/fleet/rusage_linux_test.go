package fleet_test

import (
	"os"
	"syscall"
)

// peakMemory is the most memory that an ended process held, in bytes, or less than that:
// Linux counts what the process that started it held by then.
func peakMemory(p *os.ProcessState) int64 {
	if u, ok := p.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss << 10
	}
	return 0
}
