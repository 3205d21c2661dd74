package guard

import (
	"math"
	"sync"
	"time"
)

// The form of a Latency.
const (
	grain   = 250 * time.Microsecond // the first bucket ends here
	octave  = 4                      // buckets for each doubling
	buckets = 20 * octave            // up to 4 minutes
	// enough is the weight from which on a quantile means something.
	enough = 20
	// heavy is the weight at which what is older begins to count less.
	heavy = 512
	// latencyHalfLife is how fast what is older counts less where little is new.
	latencyHalfLife = 30 * time.Second
)

// Latency is how long something takes, as seen of late: a histogram that forgets. Make it
// with init.
type Latency struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		weights [buckets]float32
		total   float32
		faded   time.Time
	}
}

func (l *Latency) init(now func() time.Time) {
	l.now = now
	l.mu.faded = now()
}

// Add counts one.
func (l *Latency) Add(d time.Duration) {
	i := 0
	if d > grain {
		i = min(int(octave*math.Log2(float64(d)/float64(grain)))+1, buckets-1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fade()
	l.mu.weights[i]++
	l.mu.total++
}

// Quantile is the time within which a part q of all come, to a fifth; ok is false while too
// little is known.
func (l *Latency) Quantile(q float64) (d time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fade()
	if l.mu.total < enough {
		return 0, false
	}
	want, sum := float32(q)*l.mu.total, float32(0)
	for i, w := range l.mu.weights {
		if sum += w; sum >= want {
			return time.Duration(float64(grain) * math.Exp2(float64(i)/octave)), true
		}
	}
	return time.Duration(float64(grain) * math.Exp2((buckets-1)/octave)), true
}

func (l *Latency) fade() {
	factor := float32(1)
	if l.mu.total >= heavy {
		factor = 0.5
	}
	if since := l.now().Sub(l.mu.faded); since >= time.Second {
		factor *= float32(math.Exp2(-float64(since) / float64(latencyHalfLife)))
		l.mu.faded = l.now()
	}
	if factor == 1 {
		return
	}
	l.mu.total = 0
	for i := range l.mu.weights {
		l.mu.weights[i] *= factor
		l.mu.total += l.mu.weights[i]
	}
}
