package disk

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/edge/store/storetest"
	"freshet/internal/command"
	"freshet/internal/files"
	"freshet/internal/files/filestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// layers are the file layers that tests run over.
var layers = map[string]func(t *testing.T) (files.FS, string){
	"OS":  func(t *testing.T) (files.FS, string) { return files.OS, filepath.Join(t.TempDir(), "cache") },
	"RAM": func(t *testing.T) (files.FS, string) { return filestest.New(), "/cache" },
}

func onEachLayer(t *testing.T, test func(t *testing.T, cfg Config)) {
	for name, layer := range layers {
		t.Run(name, func(t *testing.T) {
			fsys, dir := layer(t)
			test(t, Config{Dir: dir, FS: fsys, Size: 8 << 20, SegmentSize: 256 << 10, Log: testLog(t)})
		})
	}
}

// testLog shows the log of a test that fails.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// content is what the tests store under a key: it tells whose it is at every byte.
func content(key string, born command.Seq, n int) []byte {
	line := fmt.Appendf(nil, "<%s %d>", key, born)
	return bytes.Repeat(line, n/len(line)+1)[:n]
}

func put(t testing.TB, s *Store, key string, born command.Seq, n int) bool {
	return s.Offer(storetest.Response(t, key, 1, born, content(key, born, n)))
}

// check gets the key and compares the body, if there is one, with what was put; it
// reports which born it is, 0 for a miss.
func check(t testing.TB, s *Store, key string) command.Seq {
	t.Helper()
	r := s.Get(response.NewKey(key))
	if r == nil {
		return 0
	}
	b, err := storetest.Content(r)
	if err != nil {
		return 0
	}
	if want := content(key, r.Born, len(b)); !bytes.Equal(b, want) {
		t.Fatalf("key %s born %d: body of %d bytes is not what was put", key, r.Born, len(b))
	}
	return r.Born
}

func TestConformance(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		i := 0
		storetest.Run(t, func(t *testing.T) store.Store {
			i++
			c := cfg
			c.Dir, c.Log = fmt.Sprint(cfg.Dir, i), testLog(t)
			return mustOpen(t, c)
		})
	})
}

func TestConformanceWithSlices(t *testing.T) {
	dir := t.TempDir()
	i := 0
	storetest.Run(t, func(t *testing.T) store.Store {
		i++
		return mustOpen(t, Config{Dir: filepath.Join(dir, fmt.Sprint(i)), Size: 32 << 20, Log: testLog(t)})
	})
}

func TestReopen(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		s := mustOpen(t, cfg)
		for i := range 300 {
			if !put(t, s, fmt.Sprint(i), 1, 1000+i*10) {
				t.Fatalf("%d is not kept", i)
			}
		}
		for i := 0; i < 300; i += 3 {
			put(t, s, fmt.Sprint(i), 2, 40<<10)
		}
		for i := 1; i < 300; i += 3 {
			s.Delete(response.NewKey(fmt.Sprint(i)))
		}
		before := s.Stats()
		s.Close()
		s = mustOpen(t, cfg)
		defer s.Close()
		for i := range 300 {
			want := command.Seq([]int{2, 0, 1}[i%3])
			if got := check(t, s, fmt.Sprint(i)); got != want {
				t.Fatalf("%d after the restart: born %d, want %d", i, got, want)
			}
		}
		if after := s.Stats(); after.Entries != before.Entries || after.Bytes != before.Bytes {
			t.Errorf("%d responses of %d bytes before the restart, %d of %d after it", before.Entries, before.Bytes, after.Entries, after.Bytes)
		}
	})
}

// TestSizeIsExact: whatever is put, deleted and read, the files never take more than the
// size, and what the store says that they take is what they take.
func TestSizeIsExact(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	cfg := Config{Dir: dir, Size: 8<<20 + 12345, SegmentSize: 256 << 10, Log: testLog(t)}
	for round := range 3 {
		s := mustOpen(t, cfg)
		for i := range 400 {
			put(t, s, fmt.Sprint(i%200), command.Seq(round*1000+i), 30<<10)
			check(t, s, fmt.Sprint(i%50))
			if used := onDisk(t, dir); used > cfg.Size {
				t.Fatalf("%d bytes on disk, %d allowed", used, cfg.Size)
			}
		}
		if st := s.Stats(); st.Used > cfg.Size || !st.Up {
			t.Fatalf("%+v", st)
		}
		s.Close()
		if used := onDisk(t, dir); used > cfg.Size {
			t.Fatalf("%d bytes on disk, %d allowed", used, cfg.Size)
		}
	}
}

// onDisk is the size of all files of a directory. One that vanishes meanwhile counts for
// nothing.
func onDisk(t testing.TB, dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// TestManyAtOnce: puts, deletes, reads of bodies and evictions of the same keys at once
// never give one key's body for another's, nor a mixed one, and a restart doesn't either.
func TestManyAtOnce(t *testing.T) {
	onEachLayer(t, func(t *testing.T, cfg Config) {
		cfg.Size, cfg.ScrubRate, cfg.SyncEvery = 4<<20, 64<<20, 5*time.Millisecond
		for range 3 {
			s := mustOpen(t, cfg)
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(g), 0))
					for range 400 {
						key := fmt.Sprint(r.IntN(120))
						switch r.IntN(8) {
						case 0, 1, 2:
							put(t, s, key, command.Seq(r.IntN(1000)+1), r.IntN(100<<10))
						case 3:
							s.Delete(response.NewKey(key))
						default:
							check(t, s, key)
						}
					}
				})
			}
			wg.Wait()
			if st := s.Stats(); !st.Up || st.Damaged > 0 || st.Evicted == 0 || st.Used > cfg.Size {
				t.Errorf("%+v", st)
			}
			s.Close()
		}
	})
}

func readAll(t testing.TB, r io.ReadCloser) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}
