//go:build race

package fleet_test

// raceDetector makes everything several times slower and larger.
const raceDetector = true
