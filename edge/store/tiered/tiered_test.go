package tiered

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/edge/store/disk"
	"freshet/edge/store/memory"
	"freshet/edge/store/storetest"
	"freshet/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// joinFakes is a store that the suite closes.
func joinFakes(t *testing.T, disks ...*fakeDisk) store.Store {
	t.Helper()
	ram, err := memory.New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	volumes := make([]*volume, len(disks))
	for i, d := range disks {
		volumes[i] = newVolume(fmt.Sprint(i), d.Capacity(), d)
	}
	return join(ram, volumes)
}

func TestConformanceOfRAMAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return joinFakes(t) })
}

func TestConformanceWithDisksThatFail(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		a, b := newFakeDisk(), newFakeDisk()
		a.fails.Store(true)
		b.fails.Store(true)
		a.maxSize, b.maxSize = 1, 1 // the largest one has to fit into RAM
		return joinFakes(t, a, b)
	})
}

// put and get by a key's text.
func put(t *testing.T, s *Store, key string, born command.Seq, body []byte) *response.Response {
	t.Helper()
	r := storetest.Response(t, key, 1, born, body)
	s.Put(r)
	return r
}

func get(s *Store, key string) *response.Response { return s.Get(response.NewKey(key)) }

func TestWhatRAMDroppedIsServedFromDisk(t *testing.T) {
	d := newFakeDisk()
	s := newStore(t, 1<<20, d)
	const n = 200
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 20<<10) }
	for i := range n {
		put(t, s, fmt.Sprint(i), 1, body(i))
	}
	for i := range n {
		r := get(s, fmt.Sprint(i))
		if r == nil || !bytes.Equal(r.Body.Bytes(), body(i)) {
			t.Fatalf("response %d of %d: %v", i, n, r)
		}
	}
	if stats := s.Stats(); stats.DiskHits == 0 || stats.DiskHits+stats.MemoryHits != n {
		t.Errorf("%d hits on disk and %d in RAM, of %d responses of which RAM holds a part", stats.DiskHits, stats.MemoryHits, n)
	}
}

// TestManyReadersPromoteOnce: readers that come while a response is being read from disk
// wait for that read, and share what it gives; those who come later find it in RAM.
func TestManyReadersPromoteOnce(t *testing.T) {
	for _, size := range []int{1 << 10, 100 << 10, smallBody} {
		synctest.Test(t, func(t *testing.T) {
			d := newFakeDisk()
			s := newStore(t, 8<<20, d)
			r := put(t, s, "k", 1, make([]byte, size))
			s.memory.Delete(r.Key)
			d.gate = make(chan struct{})
			d.gets.Store(0)
			const readers = 100
			got := make([]*response.Response, readers)
			var wg sync.WaitGroup
			for i := range readers {
				wg.Go(func() { got[i] = get(s, "k") })
			}
			synctest.Wait() // all of them wait
			close(d.gate)
			wg.Wait()
			for i := range got {
				if got[i] == nil || got[i] != got[0] || got[i].Body.Len() != int64(size) || got[i].Body.Bytes() == nil {
					t.Fatalf("reader %d got %v", i, got[i])
				}
			}
			if get(s, "k") != got[0] {
				t.Error("it is not in RAM after that")
			}
			if n := d.gets.Load(); n != 1 {
				t.Errorf("the disk was read %d times", n)
			}
			if n := s.Stats().Promoted; n != 1 {
				t.Errorf("promoted %d times", n)
			}
		})
	}
}

func TestALargeBodyStaysOnDisk(t *testing.T) {
	d := newFakeDisk()
	s := newStore(t, 64<<20, d)
	put(t, s, "k", 1, make([]byte, smallBody+1))
	for range 3 {
		if r := get(s, "k"); r == nil || r.Body.Bytes() != nil || r.Body.Len() != smallBody+1 {
			t.Fatalf("got %v, want a body on disk", r)
		}
	}
	if stats := s.Stats(); stats.Promoted != 0 || stats.Memory.Bytes != 0 || d.opens.Load() != 0 {
		t.Errorf("%+v and the body was opened %d times: nothing had to be copied", stats, d.opens.Load())
	}
}

