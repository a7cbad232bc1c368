//go:build race

package hive_test

const raceEnabled = true
