package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/response"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

const (
	mib     = 1 << 20
	fillRAM = windowSlices * response.SliceSize
)

// pattern is what the synthetic bodies consist of, over and over. Its length divides
// that of no slice, so that no slice is like another.
var pattern = randomBody(mib - 3)

// patternAt writes what a synthetic body has from off on.
func patternAt(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, pattern[off%int64(len(pattern)):])
		p, off = p[n:], off+int64(n)
	}
}

// patternReader reads a synthetic body from off to end.
type patternReader struct{ off, end int64 }

func (r *patternReader) Read(p []byte) (int, error) {
	n := min(int64(len(p)), r.end-r.off)
	patternAt(p[:n], r.off)
	if r.off += n; r.off == r.end {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (*patternReader) Close() error { return nil }

// patternBody is a part of a synthetic body as a store would give it back.
type patternBody struct {
	start, n int64
	broken   int64 // reads fail from here on; 0 for never
}

func (b *patternBody) Len() int64    { return b.n }
func (b *patternBody) Bytes() []byte { return nil }
func (b *patternBody) Open(off, n int64) (io.ReadCloser, error) {
	r := io.Reader(&patternReader{b.start + off, b.start + off + n})
	if b.broken > 0 {
		return io.NopCloser(struct{ io.Reader }{io.MultiReader(io.LimitReader(r, max(0, b.broken-off)), brokenReader{})}), nil
	}
	if off%2 == 0 {
		r = io.MultiReader(r) // an io.WriterTo
	}
	return io.NopCloser(r), nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("damaged") }

// check is a writer that compares what it gets with the synthetic body.
type check struct {
	off  int64
	bad  bool
	stop int64 // Write blocks before it has so many bytes; 0 for never
	hold chan struct{}
	buf  []byte
}

func (c *check) Write(p []byte) (int, error) {
	if c.stop > 0 && c.off+int64(len(p)) > c.stop {
		<-c.hold
	}
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	patternAt(c.buf[:len(p)], c.off)
	c.bad = c.bad || !bytes.Equal(c.buf[:len(p)], p)
	c.off += int64(len(p))
	return len(p), nil
}

// cutBed is a group whose bodies are cut, and a store of their slices.
type cutBed struct {
	t     testing.TB
	group *Group
	size  int64 // of the body
	from  io.Reader
	// length that the parent tells.
	length int64

	mu struct {
		sync.Mutex
		cut    []int64 // sizes of the slices that were handed over
		bad    bool    // one was not what it should be
		kept   *response.Response
		ceased *response.Response
		held   int64 // most that was ever held
	}
	asked, loads atomic.Int64
	load         func(n int64, body *patternBody) (response.Body, error) // nil: gives body
}

func newCutBed(t testing.TB, size, length int64) *cutBed {
	ctx, cancel := context.WithCancel(context.Background())
	b := &cutBed{t: t, group: NewGroup(ctx), size: size, length: length, from: &patternReader{0, size}}
	t.Cleanup(func() {
		cancel()
		b.group.Wait()
		if n := b.group.Held(); n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
	})
	return b
}

func (b *cutBed) spec() Spec {
	return Spec{
		MaxBody: 1 << 40,
		Fetch: func(context.Context) (*Reply, error) {
			if b.asked.Add(1) > 1 {
				return nil, errors.New("there is one body only")
			}
			return &Reply{Status: 200, Header: new(header.Block), Length: b.length, Body: io.NopCloser(b.from), Received: time.Now()}, nil
		},
		Admit: func(r *Reply) *response.Response {
			return &response.Response{Facts: httpcache.Facts{Freshness: httpcache.Freshness{Received: r.Received, Lifetime: time.Hour}}}
		},
		Cut: func(_ *response.Response, n int64, data []byte) {
			want := make([]byte, len(data))
			patternAt(want, n*response.SliceSize)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.mu.bad = b.mu.bad || n != int64(len(b.mu.cut)) || !bytes.Equal(want, data)
			b.mu.cut = append(b.mu.cut, int64(len(data)))
			b.mu.held = max(b.mu.held, b.group.Held())
		},
		Load: func(_ context.Context, _ *response.Response, n int64) (response.Body, error) {
			b.loads.Add(1)
			b.mu.Lock()
			defer b.mu.Unlock()
			if n >= int64(len(b.mu.cut)) {
				return nil, fmt.Errorf("slice %d was never cut", n)
			}
			body := &patternBody{start: n * response.SliceSize, n: b.mu.cut[n]}
			if b.load != nil {
				return b.load(n, body)
			}
			return body, nil
		},
		Keep: func(r *response.Response) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.mu.kept = r
		},
		Cease: func(r *response.Response) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.mu.ceased = r
		},
	}
}

