package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/response"
	"freshet/internal/hop"
)

// TestRandomFills: whatever the interleaving of clients that join, read, skip, stall,
// give up and lose slices, nobody ever gets a wrong byte or a whole that is none, what
// is kept is whole, RAM stays bounded, and everything ends.
func TestRandomFills(t *testing.T) {
	rounds := uint64(60)
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		rounds = 3000
	}
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			randomFill(t, seed)
		})
	}
}

func randomFill(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	size := rng.Int64N(12 * mib)
	if rng.IntN(4) == 0 {
		size = rng.Int64N(3) * mib
	}
	b := newCutBed(t, size, size)
	if rng.IntN(2) == 0 {
		b.length = -1
	}
	breaks := rng.IntN(4) == 0
	at := size
	if breaks {
		at = rng.Int64N(size + 1)
	}
	b.from = &randomParent{rng: rand.New(rand.NewPCG(seed, 2)), at: at, size: size, breaks: breaks}
	lossy, damaged := rng.IntN(3) == 0, false
	b.load = func(n int64, body *patternBody) (response.Body, error) { // under the bed's lock
		if lossy && rng.IntN(10) == 0 {
			return nil, errors.New("lost")
		}
		if rng.IntN(10) == 0 && !damaged {
			damaged = true // once: who finds it loads the slice again
			body.broken = rng.Int64N(body.n) + 1
		}
		return body, nil
	}
	var wg sync.WaitGroup
	var fill atomic.Pointer[Fill]
	for i := range 1 + rng.IntN(8) {
		mine := rand.New(rand.NewPCG(seed, uint64(i)+3))
		wg.Go(func() {
			if i > 0 {
				time.Sleep(time.Duration(mine.IntN(2000)) * time.Microsecond)
			}
			f, leader, err := b.group.Join(t.Context(), "k", hop.Fence{}, b.spec())
			if err != nil {
				t.Error(err)
				return
			}
			if leader {
				fill.CompareAndSwap(nil, f)
			}
			randomClient(t, b, f, mine, breaks || lossy)
			f.Leave()
		})
	}
	wg.Wait()
	synctest.Wait()
	kept, ceased, cut := b.stored(fill.Load())
	if breaks && (kept != nil || ceased != nil && at < size && b.length < 0) {
		t.Errorf("kept %v of a broken body", kept)
	}
	if kept != nil && kept.Kind == response.Sliced && (kept.Complete != size || int64(len(cut)) != (size+mib-1)/mib) {
		t.Errorf("kept %d bytes in %d slices of a body of %d", kept.Complete, len(cut), size)
	}
	if kept != nil && kept.Kind != response.Sliced && kept.Body.Len() != size {
		t.Errorf("kept %d bytes of a body of %d", kept.Body.Len(), size)
	}
}

// randomParent sends a body in random pieces at random times.
type randomParent struct {
	rng      *rand.Rand
	off      int64
	at, size int64 // where it breaks off, and would end
	breaks   bool
}

func (p *randomParent) Read(b []byte) (int, error) {
	if p.rng.IntN(8) == 0 {
		time.Sleep(time.Duration(p.rng.IntN(300)) * time.Microsecond)
	}
	if p.off == p.at {
		if p.breaks {
			return 0, errors.New("broken")
		}
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.at-p.off, 1+p.rng.Int64N(200_000))
	patternAt(b[:n], p.off)
	p.off += n
	return int(n), nil
}

// randomClient reads a fill in its own way.
func randomClient(t *testing.T, b *cutBed, f *Fill, rng *rand.Rand, mayFail bool) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if rng.IntN(6) == 0 {
		time.AfterFunc(time.Duration(rng.IntN(3000))*time.Microsecond, cancel)
		mayFail = true
	}
	if err := f.Wait(ctx); err != nil {
		return
	}
	r, ok := f.Body(ctx)
	if !ok {
		return
	}
	defer r.Close()
	c := &pausing{check: check{}, rng: rng, quits: -1}
	if rng.IntN(5) == 0 {
		c.quits = rng.Int64N(b.size + 1)
	}
	var err error
	switch rng.IntN(3) {
	case 0:
		_, err = io.CopyBuffer(c, struct{ io.Reader }{r}, make([]byte, 1+rng.IntN(100_000)))
	case 1:
		n := rng.Int64N(b.size + 1)
		if err = r.(interface{ Skip(int64) error }).Skip(n); err == nil {
			c.off = n
			_, err = body(r).WriteTo(c)
		}
	default:
		_, err = body(r).WriteTo(c)
	}
	if c.bad {
		t.Error("a client has wrong bytes")
	}
	if err == nil && c.off != b.size {
		t.Errorf("a client took %d bytes of %d for the whole", c.off, b.size)
	}
	if err != nil && !mayFail && !errors.Is(err, errQuit) && !errors.Is(err, errUnwanted) {
		t.Errorf("a client has %d bytes of %d: %v", c.off, b.size, err)
	}
}

var errQuit = errors.New("quit")

// pausing is a check that takes its time and may give up.
type pausing struct {
	check
	rng   *rand.Rand
	quits int64 // -1 for never
}

func (c *pausing) Write(p []byte) (int, error) {
	if c.rng.IntN(4) == 0 {
		time.Sleep(time.Duration(c.rng.IntN(500)) * time.Microsecond)
	}
	if c.quits >= 0 && c.off > c.quits {
		return 0, errQuit
	}
	return c.check.Write(p)
}
