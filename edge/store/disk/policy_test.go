package disk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"freshet/edge/response"
)

// TestDemand: the sketch never says too little of what was asked for lately, seldom too
// much, forgets in its period, and keeps what it has counted when it grows.
func TestDemand(t *testing.T) {
	const n = 20_000
	d := newDemand()
	d.fit(n, demandPeriod)
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]uint64, n)
	for i := range keys {
		keys[i] = random.Uint64()
	}
	for i, key := range keys {
		for range 1 + i%3 {
			d.ask(key)
		}
	}
	over, under := 0, 0
	for i, key := range keys {
		switch got, want := d.of(key), uint64(1+i%3); {
		case got < want/2: // a block may have been halved once by now
			t.Fatalf("%d asks are remembered as %d", want, got)
		case got < want:
			under++
		case got > want:
			over++
		}
	}
	if over > n/20 || under > n/2 {
		t.Errorf("of %d keys %d are counted too high, %d were forgotten in part", n, over, under)
	}
	popular := random.Uint64()
	for range 2 * mostDemand {
		d.ask(popular)
	}
	if got := d.of(popular); got != mostDemand {
		t.Errorf("counted to %d", got)
	}
	blocks := len(*d.blocks.Load())
	d.fit(4*n, demandPeriod)
	if grown := len(*d.blocks.Load()); grown != 4*blocks || d.of(popular) != mostDemand {
		t.Errorf("%d blocks became %d; the count became %d", blocks, grown, d.of(popular))
	}
	d.fit(1, recentPeriod)
	for range 4 * len(*d.blocks.Load()) * responsesOfBlock {
		d.ask(random.Uint64())
	}
	if got := d.of(popular); got > mostDemand/2 {
		t.Errorf("after four periods it is still counted as %d", got)
	}
}

// TestWorth: more asks are worth more, more bytes less, of lengths however odd.
func TestWorth(t *testing.T) {
	p := newPolicy(1 << 30)
	for range 3 {
		p.demand.ask(1)
	}
	p.demand.ask(2)
	last := 1e9
	for length := int64(1); length < 1<<40; length += 1 + length/7 {
		w := p.worth(1, length)
		if w > last || w <= p.worth(2, length) || p.worth(3, length) != 0 {
			t.Fatalf("%d bytes, asked for 3, 1 and 0 times, are worth %g (fewer bytes %g), %g and %g", length, w, last, p.worth(2, length), p.worth(3, length))
		}
		last = w
	}
}

// TestDuel: loops over sets that fit want what was asked for last, popular keys among
// many that come once what is asked for often; and who is right may change.
func TestDuel(t *testing.T) {
	const length = 8 << 10
	d := newDuel(4000 * length)
	random := rand.New(rand.NewPCG(3, 4))
	next := uint64(1 << 32)
	loops := func() {
		for range 100 {
			for range 4 {
				for i := range uint64(2000) {
					d.asked((next+i)*0x9e3779b97f4a7c15, length)
				}
			}
			next += 2000
		}
	}
	popular := func() {
		for range 400_000 {
			key := next
			if next++; random.IntN(2) == 0 {
				key = uint64(random.ExpFloat64() * 2000)
			}
			d.asked(key*0x9e3779b97f4a7c15, length)
		}
	}
	for i := range 2 {
		if loops(); !d.recency.Load() {
			t.Errorf("round %d: loops are taken for popularity", i)
		}
		if popular(); d.recency.Load() {
			t.Errorf("round %d: popularity is taken for loops", i)
		}
	}
	if d.last.used > d.sampling || d.often.used > d.sampling || len(d.often.all) != len(d.often.at) {
		t.Errorf("the shadows hold %d and %d bytes of %d, %d and %d responses", d.last.used, d.often.used, d.sampling, len(d.often.all), len(d.often.at))
	}
}

// TestOneHitWonders: what is asked for once, ten times as much as the disk holds, flushes
// nothing that is asked for again and again, and is hardly written.
func TestOneHitWonders(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		cfg.Size, cfg.SegmentSize = 8<<20, 256<<10
		s := mustOpen(t, cfg)
		defer s.Close()
		const n, popular = 16 << 10, 150
		for i := range 1000 { // more than fits
			put(t, s, fmt.Sprint("early ", i), 1, n)
		}
		ask := func(i int) (hit bool) {
			key := fmt.Sprint("popular ", i)
			if s.Get(response.NewKey(key)) != nil {
				return true
			}
			put(t, s, key, 1, n)
			return false
		}
		for range 6 {
			for i := range popular {
				ask(i)
			}
		}
		before := s.Stats()
		hits := 0
		for i := range 5000 {
			put(t, s, fmt.Sprint("once ", i), 1, n)
			if ask(i % popular) {
				hits++
			}
		}
		after := s.Stats()
		if hits < 4900 {
			t.Errorf("of 5000 requests for what is popular %d were hits: %+v", hits, after)
		}
		if written := after.AdmittedBytes - before.AdmittedBytes; written > 5000*n/5 {
			t.Errorf("of %d bytes that nobody asks for again %d were written", 5000*n, written)
		}
	})
}

// TestWritesAreBounded: whatever is asked for, what is written again stays within its
// budget.
func TestWritesAreBounded(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		cfg.Size, cfg.SegmentSize = 8<<20, 256<<10
		s := mustOpen(t, cfg)
		defer s.Close()
		const n = 16 << 10
		for i := range 4000 {
			for range 3 { // all of it is hot
				put(t, s, fmt.Sprint(i), 1, n)
				s.Get(response.NewKey(fmt.Sprint(i)))
			}
			s.Get(response.NewKey(fmt.Sprint(i / 2)))
		}
		st := s.Stats()
		if st.Rewritten == 0 || st.RewrittenBytes > st.AdmittedBytes*26/100 {
			t.Errorf("%d bytes were put and %d written again", st.AdmittedBytes, st.RewrittenBytes)
		}
	})
}
