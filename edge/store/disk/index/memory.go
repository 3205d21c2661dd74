package index

import (
	"os"
	"sync/atomic"
	"unsafe"
)

var (
	osPage = os.Getpagesize()
	mapped atomic.Int64
	remap  = systemRemap // tests let it fail
)

// Mapped is the RAM that all indexes of the process take outside of the Go heap, in
// bytes: GOMEMLIMIT does not count it.
func Mapped() int64 { return mapped.Load() }

// resize moves the table to a place with room for n slots or a few more, n being more
// than it has. Callers hold the lock of the shard: nobody has an entry of the old place.
//
// The place is a mapping of its own. In the Go heap it would count as live, and the heap
// may grow by as much garbage as lives in it before a collection. Where the system maps
// nothing for us, the Go heap has to do.
func (d *shard) resize(n int) {
	size := (n*int(entrySize) + osPage - 1) / osPage * osPage
	slots := size / int(entrySize)
	moved, err := remap(d.mapping, size)
	if err != nil {
		table := make([]entry, slots)
		copy(table, d.table)
		d.release()
		d.table = table
		return
	}
	// A mapping begins where a page of the system does, so an entry is aligned in it; and
	// entries have no pointers, so the collector need not know of them.
	table := unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(moved))), slots)
	if d.mapping == nil { // else d.table is gone already
		copy(table, d.table)
	}
	d.table = table
	mapped.Add(int64(len(moved) - len(d.mapping)))
	d.mapping = moved
}

// release takes the table away and gives its memory back. Callers hold the lock.
func (d *shard) release() {
	if d.mapping != nil {
		unmap(d.mapping)
		mapped.Add(-int64(len(d.mapping)))
	}
	d.table, d.mapping = nil, nil
}
