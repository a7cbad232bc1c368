//go:build race

package fleet_test

// raceEnabled makes everything several times slower and larger.
const raceEnabled = true
