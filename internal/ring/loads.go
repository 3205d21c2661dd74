package ring

import (
	"math"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

// Bounds of a node's share, as parts of the mean of all (consistent hashing with bounded
// loads: Mirrokni, Thorup and Zadimoghaddam 2016). A key that makes a node's load by itself
// is cheap to have in several places, and has to go on before the many others of its home,
// which are not.
const (
	shareBound = 1.15
	hotBound   = 1.0
	openBound  = 1.5 // of requests under way
	// chance is how many standard deviations above its share a node may be by chance.
	chance = 3
	// shareMin and openMin are loads that are never too much: where there is little to
	// share, keys stay at their homes.
	shareMin = 50
	openMin  = 16
	// halfLife is how fast what was given is forgotten.
	halfLife = 10 * time.Second
	// trial is how many of the requests whose first node is avoided go there all the same,
	// one in so many, to find out how it is.
	trial = 32
)

// heats is the number of counters of keys' heat, a power of two: several keys share one,
// of which all are taken to be as hot as they are together.
const heats = 1 << 14

// Loads counts what a node asks of each of a set of nodes, and keeps any of them from
// getting more than its share: a key that is too hot for its home, and the keys of a home
// that is slow, go on to the next ones in their order, and come back when there is room.
// Make it with NewLoads. It may be used from any goroutine.
type Loads struct {
	now      func() time.Time
	standing func(node string) Standing // nil: all are well

	mu    sync.Mutex
	begun time.Time // what is given now counts 2^((now-begun)/halfLife)
	nodes map[string]*load
	heat  [heats]float32
}

// load is what one node was given. Requests are worth more the later they were, so that
// older ones need not be made to count less.
type load struct {
	given float64
	open  int // requests under way
	shun  int // how often it was avoided
}

// NewLoads makes a Loads by the clock now.
func NewLoads(now func() time.Time) *Loads {
	return &Loads{now: now, begun: now(), nodes: make(map[string]*load)}
}

// Standing is how a node is.
type Standing uint8

// How nodes are.
const (
	Well Standing = iota
	Slow          // it gets next to nothing
	Gone          // it is passed over by who asks: what is asked is shared by the others
)

// Heed has the order of nodes heed how they are. To be called before the first Order;
// standing may be called at any time, and must not block.
func (l *Loads) Heed(standing func(node string) Standing) { l.standing = standing }

// Order is the package's Order, but nodes that are full stand behind all that are not, and
// those that are slow behind these, but for a trial now and then. One that is gone keeps
// its place.
func (l *Loads) Order(key string, nodes []string) []int {
	order := Order(key, nodes)
	if len(nodes) < 2 {
		return order
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	worth := l.worth()
	loads, are := make([]load, len(nodes)), make([]Standing, len(nodes))
	var all load
	n := 0.0
	for i, name := range nodes {
		if l.standing != nil {
			if are[i] = l.standing(name); are[i] != Well {
				continue // the others share what is asked
			}
		}
		n++
		if n := l.nodes[name]; n != nil {
			loads[i] = *n
			all.given, all.open = all.given+n.given, all.open+n.open
		}
	}
	if n == 0 {
		return order
	}
	mean := (all.given + worth) / n
	hot := min(1, float64(*l.heatOf(key))/mean)
	most := hot*hotBound*mean + (1-hot)*(shareBound*mean+chance*math.Sqrt(mean*worth))
	most, mostOpen := max(most, shareMin*worth), max(openBound*float64(all.open+1)/n, openMin)
	var roomy, full, shunned []int
	for at, i := range order {
		switch {
		case are[i] == Slow && (at > 0 || !l.tries(nodes[i])):
			shunned = append(shunned, i)
		case are[i] != Well:
			roomy = append(roomy, i)
		case loads[i].given+worth > most || float64(loads[i].open+1) > mostOpen:
			full = append(full, i)
		default:
			roomy = append(roomy, i)
		}
	}
	return append(append(roomy, full...), shunned...)
}

// tries reports whether it is time for a trial of a node that is avoided.
func (l *Loads) tries(node string) bool {
	n := l.nodes[node]
	if n == nil {
		return true
	}
	n.shun++
	return n.shun%trial == 0 && float64(n.open) < openMin
}

// Begin counts a request for a key to a node, which is under way until end is called, once.
func (l *Loads) Begin(key, node string) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[node]
	if n == nil {
		n = new(load)
		l.nodes[node] = n
	}
	worth := l.worth()
	*l.heatOf(key) += float32(worth)
	n.given += worth
	n.open++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		n.open--
	}
}

func (l *Loads) heatOf(key string) *float32 { return &l.heat[xxh3.HashString(key)%heats] }

// worth is what a request given now counts. From time to time it begins again at 1, and
// nodes are forgotten whose load has come to nothing.
func (l *Loads) worth() float64 {
	now := l.now()
	worth := math.Exp2(float64(now.Sub(l.begun)) / float64(halfLife))
	if worth < 1<<20 {
		return worth
	}
	for name, n := range l.nodes {
		if n.given /= worth; n.given < 1 && n.open == 0 {
			delete(l.nodes, name)
		}
	}
	for i := range l.heat {
		l.heat[i] /= float32(min(worth, math.MaxFloat32))
	}
	l.begun = now
	return 1
}
