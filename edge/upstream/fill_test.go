package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// bed is a Group in a bubble of virtual time, with a parent that answers after a
// second.
type bed struct {
	group  *Group
	asked  atomic.Int64
	kept   atomic.Int64
	answer func(n int64) (*Reply, error)
	store  bool
}

func newBed(t *testing.T) *bed {
	ctx, cancel := context.WithCancel(context.Background())
	b := &bed{group: NewGroup(ctx), store: true}
	t.Cleanup(func() {
		cancel()
		b.group.Wait()
	})
	b.answer = func(n int64) (*Reply, error) { return reply(fmt.Sprint("body ", n)), nil }
	return b
}

func reply(body string) *Reply {
	return &Reply{Status: 200, Header: new(header.Block), Length: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)), Received: time.Now()}
}

func (b *bed) spec() Spec {
	return Spec{
		MaxBody: 1 << 20,
		Fetch: func(ctx context.Context) (*Reply, error) {
			n := b.asked.Add(1)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return b.answer(n)
		},
		Admit: func(r *Reply) *response.Response {
			if !b.store {
				return nil
			}
			return &response.Response{Facts: httpcache.Facts{Freshness: httpcache.Freshness{Received: r.Received, Lifetime: time.Hour}}}
		},
		Keep: func(*response.Response) { b.kept.Add(1) },
	}
}

// get is one client: it joins, and reads the body if it may.
func (b *bed) get(ctx context.Context, key string, fence hop.Fence) (body string, leader bool, err error) {
	f, leader, err := b.group.Join(ctx, key, fence, b.spec())
	if err != nil {
		return "", leader, err
	}
	if err := f.Wait(ctx); err != nil {
		return "", leader, err
	}
	if f.Response() == nil && !leader {
		return "", false, nil
	}
	r, ok := f.Body(ctx)
	if !ok {
		return "", leader, errors.New("no body")
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	return string(text), leader, err
}

func TestOneFillForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		var wg sync.WaitGroup
		var leaders atomic.Int64
		for range 1000 {
			wg.Go(func() {
				body, leader, err := b.get(t.Context(), "k", hop.Fence{})
				if err != nil || body != "body 1" {
					t.Errorf("%q, %v", body, err)
				}
				if leader {
					leaders.Add(1)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		if b.asked.Load() != 1 || leaders.Load() != 1 || b.kept.Load() != 1 {
			t.Errorf("asked %d times, %d leaders, kept %d times", b.asked.Load(), leaders.Load(), b.kept.Load())
		}
	})
}

func TestAFillIsJoinedOnlyByThoseWhoseFenceItSatisfies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		var wg sync.WaitGroup
		for i, tc := range []struct {
			fence hop.Fence
			want  string
		}{
			{hop.Fence{Log: 1, Hard: 5}, "body 1"},
			{hop.Fence{Log: 1, Hard: 4}, "body 1"},
			{hop.Fence{Log: 1, Hard: 6}, "body 2"},
			{hop.Fence{Log: 1, Hard: 6}, "body 2"},
			{hop.Fence{Log: 1, Hard: 5, Born: 5}, "body 3"},
			{hop.Fence{Log: 2}, "body 4"},
		} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if body, _, err := b.get(t.Context(), "k", tc.fence); err != nil || body != tc.want {
					t.Errorf("fence %+v got %q, %v, want %q", tc.fence, body, err, tc.want)
				}
			})
		}
		wg.Wait()
	})
}

func TestFillsOfOneKeyAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		var wg sync.WaitGroup
		for i := range 3 * MaxFills { // each asks for more than the ones before
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if _, _, err := b.get(t.Context(), "k", hop.Fence{Log: 1, Hard: command.Seq(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if n := b.asked.Load(); n != MaxFills {
			t.Errorf("%d fills under way, want %d", n, MaxFills)
		}
		wg.Wait()
	})
}

func TestWhatIsNotKeptIsForTheLeaderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.store = false
		var wg sync.WaitGroup
		var bodies atomic.Int64
		for range 10 {
			wg.Go(func() {
				body, leader, err := b.get(t.Context(), "k", hop.Fence{})
				if err != nil || (body != "") != leader {
					t.Errorf("leader %v got %q, %v", leader, body, err)
				}
				if body != "" {
					bodies.Add(1)
				}
			})
		}
		wg.Wait()
		if bodies.Load() != 1 {
			t.Errorf("%d clients got the body", bodies.Load())
		}
	})
}

