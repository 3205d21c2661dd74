package guard

import (
	"sync"
	"time"
)

// What may be asked more than once.
const (
	retryShare = 0.1 // of first tries
	retriesMin = 10  // that a site begins with, and can save up
)

// Budget bounds what is asked again to a tenth of what is asked first, and ten: at all
// times, and not only on average. What is left of ten seconds may be spent at once. Make it
// with init.
type Budget struct {
	mu struct {
		sync.Mutex
		seconds seconds
		left    float64
		firsts  [window]int
		sum     int   // of firsts
		last    int64 // seconds at the newest of firsts
	}
}

func (b *Budget) init(now func() time.Time) {
	b.mu.seconds.init(now)
	b.mu.left = retriesMin
}

// First counts a first try.
func (b *Budget) First() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	b.mu.firsts[b.mu.last%window]++
	b.mu.sum++
	b.mu.left += retryShare
	b.limit()
}

// Retry reports whether there may be one more try, and counts it.
func (b *Budget) Retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	b.limit()
	if b.mu.left < 1 {
		return false
	}
	b.mu.left--
	return true
}

// Left is how many more tries there may be now.
func (b *Budget) Left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance()
	b.limit()
	return int(b.mu.left)
}

func (b *Budget) advance() {
	now := b.mu.seconds.count()
	for s := max(b.mu.last+1, now-window+1); s <= now; s++ {
		b.mu.sum -= b.mu.firsts[s%window]
		b.mu.firsts[s%window] = 0
	}
	b.mu.last = now
}

func (b *Budget) limit() { b.mu.left = min(b.mu.left, max(retriesMin, retryShare*float64(b.mu.sum))) }
