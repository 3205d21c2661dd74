package disk

import (
	"container/list"
	"math"
	"sync"
	"sync/atomic"
)

// duel finds out which of two policies the present traffic wants: to keep what was asked
// for most often (popular pages in a flood of what is asked for once), or last (news,
// loops over sets that fit). It plays both on a sample of the keys, in two shadow caches
// that hold no bodies and are as large as the sample's share of the disk. Who has had
// more hits lately is right.
type duel struct {
	recency atomic.Bool // the last asked is what to keep

	mask uint64 // a key is of the sample when its hash has none of these bits

	mu       sync.Mutex
	last     lastAsked
	often    oftenAsked
	hits     [2]float64 // of the two, lately
	samples  int
	sampling int64 // bytes of a shadow
}

const (
	// leastSampled and mostShadow: an eighth of the keys at least, as long as a shadow
	// stands for no more bytes than that. It holds thousands of responses then.
	leastSampled = 3
	mostShadow   = 256 << 20
	// mostShadowed bounds the responses of a shadow: with both, some 16 MiB of RAM.
	mostShadowed = 64 << 10
	// duelStep samples and the hits so far count for duelDecay of what they did: what is
	// lately is some thousands of samples.
	duelStep, duelDecay = 64, 0.98
	// duelStart is how many samples there must be before anything is concluded.
	duelStart = 1024
	// Recency has to be so much better to be right, and to stay it: it writes all that
	// is missed, the other one a tenth of that.
	duelWin, duelHold = 1.03, 1.01
	// duelPower: a hit counts this power of its length less than its length. Near 0 it is
	// the byte hit ratio, at 1 that of requests.
	duelPower = 0.1
)

func newDuel(size int64) *duel {
	shift := leastSampled
	for size>>shift > mostShadow {
		shift++
	}
	d := &duel{mask: 1<<shift - 1, sampling: size >> shift}
	d.last = lastAsked{order: list.New(), held: make(map[uint64]*list.Element)}
	d.often = oftenAsked{demand: newDemand(), at: make(map[uint64]int)}
	return d
}

// asked takes part in the duel if the key is of the sample.
func (d *duel) asked(key uint64, length int64) {
	// Bits that neither the index nor the sketch goes by alone.
	if (key*0xd6e8feb86659fd93)>>40&d.mask != 0 || length > d.sampling {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	hit := math.Pow(float64(length), 1-duelPower)
	if d.last.ask(key, length, d.sampling) {
		d.hits[0] += hit
	}
	if d.often.ask(key, length, d.sampling) {
		d.hits[1] += hit
	}
	if d.samples++; d.samples%duelStep != 0 {
		return
	}
	d.hits[0] *= duelDecay
	d.hits[1] *= duelDecay
	if d.samples < duelStart {
		return
	}
	needed := duelWin
	if d.recency.Load() {
		needed = duelHold
	}
	d.recency.Store(d.hits[0] > needed*d.hits[1])
}

// shadowed is one response that a shadow holds.
type shadowed struct {
	key    uint64
	length int64
}

// lastAsked is a shadow that drops what was not asked for for longest.
type lastAsked struct {
	order *list.List // of shadowed, the latest in front
	held  map[uint64]*list.Element
	used  int64
}

func (c *lastAsked) ask(key uint64, length, size int64) (hit bool) {
	if e := c.held[key]; e != nil {
		c.order.MoveToFront(e)
		return true
	}
	for c.used+length > size || len(c.held) >= mostShadowed {
		oldest := c.order.Remove(c.order.Back()).(shadowed)
		delete(c.held, oldest.key)
		c.used -= oldest.length
	}
	c.held[key] = c.order.PushFront(shadowed{key, length})
	c.used += length
	return false
}

// oftenAsked is a shadow that drops what is worth least of a few that it picks, if what
// is new is worth more. It remembers for demandPeriod, whatever the store does now.
type oftenAsked struct {
	demand *demand
	all    []shadowed
	at     map[uint64]int // in all
	used   int64
	random uint64
}

func (c *oftenAsked) worth(s shadowed) float64 {
	return float64(c.demand.of(s.key)) * weightOf(&popularWeights, s.length)
}

func (c *oftenAsked) ask(key uint64, length, size int64) (hit bool) {
	c.demand.ask(key)
	if _, held := c.at[key]; held {
		return true
	}
	s := shadowed{key, length}
	worth := c.worth(s)
	for c.used+length > size || len(c.all) >= mostShadowed {
		worst, least := 0, math.Inf(1)
		for range 8 {
			c.random = c.random*6364136223846793005 + 1442695040888963407
			i := int(c.random >> 33 % uint64(len(c.all)))
			if w := c.worth(c.all[i]); w < least {
				worst, least = i, w
			}
		}
		if worth < least {
			return false
		}
		c.drop(worst)
	}
	c.at[key] = len(c.all)
	c.all = append(c.all, s)
	c.used += length
	c.demand.fit(int64(len(c.all)), demandPeriod)
	return false
}

func (c *oftenAsked) drop(i int) {
	gone, moved := c.all[i], c.all[len(c.all)-1]
	c.all[i] = moved
	c.at[moved.key] = i
	c.all = c.all[:len(c.all)-1]
	delete(c.at, gone.key)
	c.used -= gone.length
}