func TestWhatWasStoredSinceTheLookIsNotFetchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		spec := b.spec()
		spec.Settled = func() bool { return b.kept.Load() > 0 }
		if f, leader, err := b.group.Join(t.Context(), "k", hop.Fence{}, spec); f == nil || !leader || err != nil {
			t.Fatalf("the first got %v, %v, %v", f, leader, err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if f, _, err := b.group.Join(t.Context(), "k", hop.Fence{}, spec); f != nil || err != nil {
			t.Errorf("who looked before it was stored got %v, %v; want to be sent to look again", f, err)
		}
		if b.group.Refresh("k", hop.Fence{}, spec) {
			t.Error("refreshed although somebody else has")
		}
	})
}

func TestAPanicStrandsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		b.answer = func(int64) (*Reply, error) { panic("boom") }
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, _, err := b.get(t.Context(), "k", hop.Fence{}); err == nil || !strings.Contains(err.Error(), "boom") {
					t.Errorf("err = %v", err)
				}
			})
		}
		wg.Wait()
		b.answer = func(n int64) (*Reply, error) { return reply("well"), nil }
		if body, _, err := b.get(t.Context(), "k", hop.Fence{}); err != nil || body != "well" {
			t.Errorf("after the panic: %q, %v", body, err)
		}
	})
}

func TestAFailureIsToldToAllAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		down := errors.New("down")
		b.answer = func(int64) (*Reply, error) { return nil, down }
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, _, err := b.get(t.Context(), "k", hop.Fence{}); !errors.Is(err, down) {
					t.Errorf("err = %v", err)
				}
			})
		}
		wg.Wait()
		if n := b.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		b.answer = func(int64) (*Reply, error) { return reply("up"), nil }
		if body, _, err := b.get(t.Context(), "k", hop.Fence{}); err != nil || body != "up" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

func TestRefreshRunsWithoutAnyClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		if !b.group.Refresh("k", hop.Fence{}, b.spec()) {
			t.Fatal("not started")
		}
		if b.group.Refresh("k", hop.Fence{}, b.spec()) {
			t.Error("a second one was started")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.kept.Load() != 1 {
			t.Error("not kept")
		}
		b.store = false // and what is not kept is dropped
		b.group.Refresh("k", hop.Fence{}, b.spec())
	})
}

// A body that is not kept, and that its one client does not want when he has seen the
// head, is not fetched for him, nor are its bytes held.
func TestABodyThatItsOneClientLeavesIsLetGo(t *testing.T) {
	for _, size := range []int{5, 8 << 20} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t)
			b.store = false
			b.answer = func(int64) (*Reply, error) { return reply(strings.Repeat("x", size)), nil }
			f, _, err := b.group.Join(t.Context(), "k", hop.Fence{}, b.spec())
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until the body waits for its reader, or has ended
			f.Leave()
			synctest.Wait()
			select {
			case <-f.ended:
			default:
				t.Errorf("%d bytes: the fill goes on", size)
			}
			if n := b.group.Held(); n != 0 {
				t.Errorf("%d bytes: %d are held", size, n)
			}
		})
	}
}

// slowToClose is a body whose end takes its time.
type slowToClose struct {
	io.Reader
	until chan struct{}
}

func (s slowToClose) Close() error { <-s.until; return nil }

// Who asks after somebody has had the whole body joins nothing that is over: what was
// stored may have been found to be outdated in between.
func TestAFillWhoseBodyIsThereIsJoinedByNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t)
		until := make(chan struct{})
		defer close(until)
		b.answer = func(n int64) (*Reply, error) {
			r := reply(fmt.Sprint("body ", n))
			r.Body = slowToClose{r.Body, until}
			return r, nil
		}
		for n := range 3 {
			body, leader, err := b.get(t.Context(), "k", hop.Fence{})
			if want := fmt.Sprint("body ", n+1); err != nil || !leader || body != want {
				t.Errorf("leader %t got %q, %v, want %q", leader, body, err, want)
			}
		}
	})
}
