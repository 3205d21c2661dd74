package edge

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/internal/header"
)

// slicing is what a node needs to keep contents in slices.
type slicing struct {
	on      bool // the store takes slices
	credits credits
	changes changes
	joining [64]sync.Mutex // guard the pieces of slices, by the sums of their keys

	done     <-chan struct{} // closed when the node ends
	settling sync.WaitGroup  // accounts that are followed after the end of their answers

	slices  prometheus.Counter // whole ones that were fetched singly
	fetched prometheus.Counter // bytes
	served  prometheus.Counter // bytes
}

// largest is the largest content that a store is to keep, in bytes. Policy: in slices, a
// quarter of what the store holds, so that one content does not flush it; and where it
// does not take a slice, whatever it takes whole.
func (s *slicing) largest(of store.Store) int64 {
	if s.on = of.MaxSize() >= response.SliceSize+header.MaxBytes; s.on {
		return max(of.Capacity()/4, response.SliceSize)
	}
	return of.MaxSize() - header.MaxBytes
}

// changeSlots is how many counts of changes there are.
const changeSlots = 1 << 14

// changes count what this node has put under keys, so that a request which is about to
// fetch can tell, without reading a disk, whether somebody has stored something since it
// looked. Keys may share a count: then it looks once more in vain.
type changes [changeSlots]atomic.Uint32

func (c *changes) of(key response.Key) uint32 { return c[key.Sum.Hi%changeSlots].Load() }

// put stores r, unless a command says that nothing such is stored for a while. All that
// this node stores goes through here.
func (e *Edge) put(r *response.Response) {
	if e.table.Barred(r, e.now()) {
		e.metrics.barred.Inc()
		return
	}
	e.store.Put(r)
	e.slicing.changes[r.Key.Sum.Hi%changeSlots].Add(1)
}

// drop deletes what stands under key.
func (e *Edge) drop(key response.Key) {
	e.store.Delete(key)
	e.slicing.changes[key.Sum.Hi%changeSlots].Add(1)
}
