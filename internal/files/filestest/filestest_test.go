package filestest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/internal/files"
)

// scenario does what a store does with files, and notes what it sees.
func scenario(t *testing.T, layer files.FS, dir string) string {
	t.Helper()
	var seen strings.Builder
	note := func(what string, args ...any) {
		for i, arg := range args {
			if err, ok := arg.(error); ok {
				args[i] = class(err)
			}
		}
		fmt.Fprintln(&seen, what, fmt.Sprint(args...))
	}
	name := func(n string) string { return filepath.Join(dir, n) }
	note("mkdir", layer.MkdirAll(name("a/b"), 0o755), layer.MkdirAll(name("a/b"), 0o755))
	_, err := layer.OpenFile(name("missing"), os.O_RDONLY, 0)
	note("open missing", err)
	_, err = layer.OpenFile(name("nowhere/file"), os.O_RDWR|os.O_CREATE, 0o644)
	note("create in no directory", err)
	_, err = layer.OpenFile(name("a"), os.O_RDWR, 0)
	note("open a directory", err)

	f, err := layer.OpenFile(name("one"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = layer.OpenFile(name("one"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	note("create again", err)
	size := func() any {
		n, err := f.Size()
		return fmt.Sprint(n, " ", class(err))
	}
	read := func(off int64, n int) {
		p := make([]byte, n)
		got, err := f.ReadAt(p, off)
		note("read", off, n, got, err, string(bytes.ReplaceAll(p[:got], []byte{0}, []byte{'.'})))
	}
	n, err := f.WriteAt([]byte("hello"), 3)
	note("write", n, err, size())
	read(0, 8)
	read(0, 20)
	read(8, 1)
	read(100, 1)
	note("allocate", f.Allocate(20), size(), f.Allocate(10), size())
	read(0, 30)
	note("truncate", f.Truncate(5), size(), f.Truncate(12), size())
	read(0, 12)
	n, err = f.WriteAt(bytes.Repeat([]byte("x"), 5), pageSize-2)
	note("write over a page", n, err, size())
	read(pageSize-4, 9)
	note("sync", f.Sync(), layer.SyncDir(dir))
	note("sync nowhere", layer.SyncDir(name("nowhere")))

	r, err := layer.OpenFile(name("one"), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.WriteAt([]byte("no"), 0)
	note("write on a reader", err)
	n, err = r.ReadAt(make([]byte, 4), 3)
	note("read on a reader", n, err, r.Close())

	note("rename", layer.Rename(name("one"), name("two")), layer.Rename(name("one"), name("three")))
	list := func() {
		found, err := layer.ReadDir(dir)
		note("list", err)
		for _, e := range found {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			size := info.Size()
			if e.IsDir() {
				size = 0
			}
			note(" ", e.Name(), e.IsDir(), size)
		}
	}
	list()
	_, err = layer.ReadDir(name("nowhere"))
	note("list nowhere", err)

	lock, err := layer.Lock(name("lock"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = layer.Lock(name("lock"))
	note("lock twice", err, lock.Close())
	lock, err = layer.Lock(name("lock"))
	note("lock again", err, lock.Close())

	over, err := layer.OpenFile(name("over"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	n, err = over.WriteAt([]byte("over"), 0)
	note("write", n, err, layer.Rename(name("over"), name("two")), over.Close())
	read(0, 4) // the file that has no name any more
	note("remove", layer.Remove(name("two")), layer.Remove(name("two")), layer.Remove(name("a")), layer.Remove(name("a/b")))
	list()
	note("close", f.Close(), f.Close(), f.Sync())
	_, err = f.ReadAt(make([]byte, 1), 0)
	note("read closed", err)
	f, err = layer.OpenFile(name("lock"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	note("open to truncate", err, size(), f.Close())
	return seen.String()
}

// class is what errors.Is can tell of an error.
func class(err error) string {
	for _, known := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrClosed, files.ErrLocked, io.EOF,
		syscall.EISDIR, syscall.EBADF, syscall.ENOTEMPTY} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// The layer in RAM and the operating system agree on what every call does.
func TestAgreesWithTheOS(t *testing.T) {
	real := scenario(t, files.OS, t.TempDir())
	layer := New()
	if err := layer.MkdirAll("/cache", 0o755); err != nil {
		t.Fatal(err)
	}
	if ram := scenario(t, layer, "/cache"); ram != real {
		t.Errorf("in RAM:\n%s\non the OS:\n%s", ram, real)
	}
	if !strings.Contains(real, "file already closed") || !strings.Contains(real, "locked") {
		t.Errorf("the scenario saw too little:\n%s", real)
	}
}

// Random reads, writes and sizes give the same bytes on both.
func TestContentAgreesWithTheOS(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	real, err := files.OS.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = real.Close() }()
	layer := New()
	ram, err := layer.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	both := func(do func(f files.File) (any, error)) {
		t.Helper()
		a, errA := do(real)
		b, errB := do(ram)
		if a != b || class(errA) != class(errB) {
			t.Fatalf("seed %d: the OS says %v (%v), the layer %v (%v)", seed, a, errA, b, errB)
		}
	}
	for range 400 {
		off, n := r.Int64N(3*pageSize), r.IntN(2*pageSize)
		switch r.IntN(6) {
		case 0:
			both(func(f files.File) (any, error) { return nil, f.Truncate(off) })
		case 1:
			both(func(f files.File) (any, error) { return nil, f.Allocate(off) })
		case 2, 3:
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			both(func(f files.File) (any, error) { return f.WriteAt(p, off) })
		default:
			both(func(f files.File) (any, error) {
				p := make([]byte, n)
				got, err := f.ReadAt(p, off)
				return string(p[:got]), err
			})
		}
		both(func(f files.File) (any, error) { return f.Size() })
	}
	if size, err := ram.Size(); err != nil || layer.Used() != size || layer.Peak() < size {
		t.Errorf("uses %d, at most %d, of a file of %d (%v)", layer.Used(), layer.Peak(), size, err)
	}
}

// Every operation of the scenario can be made to fail, and does so with what was asked
// for; nothing else does.
func TestEveryOperationCanFail(t *testing.T) {
	counted := New()
	scenario(t, counted, "/")
	kinds := 0
	for op := Any + 1; op < ops; op++ {
		if counted.Count(op) > 0 {
			kinds++
		}
		for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
			if got := fails(t, op, err); !errors.Is(got, err) {
				t.Errorf("%s fails with %v, not %v", op, got, err)
			}
		}
	}
	if kinds != int(ops)-1 {
		t.Errorf("the scenario has %d of %d kinds of operations", kinds, ops-1)
	}
}

// fails does one operation of each kind, of which op is to fail.
func fails(t *testing.T, op Op, with error) error {
	t.Helper()
	layer := New()
	f, err := layer.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	layer.Inject(Fault{Op: op, N: 1, Err: with})
	_, opened := layer.OpenFile("f", os.O_RDWR, 0)
	_, made := layer.OpenFile("g", os.O_RDWR|os.O_CREATE, 0)
	_, wrote := f.WriteAt([]byte("abc"), 0)
	_, wroteAgain := f.WriteAt([]byte("abc"), 0)
	_, read := f.ReadAt(make([]byte, 3), 0)
	_, size := f.Size()
	_, list := layer.ReadDir(".")
	lock, locked := layer.Lock("l")
	var unlocked error
	if lock != nil {
		unlocked = lock.Close()
	}
	all := []error{opened, made, wrote, read, size, list, locked, unlocked, f.Truncate(9), f.Allocate(10), f.Sync(),
		layer.SyncDir("."), layer.MkdirAll("d", 0), layer.Rename("f", "h"), layer.Remove("h"), f.Close(), wroteAgain}
	if layer.Struck() != 1 || layer.FirstStruck() != op {
		t.Errorf("%s: %d operations failed, the first %s", op, layer.Struck(), layer.FirstStruck())
	}
	return errors.Join(all...)
}

// A fault hits the operation that it names, once or from there on, and half a write
// has happened when one says so.
func TestFaults(t *testing.T) {
	layer := New()
	f, err := layer.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	write := func() (int, error) { return f.WriteAt([]byte("abcd"), 0) }
	layer.Inject(Fault{Op: Write, N: 2, Err: syscall.EIO})
	for i, want := range []error{nil, syscall.EIO, nil} {
		if _, err := write(); !errors.Is(err, want) {
			t.Errorf("write %d gives %v, not %v", i, err, want)
		}
	}
	layer.Inject(Fault{Op: Any, N: 3, Err: syscall.ENOSPC, Stay: true})
	for i, want := range []error{nil, nil, syscall.ENOSPC, syscall.ENOSPC} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("sync %d gives %v, not %v", i, err, want)
		}
	}
	layer.Heal()
	layer.Inject(Fault{Op: Write, N: 1, Err: syscall.EIO, Half: true})
	if n, err := f.WriteAt([]byte("WXYZ"), 0); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("half a write gives %d, %v", n, err)
	}
	layer.Inject(Fault{Op: Read, N: 1, Err: syscall.EIO, Half: true})
	p := make([]byte, 4)
	if n, err := f.ReadAt(p, 0); n != 2 || !errors.Is(err, syscall.EIO) || string(p) != "WX\x00\x00" {
		t.Errorf("half a read gives %d, %v, %q", n, err, p)
	}
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "WXcd" {
		t.Errorf("after half a write there is %q, %v", p, err)
	}
	if err := layer.Damage("f", 1, 0x80); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "W\xd8cd" {
		t.Errorf("after damage there is %q, %v", p, err)
	}
	layer.Limit(8)
	if err := f.Allocate(9); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := layer.Remove("f"); err != nil || layer.Used() != 4 {
		t.Errorf("a removed file that is open uses %d bytes, %v", layer.Used(), err)
	}
	if err := f.Close(); err != nil || layer.Used() != 0 || layer.Peak() != 4 {
		t.Errorf("a removed file uses %d bytes, at most %d, %v", layer.Used(), layer.Peak(), err)
	}
}

// clock is a time that only tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }
