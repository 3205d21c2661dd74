package main

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"freshet/bench/traces"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A small seeded share of what make bench-store replays keeps the same bounds. Our store
// evicts in the background, ristretto and otter seed their sketches at random, so figures
// vary by some tenths of a point; in these cells the bounds are kept by a point or more.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		percent float64
	}{
		{"zipf-0.9", 5}, {"zipf-0.9", 20}, {"scan", 5},
	} {
		if raced && (c.percent > 5 || c.name == "scan") {
			continue
		}
		src, err := traces.Generate(c.name, traces.Scale{Objects: 30_000, Requests: 150_000, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := load(c.name, src)
		if err != nil {
			t.Fatal(err)
		}
		r, err := replay(tr, c.percent, 16, tempDir(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s at %g %%: %.2f/%.2f, the best has %.2f, LRU %.2f of the bytes, write amplification %.3f",
			c.name, c.percent, r.Freshet.Requests, r.Freshet.Bytes, r.best(), r.Rivals["lru"].Bytes, r.Amplification)
		if len(r.Missed) > 0 {
			t.Errorf("%s at %g %%: %s", c.name, c.percent, strings.Join(r.Missed, ", "))
		}
	}
}

// tempDir is in RAM where that can be had: thousands of syncs of small segments take a
// disk a minute.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "freshet-replay-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
