package index

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// check fails when the table is not as shard says it is.
func check(t failer, x *Index) {
	t.Helper()
	for n := range x.shards {
		d := &x.shards[n]
		count, last := 0, uint64(0)
		for i := range d.slots() {
			e := d.at(i)
			if e.length == 0 {
				if *e != (entry{}) {
					t.Fatalf("shard %d: free slot %d holds %+v", n, i, *e)
				}
				continue
			}
			if e.tag>>(64-shardBits) != uint64(n) {
				t.Fatalf("shard %d has tag %016x", n, e.tag)
			}
			if count > 0 && e.tag <= last {
				t.Fatalf("shard %d: tag %016x after %016x", n, e.tag, last)
			}
			for home := d.home(e.tag); home < i; home++ {
				if d.free(home) {
					t.Fatalf("shard %d: slot %d is free, before slot %d whose home is %d", n, home, i, d.home(e.tag))
				}
			}
			if d.home(e.tag) > i {
				t.Fatalf("shard %d: slot %d comes before its home %d", n, i, d.home(e.tag))
			}
			count, last = count+1, e.tag
		}
		if count != d.count {
			t.Fatalf("shard %d holds %d and counts %d", n, count, d.count)
		}
	}
}

// equal fails when the index does not hold exactly what the model does.
func equal(t failer, x *Index, model map[uint64]Slot) {
	t.Helper()
	check(t, x)
	if x.Len() != int64(len(model)) {
		t.Fatalf("Len = %d, want %d", x.Len(), len(model))
	}
	for key, want := range model {
		if got, ok := x.Get(key); !ok || got != want {
			t.Fatalf("Get(%x) = %+v, %v; want %+v", key, got, ok, want)
		}
	}
	seen := map[uint64]Slot{}
	x.Range(func(key uint64, s Slot) bool { seen[key] = s; return true })
	for key, s := range seen {
		if model[key] != s {
			t.Fatalf("Range gave %x = %+v, want %+v", key, s, model[key])
		}
	}
	if len(seen) != len(model) {
		t.Fatalf("Range gave %d of %d", len(seen), len(model))
	}
}

// crowded is an index whose tags are its keys, so that a test can crowd them.
func crowded() *Index {
	x := New()
	x.mix = newMixer(0, 1, 1)
	return x
}

// crowdedKey is the key with a tag in shard n near the given part of the shard: of those
// two mixers that crowded has only the shift is left to undo.
func crowdedKey(n int, low uint64) uint64 {
	m := newMixer(0, 1, 1)
	return m.key(uint64(n)<<(64-shardBits) | low)
}

// TestIndexIsAMap drives the index and a map with the same operations. The keys crowd at
// the begin, in the midst and at the end of a few shards, where what goes wrong goes wrong.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, model := crowded(), map[uint64]Slot{}
		const top = 1<<(64-shardBits) - 1
		key := rapid.Custom(func(t *rapid.T) uint64 {
			low := rapid.Uint64Range(0, 200).Draw(t, "low")
			switch rapid.IntRange(0, 3).Draw(t, "where") {
			case 0:
				low = top - low
			case 1:
				low += top / 2
			case 2:
				low = low * (top / 200)
			}
			return crowdedKey(rapid.SampledFrom([]int{0, 1, shardCount - 1}).Draw(t, "shard"), low)
		})
		slot := rapid.Custom(func(t *rapid.T) Slot {
			return Slot{rapid.Uint32Range(1, 3).Draw(t, "segment"), rapid.Uint32Range(0, 3).Draw(t, "offset"),
				rapid.Uint32Range(1, 9).Draw(t, "length"), rapid.Uint32().Draw(t, "flags")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "many") {
					k, s := key.Draw(t, "key"), slot.Draw(t, "slot")
					old, replaced := x.Put(k, s)
					want, there := model[k]
					if old != want || replaced != there {
						t.Fatalf("Put gave %+v, %v; want %+v, %v", old, replaced, want, there)
					}
					model[k] = s
				}
			},
			"move": func(t *rapid.T) {
				k, from, to := key.Draw(t, "key"), slot.Draw(t, "from"), slot.Draw(t, "to")
				was, there := model[k]
				if moved := x.Move(k, from, to); moved != (there && was.At(from)) {
					t.Fatalf("Move of %+v from %+v: %v", was, from, moved)
				} else if moved {
					model[k] = to
				}
			},
			"delete": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "many") {
					k, s := key.Draw(t, "key"), slot.Draw(t, "slot")
					was, there := model[k]
					if there && rapid.Bool().Draw(t, "right") {
						s = was
					}
					if gone := x.Delete(k, s); gone != (there && was.At(s)) {
						t.Fatalf("Delete of %+v at %+v: %v", was, s, gone)
					} else if gone {
						delete(model, k)
					}
				}
			},
			"mark": func(t *rapid.T) {
				k, s := key.Draw(t, "key"), slot.Draw(t, "slot")
				set, unset := rapid.Uint32().Draw(t, "set"), rapid.Uint32().Draw(t, "unset")
				was, there := model[k]
				if marked := x.Mark(k, s, set, unset); marked != (there && was.At(s)) {
					t.Fatalf("Mark of %+v at %+v: %v", was, s, marked)
				} else if marked {
					was.Flags = was.Flags&^unset | set
					model[k] = was
				}
			},
			"hit": func(t *rapid.T) {
				k := key.Draw(t, "key")
				was, there := model[k]
				if got, ok := x.Hit(k); got != was || ok != there {
					t.Fatalf("Hit = %+v, %v; want %+v, %v", got, ok, was, there)
				}
				if there && was.Hot() < MaxHot {
					was.Flags++
					model[k] = was
				}
			},
			"cool": func(*rapid.T) {
				x.Cool()
				for k, s := range model {
					s.Flags = s.Flags&^3 | s.Flags&3/2
					model[k] = s
				}
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
					x.Clear()
					clear(model)
				}
			},
			"": func(t *rapid.T) { equal(t, x, model) },
		})
	})
}

