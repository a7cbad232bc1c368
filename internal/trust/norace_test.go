//go:build !race

package trust

// raceEnabled is off: what is measured counts.
const raceEnabled = false
