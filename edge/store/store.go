// Package store is the contract for what holds stored responses. A store is a
// cache, never a truth: it may drop anything at any moment, and whether what it
// gives is still true is for others to decide (package invalidate). Package memory
// holds responses in RAM; package storetest is the suite that every store passes.
package store

import "freshet/edge/response"

// Store holds stored responses. It may be used from any goroutine. Of a key that it is
// asked for it keeps nothing: the text may lie in memory that is used again.
type Store interface {
	// Get is the response under key, nil if there is none. What lies in RAM it gives
	// without allocating; else it blocks while the head is read.
	Get(key response.Key) *response.Response
	// Has reports, without reading, whether Get is likely to find something.
	Has(key response.Key) bool
	// Put keeps r under r.Key, if the store can and will. Of two for one key, log
	// and generation the one with the higher Born stays. r must not change afterwards. When Put
	// returns Get finds r, or the store has decided not to keep it.
	Put(r *response.Response)
	// Delete drops what stands under key.
	Delete(key response.Key)
	// Capacity is what the store holds at most, in bytes.
	Capacity() int64
	// MaxSize is the largest response (its Size) that the store takes, in bytes.
	MaxSize() int64
	// Close releases the store; nobody may use it any more.
	Close()
}
