package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/response"
	"freshet/edge/store/disk/record"
	"freshet/internal/files/filestest"
)

// TestWhatIsNotOursIsLeftAlone: a directory that cannot be opened is refused by a line
// that names what is wrong, and not a byte of it changes.
func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	super := record.Superblock{Cache: 7, SegmentSize: 64 << 10, Created: time.Unix(1, 0)}.Append(nil)
	damaged := append([]byte(nil), super...)
	damaged[34] ^= 1
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  error
		says  string
	}{
		{"another's files", map[string][]byte{"photo.jpg": []byte("x")}, ErrForeign, "photo.jpg"},
		{"a file of that name", map[string][]byte{superblockName: []byte("shopping list")}, ErrForeign, superblockName},
		{"an empty superblock", map[string][]byte{superblockName: nil}, nil, superblockName},
		{"a damaged superblock", map[string][]byte{superblockName: damaged}, ErrDamaged, superblockName},
		{"segments alone", map[string][]byte{"00000001.segment": []byte("x")}, ErrDamaged, superblockName},
		{"a segment of another cache", map[string][]byte{
			superblockName: super,
			"00000003.segment": record.SegmentHeader{
				Place: record.Place{Cache: 8, Segment: 3}, Size: 64 << 10,
			}.Append(nil),
		}, ErrForeign, "00000003.segment"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, b := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(Config{Dir: dir, Size: 8 << 20})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v", err)
			}
			t.Log(err)
			for name, b := range test.files {
				if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(now) != string(b) {
					t.Errorf("%s has changed: %v", name, err)
				}
			}
		})
	}
}

func TestAnEmptyMountIsTaken(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, Config{Dir: dir, Size: 32 << 20})
	s.Close()
}

func TestOneProcessAtATime(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Size: 32 << 20}
	s := mustOpen(t, cfg)
	if _, err := Open(cfg); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	s.Close()
	mustOpen(t, cfg).Close()
}

func TestTooSmall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if _, err := Open(Config{Dir: dir, Size: 100_000}); !errors.Is(err, ErrTooSmall) {
		t.Errorf("got %v", err)
	}
}

// TestSlicesFillSegments: segments of the default size are full of slices, of a small store
// as of a large one.
func TestSlicesFillSegments(t *testing.T) {
	for _, size := range []int64{32 << 20, 80 << 20} {
		s := mustOpen(t, Config{Dir: "/cache", FS: filestest.New(), Size: size})
		const slices = 24
		for i := range slices {
			if !put(t, s, fmt.Sprint(i), 1, response.SliceSize) {
				t.Fatalf("slice %d is refused", i)
			}
		}
		s.Close() // what is empty is gone then
		s = mustOpen(t, Config{Dir: "/cache", FS: s.fs, Size: size})
		st := s.Stats()
		if st.Entries != slices || st.Bytes < st.Used*98/100 {
			t.Errorf("a store of %d bytes, segments of %d: %d slices of %d bytes take %d", size, s.segmentSize, st.Entries, st.Bytes, st.Used)
		}
		s.Close()
	}
}

// TestTheSegmentSizeStays what the cache was made with; a response of a slice fits into
// every default.
func TestTheSegmentSizeStays(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Size: 32 << 20, SegmentSize: 1 << 20}
	mustOpen(t, cfg).Close()
	cfg.SegmentSize = 2 << 20
	s := mustOpen(t, cfg)
	defer s.Close()
	if s.segmentSize != 1<<20 {
		t.Errorf("segments of %d bytes", s.segmentSize)
	}
	for size := int64(8 << 20); size < 1<<44; size *= 2 {
		n := defaultSegmentSize(size)
		if n < record.SegmentHeaderSize+record.PrefixSize+record.MaxHead+response.SliceSize+record.FooterSize(1) || n > record.MaxSegmentSize || size/n < minSegments {
			t.Errorf("a store of %d bytes: segments of %d", size, n)
		}
	}
}

// TestWhatIsLeftOfAnUnfinishedStart is no hindrance: the superblock that was not renamed
// yet, a segment without a header, a file that is too short or too long.
func TestWhatIsLeftOfAnUnfinishedStart(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(newSuperblock, []byte("half"))
	cfg := Config{Dir: dir, Size: 4 << 20, SegmentSize: 128 << 10, Log: testLog(t)}
	s := mustOpen(t, cfg)
	put(t, s, "a", 1, 1000)
	s.Close()
	write("00000090.segment", nil)
	write("00000091.segment", make([]byte, 128<<10))
	if err := os.Truncate(filepath.Join(dir, "00000001.segment"), 8<<10); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	if check(t, s, "a") != 1 {
		t.Error("a is lost")
	}
	s.Close()
	if err := os.Truncate(filepath.Join(dir, "00000001.segment"), 1<<20); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	put(t, s, "b", 1, 1000) // when this is there the rest is prepared
	if check(t, s, "a") != 1 || check(t, s, "b") != 1 {
		t.Error("a is lost")
	}
	if n := onDisk(t, dir); n > cfg.Size {
		t.Errorf("%d bytes on disk", n)
	}
}

// TestTooManyOpenFiles of the process are no fault of the disk: the store waits for them
// to become fewer.
func TestTooManyOpenFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := filestest.New()
		s := mustOpen(t, Config{Dir: "/cache", FS: fsys, Size: 8 << 20, SegmentSize: 128 << 10, Log: testLog(t)})
		defer s.Close()
		synctest.Wait()
		fsys.Inject(filestest.Fault{Op: filestest.Create, N: 1, Err: syscall.EMFILE, Stay: true})
		fsys.Inject(filestest.Fault{Op: filestest.SyncDir, N: 1, Err: syscall.ENFILE, Stay: true})
		refused := 0
		for i := range 30 {
			if !put(t, s, fmt.Sprint(i), 1, 20<<10) {
				refused++
			}
		}
		if refused == 0 || fsys.Struck() == 0 {
			t.Fatalf("%d refused, %d faults", refused, fsys.Struck())
		}
		fsys.Heal()
		time.Sleep(time.Second)
		if st := s.Stats(); !st.Up || !put(t, s, "after", 1, 20<<10) || check(t, s, "0") != 1 {
			t.Errorf("%+v", st)
		}
	})
}
