package disk

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/disk/record"
	"freshet/edge/store/storetest"
	"freshet/internal/command"
)

// kill ends a store as the end of its process does: nothing is written any more.
func kill(s *Store) {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	close(s.done)
	s.work.Wait()
	s.up.Store(false)
	for _, g := range s.table() {
		_ = g.file.Close()
	}
	_ = s.lock.Close()
}

// TestNothingOldComesBack: puts, deletes, hits and evictions in any order, with restarts
// of both kinds between them: what stands under a key is what was put last, or nothing,
// and nothing after a delete. Before and after every restart.
func TestNothingOldComesBack(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		seed := uint64(time.Now().UnixNano())
		r := rand.New(rand.NewPCG(seed, 0))
		defer func() {
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		}()
		cfg.Size, cfg.SegmentSize = 1<<20+fixedSize, 32<<10
		const keys = 150
		var last [keys]command.Seq // 0 for nothing
		s := mustOpen(t, cfg)
		verify := func(when string) (held int) {
			for i, want := range last {
				if got := check(t, s, fmt.Sprint(i)); got != 0 && got != want {
					t.Fatalf("%s: key %d holds what was born %d, the last one is of %d", when, i, got, want)
				} else if got != 0 {
					held++
				}
			}
			return held
		}
		var evicted, rewritten int64
		born := command.Seq(0)
		for round := range 30 {
			for range 300 {
				i := r.IntN(keys)
				if r.IntN(3) > 0 {
					i = r.IntN(keys / 8) // some are hot, and replaced often
				}
				switch key := fmt.Sprint(i); r.IntN(10) {
				case 0:
					s.Delete(response.NewKey(key))
					last[i] = 0
				case 1, 2, 3, 4:
					born++
					if n := r.IntN(6 << 10); put(t, s, key, born, n) {
						last[i] = born
					} else if check(t, s, key) == 0 {
						last[i] = 0
					}
				default:
					check(t, s, key)
				}
			}
			before := verify(fmt.Sprint("round ", round))
			st := s.Stats()
			if !st.Up || st.Damaged > 0 || st.Used > cfg.Size {
				t.Fatalf("%+v", st)
			}
			evicted, rewritten = evicted+st.Evicted, rewritten+st.Rewritten
			if round%2 == 0 {
				s.Close()
			} else {
				kill(s)
			}
			s = mustOpen(t, cfg)
			if after := verify(fmt.Sprint("after the restart of round ", round)); after < before*9/10 {
				t.Errorf("%d responses before the restart, %d after it", before, after)
			}
		}
		s.Close()
		if evicted == 0 || rewritten == 0 {
			t.Errorf("%d evicted, %d rewritten: the test has not met what it is for", evicted, rewritten)
		}
	})
}

// TestRecordsBehindATornOneStayLost: a restart gives up what lies behind a torn record,
// and later records that fill the gap exactly don't bring it back.
func TestRecordsBehindATornOneStayLost(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		for _, key := range []string{"a", "b", "c"} {
			put(t, s, key, 1, 1000)
		}
		slot, _ := s.index.Get(response.NewKey("b").Sum.Lo)
		g := s.table()[slot.Segment]
		if _, err := g.file.WriteAt(make([]byte, 100), int64(slot.Offset)); err != nil {
			t.Fatal(err)
		}
		kill(s)
		see := func(want ...string) {
			t.Helper()
			for _, key := range []string{"a", "b", "c", "d"} {
				wanted := false
				for _, w := range want {
					wanted = wanted || w == key
				}
				if got := check(t, s, key) != 0; got != wanted {
					t.Errorf("%s is there: %v", key, got)
				}
			}
		}
		s = mustOpen(t, cfg)
		see("a")
		put(t, s, "d", 1, 1000) // as long as b was
		if now, _ := s.index.Get(response.NewKey("d").Sum.Lo); !now.At(slot) {
			t.Fatalf("d lies at %+v, not where b was, %+v", now, slot)
		}
		see("a", "d")
		kill(s)
		s = mustOpen(t, cfg)
		defer s.Close()
		see("a", "d")
	})
}