// join is one client, up to where it has the body.
func (b *cutBed) join() (f *Fill, body io.ReadCloser) {
	b.t.Helper()
	f, _, err := b.group.Join(b.t.Context(), "k", hop.Fence{}, b.spec())
	if err == nil {
		err = f.Wait(b.t.Context())
	}
	if err != nil {
		b.t.Fatal(err)
	}
	body, ok := f.Body(b.t.Context())
	if !ok {
		b.t.Fatal("no body")
	}
	return f, body
}

// stored reports what was kept, after the fill has ended.
func (b *cutBed) stored(f *Fill) (kept, ceased *response.Response, slices []int64) {
	b.t.Helper()
	<-f.ended
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.bad {
		b.t.Error("a slice is not what it should be")
	}
	if b.mu.held > fillRAM {
		b.t.Errorf("the fill held %d bytes, its bound is %d", b.mu.held, fillRAM)
	}
	return b.mu.kept, b.mu.ceased, b.mu.cut
}

func (b *cutBed) wantWhole(f *Fill) {
	b.t.Helper()
	kept, ceased, cut := b.stored(f)
	if kept == nil || ceased != nil || kept.Kind != response.Sliced || kept.Complete != b.size || kept.Body != nil {
		b.t.Fatalf("kept %+v, ceased %+v", kept, ceased)
	}
	var sum int64
	for i, n := range cut {
		sum += n
		if i < len(cut)-1 && n != response.SliceSize {
			b.t.Errorf("slice %d of %d has %d bytes", i, len(cut), n)
		}
	}
	if sum != b.size {
		b.t.Errorf("the slices have %d bytes of %d", sum, b.size)
	}
}

func TestAHugeBodyWithStalledReadersIsHeldInThreeSlices(t *testing.T) {
	size := int64(256*mib + 12345)
	if testing.Short() {
		size = 32*mib + 12345
	}
	for name, length := range map[string]int64{"length known": size, "length not known": -1} {
		t.Run(name, func(t *testing.T) {
			b := newCutBed(t, size, length)
			hold := make(chan struct{})
			var wg sync.WaitGroup
			fill, fast := b.join()
			for i := range 4 { // stalled until the fast one has all
				f, body := b.join()
				if f != fill {
					t.Fatal("not one fill")
				}
				wg.Go(func() {
					defer f.Leave()
					defer body.Close()
					c := &check{stop: int64(1 + i*5_000_000), hold: hold}
					if _, err := body.(io.WriterTo).WriteTo(c); err != nil || c.bad || c.off != size {
						t.Errorf("stalled reader: %d bytes, differing: %v, %v", c.off, c.bad, err)
					}
				})
			}
			c := new(check)
			if _, err := body(fast).WriteTo(c); err != nil || c.bad || c.off != size {
				t.Errorf("fast reader: %d bytes, differing: %v, %v", c.off, c.bad, err)
			}
			fast.Close()
			fill.Leave()
			b.wantWhole(fill)
			close(hold)
			wg.Wait()
		})
	}
}

func body(r io.ReadCloser) io.WriterTo { return r.(io.WriterTo) }

func TestTheFillerWaitsForTheFastestReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCutBed(t, 20*mib, 20*mib)
		f, r := b.join()
		synctest.Wait()
		if n := f.body.size(); n != fillRAM {
			t.Errorf("before anything was read %d bytes have come, want %d", n, fillRAM)
		}
		if _, err := io.CopyN(io.Discard, r, 2*mib); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := f.body.size(); n != fillRAM+2*mib {
			t.Errorf("after 2 MiB were read %d bytes have come, want %d", n, fillRAM+2*mib)
		}
		if err := r.(interface{ Skip(int64) error }).Skip(16 * mib); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // and what was left out need not be read
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 2*mib {
			t.Errorf("%d bytes after the skip, %v", len(rest), err)
		}
		r.Close()
		f.Leave()
		b.wantWhole(f)
	})
}

func TestALateFollowerReadsWhatTheWindowHasLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCutBed(t, 10*mib+5, 10*mib+5)
		f, fast := b.join()
		if _, err := io.CopyN(io.Discard, fast, 7*mib); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		g, late := b.join()
		if f != g {
			t.Fatal("not one fill")
		}
		c := new(check)
		if _, err := io.Copy(c, io.LimitReader(late, 5*mib+77)); err != nil || c.bad {
			t.Errorf("differing: %v, %v", c.bad, err)
		}
		if n := b.loads.Load(); n != 6 {
			t.Errorf("%d slices were loaded for 5 MiB and a bit", n)
		}
		if _, err := body(late).WriteTo(c); err != nil || c.bad || c.off != b.size {
			t.Errorf("%d bytes, differing: %v, %v", c.off, c.bad, err)
		}
		for _, r := range []io.Closer{fast, late} {
			r.Close()
			f.Leave()
		}
		b.wantWhole(f)
	})
}

