package index

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestClearWhileOthersUse: memory that is given back is never looked at again. A read of
// it would end the test process.
func TestClearWhileOthersUse(t *testing.T) {
	const keys, rounds, workers = 20_000, 10, 2
	x := New()
	var done atomic.Int32
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			defer done.Add(1)
			for round := range uint32(rounds) {
				for k := range uint64(keys) {
					s := Slot{round, uint32(k), 1, 0}
					x.Put(k, s)
					if got, ok := x.Hit(k * 7 % keys); ok && uint64(got.Offset) != k*7%keys {
						t.Errorf("key %d has %+v", k*7%keys, got)
						return
					}
					x.Mark(k, s, Verified, 0)
					x.Move(k, s, Slot{round, uint32(k), 2, 0})
					x.Delete(k*3%keys, Slot{Segment: round, Offset: uint32(k * 3 % keys)})
				}
				x.Cool()
				x.Range(func(k uint64, s Slot) bool {
					if uint64(s.Offset) != k {
						t.Errorf("key %d has %+v", k, s)
					}
					return true
				})
			}
		})
	}
	for done.Load() < workers {
		x.Clear()
		time.Sleep(100 * time.Microsecond) // for the tables to grow a little
	}
	wait.Wait()
	check(t, x)
	x.Clear()
	if x.Len() != 0 || x.Bytes() != int64(indexSize) {
		t.Errorf("cleared, it holds %d slots in %d B", x.Len(), x.Bytes())
	}
}

// TestRefusedMappings: where the system maps nothing, or stops to, or begins to, the
// table lies in the Go heap and holds the same.
func TestRefusedMappings(t *testing.T) {
	defer func() { remap = systemRemap }()
	x, model := New(), map[uint64]Slot{}
	for i := range uint64(200_000) {
		if i%20_000 == 0 {
			remap = systemRemap
			if i%40_000 == 0 {
				remap = func([]byte, int) ([]byte, error) { return nil, errors.ErrUnsupported }
			}
		}
		model[i] = Slot{1, uint32(i), 1, uint32(i)}
		x.Put(i, model[i])
	}
	equal(t, x, model)
	x.Clear()
	equal(t, x, map[uint64]Slot{})
}

// TestForgottenIndex: an index that nobody clears gives its mappings back all the same.
func TestForgottenIndex(t *testing.T) {
	rest := func() int64 { // after the collector has found all
		for end := time.Now().Add(10 * time.Second); Mapped() != 0 && time.Now().Before(end); {
			runtime.GC()
			time.Sleep(5 * time.Millisecond)
		}
		return Mapped()
	}
	if n := rest(); n != 0 {
		t.Fatalf("%d B are still mapped for other tests", n)
	}
	x := New()
	for k := range uint64(100_000) {
		x.Put(k, Slot{Length: 1})
	}
	tables := x.Bytes() - int64(indexSize)
	if unused := Mapped() - tables; maps() && (unused < 0 || unused > shardCount*entrySize) {
		t.Errorf("%d B are mapped for tables of %d B", Mapped(), tables)
	}
	runtime.KeepAlive(x)
	if n := rest(); n != 0 {
		t.Errorf("%d B are still mapped", n)
	}
}

// maps reports whether the system maps memory for us.
func maps() bool {
	b, err := systemRemap(nil, osPage)
	if err == nil {
		unmap(b)
	}
	return err == nil
}
