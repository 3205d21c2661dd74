package disk

import (
	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// maxRewritten is how much of an evicted segment is kept at most, as a fraction of a
// segment: what bounds write amplification at 1/(1-maxRewritten).
const maxRewritten = 0.2

// pickVictim chooses the segment to evict among the sealed ones, in the order of their
// numbers; nil for none. Policy: the oldest, whatever stream it was written by.
func pickVictim(sealed []*segment) *segment {
	if len(sealed) == 0 {
		return nil
	}
	return sealed[0]
}

// keeps reports whether the record that a slot points to is written again when its
// segment is evicted, of which rewritten bytes were kept already. Policy: what was hit
// since it was written, or is in use in RAM.
func (s *Store) keeps(e record.Entry, slot index.Slot, rewritten int64) bool {
	if float64(rewritten+int64(e.Length)) > maxRewritten*float64(s.segmentSize) {
		return false
	}
	return slot.Hot() > 0 || s.cfg.Hot != nil && s.cfg.Hot(e.Sum.Lo)
}

// flagsOfKept are the flags of a rewritten record's slot. Policy: it has to be hit again
// to be kept again.
func flagsOfKept(flags uint32) uint32 { return flags&^index.MaxHot | index.Verified }
