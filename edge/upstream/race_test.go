//go:build race

package upstream

// raceEnabled: the race detector has sync.Pool drop things at random.
const raceEnabled = true
