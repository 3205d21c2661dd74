// Package index is the table of a disk store: where the record of each key lies. A slot
// takes 24 bytes and has no pointers, and where the system lets us the table lies outside
// of the Go heap: the garbage collector neither looks at it nor counts it. It grows a
// little at a time, by moving pages of the system: at no moment does it lie in RAM twice.
// That makes about 30 bytes for each stored response, from a million of them on.
package index

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
)

// Slot says where a record lies.
type Slot struct {
	Segment uint32
	Offset  uint32 // in the segment, in bytes
	Length  uint32 // of the record, in bytes; never 0
	Flags   uint32 // Hot and the bits below; the others belong to the store
}

// At reports whether both are the same record.
func (s Slot) At(o Slot) bool { return s.Segment == o.Segment && s.Offset == o.Offset }

// Hot is how often the record was hit lately, 0 to MaxHot.
func (s Slot) Hot() int { return int(s.Flags & hotMask) }

// Flags of a slot.
const (
	hotMask           = 1<<2 - 1
	MaxHot            = hotMask
	Verified   uint32 = 1 << 2 // the body was checked since the store was opened
	Supersedes uint32 = 1 << 3 // an older record of the key may lie in a living segment
	FirstFree  uint32 = 1 << 8 // this bit and those above are the store's
)

// Index maps keys to slots. A key is the low half of the sum of a cache key's text: of
// ten million keys one that is not there is taken for one that is once in 10^12 times,
// and that is found out because the record carries the whole text. An Index may be used
// from any goroutine.
type Index struct {
	mix    mixer
	shards [shardCount]shard
}

// New makes an empty index. Clear ends its life; what was forgotten is cleared when the
// collector finds it.
func New() *Index {
	x := &Index{mix: newMixer(rand.Uint64(), rand.Uint64(), rand.Uint64())}
	runtime.SetFinalizer(x, (*Index).Clear)
	return x
}

// shardOf is the shard that has the tag.
func (x *Index) shardOf(tag uint64) *shard { return &x.shards[tag>>(64-shardBits)] }

// Get is the slot of the key. It does not allocate.
func (x *Index) Get(key uint64) (Slot, bool) {
	tag := x.mix.tag(key)
	d := x.shardOf(tag)
	d.mu.RLock()
	defer d.mu.RUnlock()
	i, ok := d.find(tag)
	if !ok {
		return Slot{}, false
	}
	return d.at(i).load(), true
}

// Hit is Get and counts a hit.
func (x *Index) Hit(key uint64) (Slot, bool) {
	tag := x.mix.tag(key)
	d := x.shardOf(tag)
	d.mu.RLock()
	defer d.mu.RUnlock()
	i, ok := d.find(tag)
	if !ok {
		return Slot{}, false
	}
	e := d.at(i)
	for {
		s := e.load()
		if s.Hot() == MaxHot || atomic.CompareAndSwapUint32(&e.flags, s.Flags, s.Flags+1) {
			return s, true
		}
	}
}

// Put sets the slot of the key and gives the one that was there.
func (x *Index) Put(key uint64, s Slot) (old Slot, replaced bool) {
	if s.Length == 0 {
		panic("index: a record without a length") // it would read as an empty slot
	}
	tag := x.mix.tag(key)
	d := x.shardOf(tag)
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, ok := d.find(tag); ok {
		e := d.at(i)
		old = e.load()
		e.store(s)
		return old, true
	}
	d.insert(tag).store(s)
	return Slot{}, false
}

// Move sets the slot of the key if it is still At old, whatever its flags; the flags
// are those of to. It reports whether it did.
func (x *Index) Move(key uint64, old, to Slot) bool {
	if to.Length == 0 {
		panic("index: a record without a length")
	}
	tag := x.mix.tag(key)
	d := x.shardOf(tag)
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.find(tag)
	if !ok || !d.at(i).load().At(old) {
		return false
	}
	d.at(i).store(to)
	return true
}

// Delete drops the slot of the key if it is still At old, and reports whether it did.
func (x *Index) Delete(key uint64, old Slot) bool {
	tag := x.mix.tag(key)
	d := x.shardOf(tag)
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.find(tag)
	if !ok || !d.at(i).load().At(old) {
		return false
	}
	d.remove(i)
	return true
}

// Mark sets and clears flags of the slot of the key if it is still At s, and reports
// whether it did. Clearing MaxHot forgets the hits.
func (x *Index) Mark(key uint64, s Slot, set, clear uint32) bool {
	tag := x.mix.tag(key)
	d := x.shardOf(tag)
	d.mu.RLock()
	defer d.mu.RUnlock()
	i, ok := d.find(tag)
	if !ok || !d.at(i).load().At(s) {
		return false
	}
	d.at(i).change(func(flags uint32) uint32 { return flags&^clear | set })
	return true
}

// Cool halves every count of hits.
func (x *Index) Cool() {
	for n := range x.shards {
		x.shards[n].cool()
	}
}

// Range calls f for every slot, in no order that means anything, until it returns false.
// What is put or deleted meanwhile may be seen or not; f may call the index.
func (x *Index) Range(f func(key uint64, s Slot) bool) {
	var copied []entry // of one shard, so that f runs without its lock
	for n := range x.shards {
		copied = x.shards[n].appendTo(copied[:0])
		for i := range copied {
			if !f(x.mix.key(copied[i].tag), copied[i].load()) {
				return
			}
		}
	}
}

// Len is the number of slots that are taken.
func (x *Index) Len() int64 {
	var n int64
	for i := range x.shards {
		n += x.shards[i].len()
	}
	return n
}

// Bytes is the RAM that the index takes.
func (x *Index) Bytes() int64 {
	n := int64(indexSize)
	for i := range x.shards {
		n += x.shards[i].bytes()
	}
	return n
}

// Clear empties the index and gives its memory back. Others may use it meanwhile, and
// afterwards.
func (x *Index) Clear() {
	for i := range x.shards {
		x.shards[i].clear()
	}
}
