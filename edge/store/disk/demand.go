package disk

import (
	"math/bits"
	"sync/atomic"
)

// demand remembers how often each key was asked for lately, of keys that are stored and
// of such as are not: a count-min sketch of counters of 4 bits, four for each key, all in
// one cache line. It never says too little, and seldom too much. What is lately: every
// counter is halved once in period asks for each response that is stored.
//
//	block, 64 bytes, found by the key's hash
//	+--------+--------+--------+--------+--------+--------+--------+--------+
//	|  row 0, 32 of 4 |  row 1, 32 of 4 |  row 2, 32 of 4 |  row 3, 32 of 4 |
//	+--------+--------+--------+--------+--------+--------+--------+--------+
type demand struct {
	blocks atomic.Pointer[[]demandBlock] // a power of two of them
	asks   atomic.Uint64
	every  atomic.Uint64 // so many asks and the next block is halved
}

type demandBlock [8]atomic.Uint64

const (
	// demandPeriod: longer makes it surer who is popular, shorter finds sooner who is not
	// any more. At 6 a Zipf trace loses nothing to what remembers for longer; at 2 what was
	// asked for seldom is forgotten before it is asked for again.
	demandPeriod = 6
	// recentPeriod is for traffic that asks for what is new: what is left is little more
	// than whether the key was asked for at all.
	recentPeriod = 1
	mostDemand   = 15 // what a counter can say
	// responsesOfBlock is for how many stored responses a block is there, at most: the
	// sketch takes 8 to 16 bytes for each.
	responsesOfBlock = 8
	leastBlocks      = 1 << 9
)

func newDemand() *demand {
	d := &demand{}
	blocks := make([]demandBlock, leastBlocks)
	d.blocks.Store(&blocks)
	d.fit(0, demandPeriod)
	return d
}

// counter is where row r of a key counts: its word in the block, and the shift there.
func counter(hash uint64, r int) (word int, shift uint64) {
	at := hash >> (5 * r) & 31
	return 2*r + int(at>>4), at & 15 * 4
}

func (d *demand) block(key uint64) (b *demandBlock, hash uint64) {
	hash = key * 0x9e3779b97f4a7c15 // the index goes by the key's bits too
	hash ^= hash >> 29
	blocks := *d.blocks.Load()
	return &blocks[hash>>20&uint64(len(blocks)-1)], hash
}

// of is how often the key was asked for, at most mostDemand.
func (d *demand) of(key uint64) uint64 {
	b, hash := d.block(key)
	least := uint64(mostDemand)
	for r := range 4 {
		word, shift := counter(hash, r)
		least = min(least, b[word].Load()>>shift&mostDemand)
	}
	return least
}

// ask counts one more. Of two at the same time one may be lost.
func (d *demand) ask(key uint64) {
	if n := d.asks.Add(1); n%d.every.Load() == 0 {
		d.halve(n / d.every.Load())
	}
	was := d.of(key)
	if was == mostDemand {
		return
	}
	b, hash := d.block(key)
	for r := range 4 {
		word, shift := counter(hash, r)
		// Only the lowest: the others have counted for somebody else already.
		if w := b[word].Load(); w>>shift&mostDemand == was {
			b[word].CompareAndSwap(w, w+1<<shift)
		}
	}
}

// halve ages the n-th block.
func (d *demand) halve(n uint64) {
	blocks := *d.blocks.Load()
	b := &blocks[n&uint64(len(blocks)-1)]
	for i := range b {
		w := b[i].Load()
		b[i].CompareAndSwap(w, w>>1&0x7777777777777777)
	}
}

// fit makes the sketch as large as so many stored responses need. It only grows; what was
// counted stays, at both of the places that a place becomes. One goroutine at a time.
func (d *demand) fit(responses, period int64) {
	blocks := *d.blocks.Load()
	for int64(len(blocks))*responsesOfBlock < responses && bits.Len(uint(len(blocks))) < 40 {
		twice := make([]demandBlock, 2*len(blocks))
		for i := range twice {
			for w := range twice[i] {
				twice[i][w].Store(blocks[i&(len(blocks)-1)][w].Load())
			}
		}
		blocks = twice
		d.blocks.Store(&blocks)
	}
	responses = max(responses, int64(len(blocks))*responsesOfBlock/2)
	d.every.Store(max(1, uint64(responses*period)/uint64(len(blocks))))
}
