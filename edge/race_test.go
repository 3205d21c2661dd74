//go:build race

package edge

// raceEnabled: the race detector has sync.Pool drop things at random.
const raceEnabled = true
