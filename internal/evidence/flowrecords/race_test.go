//go:build race

package flowrecords_test

const raceEnabled = true
