package upstream

import (
	"time"

	"freshet/edge/upstream/guard"
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
func (c *Client) State(_ Parent, _ string) State { return State{Breaker: "closed"} }
