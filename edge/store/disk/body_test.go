package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/storetest"
	"freshet/internal/command"
	"freshet/internal/files/filestest"
)

// overwrite evicts everything: it puts new keys, as often as admission wants them, until
// each of the old ones is gone.
func overwrite(t *testing.T, s *Store, gone ...string) {
	t.Helper()
	for i := range 5000 {
		key := fmt.Sprint("filler ", i)
		put(t, s, key, 1, 20<<10)
		put(t, s, key, 2, 20<<10)
		left := false
		for _, g := range gone {
			left = left || s.Has(response.NewKey(g))
		}
		if !left {
			return
		}
	}
	t.Fatalf("%v are not evicted: %+v", gone, s.Stats())
}

// TestAnOpenReaderOutlivesEviction: it gives the right bytes after the segment was removed,
// and until it is closed the room counts as used.
func TestAnOpenReaderOutlivesEviction(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		defer s.Close()
		const n = 100 << 10
		put(t, s, "a", 1, n)
		from, err := s.Get(response.NewKey("a")).Body.Open(1000, n-1000)
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, s, "a")
		if st := s.Stats(); st.Used > cfg.Size || s.pinned.Load() != s.segmentSize {
			t.Errorf("%d pinned: %+v", s.pinned.Load(), st)
		}
		used := s.Stats().Used
		if got := readAll(t, from); !bytes.Equal(got, content("a", 1, n)[1000:]) {
			t.Error("the reader gave other bytes")
		}
		if now := s.Stats().Used; now != used-s.segmentSize && s.pinned.Load() != 0 { // another may be made meanwhile
			t.Errorf("%d used before the reader was closed, %d after it", used, now)
		}
	})
}

// TestReadersThatDontEnd: readers that pin every segment that is evicted cannot make the
// files grow; puts are refused until they are gone, and then go on.
func TestReadersThatDontEnd(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		defer s.Close()
		const n = 100 << 10
		var readers []io.ReadCloser
		type version struct {
			key  string
			born command.Seq
		}
		var of []version
		for i := range 300 {
			key := fmt.Sprint(i)
			put(t, s, key, 1, n)
			put(t, s, key, 2, n)
			if r := s.Get(response.NewKey(key)); r != nil {
				if from, err := r.Body.Open(0, n); err == nil {
					readers, of = append(readers, from), append(of, version{key, r.Born})
				}
			}
			if used := s.Stats().Used; used > cfg.Size {
				t.Fatalf("%d used, %d allowed", used, cfg.Size)
			}
		}
		if st := s.Stats(); st.Refused == 0 || st.Entries == 0 || !st.Up {
			t.Errorf("%+v", st)
		}
		for i, from := range readers {
			if !bytes.Equal(readAll(t, from), content(of[i].key, of[i].born, n)) {
				t.Errorf("%s: the reader gave other bytes", of[i].key)
			}
		}
		put(t, s, "later", 1, n)
		deadline := time.Now().Add(10 * time.Second)
		for !put(t, s, "later", 2, n) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing is taken any more: %+v", s.Stats())
			}
			time.Sleep(time.Millisecond)
		}
		if used := s.Stats().Used; used > cfg.Size {
			t.Errorf("%d used, %d allowed", used, cfg.Size)
		}
	})
}

// TestTheKernelCopies: a writer that is an io.ReaderFrom is handed the open file, limited,
// at the right place, many readers at once, evicted or not.
func TestTheKernelCopies(t *testing.T) {
	cfg := Config{Dir: t.TempDir() + "/cache", Size: 8 << 20, SegmentSize: 256 << 10, Log: testLog(t)}
	s := mustOpen(t, cfg)
	defer s.Close()
	const n = 150 << 10
	put(t, s, "a", 1, n)
	want := content("a", 1, n)
	body := s.Get(response.NewKey("a")).Body
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				off := int64(g*1000 + i)
				from, err := body.Open(off, n-off)
				if err != nil {
					t.Error(err)
					return
				}
				var to handed
				if _, err := from.(io.WriterTo).WriteTo(&to); err != nil || !bytes.Equal(to.Bytes(), want[off:]) {
					t.Errorf("%d bytes, %v", to.Len(), err)
				}
				if !to.file {
					t.Error("the file was not handed over")
				}
				from.Close()
			}
		})
	}
	wg.Wait()

	from, err := body.Open(5, n-5)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, s, "a")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	wg.Go(func() {
		c, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if sent, err := from.(io.WriterTo).WriteTo(c); sent != n-5 || err != nil {
			t.Errorf("%d bytes, %v", sent, err)
		}
	})
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, c); !bytes.Equal(got, want[5:]) {
		t.Errorf("%d bytes that were sent are not right", len(got))
	}
	wg.Wait()
	from.Close()
	if _, err := body.Open(0, n); err == nil {
		t.Error("a body that was evicted can be opened")
	}
}

// handed is a writer that sees what it is handed.
type handed struct {
	bytes.Buffer
	file bool
}

func (h *handed) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		_, h.file = l.R.(*os.File)
	}
	return h.Buffer.ReadFrom(r)
}

