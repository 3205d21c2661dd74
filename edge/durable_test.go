package edge

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/edge/store/storetest"
	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/files"
	"freshet/internal/files/filestest"
	"freshet/internal/node"
)

// TestDiskSizeIsExact fills the store and the purge marks of one directory to their
// limits, several times over and through restarts. What all files there take, also those
// that are removed and still open, never exceeds the size.
func TestDiskSizeIsExact(t *testing.T) {
	t.Parallel()
	const size = 16<<20 + 4<<10 // all of it would go into segments, were there no marks
	// In RAM the layer itself counts, at every single operation; on the OS what lies in
	// the directory is added up when all is closed.
	memory, dir := filestest.New(), filepath.Join(t.TempDir(), "cache")
	for name, on := range map[string]struct {
		files files.FS
		dir   string
		used  func(open bool) int64
	}{
		"RAM": {memory, "/cache", func(bool) int64 { return memory.Peak() }},
		"OS": {files.OS, dir, func(open bool) int64 {
			if open {
				return 0
			}
			return bytesIn(t, dir)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			file := &node.File{Cache: node.Cache{Disk: []node.Disk{{Dir: on.dir, Size: size}}}}
			rng := rand.New(rand.NewPCG(3, 5))
			var most int64
			for range 3 {
				k, err := keep(file, on.files)
				if err != nil {
					t.Fatal(err)
				}
				k.disks[0].Log = slog.New(slog.NewTextHandler(t.Output(), nil))
				k.disks[0].SegmentSize = 1 << 20
				store, err := disk.Open(k.disks[0])
				if err != nil {
					t.Fatal(err)
				}
				marks, state, err := journal.Open(k.marks)
				if err != nil {
					t.Fatal(err)
				}
				table := invalidate.Open(state, marks)
				if table.Clock().Log == 0 {
					if err := table.Restart(command.Clock{Log: 7, Seq: command.FirstOf(1)}); err != nil {
						t.Fatal(err)
					}
				}
				check := func(open bool) {
					used := on.used(open)
					if most = max(most, used); used > size {
						t.Fatalf("%d bytes of %d", used, size)
					}
				}
				for step := range 150 {
					key := fmt.Sprint("/", rng.IntN(400))
					store.Put(storetest.Response(t, key, 7, command.Seq(step), make([]byte, 100_000+rng.IntN(300_000))))
					check(true)
					scopes := make([]response.ScopeHash, 300)
					for i := range scopes {
						scopes[i] = response.ScopeHash(rng.Uint64())
					}
					table.Apply(table.Clock().Seq+1, invalidate.Effect{Scopes: scopes})
					check(true)
					for _, scope := range scopes[:50] {
						table.Touch(scope)
					}
					check(true)
					if err := table.Commit(); err != nil {
						t.Fatal(err)
					}
					if step%8 == 0 {
						table.Tend()
					}
					check(true)
				}
				stats := store.Stats()
				if !stats.Up || stats.Evicted == 0 || marks.Err() != nil {
					t.Errorf("store %+v, marks %v", stats, marks.Err())
				}
				if table.Fence(nil).Floor <= command.FirstOf(1) || table.Touched(nil) == 0 {
					t.Errorf("floor %v, %d: the marks were not at their limit", table.Fence(nil).Floor, table.Touched(nil))
				}
				store.Close()
				if err := marks.Close(); err != nil {
					t.Fatal(err)
				}
				check(false)
			}
			if most < size*3/4 {
				t.Errorf("at most %d bytes of %d: the test shows nothing", most, size)
			}
			t.Logf("at most %d bytes of %d", most, size)
		})
	}
}

// bytesIn is what the files in a directory take.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMarksAreCountedWhereTheyLie: of the disk that has them its share is theirs, of no
// other, and of none where there is a data directory for them.
func TestMarksAreCountedWhereTheyLie(t *testing.T) {
	const first, second = 64 << 20, 4 << 30
	for name, test := range map[string]struct {
		data  string
		found string // a journal is there
		sizes []int64
		bound int64
	}{
		"new":                          {"", "", []int64{first - 2<<20, second}, 2 << 20},
		"where they were":              {"", "b", []int64{first, second - 96<<20}, 96 << 20},
		"new with data":                {"data", "", []int64{first, second}, 0},
		"in data":                      {"data", "data", []int64{first, second}, 0},
		"on a disk before data came":   {"data", "b", []int64{first, second - 96<<20}, 96 << 20},
		"on a first disk, before data": {"data", "a", []int64{first - 2<<20, second}, 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			if test.found != "" {
				if err := os.MkdirAll(in(test.found), 0o700); err != nil {
					t.Fatal(err)
				}
				j, _, err := journal.Open(journal.Config{Dirs: []string{in(test.found)}})
				if err != nil {
					t.Fatal(err)
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			file := &node.File{Cache: node.Cache{Disk: []node.Disk{
				{Dir: in("a"), Size: document.Size(first)}, {Dir: in("b"), Size: document.Size(second)},
			}}}
			if test.data != "" {
				file.Data = in(test.data)
			}
			k, err := keep(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			var sizes []int64
			for _, d := range k.disks {
				sizes = append(sizes, d.Size)
			}
			if !reflect.DeepEqual(sizes, test.sizes) || k.marks.Bound != test.bound {
				t.Errorf("stores of %d, marks %d; want %d, %d", sizes, k.marks.Bound, test.sizes, test.bound)
			}
		})
	}
}

// TestMarksBound: no disk that a node file may name is too small for its marks.
func TestMarksBound(t *testing.T) {
	for size, want := range map[int64]int64{16 << 20: 1 << 20, 64 << 20: 2 << 20, 1 << 30: 32 << 20, 3 << 30: 96 << 20, 1 << 42: 96 << 20} {
		if got := marksBound(size); got != want || got < journal.MinBound {
			t.Errorf("of %d bytes %d, want %d", size, got, want)
		}
	}
}
