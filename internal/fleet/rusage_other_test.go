//go:build !linux

package fleet_test

import "os"

// peakMemory is not measured.
func peakMemory(*os.ProcessState) int64 { return 0 }
