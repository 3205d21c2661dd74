//go:build race

package site

// raceEnabled: the race detector has sync.Pool drop things at random.
const raceEnabled = true
