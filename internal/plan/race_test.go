//go:build race

package plan_test

// racing is true under the race detector, which makes everything ten times slower.
const racing = true
