//go:build race

package cab_test

const raceEnabled = true
