package disk_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/store/disk"
	"freshet/internal/files/filestest"
)

// faultSeed makes the operations of the load the same in every run.
const faultSeed = 1

// faultLoad is the load whose operations fail, one after the other: an old cache with
// several segments is opened, read, written to until it evicts, and closed.
type faultLoad struct {
	*hardship
	struck bool     // an operation has failed
	floors []*event // for each key, what had happened when it did
	opened error
	up     bool // at the end of the load
}

// newFaultLoad has a cache on its disk that was closed in order.
func newFaultLoad(t *testing.T) *faultLoad {
	l := &faultLoad{hardship: newHardship(faultSeed, 40, 100<<10, 1<<20, 128<<10)}
	l.config.ScrubRate = 64 << 10
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, l.config)
		for range 60 {
			if err := l.step(s); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	})
	return l
}

// run runs the load. What it reads must be right whatever fails.
func (l *faultLoad) run() error {
	s, err := disk.Open(l.config)
	l.note()
	if err != nil {
		l.opened = err
		return nil
	}
	defer s.Close()
	for range 200 {
		if err := l.step(s); err != nil {
			return err
		}
		l.note()
		synctest.Wait()
		l.note()
	}
	for _, k := range l.keys {
		if _, err := look(s, k, l.buffer); err != nil {
			return err
		}
	}
	l.note()
	l.up = s.Stats().Up
	if l.up {
		if err := works(s); err != nil && s.Stats().Up {
			return fmt.Errorf("in service, but %w", err)
		}
		return nil
	}
	return outOfService(s, l.keys)
}

// note remembers what must hold after a fault, once one has struck.
func (l *faultLoad) note() {
	if l.struck {
		return
	}
	if l.struck = l.fs.Struck() > 0; l.struck {
		return
	}
	l.floors = l.floors[:0]
	for _, k := range l.keys {
		last := k.last()
		if last != nil {
			last = new(*last)
		}
		l.floors = append(l.floors, last)
	}
}

// outOfService proves that a store does nothing any more, and says so.
func outOfService(s *disk.Store, keys []*history) error {
	for _, k := range keys {
		if s.Get(k.key) != nil || s.Has(k.key) {
			return fmt.Errorf("out of service, but it has %s", k.key.Text)
		}
	}
	if works(s) == nil {
		return errors.New("out of service, but it takes responses")
	}
	if n := s.Stats().Entries; n != 0 {
		return fmt.Errorf("out of service with %d entries", n)
	}
	return nil
}

// again opens the store on the disk that works again, and judges what is there.
func (l *faultLoad) again() error {
	l.fs.Heal()
	s, err := disk.Open(l.config)
	if err != nil {
		return fmt.Errorf("open on the healthy disk: %w", err)
	}
	defer s.Close()
	for i, k := range l.keys {
		version, err := look(s, k, l.buffer)
		if err != nil {
			return err
		}
		if len(l.floors) > 0 {
			if err := l.floors[i].judge(k, version); err != nil {
				return err
			}
		}
	}
	return works(s)
}

// Every operation on the disk, failed in turn, for once or from then on: no wrong body,
// no panic, and a store that either works or is out of service and says so. On a disk
// that works again it opens, and brings nothing back that was gone before the fault.
func TestEveryOperationFailed(t *testing.T) {
	counted := newFaultLoad(t)
	synctest.Test(t, func(t *testing.T) {
		before := counted.fs.Count(filestest.Any)
		if err := counted.run(); err != nil || !counted.up {
			t.Fatalf("without a fault: %v, open: %v", err, counted.opened)
		}
		t.Logf("%d operations: %d opens, %d creates, %d reads, %d writes, %d allocates, %d syncs, %d syncs of the directory, %d removes",
			counted.fs.Count(filestest.Any)-before, counted.fs.Count(filestest.Open), counted.fs.Count(filestest.Create),
			counted.fs.Count(filestest.Read), counted.fs.Count(filestest.Write), counted.fs.Count(filestest.Allocate),
			counted.fs.Count(filestest.Sync), counted.fs.Count(filestest.SyncDir), counted.fs.Count(filestest.Remove))
		for op := filestest.Open; op <= filestest.Close; op++ {
			if op != filestest.Truncate && op != filestest.Rename && counted.fs.Count(op) == 0 {
				t.Errorf("the load has no %s", op)
			}
		}
	})
	stride := 1
	if !long {
		stride = 7
	}
	down, runs := 0, 0
	for n := 1; ; n += stride {
		hit := false
		for i, fault := range []filestest.Fault{
			{Err: syscall.EIO}, {Err: syscall.ENOSPC, Stay: true},
			{Err: syscall.EIO, Stay: true, Half: true}, {Err: syscall.ENOSPC, Half: true},
		} {
			if !long && i != (n/stride)%4 {
				continue
			}
			fault.N = n
			l := failed(t, fault)
			runs++
			hit = hit || l.struck
			if !l.up {
				down++
			}
		}
		if t.Failed() {
			return
		}
		if !hit {
			break
		}
	}
	t.Logf("%d runs, after %d of them the store was out of service", runs, down)
	if down == 0 {
		t.Error("no fault took the store out of service")
	}
}

