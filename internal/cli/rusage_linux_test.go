package cli

import (
	"os"
	"syscall"
)

// peakMemory gives the most memory a process held.
func peakMemory(p *os.ProcessState) int64 {
	return p.SysUsage().(*syscall.Rusage).Maxrss << 10
}