func TestAFollowerWhoWaitedReadsEvenAfterTheFillHasEnded(t *testing.T) {
	b := newCutBed(t, 5*mib, 5*mib)
	f, r := b.join()
	g, _, err := b.group.Join(t.Context(), "k", hop.Fence{}, b.spec())
	if err != nil || f != g {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	f.Leave()
	<-f.ended
	late, ok := g.Body(t.Context())
	if !ok {
		t.Fatal("no body")
	}
	c := new(check)
	if _, err := body(late).WriteTo(c); err != nil || c.bad || c.off != b.size {
		t.Errorf("%d bytes, differing: %v, %v", c.off, c.bad, err)
	}
	late.Close()
	g.Leave()
	b.wantWhole(f)
}

func TestALengthThatIsNotKnownMayCrossASlice(t *testing.T) {
	for _, tc := range []struct {
		size   int64
		slices int
	}{{0, 0}, {1, 0}, {mib - 1, 0}, {mib, 0}, {mib + 1, 2}, {2 * mib, 2}, {2*mib + 1, 3}} {
		for _, length := range []int64{-1, tc.size} {
			b := newCutBed(t, tc.size, length)
			f, r := b.join()
			c := new(check)
			if _, err := body(r).WriteTo(c); err != nil || c.bad || c.off != tc.size {
				t.Errorf("size %d: %d bytes, differing: %v, %v", tc.size, c.off, c.bad, err)
			}
			r.Close()
			f.Leave()
			kept, _, cut := b.stored(f)
			if len(cut) != tc.slices || kept == nil || (kept.Kind == response.Sliced) != (tc.slices > 0) {
				t.Fatalf("size %d, length %d: kept %+v in %d slices, want %d", tc.size, length, kept, len(cut), tc.slices)
			}
			if tc.slices > 0 {
				b.wantWhole(f)
			} else if kept.Body.Len() != tc.size || cap(kept.Body.Bytes()) > int(tc.size) {
				t.Errorf("size %d: %d bytes kept, in %d", tc.size, kept.Body.Len(), cap(kept.Body.Bytes()))
			}
		}
	}
}

func TestABodyThatBreaksOffAfterSlicesIsNotKept(t *testing.T) {
	errOrigin := errors.New("the origin has gone")
	for name, tc := range map[string]struct {
		length int64
		from   io.Reader
	}{
		"error":                     {20 * mib, io.MultiReader(&patternReader{0, 7*mib + 9}, errReader{errOrigin})},
		"error, length not known":   {-1, io.MultiReader(&patternReader{0, 7*mib + 9}, errReader{errOrigin})},
		"ends early":                {20 * mib, &patternReader{0, 7*mib + 9}},
		"error on a slice's edge":   {20 * mib, io.MultiReader(&patternReader{0, 7 * mib}, errReader{errOrigin})},
		"goes on beyond the length": {7*mib + 8, io.MultiReader(&patternReader{0, 7*mib + 8}, &patternReader{0, 1})},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCutBed(t, 7*mib+9, tc.length)
			b.from = tc.from
			hold := make(chan struct{})
			f, r := b.join()
			_, slow := b.join()
			var wg sync.WaitGroup
			wg.Go(func() {
				c := &check{stop: 1, hold: hold}
				if _, err := body(slow).WriteTo(c); err == nil || c.bad || c.off < 7*mib {
					t.Errorf("slow reader: %d bytes, differing: %v, %v", c.off, c.bad, err)
				}
				slow.Close()
				f.Leave()
			})
			c := new(check)
			if _, err := body(r).WriteTo(c); err == nil || c.bad || c.off < 7*mib {
				t.Errorf("fast reader: %d bytes, differing: %v, %v", c.off, c.bad, err)
			}
			r.Close()
			f.Leave()
			if kept, ceased, _ := b.stored(f); kept != nil || ceased != nil {
				t.Errorf("kept %v, ceased %v", kept, ceased)
			}
			if _, ok := f.Body(t.Context()); ok {
				t.Error("who comes after the break is given a body that is broken")
			}
			close(hold)
			wg.Wait()
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestALongBodyIsNotFetchedForNobody(t *testing.T) {
	for _, tc := range []struct {
		name         string
		size, length int64
		read         int64 // before the client goes
		ceased       bool
		whole        bool
	}{
		{"little is left", 7 * mib, 7 * mib, 3*mib - 1, false, true},
		{"much is left", 50 * mib, 50 * mib, 3*mib - 1, true, false},
		{"nothing was read", 50 * mib, 50 * mib, 0, true, false},
		{"it is short", mib, mib, 10, false, true},
		{"its length is not known", 50 * mib, -1, 3*mib - 1, false, false},
		{"its length is not known, and it is short", mib - 1, -1, 10, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newCutBed(t, tc.size, tc.length)
				f, r := b.join()
				if _, err := io.CopyN(io.Discard, r, tc.read); err != nil {
					t.Fatal(err)
				}
				r.Close()
				f.Leave()
				kept, ceased, cut := b.stored(f)
				if (kept != nil) != tc.whole || (ceased != nil) != tc.ceased {
					t.Fatalf("kept %v, ceased %v, %d slices", kept, ceased, len(cut))
				}
				if tc.ceased && (ceased.Kind != response.Sliced || ceased.Complete != tc.size) {
					t.Errorf("ceased as %+v", ceased)
				}
				if most := (tc.read + fillRAM) / mib; !tc.whole && int64(len(cut)) > most+1 {
					t.Errorf("%d slices were fetched for nobody", int64(len(cut))-most)
				}
				if f.body.mu.stopped {
					if _, ok := f.Body(t.Context()); ok {
						t.Error("who comes too late is given a body that does not go on")
					}
				}
			})
		})
	}
}

func TestAFillThatNoClientBeganGoesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCutBed(t, 30*mib, 30*mib)
		if !b.group.Refresh("k", hop.Fence{}, b.spec()) {
			t.Fatal("not started")
		}
		b.group.Wait()
		if len(b.mu.cut) != 30 || b.mu.kept == nil || b.mu.bad || b.mu.held > fillRAM {
			t.Errorf("%d slices, kept %v, held %d", len(b.mu.cut), b.mu.kept, b.mu.held)
		}
	})
}

