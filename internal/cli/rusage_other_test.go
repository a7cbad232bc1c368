//go:build !linux

package cli

import "os"

// peakMemory is measured on Linux only.
func peakMemory(*os.ProcessState) (peak, floor int64) { return 0, 0 }
