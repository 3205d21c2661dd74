package disk

import (
	"math"
	"math/bits"
	"sync/atomic"

	"freshet/edge/response"
)

// policy decides what is worth its room on disk. One measure serves admission and
// eviction: the worth of a record, which is how often its key was asked for lately,
// over a weak power of its length.
//
//   - Put: what is not worth more than what eviction has dropped lately (the bar) is not
//     written. So what is asked for once flushes nothing, and costs no write.
//   - Evict: the segment that is worth least, whatever its age. Of what is in it the most
//     worthy is written again, into segments of such records, which are worth much and so
//     are not evicted soon.
//   - What is written again is paid from a budget that each put adds to. So write
//     amplification has a bound that no traffic breaks.
//
// That is for traffic in which what is popular stays so. Where the duel says that what
// counts is to have been asked for last, everything is admitted, the sketch forgets soon,
// length counts less, and the age of a segment makes it a victim.
type policy struct {
	demand *demand
	duel   *duel
	bar    atomic.Uint64 // the bits of a float64
	budget atomic.Int64  // bytes that may be written again

	victims []*segment // the next ones; of the goroutine that evicts
}

const (
	// rewriteShare is what a put adds to the budget, for each of its bytes. With the
	// footers it makes a write amplification of 1.26.
	rewriteShare = 0.25
	// admitMargin: what is hardly worth more than what it takes the place of changes no
	// hit ratio, but is written. This saves a third of the writes.
	admitMargin = 1.25
	// barStep is how far the bar moves towards what the last eviction has dropped.
	barStep = 0.2
	// lengthPower is how much length counts against a record. At 0 the disk would hold the
	// bytes that are asked for most often, at 1 the most requests. A little of it holds
	// many small records more for a few large ones.
	lengthPower = 0.3
	// recentPower is lengthPower where what is new counts: nearly all is asked for as
	// often as anything else, so that a high power would drop whatever is large.
	recentPower = 0.15
)

func newPolicy(size int64) *policy { return &policy{demand: newDemand(), duel: newDuel(size)} }

// weights are the weights of lengths, four for each power of two.
type weights [4 * 40]float64

var popularWeights, recentWeights = weightsOf(lengthPower), weightsOf(recentPower)

func weightsOf(power float64) (w weights) {
	for i := range w {
		w[i] = math.Pow((4+float64(i%4)+0.5)/4*math.Exp2(float64(i/4-12)), -power)
	}
	return w
}

func weightOf(w *weights, length int64) float64 {
	length = max(length, 4)
	power := bits.Len64(uint64(length)) - 1
	return w[min(4*power+int(length>>(power-2)&3), len(w)-1)]
}

// worth is what one record of that length is worth.
func (p *policy) worth(key uint64, length int64) float64 {
	w := &popularWeights
	if p.duel.recency.Load() {
		w = &recentWeights
	}
	return float64(p.demand.of(key)) * weightOf(w, length)
}

// asked counts that somebody wanted what is stored under the key, or would have been.
func (p *policy) asked(key uint64, length int64) {
	p.demand.ask(key)
	p.duel.asked(key, length)
}

// earn adds what a put of so many bytes pays for.
func (p *policy) earn(put, most int64) {
	// Not more than a little ahead: what is saved for long would be spent all at once.
	if p.budget.Add(int64(rewriteShare*float64(put))) > most {
		p.budget.Store(most)
	}
}

// admits reports whether r is worth writing. While the disk has room everything is; what
// replaces a stored response always is.
func (s *Store) admits(r *response.Response) bool {
	key := r.Key.Sum.Lo
	length := s.size(r)
	s.policy.asked(key, length)
	if !s.full.Load() || s.policy.duel.recency.Load() {
		return true
	}
	if s.policy.worth(key, length) > admitMargin*math.Float64frombits(s.policy.bar.Load()) {
		return true
	}
	_, there := s.index.Get(key)
	return there
}
