package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sort"
	"testing"
	"time"
)

// clock is one that tests set.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// workload is Zipf 1.0 over keys, and one key with a fifth of all requests.
func workload(r *rand.Rand, keys int) func() int {
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += 1 / float64(i+1)
		sums[i] = sum
	}
	return func() int {
		if r.Float64() < 0.2 {
			return keys
		}
		return sort.SearchFloat64s(sums, r.Float64()*sum)
	}
}

// cache is an LRU of keys.
type cache struct {
	size       int
	places     map[int]*entry
	first, end *entry
}

type entry struct {
	key        int
	prev, next *entry
}

func newCache(size int) *cache {
	c := &cache{size: size, places: make(map[int]*entry), first: new(entry), end: new(entry)}
	c.first.next, c.end.prev = c.end, c.first
	return c
}

// get reports a hit, and has the key stored.
func (c *cache) get(key int) bool {
	e, hit := c.places[key]
	if hit {
		e.prev.next, e.next.prev = e.next, e.prev
	} else {
		e = &entry{key: key}
		c.places[key] = e
	}
	e.prev, e.next = c.first, c.first.next
	e.next.prev, c.first.next = e, e
	if len(c.places) > c.size {
		last := c.end.prev
		last.prev.next, c.end.prev = c.end, last.prev
		delete(c.places, last.key)
	}
	return hit
}

// TestLoadsAreBoundedAtLittleCost: 100 parents, Zipf keys and one with a fifth of all
// requests, seen by four children that know nothing of one another. No parent gets more than
// 1.25 of the mean, and at most two in a hundred hits are lost to keys that have moved.
func TestLoadsAreBoundedAtLittleCost(t *testing.T) {
	t.Parallel()
	const parents, children, perSecond, warm = 100, 4, 2000, 20
	keys, seconds := 20_000, 40
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		keys, seconds = 200_000, 300
	}
	all := names(parents)
	run := func(bounded bool) (fullest, hits float64) {
		r := rand.New(rand.NewPCG(1, 2))
		next := workload(r, keys)
		c := &clock{time.Unix(0, 0)}
		loads := make([]*Loads, children)
		for i := range loads {
			loads[i] = NewLoads(c.now)
		}
		caches := make([]*cache, parents)
		for i := range caches {
			caches[i] = newCache(keys / parents / 2)
		}
		homes := make(map[int][]int)
		given := make([]float64, parents)
		total, hit := 0.0, 0.0
		for n := range perSecond * seconds {
			c.t = c.t.Add(time.Second / perSecond)
			key := next()
			to := 0
			if bounded {
				l := loads[r.IntN(children)]
				to = l.Order(fmt.Sprint(key), all)[0]
				l.Begin(fmt.Sprint(key), all[to])()
			} else {
				if homes[key] == nil {
					homes[key] = Order(fmt.Sprint(key), all)[:1]
				}
				to = homes[key][0]
			}
			ok := caches[to].get(key)
			if n >= perSecond*warm {
				given[to]++
				total++
				if ok {
					hit++
				}
			}
		}
		for _, g := range given {
			fullest = math.Max(fullest, g*parents/total)
		}
		return fullest, hit / total
	}
	free, freeHits := run(false)
	fullest, hits := run(true)
	t.Logf("fullest parent %.2f of the mean, unbounded %.2f; hits %.2f %%, unbounded %.2f %%", fullest, free, 100*hits, 100*freeHits)
	if fullest > 1.25 {
		t.Errorf("the fullest parent gets %.2f of the mean", fullest)
	}
	if hits < freeHits-0.02 {
		t.Errorf("hits %.4f, unbounded %.4f", hits, freeHits)
	}
	if free < 5 {
		t.Errorf("the unbounded ring is not drowned: %.2f", free)
	}
}

// TestSlowNodesGetNextToNothing: of three nodes the slow one gets a trial now and then, and
// the others share the rest within their bounds; when it is slow no more, all is as before.
func TestSlowNodesGetNextToNothing(t *testing.T) {
	c := &clock{time.Unix(0, 0)}
	l := NewLoads(c.now)
	slow := ""
	gone := ""
	l.Heed(func(node string) Standing {
		switch node {
		case slow:
			return Slow
		case gone:
			return Gone
		}
		return Well
	})
	all := names(3)
	r := rand.New(rand.NewPCG(3, 5))
	share := func() (of [3]float64) {
		const n = 20_000
		for range n {
			c.t = c.t.Add(2 * time.Millisecond)
			key := fmt.Sprint(r.IntN(5000))
			order := l.Order(key, all)
			if len(order) != 3 {
				t.Fatalf("order %v", order)
			}
			if home := Order(key, all)[0]; slow != "" && all[home] != slow && all[order[2]] != slow {
				t.Fatalf("the slow node is asked before another: %v", order)
			}
			to := order[0]
			if all[to] == gone {
				to = order[1]
			}
			l.Begin(key, all[to])()
			of[to] += 1. / n
		}
		return of
	}
	before := share()
	slow = all[1]
	share()
	during := share()
	slow = ""
	share()
	after := share()
	// Of one that is gone the keys go to their next ones, and those of the others stay.
	gone = all[2]
	share()
	moved := 0
	for i := range 3000 {
		key := fmt.Sprint(i)
		home := Order(key, all)[0]
		if order := l.Order(key, all); all[home] != gone && order[0] != home {
			moved++
		}
	}
	if moved > 90 {
		t.Errorf("%d keys of others have moved", moved)
	}
	t.Logf("before %.3f, while one is slow %.3f, after %.3f; %d of others' keys moved while one is gone", before, during, after, moved)
	if during[1] > 0.02 || during[1] == 0 || math.Abs(during[0]-0.5) > 0.1 {
		t.Errorf("while one is slow they get %.3f", during)
	}
	for i := range all {
		if math.Abs(after[i]-before[i]) > 0.05 {
			t.Errorf("after that they get %.3f, before %.3f", after, before)
		}
	}
}
