package guard

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// MaxIdle bounds what a table remembers of parents that nothing is asked of just now.
const MaxIdle = 4096

// Table has what guards the parents of a node, by site. Make it with NewTable. It may be
// used from any goroutine.
type Table struct {
	now     func() time.Time
	random  func() float64
	verdict atomic.Pointer[verdict]
	judged  atomic.Int64 // when that was, in nanoseconds

	mu struct {
		sync.RWMutex
		links map[linkKey]*Link
		nodes map[string]*Node
		sites map[string]*Site
	}
}

type linkKey struct{ url, site string }

// Peer is who a parent is.
type Peer struct {
	Name string
	URL  string // by which it is known: a parent that has moved is another
	Tier bool   // it is one of several caches of the cluster that are alike
}

// Node is what all sites know of a parent.
type Node struct {
	Peer
	// Reach is of connections: it counts those that cannot be made.
	Reach Breaker
	// First is the time to the first byte; of a tier Pace is that for each MiB of a body, as
	// far as it was waited for.
	First, Pace Latency

	links int // under the table's lock
}

// Site is what a site may ask of all its parents.
type Site struct {
	Budget
	links int // under the table's lock
}

// Link is what one site asks of one parent.
type Link struct {
	Limiter
	// Breaker is of exchanges: it counts answers that do not come, or break off.
	Breaker Breaker
	Node    *Node
	Site    *Site

	table *Table
	key   linkKey
	uses  atomic.Int32 // raised under the table's lock
	used  atomic.Int64 // when the last use ended, in nanoseconds
	last  atomic.Pointer[error]
}

// NewTable makes a table by the clock now; random gives numbers from 0 up to 1.
func NewTable(now func() time.Time, random func() float64) *Table {
	t := &Table{now: now, random: random}
	t.mu.links, t.mu.nodes, t.mu.sites = make(map[linkKey]*Link), make(map[string]*Node), make(map[string]*Site)
	t.verdict.Store(new(verdict))
	return t
}

// Use is the link of a site to a parent; it is kept at least until Leave is called, once.
func (t *Table) Use(p Peer, site string) *Link {
	key := linkKey{p.URL, site}
	t.mu.RLock()
	l := t.mu.links[key]
	if l != nil {
		l.uses.Add(1)
	}
	t.mu.RUnlock()
	if l != nil {
		return l
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l = t.mu.links[key]; l == nil {
		t.forget()
		l = t.add(p, key)
	}
	l.uses.Add(1)
	return l
}

func (t *Table) add(p Peer, key linkKey) *Link {
	node := t.mu.nodes[key.url]
	if node == nil {
		node = &Node{Peer: p}
		node.Reach.init(t.now, t.random)
		node.First.init(t.now)
		node.Pace.init(t.now)
		t.mu.nodes[key.url] = node
	}
	site := t.mu.sites[key.site]
	if site == nil {
		site = new(Site)
		site.init(t.now)
		t.mu.sites[key.site] = site
	}
	node.links++
	site.links++
	l := &Link{Node: node, Site: site, table: t, key: key}
	l.Breaker.init(t.now, t.random)
	t.mu.links[key] = l
	return l
}

// forget makes room for a link: an eighth of all goes that have been idle for longest.
func (t *Table) forget() {
	if len(t.mu.links) < MaxIdle {
		return
	}
	var idle []*Link
	for _, l := range t.mu.links {
		if l.uses.Load() == 0 {
			idle = append(idle, l)
		}
	}
	slices.SortFunc(idle, func(a, b *Link) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	for _, l := range idle[:min(len(idle), MaxIdle/8)] {
		delete(t.mu.links, l.key)
		if l.Node.links--; l.Node.links == 0 {
			delete(t.mu.nodes, l.key.url)
		}
		if l.Site.links--; l.Site.links == 0 {
			delete(t.mu.sites, l.key.site)
		}
	}
}

// Look is the link of a site to a parent if there is one; nil if not. It is only to be
// looked at.
func (t *Table) Look(url, site string) *Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.mu.links[linkKey{url, site}]
}

// All are the links there are, to be looked at.
func (t *Table) All() []*Link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*Link, 0, len(t.mu.links))
	for _, l := range t.mu.links {
		all = append(all, l)
	}
	return all
}

// Leave ends a use of the link.
func (l *Link) Leave() {
	l.used.Store(l.table.now().UnixNano())
	l.uses.Add(-1)
}

// Saw remembers an error of the parent.
func (l *Link) Saw(err error) { l.last.Store(&err) }

// Last is the error that was seen last; nil for none.
func (l *Link) Last() error {
	if err := l.last.Load(); err != nil {
		return *err
	}
	return nil
}

// Ready reports whether Enter would give leave.
func (l *Link) Ready(probe bool) bool { return l.Node.Reach.ready(probe) && l.Breaker.ready(probe) }

// State is that of the breaker that keeps more away.
func (l *Link) State() (State, time.Duration) {
	state, wait := l.Breaker.State()
	if reach, longer := l.Node.Reach.State(); state == Closed || reach != Closed && longer > wait {
		return reach, longer
	}
	return state, wait
}

// Leaves are the permits of one try.
type Leaves struct{ Reach, Exchange Permit }

// Probe reports whether the try decides what becomes of the parent.
func (p Leaves) Probe() bool { return p.Reach.Probe || p.Exchange.Probe }

// Void says that nothing was learnt.
func (p Leaves) Void() {
	p.Reach.Void()
	p.Exchange.Void()
}

// Enter asks for leave to ask the parent, of both breakers; without probe only of closed
// ones. It fails with ErrOpen.
func (l *Link) Enter(probe bool) (p Leaves, err error) {
	if p.Reach, err = l.Node.Reach.Enter(probe); err != nil {
		return Leaves{}, err
	}
	if p.Exchange, err = l.Breaker.Enter(probe); err != nil {
		p.Reach.Void()
		return Leaves{}, err
	}
	return p, nil
}
