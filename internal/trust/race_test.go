//go:build race

package trust

// raceDetector makes everything several times slower and larger.
const raceDetector = true
