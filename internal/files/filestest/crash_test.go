package filestest

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"freshet/internal/files"
)

// want is what a test goes on with only if it works.
func want(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func create(t *testing.T, layer *FS, name string) files.File {
	t.Helper()
	f, err := layer.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	want(t, err)
	return f
}

func write(t *testing.T, f files.File, p []byte, off int64) {
	t.Helper()
	_, err := f.WriteAt(p, off)
	want(t, err)
}

// read is the whole of a file, nil if there is none of that name.
func read(t *testing.T, layer *FS, name string) []byte {
	t.Helper()
	f, err := layer.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	size, err := f.Size()
	want(t, err)
	p := make([]byte, size)
	if size > 0 {
		_, err = f.ReadAt(p, 0)
		want(t, err)
	}
	want(t, f.Close())
	return p
}

// outcomes is how often each description of the state after a power cut came up.
func outcomes(layer *FS, point int, describe func(*FS) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(3000) {
		seen[describe(layer.CrashState(point, seed))]++
	}
	return seen
}

// expect wants these outcomes and no others, each more than once.
func expect(t *testing.T, seen map[string]int, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if seen[w] < 2 {
			t.Errorf("%q came up %d times", w, seen[w])
		}
	}
	if len(seen) != len(wants) {
		t.Errorf("%d outcomes, not %d: %v", len(seen), len(wants), seen)
	}
}

// recorded is an empty layer with a journal.
func recorded(at *clock) *FS {
	layer := New()
	layer.Record(at.now)
	return layer
}

// What was synced before the cut is there in every state, whatever was done after it;
// what was not is lost, kept, torn and reordered.
func TestWritesAreLostTornAndReordered(t *testing.T) {
	layer := recorded(&clock{})
	f := create(t, layer, "f")
	write(t, f, bytes.Repeat([]byte("a"), 3*sector), 0)
	want(t, f.Sync(), layer.SyncDir("."))
	write(t, f, bytes.Repeat([]byte("b"), 2*sector), 0)
	write(t, f, bytes.Repeat([]byte("c"), 2*sector), sector)
	describe := func(state *FS) string {
		all, sum := read(t, state, "f"), ""
		for i := range len(all) / sector {
			one := all[i*sector : (i+1)*sector]
			if !bytes.Equal(one, bytes.Repeat(one[:1], sector)) {
				return "less than a sector"
			}
			sum += string(one[:1])
		}
		return sum
	}
	expect(t, outcomes(layer, layer.Points(), describe),
		"aaa", "baa", "aba", "bba", "aca", "bca", "aac", "bac", "abc", "bbc", "acc", "bcc")
	want(t, f.Sync())
	expect(t, outcomes(layer, layer.Points(), describe), "bcc")
	expect(t, outcomes(layer, layer.Points()-2, describe), "aaa", "baa", "aba", "bba")
}

// Two writes to one sector are never there in the wrong order: the page cache had both.
func TestSectorsAreWrittenWhole(t *testing.T) {
	layer := recorded(&clock{})
	f := create(t, layer, "f")
	write(t, f, []byte("----"), 0)
	want(t, f.Sync(), layer.SyncDir("."))
	write(t, f, []byte("12"), 0)
	write(t, f, []byte("34"), 2)
	expect(t, outcomes(layer, layer.Points(), func(state *FS) string { return string(read(t, state, "f")) }),
		"----", "12--", "1234")
}

// A size may be there without the bytes, and bytes without the size.
func TestSizesAreLost(t *testing.T) {
	layer := recorded(&clock{})
	f := create(t, layer, "f")
	want(t, layer.SyncDir("."), f.Allocate(4*sector))
	write(t, f, []byte("x"), 5*sector)
	describe := func(state *FS) string {
		all := read(t, state, "f")
		return fmt.Sprint(len(all), bytes.Contains(all, []byte("x")))
	}
	expect(t, outcomes(layer, layer.Points(), describe), "0 false", "2048 false", "2561 false", "2561 true")
	want(t, f.Sync(), f.Truncate(sector))
	expect(t, outcomes(layer, layer.Points(), describe), "512 false", "2561 true")
}

