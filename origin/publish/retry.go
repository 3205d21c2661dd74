package publish

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"time"
)

// How often and how patiently a call is tried again.
const (
	attempts  = 6
	firstWait = 200 * time.Millisecond // doubles with every attempt
	lastWait  = 10 * time.Second       // also the most that a Retry-After is obeyed
)

// retry runs call until it succeeds, fails for a reason that will not pass, has been
// tried often enough, or ctx ends. It returns the last error.
func retry(ctx context.Context, call func() error) error {
	for attempt := 1; ; attempt++ {
		err := call()
		if err == nil || attempt == attempts || !passing(err) {
			return err
		}
		timer := time.NewTimer(wait(attempt, err))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// wait is how long to wait after so many attempts, the last of which failed with err.
func wait(attempt int, err error) time.Duration {
	d := min(firstWait<<(attempt-1), lastWait)
	d = d/2 + rand.N(d/2)
	var answer *Error
	if errors.As(err, &answer) && answer.After > d {
		d = min(answer.After, lastWait)
	}
	return d
}

// passing reports whether what went wrong may be right the next time: it was the
// connection, or the origin says that it is at fault.
func passing(err error) bool {
	var answer *Error
	if errors.As(err, &answer) {
		switch answer.Status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests:
			return true
		case http.StatusInsufficientStorage, http.StatusNotImplemented:
			return false
		}
		return answer.Status >= 500
	}
	var local *fs.PathError
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) &&
		!errors.Is(err, errChanged) && !errors.As(err, &local)
}
