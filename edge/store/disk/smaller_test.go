package disk

import (
	"fmt"
	"testing"

	"freshet/edge/response"
)

// TestASmallerSizeGoesOnWithItsOpenSegments: a store whose size was lowered, whether it was
// closed or killed, is within its size when Open returns, and goes on appending to the
// segments that it had open: none is left that is neither sealed nor appended to, and could
// never be evicted.
func TestASmallerSizeGoesOnWithItsOpenSegments(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		small := cfg.SegmentSize*minSegments + fixedSize
		for _, end := range []func(*Store){(*Store).Close, kill} {
			s := mustOpen(t, cfg)
			ask := func(i int) {
				key := fmt.Sprint(i)
				for range 2 {
					s.Get(response.NewKey(key))
					put(t, s, key, 1, 20<<10)
				}
			}
			for i := range 1000 {
				ask(i % 600)
			}
			end(s)
			larger := cfg.Size
			cfg.Size = small
			s = mustOpen(t, cfg)
			if used := s.Stats().Used; used > cfg.Size {
				t.Errorf("%d bytes are used of %d", used, cfg.Size)
			}
			for i := range 200 {
				ask(i)
			}
			s.mu.Lock()
			for _, g := range s.table() {
				waits := false
				for _, w := range s.mu.sealing {
					waits = waits || w == g
				}
				if !g.sealed && !waits && g != s.mu.cold && g != s.mu.hot && g != s.mu.spare {
					t.Errorf("segment %d is open and nobody's", g.number)
				}
			}
			s.mu.Unlock()
			s.Close()
			cfg.Size = larger
		}
	})
}

// TestAFooterThatRotsAtTheStart: a footer that was right when the index was built and is
// not when its segment is to be appended to is rot, which takes no store out of service.
func TestAFooterThatRotsAtTheStart(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Size: 8 << 20, SegmentSize: 256 << 10, Log: testLog(t)}
	s := mustOpen(t, cfg)
	put(t, s, "a", 1, 1000)
	s.Close()
	s, err := newStore(cfg)
	if err == nil {
		err = s.openDirectory()
	}
	if err == nil {
		err = s.recover()
	}
	if err != nil {
		t.Fatal(err)
	}
	last := s.recovered[len(s.recovered)-1]
	if _, err := last.file.WriteAt([]byte("rot"), s.segmentSize-10); err != nil {
		t.Fatal(err)
	}
	s.up.Store(true)
	s.work.Add(1)
	go s.maintain()
	defer s.Close()
	if !put(t, s, "b", 1, 1000) || check(t, s, "a") != 1 || check(t, s, "b") != 1 {
		t.Errorf("out of service: %+v", s.Stats())
	}
}
