package traces

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Workload is a way in which clients ask, made to be told apart by cache policies.
type Workload struct {
	Name string
	What string // in one line
	// Large: with objects above 1 MiB, which the edge cuts into slices.
	Large bool
	next  func(g *generator) (id uint64)
	sizes sizes
}

// small are objects of a web site: half of them below 4 KiB, the mean near 8 KiB.
var small = sizes{median: 4 << 10, sigma: 1.2, least: 128, most: 128 << 10}

// Workloads are the generated traces.
var Workloads = []Workload{
	{Name: "zipf-0.7", What: "Zipf, flat: the long tail of a large site", sizes: small, next: zipf(0.7)},
	{Name: "zipf-0.9", What: "Zipf, as most web traces are", sizes: small, next: zipf(0.9)},
	{Name: "zipf-1.1", What: "Zipf, steep: a few objects are most of the traffic", sizes: small, next: zipf(1.1)},
	{Name: "drift", What: "Zipf 0.9, but each rank has another object twice in the trace", sizes: small, next: drift},
	{Name: "one-hit", What: "Zipf 0.9, and a third of the requests for what is never asked for again", sizes: small, next: oneHit},
	{Name: "scan", What: "Zipf 0.9, a crawler that walks all objects, and loops over small sets", sizes: small, next: scan},
	{Name: "cdn", What: "Zipf 0.9 of pages, images and downloads up to 16 MiB, a fifth of the requests one-hit", Large: true, next: cdn},
}

// Scale is how large a generated trace is.
type Scale struct {
	Objects  int // that the popular part chooses from
	Requests int
	Seed     uint64
}

// Generate makes the workload of that name.
func Generate(name string, s Scale) (Source, error) {
	i := slices.IndexFunc(Workloads, func(w Workload) bool { return w.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no workload %q", name)
	}
	if s.Objects < 1 || s.Requests < 0 || s.Objects > 1<<28 {
		return nil, fmt.Errorf("workload %s: %d objects and %d requests: want 1 to 2^28 objects", name, s.Objects, s.Requests)
	}
	w := Workloads[i]
	g := &generator{Scale: s, rng: rand.New(rand.NewPCG(s.Seed, 0x7261636573))}
	return Limit(sourceFunc(func() (Request, error) {
		id := w.next(g)
		r := Request{Time: int64(g.made / 100), ID: id, Size: w.sizes.of(id, s.Seed)}
		if w.Large {
			r.Size = mixedSize(id, s.Seed)
		}
		g.made++
		return r, nil
	}), s.Requests), nil
}

// generator is the state of one workload.
type generator struct {
	Scale
	rng   *rand.Rand
	ranks *ranks
	made  int    // requests so far
	once  uint64 // objects so far that are asked for once
	crawl uint64 // scan: the next object of the walk
	loop  struct {
		first, at, length, left uint64
	}
}

// popular is an object of the popular part.
func (g *generator) popular(alpha float64) uint64 {
	if g.ranks == nil {
		g.ranks = newRanks(g.rng, alpha, g.Objects)
	}
	return mix(uint64(g.ranks.next()))
}

// never is an object that nobody asks for again.
func (g *generator) never() uint64 {
	g.once++
	return mix(g.once | 1<<40)
}

func zipf(alpha float64) func(*generator) uint64 {
	return func(g *generator) uint64 { return g.popular(alpha) }
}

// drift gives each rank another object twice in the trace, each at its own time.
func drift(g *generator) uint64 {
	if g.ranks == nil {
		g.ranks = newRanks(g.rng, 0.9, g.Objects)
	}
	rank := uint64(g.ranks.next())
	phase := mix(rank|1<<50) % 1000
	turn := (uint64(g.made)*2000/uint64(max(g.Requests, 1)) + phase) / 1000
	return mix(rank | turn<<42)
}

func oneHit(g *generator) uint64 {
	if g.rng.IntN(3) == 0 {
		return g.never()
	}
	return g.popular(0.9)
}

// scan is two thirds Zipf; a sixth a walk over all objects in order, again and again;
// a sixth loops: a run of objects of a part of its own, asked for in order three times.
func scan(g *generator) uint64 {
	switch g.rng.IntN(6) {
	case 0:
		g.crawl++
		return mix(g.crawl % uint64(g.Objects))
	case 1:
		l := &g.loop
		if l.left == 0 {
			l.length = 1 + uint64(g.rng.IntN(max(g.Objects/20, 1)))
			l.first += 1 << 30
			l.at, l.left = 0, 3*l.length
		}
		l.left--
		l.at++
		return mix(1<<62 | (l.first + l.at%l.length))
	}
	return g.popular(0.9)
}

func cdn(g *generator) uint64 {
	if g.rng.IntN(5) == 0 {
		return g.never()
	}
	return g.popular(0.9)
}

// mixedSize is the size in the mix of a CDN: of 100 objects 70 are parts of pages, 27
// images and scripts, 3 downloads and pieces of video.
func mixedSize(id, seed uint64) int64 {
	kind := mix(id^mix(seed+1)) % 100
	switch {
	case kind < 70:
		return sizes{median: 6 << 10, sigma: 1.2, least: 128, most: 256 << 10}.of(id, seed)
	case kind < 97:
		return sizes{median: 48 << 10, sigma: 1, least: 1 << 10, most: 1 << 20}.of(id, seed)
	}
	return sizes{median: 2 << 20, sigma: 0.8, least: 256 << 10, most: 16 << 20}.of(id, seed)
}
