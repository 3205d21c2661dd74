package main

import (
	"container/list"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"
)

// policy is a cache that holds no bodies: what the store is compared with.
type policy interface {
	// request asks for an object that takes cost bytes and reports whether it was
	// held; one that was not is offered to the policy.
	request(id uint64, cost int64) (hit bool)
	close()
}

// rivals are the policies to compare with, by name.
var rivals = []struct {
	name string
	make func(size, meanCost int64) (policy, error)
}{
	{"lru", func(size, _ int64) (policy, error) { return newLRU(size), nil }},
	{"s3-fifo", func(size, _ int64) (policy, error) { return newS3FIFO(size), nil }},
	{"w-tinylfu", func(size, _ int64) (policy, error) { return newTinyLFU(size) }},
	{"ristretto", newRistretto},
}

// lru drops what was not asked for for longest.
type lru struct {
	size, used int64
	order      *list.List // of entry, the latest in front
	held       map[uint64]*list.Element
}

type entry struct {
	id   uint64
	cost int64
}

func newLRU(size int64) *lru {
	return &lru{size: size, order: list.New(), held: make(map[uint64]*list.Element)}
}

func (c *lru) request(id uint64, cost int64) bool {
	if e := c.held[id]; e != nil {
		c.order.MoveToFront(e)
		return true
	}
	if cost > c.size {
		return false
	}
	for c.used+cost > c.size {
		last := c.order.Remove(c.order.Back()).(entry)
		delete(c.held, last.id)
		c.used -= last.cost
	}
	c.held[id] = c.order.PushFront(entry{id, cost})
	c.used += cost
	return false
}

func (c *lru) close() {}

// tinyLFU is W-TinyLFU with an adaptive window, as otter has it. Its housekeeping runs
// in the caller, so that nothing depends on how goroutines are scheduled; the sketch is
// seeded at random by otter.
type tinyLFU struct{ cache *otter.Cache[uint64, uint32] }

func newTinyLFU(size int64) (policy, error) {
	cache, err := otter.New(&otter.Options[uint64, uint32]{
		MaximumWeight: uint64(size),
		Weigher:       func(_ uint64, cost uint32) uint32 { return cost },
		Executor:      func(run func()) { run() },
	})
	return tinyLFU{cache}, err
}

func (c tinyLFU) request(id uint64, cost int64) bool {
	if _, hit := c.cache.GetIfPresent(id); hit {
		return true
	}
	c.cache.Set(id, uint32(cost))
	return false
}

func (c tinyLFU) close() { c.cache.InvalidateAll() }

// plainRistretto is ristretto with ten counters for each object that fits, as its
// documents advise. A set is waited for, so that none is lost in a queue.
type plainRistretto struct {
	cache *ristretto.Cache[uint64, struct{}]
}

func newRistretto(size, meanCost int64) (policy, error) {
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, struct{}]{
		NumCounters: max(10*size/meanCost, 1000), MaxCost: size, BufferItems: 64,
		IgnoreInternalCost: true,
		KeyToHash:          func(id uint64) (uint64, uint64) { return id, 0 },
	})
	return plainRistretto{cache}, err
}

func (c plainRistretto) request(id uint64, cost int64) bool {
	if _, hit := c.cache.Get(id); hit {
		return true
	}
	if c.cache.Set(id, struct{}{}, cost) {
		c.cache.Wait()
	}
	return false
}

func (c plainRistretto) close() { c.cache.Close() }
