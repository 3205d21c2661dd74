//go:build race

package h1_test

// raceEnabled: the race detector has sync.Pool drop things at random.
const raceEnabled = true
