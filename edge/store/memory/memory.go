// Package memory holds stored responses in RAM, admitted and evicted by ristretto
// (TinyLFU with sampled LFU eviction), charged by their real size in bytes.
package memory

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"

	"freshet/edge/response"
)

// entryOverhead is what ristretto and the slot need for one entry beside the
// response itself, in bytes (measured: some 110 of ristretto's own, and the slot).
const entryOverhead = 128

// Store is the store in RAM. Values are slots: a newer response for a key replaces
// the older one inside its slot, because ristretto keeps the first of two values
// that are set before its queue drains, and would charge it at the second's cost.
type Store struct {
	cache *ristretto.Cache[uint64, *slot]
	size  int64
	max   int64

	evicted, rejected, dropped atomic.Uint64
}

type slot struct {
	current atomic.Pointer[response.Response]
	hit     atomic.Bool // by Hit, since current was put
}

// fixedCost is what ristretto takes of a store from the start, in bytes (measured: its
// queue, and its sketch with what goes with it at 3 bytes for each counter, whose number
// it rounds up to a power of two).
func fixedCost(counters int64) int64 { return 330<<10 + 3<<bits.Len64(uint64(counters-1)) }

// New makes a store of at most size bytes, at least 1 MiB, of which a part is
// ristretto's own. A response may take up to an eighth of it: ristretto's admission does not look at size, so a larger one
// would evict many small ones and might be rejected after that.
func New(size int64) (*Store, error) {
	s := &Store{size: size, max: size / 8}
	counters := max(size/(8<<10)*10, 10_000) // ten for each response of 8 KiB
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, *slot]{
		NumCounters:        counters,
		MaxCost:            max(size-fixedCost(counters), size/2),
		BufferItems:        64,
		IgnoreInternalCost: true, // it is in entryOverhead
		// Its own metrics would keep the time of admission of 100,000 responses.
		OnEvict:  func(*ristretto.Item[*slot]) { s.evicted.Add(1) },
		OnReject: func(*ristretto.Item[*slot]) { s.rejected.Add(1) },
		// The sum is a hash already: its low half is the place, its high half tells
		// colliding keys apart; Get compares the text after that.
		KeyToHash: func(key uint64) (uint64, uint64) { return key, 0 },
	})
	if err != nil {
		return nil, fmt.Errorf("memory store of %d bytes: %w", size, err)
	}
	s.cache = cache
	return s, nil
}

// MaxSize is an eighth of the store.
func (s *Store) MaxSize() int64 { return s.max }

// Get is the response under key, or nil.
func (s *Store) Get(key response.Key) *response.Response {
	if sl := s.slot(key); sl != nil {
		if r := sl.current.Load(); matches(r, key) {
			return r
		}
	}
	return nil
}

func (s *Store) slot(key response.Key) *slot {
	sl, _ := s.cache.Get(key.Sum.Lo)
	return sl
}

func matches(r *response.Response, key response.Key) bool {
	return r != nil && r.Key.Sum == key.Sum && r.Key.Text == key.Text
}

// Hit is Get for who serves what it gives: first is true once for what stands under
// the key, and again after Unhit.
func (s *Store) Hit(key response.Key) (r *response.Response, first bool) {
	sl := s.slot(key)
	if sl == nil {
		return nil, false
	}
	if r = sl.current.Load(); !matches(r, key) {
		return nil, false
	}
	return r, !sl.hit.Load() && sl.hit.CompareAndSwap(false, true)
}

// Unhit makes the next Hit of key a first one.
func (s *Store) Unhit(key response.Key) {
	if sl := s.slot(key); sl != nil {
		sl.hit.Store(false)
	}
}

// Has reports whether something stands under key. It does not count as a use.
func (s *Store) Has(key response.Key) bool { return s.HasSum(key.Sum.Lo) }

// HasSum is Has by the low half of the key's sum.
func (s *Store) HasSum(lo uint64) bool {
	_, ok := s.cache.GetTTL(lo) // the only look at ristretto that its policy does not see
	return ok
}

// Capacity is the size of the store, with what it needs itself.
func (s *Store) Capacity() int64 { return s.size }

// Put keeps r; ristretto may decide not to. It waits for the decision, so that who
// asks after it does not fetch the same again while r stands in a queue.
func (s *Store) Put(r *response.Response) {
	if r.Body != nil && r.Body.Len() > 0 && r.Body.Bytes() == nil {
		return // it lies elsewhere: what is here has to be ready
	}
	cost := r.Size() + entryOverhead
	if cost > s.max {
		return
	}
	sl := s.slot(r.Key)
	if sl == nil {
		sl = new(slot)
	}
	for {
		was := sl.current.Load()
		if was != nil && r.OlderThan(was) {
			return
		}
		if sl.current.CompareAndSwap(was, r) {
			sl.hit.Store(false)
			break
		}
	}
	if !s.cache.Set(r.Key.Sum.Lo, sl, cost) {
		s.dropped.Add(1)
		return
	}
	s.cache.Wait()
	if s.cache.RemainingCost() < 0 {
		// It has grown in its place, for which ristretto evicts nothing: so it gives the
		// place up and stands for admission like a new one.
		s.cache.Del(r.Key.Sum.Lo)
		s.cache.Set(r.Key.Sum.Lo, sl, cost)
		s.cache.Wait()
	}
}

// Delete drops what stands under key.
func (s *Store) Delete(key response.Key) { s.cache.Del(key.Sum.Lo) }

// Close stops ristretto. No Put may run then or later.
func (s *Store) Close() { s.cache.Close() }

// Stats are counts since New.
type Stats struct {
	Bytes             int64  // charged for what is held now
	Evicted, Rejected uint64 // responses dropped for space; refused by admission
	Dropped           uint64 // puts lost because the queue was full
}

// Stats reads the counts.
func (s *Store) Stats() Stats {
	return Stats{
		Bytes:   s.cache.MaxCost() - s.cache.RemainingCost(),
		Evicted: s.evicted.Load(), Rejected: s.rejected.Load(), Dropped: s.dropped.Load(),
	}
}
