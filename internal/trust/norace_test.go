//go:build !race

package trust

// raceDetector is off: what is measured counts.
const raceDetector = false
