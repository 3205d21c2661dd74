package disk

import (
	"cmp"
	"math"
	"slices"

	"freshet/edge/store/disk/index"
	"freshet/edge/store/disk/record"
)

// victimShare: one look over the whole index chooses a 32nd of the segments. The look
// takes a second for ten million responses; what it found stays true enough for as long
// as those victims last.
const victimShare = 32

// mostRewritten is how much of a victim is kept at most, as a share of a segment: less
// than all of it, so that its eviction makes room.
const mostRewritten = 0.75

// pickVictim chooses the segment to evict among the sealed ones; nil for none.
func (s *Store) pickVictim(sealed []*segment) *segment {
	p := s.policy
	for range 2 {
		for len(p.victims) > 0 {
			g := p.victims[0]
			p.victims = p.victims[1:]
			if slices.Contains(sealed, g) {
				return g
			}
		}
		p.victims = s.leastWorth(sealed)
	}
	return nil
}

// leastWorth are the segments that are worth least, the least first. The sealed ones come
// in the order of their numbers.
func (s *Store) leastWorth(sealed []*segment) []*segment {
	recency, period := s.policy.duel.recency.Load(), int64(demandPeriod)
	if recency {
		period = recentPeriod
	}
	s.policy.demand.fit(s.index.Len(), period)
	worth := make(map[uint32]uint64, len(sealed)) // in bytes that were asked for, about
	s.index.Range(func(key uint64, slot index.Slot) bool {
		worth[slot.Segment] += uint64(s.policy.worth(key, int64(slot.Length)) * float64(slot.Length))
		return true
	})
	sorted := slices.Clone(sealed)
	score := make(map[uint32]float64, len(sealed))
	for _, g := range sealed {
		score[g.number] = float64(worth[g.number])
		if recency {
			age := float64(sealed[len(sealed)-1].number - g.number + 1) // in segments made since
			score[g.number] /= age * age
		}
	}
	// The older one of two that are worth the same, as of an idle disk.
	slices.SortStableFunc(sorted, func(a, b *segment) int { return cmp.Compare(score[a.number], score[b.number]) })
	return sorted[:min(len(sorted), max(1, len(sorted)/victimShare))]
}

// judge chooses what of a victim is kept, by the offset of the record: the most worthy
// that the budget pays for, above the bar. The bar moves towards what is not.
func (s *Store) judge(victim *segment, entries []record.Entry) (keep map[uint32]bool) {
	type judged struct {
		entry record.Entry
		worth float64
	}
	p := s.policy
	var live []judged
	for _, e := range entries {
		if slot, ok := s.index.Get(e.Sum.Lo); ok && e.Type == record.Stored && slot.Segment == victim.number && slot.Offset == e.Offset {
			live = append(live, judged{e, p.worth(e.Sum.Lo, int64(e.Length))})
		}
	}
	slices.SortStableFunc(live, func(a, b judged) int { return cmp.Compare(b.worth, a.worth) })
	bar := math.Float64frombits(p.bar.Load())
	left := min(p.budget.Load(), int64(mostRewritten*float64(s.segmentSize)))
	keep = make(map[uint32]bool)
	dropped, sum := 0, 0.0
	for _, j := range live {
		n := int64(j.entry.Length)
		if j.worth > 0 && j.worth >= bar && n <= left {
			left -= n
			p.budget.Add(-n)
			keep[j.entry.Offset] = true
			continue
		}
		dropped++
		sum += j.worth
	}
	if dropped > 0 {
		bar += barStep * (sum/float64(dropped) - bar)
		p.bar.Store(math.Float64bits(bar))
	}
	return keep
}

// flagsOfKept are the flags of a rewritten record's slot.
func flagsOfKept(flags uint32) uint32 { return flags&^index.MaxHot | index.Verified }
