//go:build !race

package hive_test

const raceEnabled = false
