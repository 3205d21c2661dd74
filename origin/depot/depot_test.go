package depot

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/origin/blob"
	"freshet/origin/blob/dir"
	"freshet/origin/catalog"
	"freshet/origin/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T) (*Depot, *clock) {
	t.Helper()
	root := t.TempDir()
	cat, err := catalog.Open(filepath.Join(root, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cat.Close(); err != nil {
			t.Error(err)
		}
	})
	blobs, err := dir.Open(filepath.Join(root, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	return New(blobs, cat, c.read), c
}

func always(*object.Info) error { return nil }

func put(t *testing.T, d *Depot, path, content string) object.Info {
	t.Helper()
	staged, err := d.Stage(strings.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	info, _, err := d.Put("s", object.Info{Path: path, ContentType: "text/plain"}, staged, always)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func read(d *Depot, path string) (string, error) {
	_, f, err := d.Open("s", path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

func blobs(t *testing.T, d *Depot) map[blob.Digest]bool {
	t.Helper()
	all := make(map[blob.Digest]bool)
	if err := d.blobs.Walk(t.Context(), func(d blob.Digest) error { all[d] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func sweep(t *testing.T, d *Depot, grace time.Duration, want int) {
	t.Helper()
	if n, err := d.Sweep(t.Context(), grace); n != want || err != nil {
		t.Fatalf("the sweep removed %d, %v; want %d", n, err, want)
	}
}

func TestSweepWaitsForTheGrace(t *testing.T) {
	d, clock := open(t)
	old := put(t, d, "/a", "old")
	put(t, d, "/b", "shared")
	put(t, d, "/c", "shared")
	clock.add(24 * time.Hour) // that a blob is old says nothing about how long it has been garbage
	kept := put(t, d, "/a", "new")
	if err := d.Delete("s", "/b", always); err != nil {
		t.Fatal(err)
	}
	sweep(t, d, time.Hour, 0)
	clock.add(59 * time.Minute)
	sweep(t, d, time.Hour, 0)
	if !blobs(t, d)[old.Digest] {
		t.Fatal("the replaced blob went before its time")
	}
	clock.add(2 * time.Minute)
	sweep(t, d, time.Hour, 1)
	sweep(t, d, time.Hour, 0)
	if got := blobs(t, d); got[old.Digest] || !got[kept.Digest] || len(got) != 2 {
		t.Fatalf("blobs %v", got)
	}
	for path, want := range map[string]string{"/a": "new", "/c": "shared"} {
		if got, err := read(d, path); got != want || err != nil {
			t.Fatalf("%s reads %q, %v", path, got, err)
		}
	}
}

func TestGarbageThatIsUsedAgainStays(t *testing.T) {
	d, clock := open(t)
	put(t, d, "/a", "one")
	put(t, d, "/a", "two")
	clock.add(2 * time.Hour)
	put(t, d, "/b", "one")
	sweep(t, d, time.Hour, 0)
	put(t, d, "/b", "three") // garbage once more, and as of now
	sweep(t, d, time.Hour, 0)
	clock.add(2 * time.Hour)
	sweep(t, d, time.Hour, 1)
}

func TestBlobThatIsBeingPutIsNotSwept(t *testing.T) {
	d, clock := open(t)
	put(t, d, "/a", "one")
	put(t, d, "/a", "two")
	clock.add(2 * time.Hour)
	staged, err := d.Stage(strings.NewReader("one"), 10)
	if err != nil {
		t.Fatal(err)
	}
	// The sweep comes when the blob has been committed but nothing refers to it yet.
	swept := false
	check := func(*object.Info) error {
		if !swept {
			swept = true
			// What Sweep does for each digest, whose list cannot change while a check runs.
			if gone, err := d.remove(staged.Digest()); gone || err != nil {
				t.Errorf("removed: %v, %v", gone, err)
			}
		}
		return nil
	}
	if _, _, err := d.Put("s", object.Info{Path: "/b"}, staged, check); err != nil {
		t.Fatal(err)
	}
	if got, err := read(d, "/b"); got != "one" || err != nil || !swept {
		t.Fatalf("/b reads %q, %v", got, err)
	}
}

func TestFailedPutLeavesGarbage(t *testing.T) {
	d, clock := open(t)
	refusal := errors.New("refused")
	staged, err := d.Stage(strings.NewReader("x"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Put("s", object.Info{Path: "/a"}, staged, func(*object.Info) error { return refusal }); !errors.Is(err, refusal) {
		t.Fatal(err)
	}
	if _, err := read(d, "/a"); !errors.Is(err, catalog.ErrNotFound) {
		t.Fatalf("/a: %v", err)
	}
	clock.add(2 * time.Hour)
	sweep(t, d, time.Hour, 1)
	if len(blobs(t, d)) != 0 {
		t.Fatal("the blob is still there")
	}
}

func TestReclaimFindsWhatACrashHasLeft(t *testing.T) {
	d, clock := open(t)
	put(t, d, "/a", "kept")
	// A crash between the two halves of Put leaves a committed blob alone.
	const orphans = 11
	for i := range orphans {
		staged, err := d.Stage(strings.NewReader(fmt.Sprint("orphan ", i)), 100)
		if err == nil {
			err = staged.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := d.Reclaim(t.Context()); n != orphans || err != nil {
		t.Fatalf("found %d, %v", n, err)
	}
	if n, err := d.Reclaim(t.Context()); n != 0 || err != nil {
		t.Fatalf("found %d again, %v", n, err)
	}
	sweep(t, d, time.Hour, 0)
	clock.add(2 * time.Hour)
	sweep(t, d, time.Hour, orphans)
	if got, err := read(d, "/a"); got != "kept" || err != nil {
		t.Fatalf("/a reads %q, %v", got, err)
	}
}

// TestRacingPutsAndSweeps has few contents under few paths put, deleted and swept at
// once without any grace: whatever the catalog has must be readable and right.
func TestRacingPutsAndSweeps(t *testing.T) {
	d, _ := open(t)
	seed := rand.Uint64()
	const workers, steps = 6, 60
	var wg sync.WaitGroup
	stop := make(chan struct{})
	swept := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				swept <- nil
				return
			default:
			}
			if _, err := d.Sweep(t.Context(), -time.Second); err != nil {
				swept <- err
				return
			}
		}
	}()
	for w := range workers {
		rng := rand.New(rand.NewPCG(seed, uint64(w)))
		wg.Go(func() {
			for range steps {
				path := fmt.Sprint("/", rng.IntN(3))
				content := fmt.Sprint("content ", rng.IntN(3))
				switch rng.IntN(4) {
				case 0:
					if err := d.Delete("s", path, always); err != nil && !errors.Is(err, catalog.ErrNotFound) {
						t.Errorf("seed %d: delete: %v", seed, err)
					}
				case 1:
					// Without a grace a blob may go right after it was looked up, twice.
					got, err := read(d, path)
					if err != nil && !errors.Is(err, catalog.ErrNotFound) && !errors.Is(err, blob.ErrNotFound) {
						t.Errorf("seed %d: read: %v", seed, err)
					}
					if err == nil && !strings.HasPrefix(got, "content ") {
						t.Errorf("seed %d: read %q", seed, got)
					}
				default:
					staged, err := d.Stage(strings.NewReader(content), 100)
					if err == nil {
						_, _, err = d.Put("s", object.Info{Path: path}, staged, always)
					}
					if err != nil {
						t.Errorf("seed %d: put: %v", seed, err)
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	if err := <-swept; err != nil {
		t.Errorf("seed %d: sweep: %v", seed, err)
	}
	list, _, err := d.List("s", "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		if got, err := read(d, info.Path); err != nil || !strings.HasPrefix(got, "content ") {
			t.Errorf("seed %d: %s reads %q, %v", seed, info.Path, got, err)
		}
	}
}