// Names come and go in any order until their directory is synced.
func TestNamesAreLost(t *testing.T) {
	layer := recorded(&clock{})
	describe := func(state *FS) (sum string) {
		list, err := state.ReadDir(".")
		want(t, err)
		for _, e := range list {
			sum += e.Name() + string(read(t, state, e.Name())) + " "
		}
		return sum
	}
	for _, name := range []string{"a", "b"} {
		f := create(t, layer, name)
		write(t, f, []byte("-"+name), 0)
		want(t, f.Sync(), f.Close())
	}
	expect(t, outcomes(layer, layer.Points(), describe), "", "a-a ", "b-b ", "a-a b-b ")
	want(t, layer.SyncDir("."))
	expect(t, outcomes(layer, layer.Points(), describe), "a-a b-b ")
	want(t, layer.Rename("a", "b"), layer.Remove("b"))
	expect(t, outcomes(layer, layer.Points(), describe), "a-a b-b ", "b-a ", "a-a ", "")
	want(t, layer.SyncDir("."))
	expect(t, outcomes(layer, layer.Points(), describe), "")
}

// What a failed sync should have written may be lost although a later one succeeds.
func TestFailedSyncLosesForGood(t *testing.T) {
	layer := recorded(&clock{})
	lost := 0
	for i := range 64 {
		f := create(t, layer, fmt.Sprint(i))
		write(t, f, []byte("x"), 0)
		layer.Inject(Fault{Op: Sync, N: 1, Err: syscall.EIO})
		if err := f.Sync(); err == nil {
			t.Fatal("the sync worked")
		}
		write(t, f, []byte("y"), sector)
		want(t, f.Sync(), layer.SyncDir("."))
		all := read(t, layer.CrashState(layer.Points(), 1), fmt.Sprint(i))
		if len(all) != sector+1 || all[sector] != 'y' {
			t.Fatalf("the later write is not there: %d bytes", len(all))
		}
		if all[0] == 0 {
			lost++
		}
	}
	if lost == 0 || lost == 64 {
		t.Errorf("lost %d of 64", lost)
	}
}

// A file that grew may show what a removed one held, but never after it was synced.
func TestGrownFilesShowOldBytes(t *testing.T) {
	layer := recorded(&clock{})
	old := create(t, layer, "old")
	write(t, old, bytes.Repeat([]byte("o"), 2*sector), 0)
	want(t, old.Sync(), layer.SyncDir("."), layer.Remove("old"), layer.SyncDir("."))
	f := create(t, layer, "f")
	want(t, layer.SyncDir("."), f.Allocate(2*sector))
	describe := func(state *FS) string { return fmt.Sprint(bytes.Count(read(t, state, "f"), []byte("o"))) }
	expect(t, outcomes(layer, layer.Points(), describe), "0", "1024")
	want(t, f.Sync())
	expect(t, outcomes(layer, layer.Points(), describe), "0")
}

// One seed gives one state, and states don't touch each other or the layer, in
// whatever order they are asked for.
func TestStatesStandAlone(t *testing.T) {
	at := &clock{time.Unix(1000, 0)}
	layer := New()
	write(t, create(t, layer, "base"), []byte("base"), 0)
	layer.Record(at.now)
	f := create(t, layer, "f")
	want(t, layer.SyncDir("."))
	for i := range 20 {
		at.t = at.t.Add(time.Second)
		write(t, f, bytes.Repeat([]byte{byte('a' + i)}, 700), int64(i)*500)
		if i%5 == 4 {
			want(t, f.Sync())
		}
	}
	if n := layer.Points(); n != 26 || !layer.At(2).Equal(time.Unix(1001, 0)) || !layer.At(n-1).Equal(time.Unix(1020, 0)) {
		t.Errorf("%d points, from %v to %v", n, layer.At(2), layer.At(n-1))
	}
	first := map[int]string{}
	for point := range layer.Points() + 1 {
		state := layer.CrashState(point, 7)
		first[point] = string(read(t, state, "f"))
		if string(read(t, state, "base")) != "base" {
			t.Fatal("what was there at the start is not durable")
		}
		for _, name := range []string{"base", "f"} {
			g, err := state.OpenFile(name, os.O_RDWR|os.O_CREATE, 0)
			want(t, err)
			write(t, g, bytes.Repeat([]byte("!"), 20000), 0)
		}
	}
	for point := layer.Points(); point >= 0; point-- {
		if got := string(read(t, layer.CrashState(point, 7), "f")); got != first[point] {
			t.Fatalf("point %d: another state from the same seed", point)
		}
	}
	if bytes.Contains(read(t, layer, "f"), []byte("!")) {
		t.Error("a state changed the layer")
	}
}
