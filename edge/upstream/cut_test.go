package upstream

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/hop"
)

func TestAHugeBodyWithStalledReadersIsHeldInThreeSlices(t *testing.T) {
	size := int64(96*mib + 12345)
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		size = 1<<30 + 12345
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

func TestSlowClientsOfOldFillsKeepNobodyFromANewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newCutBed(t, 20*mib, 20*mib)
		spec := b.spec()
		spec.Fetch = func(context.Context) (*Reply, error) {
			return &Reply{Status: 200, Header: new(header.Block), Length: b.size, Body: &patternReader{0, b.size}, Received: time.Now()}, nil
		}
		spec.Cut = func(*response.Response, int64, []byte) {}
		for i := range 3 * MaxFills { // each asks for more than the ones before, and reads nothing
			f, leader, err := b.group.Join(t.Context(), "k", hop.Fence{Log: 1, Hard: command.Seq(i)}, spec)
			if err != nil || !leader {
				t.Fatal(leader, err)
			}
			defer f.Leave()
			if err := f.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