// TestManyKeys fills and empties an index with random keys, consecutive ones, and ones
// that differ in their upper or lower bits alone.
func TestManyKeys(t *testing.T) {
	const n = 60_000
	random := rand.New(rand.NewPCG(1, 2))
	for name, key := range map[string]func(i uint64) uint64{
		"random":      func(uint64) uint64 { return random.Uint64() },
		"consecutive": func(i uint64) uint64 { return i },
		"upper bits":  func(i uint64) uint64 { return i << 40 },
		"middle bits": func(i uint64) uint64 { return i << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			x, model := New(), map[uint64]Slot{}
			for i := range uint64(n) {
				k := key(i)
				model[k] = Slot{1, uint32(i), 1, uint32(i)}
				x.Put(k, model[k])
			}
			equal(t, x, model)
			if used := float64(len(model)) / float64(x.Bytes()/entrySize); used < 0.4 { // two pages a shard; one page more is 0.3
				t.Errorf("%.2f of the slots are used: the keys lie badly", used)
			}
			for k, s := range model {
				if random.IntN(3) > 0 {
					if !x.Delete(k, s) {
						t.Fatalf("%x is not there", k)
					}
					delete(model, k)
				}
			}
			equal(t, x, model)
			x.Clear()
			equal(t, x, map[uint64]Slot{})
		})
	}
}

func TestTagsTurnBackIntoKeys(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		m := newMixer(random.Uint64(), random.Uint64(), random.Uint64())
		if k := random.Uint64(); m.key(m.tag(k)) != k {
			t.Fatalf("%+v: %x comes back as %x", m, k, m.key(m.tag(k)))
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	x := New()
	for k := range uint64(1000) {
		x.Put(k, Slot{Length: 1})
	}
	if n := testing.AllocsPerRun(1000, func() {
		x.Get(5)
		x.Get(5000)
		x.Hit(6)
		x.Mark(7, Slot{}, Verified, 0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestUseFromManyGoroutines: every key is written by one goroutine, which sees its own
// writes; all hit, mark and walk all keys meanwhile.
func TestUseFromManyGoroutines(t *testing.T) {
	const keys, workers, rounds = 2000, 4, 20
	x := New()
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for round := range uint32(rounds) {
				for k := uint64(w); k < keys; k += workers {
					s := Slot{round + 1, uint32(k), 1, 0}
					x.Put(k, s)
					x.Hit((k * 7) % keys)
					x.Mark((k*3)%keys, Slot{Segment: round + 1, Offset: uint32(k*3) % keys}, Verified, 0)
					if got, ok := x.Get(k); !ok || !got.At(s) {
						t.Errorf("key %d = %+v, %v; want %+v", k, got, ok, s)
						return
					}
					if k%3 == 0 {
						if to := (Slot{round + 1, uint32(k) + 1<<20, 1, 0}); !x.Move(k, s, to) || !x.Delete(k, to) {
							t.Errorf("key %d cannot be moved or deleted by its owner", k)
							return
						}
					}
				}
				x.Cool()
				x.Range(func(k uint64, s Slot) bool {
					if uint64(s.Offset)%(1<<20) != k || s.Segment == 0 {
						t.Errorf("key %d has %+v", k, s)
						return false
					}
					return true
				})
			}
		})
	}
	wait.Wait()
	check(t, x)
	if want := int64(keys - (keys+2)/3); x.Len() != want {
		t.Errorf("Len = %d, want %d", x.Len(), want)
	}
}

func TestRangeEndsWhenTold(t *testing.T) {
	x := New()
	for k := range uint64(1000) {
		x.Put(k, Slot{Length: 1})
	}
	n := 0
	x.Range(func(uint64, Slot) bool { n++; return n < 10 })
	if n != 10 {
		t.Errorf("%d calls", n)
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		x := New()
		for k := range uint64(n) {
			x.Put(k, Slot{Length: 1})
		}
		b.Run(fmt.Sprintf("of=%d", n), func(b *testing.B) {
			k := uint64(0)
			for b.Loop() {
				k = (k + 7919) % uint64(n)
				if _, ok := x.Get(k); !ok {
					b.Fatal("lost")
				}
			}
		})
		b.Run(fmt.Sprintf("hit,of=%d", n), func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				k := rand.Uint64N(uint64(n))
				for pb.Next() {
					k = (k + 7919) % uint64(n)
					x.Hit(k)
				}
			})
		})
	}
}

func BenchmarkPut(b *testing.B) {
	x := New()
	random := rand.New(rand.NewPCG(5, 6))
	for b.Loop() {
		x.Put(random.Uint64(), Slot{Length: 1})
	}
	b.ReportMetric(float64(x.Bytes())/float64(x.Len()), "B/slot")
}