func TestALargeBodyThatTheDiskRefusesLiesInRAM(t *testing.T) {
	d := newFakeDisk()
	s := newStore(t, 64<<20, d)
	d.refuses.Store(true)
	if r := put(t, s, "k", 1, make([]byte, smallBody+1)); get(s, "k") != r {
		t.Error("not in RAM")
	}
}

func TestNoTierKeepsAnOlderOne(t *testing.T) {
	small, large := make([]byte, 100), make([]byte, smallBody+1)
	for _, tc := range []struct {
		name         string
		older, newer []byte
		refuses      bool  // the disk refuses the newer one
		memory       int64 // 0: enough
	}{
		{name: "small ones", older: small, newer: small},
		{name: "the newer one lies on disk alone", older: small, newer: large},
		{name: "the newer one lies in RAM alone", older: large, newer: small, refuses: true},
		{name: "the disk has the older one of two small ones", older: small, newer: small, refuses: true},
		{name: "large ones", older: large, newer: large},
		{name: "the newer one is too large for RAM", older: small, newer: make([]byte, smallBody), memory: 1 << 20},
		{name: "the newer one is too large for RAM, and refused", older: small, newer: make([]byte, smallBody), memory: 1 << 20, refuses: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newFakeDisk()
			s := newStore(t, cmp.Or(tc.memory, 64<<20), d)
			put(t, s, "k", 1, tc.older)
			d.refuses.Store(tc.refuses)
			put(t, s, "k", 2, tc.newer)
			kept := !tc.refuses || tc.memory == 0
			if r := get(s, "k"); kept != (r != nil) || r != nil && r.Born != 2 {
				t.Fatalf("got %v, want the newer one, or none if no tier has it", r)
			}
			if !kept {
				return
			}
			put(t, s, "k", 1, tc.older)
			d.refuses.Store(false)
			if r := get(s, "k"); r == nil || r.Born != 2 {
				t.Fatalf("an older put replaces it: %v", r)
			}
			s.memory.Delete(response.NewKey("k")) // as if evicted
			if r := get(s, "k"); r != nil && r.Born != 2 {
				t.Errorf("the older one comes back when RAM has dropped the newer one: %v", r)
			}
		})
	}
}

// TestAnOlderOneOnDiskIsOfAnotherTime: what the log's restart has killed gives way.
func TestAnOlderOneOnDiskIsOfAnotherTime(t *testing.T) {
	s := newStore(t, 8<<20, newFakeDisk())
	put(t, s, "k", 9, []byte("old"))
	r := storetest.Response(t, "k", 1, 1, []byte("new"))
	r.Generation = 7
	s.Put(r)
	if got := get(s, "k"); got != r {
		t.Error("a response of before the restart keeps its place")
	}
}

func TestAHitInRAMIsOfferedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := newStore(t, 8<<20, d)
		d.refuses.Store(true)
		put(t, s, "k", 1, []byte("x"))
		put(t, s, "not asked for", 1, []byte("x"))
		if n := d.offers.Swap(0); n != 2 {
			t.Fatalf("%d offers at first, want one each", n)
		}
		for range 100 {
			get(s, "k")
			synctest.Wait()
		}
		if n := d.offers.Load(); n != 1 {
			t.Errorf("a hundred hits led to %d offers, want 1", n)
		}
		// A newer one is another response.
		d.refuses.Store(false)
		put(t, s, "k", 2, []byte("y"))
		d.offers.Store(0)
		get(s, "k")
		synctest.Wait()
		if n := d.offers.Load(); n != 0 {
			t.Errorf("what is on disk was offered %d times", n)
		}
	})
}