// TestWriterThatStops: an error of the client is given back and is no fault of the disk.
func TestWriterThatStops(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		defer s.Close()
		put(t, s, "a", 1, 200<<10)
		stopped := errors.New("client went away")
		for _, w := range []io.Writer{stopping{stopped}, stoppingReaderFrom{stopping{stopped}}} {
			from, err := s.Get(response.NewKey("a")).Body.Open(0, 200<<10)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := from.(io.WriterTo).WriteTo(w); !errors.Is(err, stopped) {
				t.Errorf("got %v", err)
			}
			from.Close()
		}
		if !s.Stats().Up || check(t, s, "a") != 1 {
			t.Error("the store has taken a client's error for its own")
		}
	})
}

type stopping struct{ err error }

func (w stopping) Write(p []byte) (int, error) { return len(p) / 2, w.err }

type stoppingReaderFrom struct{ stopping }

func (w stoppingReaderFrom) ReadFrom(r io.Reader) (int64, error) {
	n, _ := io.CopyN(io.Discard, r, 100)
	return n, w.err
}

// TestFirstReadVerifies: a body that rotted while the store was closed is never given, not
// a byte of it; one that is right is verified once.
func TestFirstReadVerifies(t *testing.T) {
	fsys := filestest.New()
	cfg := Config{Dir: "/cache", FS: fsys, Size: 64 << 20, SegmentSize: 12 << 20, Log: testLog(t)}
	sizes := map[string]int{"small": 10 << 10, "large": 300 << 10, "huge": 3 << 20}
	s := mustOpen(t, cfg)
	at := map[string]int64{}
	for key, n := range sizes {
		put(t, s, key, 1, n)
		put(t, s, "rotten "+key, 1, n)
		slot, _ := s.index.Get(response.NewKey("rotten " + key).Sum.Lo)
		at[key] = int64(slot.Offset) + int64(slot.Length) - 100
		if slot.Segment != 1 {
			t.Fatalf("%s lies in segment %d", key, slot.Segment)
		}
	}
	s.Close()
	for _, off := range at {
		if err := fsys.Damage("/cache/00000001.segment", off, 1); err != nil {
			t.Fatal(err)
		}
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	for key := range sizes {
		if got := check(t, s, key); got != 1 {
			t.Errorf("%s is not there", key)
		}
		rotten := response.NewKey("rotten " + key)
		if r := s.Get(rotten); r != nil {
			if from, err := r.Body.Open(0, 10); err == nil {
				t.Errorf("%s: opened %v", key, from)
			}
			if from, err := r.Body.Open(0, 10); err == nil {
				t.Errorf("%s: opened %v at the second try", key, from)
			}
		}
		if s.Has(rotten) || s.Get(rotten) != nil {
			t.Errorf("rotten %s is still there", key)
		}
	}
	if st := s.Stats(); st.Damaged != 3 || !st.Up || st.Entries != 3 {
		t.Errorf("%+v", st)
	}
	from, err := s.Get(response.NewKey("large")).Body.Open(0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if from.(*section).memory != nil {
		t.Error("a body is verified twice")
	}
}

// TestABodyFollowsItsRecord: one that was looked up before its record was rewritten can be
// opened after that.
func TestABodyFollowsItsRecord(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		cfg.Size, cfg.SegmentSize = 10<<20, 1<<20
		s := mustOpen(t, cfg)
		defer s.Close()
		const n = 100 << 10
		put(t, s, "a", 1, n)
		r := s.Get(response.NewKey("a"))
		first, _ := s.index.Get(r.Key.Sum.Lo)
		g := s.table()[first.Segment]
		s.mu.Lock()
		entry := g.entries[0]
		s.mu.Unlock()
		for i := 0; s.mu.cold == g; i++ { // nobody else puts
			put(t, s, fmt.Sprint(i), 1, 20<<10)
		}
		ev := &eviction{Store: s, victim: g}
		if kept, err := ev.rewrite(entry, first); !kept || err != nil {
			t.Fatal(kept, err)
		}
		if err := s.removeSegment(g); err != nil {
			t.Fatal(err)
		}
		got, err := storetest.Content(r)
		if err != nil || !bytes.Equal(got, content("a", 1, n)) {
			t.Errorf("%d bytes, %v; %+v", len(got), err, s.Stats())
		}
	})
}

// TestScrubKeepsItsRate, and gets around.
func TestScrubKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Dir: "/cache", FS: filestest.New(), Size: 8 << 20, SegmentSize: 256 << 10, ScrubRate: 100_000}
		s := mustOpen(t, cfg)
		for i := range 100 {
			put(t, s, fmt.Sprint(i), 1, 30<<10)
		}
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if n := s.Stats().ScrubbedBytes; n < 9_000_000 || n > 10_100_000 {
			t.Errorf("%d bytes in 100 s", n)
		}
		s.Close()
	})
}

// TestWrittenIsSynced within the time that the configuration says, and not when nothing
// was written.
func TestWrittenIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, Config{Dir: "/cache", FS: filestest.New(), Size: 8 << 20, SegmentSize: 256 << 10, SyncEvery: 3 * time.Second})
		synctest.Wait()
		put(t, s, "a", 1, 1000)
		s.mu.Lock()
		g := s.mu.cold
		s.mu.Unlock()
		if !g.dirty.Load() {
			t.Fatal("what was just written counts as durable")
		}
		time.Sleep(3*time.Second + time.Millisecond)
		synctest.Wait()
		if g.dirty.Load() {
			t.Error("not synced")
		}
		s.Close()
	})
}
