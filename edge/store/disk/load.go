package disk

import (
	"errors"
	"math/bits"

	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// The store's own bits of a slot's flags say when it was put, as far as 23 bits can, and
// whether it is a tombstone, which only happens while the index is being built.
const (
	orderShift    = 8
	tombstoneFlag = 1 << 31
	orderMask     = tombstoneFlag - 1<<orderShift
	mantissa      = 17 // bits
)

// orderOf are the bits of a put number: of two numbers the lower has the lower bits, or
// the same. It tells all apart below 2^18, and later those that are further apart than a
// 2^17th of themselves.
func orderOf(put uint64) uint32 {
	n := bits.Len64(put)
	if n <= mantissa {
		return uint32(put) << orderShift
	}
	shift := n - mantissa - 1
	rank := uint32(shift+1)<<mantissa | uint32(put>>shift)&(1<<mantissa-1)
	return rank << orderShift
}

func isTombstone(s index.Slot) bool { return s.Flags&tombstoneFlag != 0 }

// loader puts the records of one segment into the index. Loaders of several segments run
// at once, in any order; of the records of one key the last one put stays.
type loader struct {
	*Store
	segment *segment
	tombs   []uint64 // keys of tombstones
	live    int64
	err     error
}

// load reads the segment's footer or, without one, its records.
func (l *loader) load() error {
	g := l.segment
	err := l.eachEntry(g, func(t *record.Trailer) {
		g.end, g.sealed, g.filter = t.End, true, newFilter(t.Count)
	}, func(e record.Entry) {
		g.count(e)
		l.apply(e)
	})
	if errors.Is(err, record.ErrDamaged) {
		var entries []record.Entry
		if entries, g.end, err = l.scan(g); err == nil {
			g.filter = newFilter(len(entries))
			for _, e := range entries {
				g.note(e)
				l.apply(e)
			}
		}
	}
	g.live.Add(l.live)
	if err == nil {
		err = l.err
	}
	return err
}

// apply puts one record into the index if it is the last of its key. The better one of
// two is put back until nothing better was there.
func (l *loader) apply(e record.Entry) {
	slot := index.Slot{Segment: l.segment.number, Offset: e.Offset, Length: e.Length, Flags: orderOf(e.Put)}
	if e.Type == record.Tombstone {
		slot.Flags |= tombstoneFlag
		l.tombs = append(l.tombs, e.Sum.Lo)
	}
	l.live += int64(e.Length)
	var loser index.Slot
	for {
		old, replaced := l.index.Put(e.Sum.Lo, slot)
		if !replaced || old.At(loser) {
			return
		}
		if l.precedes(old, slot) {
			l.forget(old)
			l.index.Mark(e.Sum.Lo, slot, index.Supersedes, 0)
			return
		}
		l.forget(slot)
		loser, slot = slot, old
		slot.Flags |= index.Supersedes
	}
}

// precedes reports whether a was put before b. At the same number a tombstone comes last,
// and of two copies the one further on.
func (l *loader) precedes(a, b index.Slot) bool {
	x, y := uint64(a.Flags&orderMask), uint64(b.Flags&orderMask)
	if x == y {
		x, y = l.putOf(a), l.putOf(b)
	}
	switch {
	case x != y:
		return x < y
	case isTombstone(a) != isTombstone(b):
		return isTombstone(b)
	case a.Segment != b.Segment:
		return a.Segment < b.Segment
	default:
		return a.Offset < b.Offset
	}
}

// putOf reads the put number of a record, 0 if it is damaged.
func (l *loader) putOf(slot index.Slot) uint64 {
	g := l.table()[slot.Segment]
	var b [record.PrefixSize]byte
	err := readFull(g, b[:], int64(slot.Offset))
	if err == nil {
		var p record.Prefix
		if p, err = record.ParsePrefix(b[:], l.place(g)); err == nil {
			return p.Put
		}
	}
	if !errors.Is(err, record.ErrDamaged) {
		l.err = err
	}
	return 0
}