func TestAnOfferThatFindsNoRoomIsMadeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := newStore(t, 8<<20, d)
		d.refuses.Store(true)
		put(t, s, "k", 1, []byte("x"))
		s.offers.close()
		s.offers = &offers{store: s, keys: make(chan response.Key), quit: make(chan struct{}), done: make(chan struct{})} // nobody takes
		get(s, "k")
		go s.offers.run()
		synctest.Wait()
		d.offers.Store(0)
		get(s, "k")
		synctest.Wait()
		if n := d.offers.Load(); n != 1 {
			t.Errorf("%d offers, want 1", n)
		}
	})
}

func TestDeleteIsOfEveryTier(t *testing.T) {
	d := newFakeDisk()
	s := newStore(t, 8<<20, d)
	key := put(t, s, "k", 1, []byte("x")).Key
	s.Delete(key)
	if s.Has(key) || s.Get(key) != nil || d.Has(key) {
		t.Error("still there")
	}
}

// TestWhatIsDeletedWhileItIsReadStaysDeleted: a reader that began before may give what it
// read, but leaves no copy of it.
func TestWhatIsDeletedWhileItIsReadStaysDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := newStore(t, 8<<20, d)
		key := put(t, s, "k", 1, make([]byte, 100<<10)).Key
		s.memory.Delete(key)
		before := s.stripe(key).changes.Load()
		d.gate = make(chan struct{})
		done := make(chan struct{})
		go func() { s.Get(key); close(done) }()
		synctest.Wait()
		s.Delete(key)
		if s.stripe(key).changes.Load() == before {
			t.Fatal("a change is not noted")
		}
		close(d.gate)
		<-done
		d.gate = nil
		if s.Has(key) || s.Get(key) != nil {
			t.Error("it has come back")
		}
	})
}

// TestWhoComesAfterAPutDoesNotJoinAReadOfBefore: the newer one lies on disk alone, and a
// read of the older one is still under way.
func TestWhoComesAfterAPutDoesNotJoinAReadOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := newStore(t, 8<<20, d)
		put(t, s, "k", 1, make([]byte, smallBody+1))
		gate := make(chan struct{})
		d.gate = gate
		done := make(chan struct{})
		go func() { get(s, "k"); close(done) }()
		synctest.Wait()
		d.gate = nil
		put(t, s, "k", 2, make([]byte, smallBody+1))
		if r := get(s, "k"); r == nil || r.Born != 2 {
			t.Errorf("got %v", r)
		}
		close(gate)
		<-done
	})
}

// TestWhoComesAfterAPutDoesNotJoinAReadOfMeanwhile: likewise, of a read that began while
// the newer one was being written.
func TestWhoComesAfterAPutDoesNotJoinAReadOfMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := newStore(t, 8<<20, d)
		put(t, s, "k", 1, make([]byte, smallBody+1))
		d.offerGate = make(chan struct{})
		written, read := make(chan struct{}), make(chan struct{})
		go func() { put(t, s, "k", 2, make([]byte, smallBody+1)); close(written) }()
		synctest.Wait()
		gate := make(chan struct{})
		d.gate = gate
		go func() { get(s, "k"); close(read) }()
		synctest.Wait()
		d.gate = nil
		close(d.offerGate)
		<-written
		if r := get(s, "k"); r == nil || r.Born != 2 {
			t.Errorf("got %v", r)
		}
		close(gate)
		<-read
	})
}

func TestABodyThatCannotBeReadIsAMiss(t *testing.T) {
	d := newFakeDisk()
	s := newStore(t, 8<<20, d)
	key := put(t, s, "k", 1, make([]byte, 100<<10)).Key
	s.memory.Delete(key)
	d.rotten.Store(true)
	if r := s.Get(key); r != nil {
		t.Errorf("got %v", r)
	}
}

