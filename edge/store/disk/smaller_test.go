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
