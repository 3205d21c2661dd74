// Package guard keeps what a node asks of its parents within bounds: how much at once and
// who waits (Limiter), whether a parent is asked at all (Breaker), how much may be asked
// twice (Budget), and how fast a parent is (Latency). It knows nothing of HTTP, and starts
// no goroutines; the clock is given.
package guard

import "errors"

// Errors of a limiter and a breaker.
var (
	// ErrBusy: the limit is reached, and there is no waiting for it any more.
	ErrBusy = errors.New("the parent has all that it may be asked at once")
	// ErrOpen: the parent has failed too often of late, and is left alone for a while.
	ErrOpen = errors.New("the parent is left alone after failures")
)
