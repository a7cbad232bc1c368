//go:build !race

package fleet_test

// raceDetector is off: what is measured counts.
const raceDetector = false
