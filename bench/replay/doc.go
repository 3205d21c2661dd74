// Package replay replays traces against the store of the edge, RAM over disk with real
// files, and against the cache policies that it must keep up with.
package replay