// failed runs the load with a fault in it and opens the store again.
func failed(t *testing.T, fault filestest.Fault) *faultLoad {
	l := newFaultLoad(t)
	synctest.Test(t, func(t *testing.T) {
		l.fs.Inject(fault)
		err := l.run()
		// A file that can't be closed does no harm. All else means that the disk is not to be
		// trusted.
		if err == nil && l.struck && l.up && l.fs.FirstStruck() != filestest.Close {
			err = fmt.Errorf("still in service after a failed %s", l.fs.FirstStruck())
		}
		l.struck = l.fs.Struck() > 0
		if err == nil && l.opened != nil && !errors.Is(l.opened, fault.Err) {
			err = fmt.Errorf("open fails with another error: %w", l.opened)
		}
		if err == nil {
			err = l.again()
		}
		if err != nil {
			t.Errorf("operation %d failed with %v (from then on: %v, half: %v): %v", fault.N, fault.Err, fault.Stay, fault.Half, err)
		}
	})
	return l
}

// A new cache whose making fails anywhere can be made again in the same directory.
func TestMakingACacheFailed(t *testing.T) {
	for n := 1; ; n++ {
		h := newHardship(faultSeed, 1, 1<<10, 1<<20, 128<<10)
		h.fs.Inject(filestest.Fault{N: n, Err: syscall.ENOSPC, Half: true, Stay: true})
		s, err := disk.Open(h.config)
		if err == nil {
			s.Close()
		}
		if h.fs.Struck() == 0 {
			if n < 5 {
				t.Errorf("a cache is made by %d operations", n)
			}
			return
		}
		h.fs.Heal()
		s, err = disk.Open(h.config)
		if err != nil {
			t.Fatalf("after operation %d failed: %v", n, err)
		}
		if err := works(s); err != nil {
			t.Errorf("after operation %d failed: %v", n, err)
		}
		s.Close()
	}
}

// What rots on the disk is never served: the first read since the store was opened sees
// it, and for what was read already the scrub does.
func TestRot(t *testing.T) {
	for _, scrubbed := range []bool{false, true} {
		t.Run(fmt.Sprintf("scrubbed %v", scrubbed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRot(t, scrubbed) })
		})
	}
}

func testRot(t *testing.T, scrubbed bool) {
	h := newHardship(faultSeed, 40, 100<<10, 4<<20+64<<10, 1<<20)
	s := mustOpen(t, h.config)
	for range 100 {
		if err := h.step(s); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if !scrubbed {
		h.rot(t)
	} else {
		h.config.ScrubRate = 1 << 20
	}
	s = mustOpen(t, h.config)
	defer s.Close()
	held := s.Stats()
	readAll := func() (there int64) {
		for _, k := range h.keys {
			version, err := look(s, k, h.buffer)
			if err != nil {
				t.Fatal(err)
			}
			there += int64(min(version, 1))
		}
		return there
	}
	if scrubbed {
		if n := readAll(); n != held.Entries {
			t.Errorf("%d of %d entries can be read", n, held.Entries)
		}
		h.rot(t)
		time.Sleep(time.Minute)
	}
	there := readAll()
	n := s.Stats()
	if n.Damaged == 0 || n.Damaged != held.Entries-there || n.Entries != there || there == 0 || !n.Up || scrubbed != (n.ScrubbedBytes > 0) {
		t.Errorf("of %d entries, some of them damaged, %d can be read: %+v", held.Entries, there, n)
	}
}

// rot flips a bit here and there in all segments.
func (h *hardship) rot(t *testing.T) {
	t.Helper()
	entries, err := h.fs.ReadDir(h.config.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		for off := int64(4 << 10); off < info.Size(); off += 150 << 10 {
			if err := h.fs.Damage(h.config.Dir+"/"+e.Name(), off, 0x10); err != nil {
				t.Fatal(err)
			}
		}
	}
}
