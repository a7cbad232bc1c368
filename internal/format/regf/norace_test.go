//go:build !race

package regf_test

const raceEnabled = false
