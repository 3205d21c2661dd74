package index

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	shardBits  = 8
	shardCount = 1 << shardBits

	// spare are slots at the end of a shard that are nobody's home: they take what is
	// displaced past the last one.
	spare = 64
	// A shard grows when 6 of 7 homes are taken, by an eighth.
	fullNum, fullDen = 6, 7
	growthDen        = 8

	entrySize = int64(unsafe.Sizeof(entry{}))
	indexSize = unsafe.Sizeof(Index{})
)

// entry is a slot with its tag; free when length is 0. Whoever holds the lock of the
// shard for reading may change flags, atomically; the rest takes the whole lock.
type entry struct {
	tag             uint64
	segment, offset uint32
	length, flags   uint32
}

func (e *entry) load() Slot {
	return Slot{Segment: e.segment, Offset: e.offset, Length: e.length, Flags: atomic.LoadUint32(&e.flags)}
}

// store sets all but the tag.
func (e *entry) store(s Slot) {
	e.segment, e.offset, e.length = s.Segment, s.Offset, s.Length
	atomic.StoreUint32(&e.flags, s.Flags)
}

func (e *entry) change(f func(uint32) uint32) {
	for {
		was := atomic.LoadUint32(&e.flags)
		if is := f(was); is == was || atomic.CompareAndSwapUint32(&e.flags, was, is) {
			return
		}
	}
}

// shard is the part of the table with the tags that share their upper shardBits. Its
// slots are in the order of their tags, and a tag's home is proportional to it: so an
// entry lies at its home or, when that is taken, soon after it, with no free slot
// between. (Linear probing, kept in order.) More homes move the entries apart without
// changing their order, which is how a shard grows where it lies.
type shard struct {
	mu      sync.RWMutex
	table   []entry
	mapping []byte // what table lies in; nil when that is the Go heap
	homes   uint64 // all slots but spare, 0 when there are none
	count   int

	_ [64]byte // keeps the lock of the next shard out of this one's cache line
}

func (d *shard) slots() int          { return len(d.table) }
func (d *shard) at(i int) *entry     { return &d.table[i] }
func (d *shard) free(i int) bool     { return d.at(i).length == 0 }
func (d *shard) home(tag uint64) int { return homeOf(tag, d.homes) }

// homeOf scales the tag, without the bits that chose the shard, to homes.
func homeOf(tag, homes uint64) int {
	home, _ := bits.Mul64(tag<<shardBits, homes)
	return int(home)
}

// find is the slot of the tag, or where it would have to be put: slots() at the most.
func (d *shard) find(tag uint64) (i int, ok bool) {
	for i = d.home(tag); i < d.slots(); i++ {
		e := d.at(i)
		if e.length == 0 || e.tag > tag {
			return i, false
		}
		if e.tag == tag {
			return i, true
		}
	}
	return i, false
}

// insert makes a slot for a tag that is not there. Its length is still to be set.
func (d *shard) insert(tag uint64) *entry {
	if uint64(d.count+1)*fullDen > d.homes*fullNum {
		d.grow()
	}
	for {
		i, _ := d.find(tag)
		free := i
		for free < d.slots() && !d.free(free) {
			free++
		}
		if free == d.slots() { // the spare slots are used up
			d.grow()
			continue
		}
		for ; free > i; free-- {
			*d.at(free) = *d.at(free - 1)
		}
		d.count++
		*d.at(i) = entry{tag: tag}
		return d.at(i)
	}
}

// remove frees slot i, and lets those after it that are not at home close up.
func (d *shard) remove(i int) {
	for ; i+1 < d.slots() && !d.free(i+1) && d.home(d.at(i+1).tag) <= i; i++ {
		*d.at(i) = *d.at(i + 1)
	}
	*d.at(i) = entry{}
	d.count--
}

// grow makes the table longer and spreads the entries over it.
func (d *shard) grow() {
	old := d.slots()
	d.resize(old + max(1, old/growthDen))
	d.homes = uint64(d.slots() - spare)
	if end := d.end(old, d.homes); end >= d.slots() { // the last homes are crowded; one slot must stay free
		d.resize(end + 1)
	}
	d.spread(old)
}

// end is where the last of the entries in the first n slots would end with that many homes.
func (d *shard) end(n int, homes uint64) (end int) {
	for i := range n {
		if !d.free(i) {
			end = max(homeOf(d.at(i).tag, homes), end) + 1
		}
	}
	return end
}

// spread puts the entries in the first n slots where d.homes wants them: first all to
// the very end, then one after the other to its place, which is never past where it
// comes from, as those behind it need their places too.
func (d *shard) spread(n int) {
	to := d.slots()
	for from := n - 1; from >= 0; from-- {
		if !d.free(from) {
			to--
			d.relocate(from, to)
		}
	}
	next := 0
	for from := to; from < d.slots(); from++ {
		i := max(d.home(d.at(from).tag), next)
		d.relocate(from, i)
		next = i + 1
	}
}

func (d *shard) relocate(from, to int) {
	if from != to {
		*d.at(to) = *d.at(from)
		*d.at(from) = entry{}
	}
}

func (d *shard) cool() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for i := range d.slots() {
		if !d.free(i) {
			d.at(i).change(func(flags uint32) uint32 { return flags&^hotMask | flags&hotMask>>1 })
		}
	}
}

// appendTo appends the entries to dst.
func (d *shard) appendTo(dst []entry) []entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for i := range d.slots() {
		if e := d.at(i); e.length != 0 {
			s := e.load()
			dst = append(dst, entry{e.tag, s.Segment, s.Offset, s.Length, s.Flags})
		}
	}
	return dst
}

func (d *shard) len() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return int64(d.count)
}

func (d *shard) bytes() int64 {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return int64(d.slots()) * entrySize
}

func (d *shard) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release()
	d.homes, d.count = 0, 0
}
