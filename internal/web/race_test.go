//go:build race

package web_test

// raceEnabled tells that everything takes ten times as long.
const raceEnabled = true