func TestADiskThatFailsLeavesRAMServing(t *testing.T) {
	a, b := newFakeDisk(), newFakeDisk()
	s := newStore(t, 8<<20, a, b)
	held := func() (n int) {
		for i := range 100 {
			if get(s, fmt.Sprint(i)) != nil {
				n++
			}
		}
		return n
	}
	for i := range 100 {
		put(t, s, fmt.Sprint(i), 1, make([]byte, 100))
	}
	a.fails.Store(true)
	if n := held(); n != 100 {
		t.Errorf("%d of 100 responses in RAM are served", n)
	}
	if s.Up(0) || !s.Up(1) {
		t.Error("the first disk is up, or the second is not")
	}
	for i := range 100 {
		put(t, s, fmt.Sprint(i), 2, make([]byte, 100))
		s.memory.Delete(response.NewKey(fmt.Sprint(i)))
	}
	if n := held(); n == 0 || n == 100 {
		t.Errorf("%d of 100 responses are on the disk that is left, want its share", n)
	}
}

// TestShareOfADisk: keys spread by size, and only the share of a new disk moves.
func TestShareOfADisk(t *testing.T) {
	d := newFakeDisk()
	two := []*volume{newVolume("/cache/a", 100, d), newVolume("/cache/b", 300, d)}
	three := append(two[:2:2], newVolume("/cache/c", 400, d))
	count := map[string]int{}
	moved := 0
	const n = 20_000
	for i := range n {
		key := response.NewKey(fmt.Sprint("http://host/", i))
		before, after := (&Store{volumes: two}).home(key), (&Store{volumes: three}).home(key)
		count[before.dir]++
		if before != after {
			moved++
			if after.dir != "/cache/c" {
				t.Fatalf("a key moved from %s to %s, which was there before", before.dir, after.dir)
			}
		}
	}
	if a := float64(count["/cache/a"]) / n; a < 0.24 || a > 0.26 {
		t.Errorf("the disk with a quarter of the size has %.3f of the keys", a)
	}
	if m := float64(moved) / n; m < 0.48 || m > 0.52 {
		t.Errorf("%.3f of the keys moved to a disk with half of the size", m)
	}
}

func TestRAMHitAllocatesNothing(t *testing.T) {
	s := newStore(t, 8<<20, newFakeDisk())
	key := put(t, s, "k", 1, []byte("x")).Key
	if n := testing.AllocsPerRun(1000, func() {
		if s.Get(key) == nil {
			t.Fatal("gone")
		}
	}); n >= 1 { // ristretto's own buffers come from a pool that the collector may empty
		t.Errorf("%v allocations a hit", n)
	}
}

// TestManyAtOnce: whatever happens at the same time, nobody sees another key's body, nor
// a born below one that he has put himself.
func TestManyAtOnce(t *testing.T) {
	a, b := newFakeDisk(), newFakeDisk()
	s := newStore(t, 1<<20, a, b)
	deadline := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for born := command.Seq(1); time.Now().Before(deadline); born++ {
				for i := range 20 {
					key := fmt.Sprint(g, " ", i)
					size := []int{10, 100 << 10, smallBody + 1}[i%3]
					put(t, s, key, born, bytes.Repeat([]byte{byte(g*20 + i)}, size))
					b.refuses.Store(born%3 == 0)
					if r := get(s, key); r != nil && r.Born != born {
						t.Errorf("key %s: born %v after %v was put", key, r.Born, born)
						return
					}
					other := (g + 1) % 4
					if r := get(s, fmt.Sprint(other, " ", i)); r != nil {
						content, err := readAll(r.Body)
						if err != nil || len(content) != size || content[size-1] != byte(other*20+i) {
							t.Errorf("another key's body, or none: %v", err)
							return
						}
					}
				}
			}
		})
	}
	wg.Wait()
}

// openDisks opens a store on real directories of a size each.
func openDisks(t *testing.T, ram, size int64, dirs ...string) *Store {
	t.Helper()
	cfg := Config{Memory: ram, Log: slog.New(slog.DiscardHandler)}
	segment := int64(0)
	if size < 64<<20 {
		segment = 2 << 20
	}
	for _, dir := range dirs {
		cfg.Disks = append(cfg.Disks, disk.Config{Dir: dir, Size: size, SegmentSize: segment})
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformanceOnDisks(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openDisks(t, 1<<20, 12<<20, t.TempDir(), t.TempDir()) })
}

