package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
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