// TestRestartsDontEatTheDisk: many restarts with a little written between them leave as
// many responses as one run does.
func TestRestartsDontEatTheDisk(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		for i := range 60 {
			put(t, s, fmt.Sprint(i), 1, 20<<10)
			if i%2 == 0 {
				s.Close()
			} else {
				kill(s)
			}
			s = mustOpen(t, cfg)
		}
		defer s.Close()
		if st := s.Stats(); st.Entries != 60 || st.Segments > 10 {
			t.Errorf("%+v", st)
		}
	})
}

func TestASmallerSizeEvictsAtOnce(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		for i := range 200 {
			put(t, s, fmt.Sprint(i), 1, 30<<10)
		}
		s.Close()
		cfg.Size = 2 << 20
		s = mustOpen(t, cfg)
		defer s.Close()
		if st := s.Stats(); st.Used > cfg.Size || st.Entries == 0 {
			t.Errorf("%+v", st)
		}
		for i := range 200 {
			check(t, s, fmt.Sprint(i))
		}
	})
}

// TestPutNumbersBeyondTheOrderBits: recovery tells apart what the bits in the index
// cannot.
func TestPutNumbersBeyondTheOrderBits(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		s.mu.Lock()
		s.mu.put = 1 << 40
		s.mu.Unlock()
		for i := range 40 {
			for born := range 5 {
				put(t, s, fmt.Sprint(i), command.Seq(born+1), 100)
			}
			if i%2 == 0 {
				s.Delete(response.NewKey(fmt.Sprint(i)))
			}
		}
		kill(s)
		s = mustOpen(t, cfg)
		defer s.Close()
		for i := range 40 {
			if got := check(t, s, fmt.Sprint(i)); got != command.Seq(5*(i%2)) {
				t.Errorf("%d: born %d", i, got)
			}
		}
		if n := s.Stats().Entries; n != 20 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestOrderOfPutNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		a, b := r.Uint64()>>r.IntN(64), r.Uint64()>>r.IntN(64)
		if a > b {
			a, b = b, a
		}
		x, y := orderOf(a), orderOf(b)
		if x > y || (x|y)&^orderMask != 0 {
			t.Fatalf("%d: %x, %d: %x", a, x, b, y)
		}
		if x == y && a != b && (b < 1<<18 || b-a > b>>17) {
			t.Fatalf("%d and %d have the same order", a, b)
		}
	}
}

func TestFilterForgetsNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 20_000
	f := newFilter(n)
	var keys [n][2]uint64
	for i := range keys {
		keys[i] = [2]uint64{r.Uint64(), r.Uint64()}
		f.add(keys[i][0], keys[i][1])
	}
	for _, k := range keys {
		if !f.has(k[0], k[1]) {
			t.Fatal("a key is not in the filter")
		}
	}
	wrong := 0
	for range n {
		if f.has(r.Uint64(), r.Uint64()) {
			wrong++
		}
	}
	if share := float64(wrong) / n; share > 0.002 {
		t.Errorf("wrong about %.4f of the keys that it doesn't have", share)
	}
}

// TestTombstonesDontPileUp: a tombstone lives as long as there may be something for it to
// hide, and no longer.
func TestTombstonesDontPileUp(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		cfg.Size, cfg.SegmentSize = 1<<20+fixedSize, 32<<10
		s := mustOpen(t, cfg)
		defer s.Close()
		for i := range 4000 {
			key := fmt.Sprint(i % 700)
			s.Offer(storetest.Response(t, key, 1, command.Seq(i+1), content(key, command.Seq(i+1), 1000)))
			if i%3 == 0 {
				s.Delete(response.NewKey(key))
			}
		}
		tombs, records := 0, 0
		for _, g := range s.sortedSegments(func(g *segment) bool { return g.sealed }) {
			entries, _, err := s.readFooter(g)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Type == record.Tombstone {
					tombs++
				} else {
					records++
				}
			}
		}
		if tombs > records {
			t.Errorf("%d tombstones beside %d records", tombs, records)
		}
	})
}