// TestARestartIsWarm: with its disks the store comes back with what it held.
func TestARestartIsWarm(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	s := openDisks(t, 8<<20, 64<<20, a, b)
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, []int{0, 100, 100 << 10, 500 << 10}[i%4]) }
	const n = 60
	for i := range n {
		put(t, s, fmt.Sprint(i), 1, body(i))
	}
	s.Close()
	s = openDisks(t, 8<<20, 64<<20, a, b)
	defer s.Close()
	for range 2 { // from disk, and then what RAM has of it
		for i := range n {
			r := get(s, fmt.Sprint(i))
			if r == nil {
				t.Fatalf("response %d is gone", i)
			}
			if content, err := readAll(r.Body); err != nil || !bytes.Equal(content, body(i)) {
				t.Fatalf("response %d: %d bytes, %v", i, len(content), err)
			}
		}
	}
	if stats := s.Stats(); stats.MemoryHits < n/2 || stats.Disks[0].Served == 0 || stats.Disks[1].Served == 0 {
		t.Errorf("%+v: want hits of both disks, and of RAM after that", stats)
	}
}

// TestDisksAreReleasedUnderLoad: another store opens them at once, and finds what was put
// before. Those who read and put meanwhile get the right bytes or a miss.
func TestDisksAreReleasedUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s := openDisks(t, 8<<20, 64<<20, dir)
	defer s.Close()
	const n = 40
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, []int{10, 100 << 10, 600 << 10}[i%3]) }
	for i := range n {
		put(t, s, fmt.Sprint(i), 1, body(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var users sync.WaitGroup
	for u := range 4 {
		users.Go(func() {
			for i := u; ctx.Err() == nil; i++ {
				r := get(s, fmt.Sprint(i%n))
				if r == nil {
					s.Put(storetest.Response(t, fmt.Sprint(i%n), 1, 1, body(i%n)))
					continue
				}
				content, err := readAll(r.Body)
				if err == nil && !bytes.Equal(content, body(i%n)) {
					t.Errorf("response %d has %d other bytes", i%n, len(content))
					return
				}
			}
		})
	}
	defer users.Wait()
	defer cancel()
	s.ReleaseDisks()
	next := openDisks(t, 8<<20, 64<<20, dir)
	defer next.Close()
	for i := range n {
		r := get(next, fmt.Sprint(i))
		if r == nil {
			t.Fatalf("response %d is gone", i)
		}
		if content, err := readAll(r.Body); err != nil || !bytes.Equal(content, body(i)) {
			t.Fatalf("response %d: %d bytes, %v", i, len(content), err)
		}
	}
}

// TestOneThatDoesNotOpenOpensNone: the first directory is free again when the second
// turns out to hold something else.
func TestOneThatDoesNotOpenOpensNone(t *testing.T) {
	good, foreign := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "letter.txt"), []byte("dear"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Memory: 1 << 20, Log: slog.New(slog.DiscardHandler), Disks: []disk.Config{{Dir: good, Size: 64 << 20}, {Dir: foreign, Size: 64 << 20}}}
	if _, err := Open(cfg); !errors.Is(err, disk.ErrForeign) {
		t.Fatalf("got %v, want disk.ErrForeign", err)
	}
	openDisks(t, 1<<20, 64<<20, good).Close()
}

// TestARequestThatOutlastsTheDrain: a hit in RAM while the offers end, or after that, is a
// hit like any other.
func TestARequestThatOutlastsTheDrain(t *testing.T) {
	s := newStore(t, 8<<20, newFakeDisk())
	put(t, s, "a", 1, []byte("body"))
	o := newOffers(s)
	o.close()
	for range 2 * offerQueue {
		o.add(response.NewKey("a"))
	}
}
