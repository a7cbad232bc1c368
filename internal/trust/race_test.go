//go:build race

package trust

// raceEnabled makes everything several times slower and larger.
const raceEnabled = true
