//go:build !race

package fleet_test

// raceEnabled is off: what is measured counts.
const raceEnabled = false