func TestASliceThatIsDamagedIsLoadedOnceMore(t *testing.T) {
	b := newCutBed(t, 8*mib, 8*mib)
	first := make(map[int64]bool)
	b.load = func(n int64, body *patternBody) (response.Body, error) {
		if !first[n] { // guarded by the bed's lock
			first[n] = true
			body.broken = 1000 * n
		}
		return body, nil
	}
	f, fast := b.join()
	_, late := b.join()
	if _, err := io.Copy(io.Discard, fast); err != nil {
		t.Fatal(err)
	}
	c := new(check)
	if _, err := io.Copy(c, struct{ io.Reader }{late}); err != nil || c.bad || c.off != b.size {
		t.Errorf("%d bytes, differing: %v, %v", c.off, c.bad, err)
	}
	fast.Close()
	late.Close()
	f.Leave()
	f.Leave()
}

func TestASliceThatCannotBeHadBreaksTheSlowReaderAlone(t *testing.T) {
	b := newCutBed(t, 8*mib, 8*mib)
	gone := errors.New("gone")
	b.load = func(n int64, body *patternBody) (response.Body, error) {
		switch n {
		case 1:
			return nil, gone
		case 2:
			body.n-- // one of another length is another
		}
		return body, nil
	}
	f, fast := b.join()
	_, late := b.join()
	_, later := b.join()
	if _, err := io.Copy(io.Discard, fast); err != nil {
		t.Fatal(err)
	}
	c := new(check)
	if _, err := body(late).WriteTo(c); !errors.Is(err, gone) || c.bad || c.off != mib {
		t.Errorf("%d bytes, differing: %v, %v", c.off, c.bad, err)
	}
	if err := later.(interface{ Skip(int64) error }).Skip(2 * mib); err != nil {
		t.Fatal(err)
	}
	if n, err := later.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d bytes of a slice of another length", n)
	}
	for _, r := range []io.Closer{fast, late, later} {
		r.Close()
		f.Leave()
	}
	b.wantWhole(f)
}

func TestASlicedBodyThatGrowsTooLargeIsHandedOnButNotKept(t *testing.T) {
	b := newCutBed(t, 12*mib, -1)
	spec := b.spec()
	spec.MaxBody = 5*mib + 7
	f, _, err := b.group.Join(t.Context(), "k", hop.Fence{}, spec)
	if err == nil {
		err = f.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	r, ok := f.Body(t.Context())
	if !ok {
		t.Fatal("no body")
	}
	c := new(check)
	if _, err := body(r).WriteTo(c); err != nil || c.bad || c.off != b.size {
		t.Errorf("%d bytes, differing: %v, %v", c.off, c.bad, err)
	}
	r.Close()
	f.Leave()
	if kept, ceased, _ := b.stored(f); kept != nil || ceased != nil {
		t.Errorf("kept %v, ceased %v", kept, ceased)
	}
}

func TestWhatIsSharedButNotStoredIsNotCut(t *testing.T) {
	b := newCutBed(t, 12*mib, 12*mib)
	spec := b.spec()
	spec.Admit = func(*Reply) *response.Response { return &response.Response{Transient: true} }
	f, _, err := b.group.Join(t.Context(), "k", hop.Fence{}, spec)
	if err == nil {
		err = f.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	r, ok := f.Body(t.Context())
	if !ok {
		t.Fatal("no body")
	}
	c := new(check)
	if _, err := body(r).WriteTo(c); err != nil || c.bad || c.off != b.size {
		t.Errorf("%d bytes, differing: %v, %v", c.off, c.bad, err)
	}
	r.Close()
	f.Leave()
	if kept, _, cut := b.stored(f); kept != nil || cut != nil {
		t.Errorf("kept %v in %d slices", kept, len(cut))
	}
}

// TestRandomFills: whatever the interleaving of clients that join, read, skip, stall,
// give up and lose slices, nobody ever gets a wrong byte or a whole that is none, what
// is kept is whole, RAM stays bounded, and everything ends.
func TestRandomFills(t *testing.T) {
	rounds := uint64(60)
	if testing.Short() {
		rounds = 15
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
