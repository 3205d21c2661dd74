package upstream

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"freshet/edge/upstream/guard"
	"freshet/internal/ring"
)

// Errors of Ask, beside those of Do.
var (
	// ErrBusy: the limits of those who could answer are reached, and the queue for them is
	// full or took too long. A *Refused is in the chain, which says when to come again.
	ErrBusy = guard.ErrBusy
	// ErrOpen: everybody who could answer has failed too often of late and is not asked now;
	// nothing was sent. A *Refused is in the chain, and the error that was seen last.
	ErrOpen = guard.ErrOpen
)

// Refused is an Ask that this node did not carry out, to spare its parents.
type Refused struct {
	Reason error         // ErrBusy or ErrOpen, as it came about
	After  time.Duration // when there is sense in coming again
	Last   error         // of a parent, as it was seen last; nil for none
}

// Error says why.
func (r *Refused) Error() string {
	if r.Last != nil {
		return r.Reason.Error() + ": " + r.Last.Error()
	}
	return r.Reason.Error()
}

// Unwrap is the reason, and the last error.
func (r *Refused) Unwrap() []error {
	if r.Last != nil {
		return []error{r.Reason, r.Last}
	}
	return []error{r.Reason}
}

// shield is what keeps what a client asks within bounds.
type shield struct {
	guard   *guard.Table
	metrics *metrics
	tries   sync.WaitGroup // that run beside another
	changed func(BreakerChange)
	closing context.Context // ended by close
	close   context.CancelFunc
}

// BreakerChange is news of a breaker that was closed and opens, or closes again.
type BreakerChange struct {
	Parent Parent
	Site   string // "" where the parent cannot be reached, which is so for all sites
	Open   bool
	Err    error // that has opened it
}

// OnChange has the client tell of breakers. To be called before the first Ask; tell must
// not block.
func (c *Client) OnChange(tell func(BreakerChange)) { c.changed = tell }

// newShield makes a shield; loads heeds what it finds out of tiers.
func newShield(now func() time.Time, loads *ring.Loads) shield {
	table := guard.NewTable(now, rand.Float64)
	loads.Heed(func(node string) ring.Standing {
		switch {
		case table.Gone(node):
			return ring.Gone
		case table.Slow(node):
			return ring.Slow
		}
		return ring.Well
	})
	closing, cancel := context.WithCancel(context.Background())
	return shield{guard: table, metrics: newClientMetrics(), changed: func(BreakerChange) {}, closing: closing, close: cancel}
}

// State is what is known of a parent, and of what one site asks of it.
type State struct {
	Breaker string        // closed, open or half-open
	Retry   time.Duration // until an open breaker lets a probe through
	Open    int           // requests under way
	Limit   int           // of those
	Queued  int
	P95     time.Duration // of the time to the first byte; 0 when not known
	Slow    bool          // much slower than the others of its tier: they are asked first
	Last    error         // that the breaker saw; nil for none
}

// State says what is known of a parent, as far as a site asks it.
func (c *Client) State(p Parent, site string) State {
	state := State{Breaker: guard.Closed.String(), Limit: p.limits().Requests, Slow: p.OfCluster() && c.guard.Slow(p.Name)}
	link := c.guard.Look(p.URL, site)
	if link == nil {
		return state
	}
	breaker, retry := link.State()
	state.Breaker, state.Retry = breaker.String(), retry
	state.Open, _, state.Queued = link.Counts()
	state.P95, _ = link.Node.First.Quantile(0.95)
	if breaker != guard.Closed {
		state.Last = link.Last()
	}
	return state
}

// Limits where a site says nothing.
const (
	defaultRequests     = 256
	defaultQueue        = 1024
	defaultQueueTime    = 5 * time.Second
	defaultConnect      = 3 * time.Second
	defaultFirstByte    = 30 * time.Second
	defaultBetweenBytes = 30 * time.Second
	// tierReserve is what a tier gets beyond what it allows those above it.
	tierReserve = 2 * time.Second
	// defaultTierFirstByte is for a tier below the origin.
	defaultTierFirstByte = defaultQueueTime + defaultConnect + defaultFirstByte
)

// limits are those of a parent, with what is not said filled in. A tier gets so much longer
// that it finds out by itself that nobody answers it, and can say so, or use what is stale.
func (p Parent) limits() Limits {
	l := p.Limits
	l.Requests = cmp.Or(l.Requests, defaultRequests)
	l.Queue = cmp.Or(l.Queue, defaultQueue)
	l.QueueTime = cmp.Or(l.QueueTime, defaultQueueTime)
	l.Connect = cmp.Or(l.Connect, defaultConnect)
	l.BetweenBytes = cmp.Or(l.BetweenBytes, defaultBetweenBytes)
	if p.OfCluster() {
		l.FirstByte = cmp.Or(l.FirstByte, defaultTierFirstByte) + tierReserve
	} else {
		l.FirstByte = cmp.Or(l.FirstByte, defaultFirstByte)
	}
	return l
}

func (p Parent) peer() guard.Peer { return guard.Peer{Name: p.Name, URL: p.URL, Tier: p.OfCluster()} }
