// Package guard keeps what a node asks of its parents within bounds: how much at once and
// who waits (Limiter), whether a parent is asked at all (Breaker), how much may be asked
// twice (Budget), and how fast a parent is (Latency). It knows nothing of HTTP, and starts
// no goroutines; the clock is given.
//
// A Table has them for every parent and site: Link is what one site asks of one parent,
// Node what all sites together know of it.
package guard

import (
	"errors"
	"fmt"
)

// Errors of a limiter and a breaker.
var (
	// ErrBusy: the limit is reached, and there is no waiting for it any more. It comes as one
	// of the next two.
	ErrBusy         = errors.New("the parent has all that it may be asked at once")
	ErrQueueFull    = fmt.Errorf("%w: the queue is full", ErrBusy)
	ErrQueueTimeout = fmt.Errorf("%w: the wait was too long", ErrBusy)
	// ErrOpen: the parent has failed too often of late, and is left alone for a while.
	ErrOpen = errors.New("the parent is left alone after failures")
)
