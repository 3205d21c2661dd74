package files

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Allocate never shortens a file and reserves what it adds where it can.
func TestAllocate(t *testing.T) {
	f, err := OS.OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Allocate(1 << 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Allocate(1 << 10); err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil || size != 1<<20 {
		t.Fatalf("size %d, %v", size, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.(file).Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes reserved", stat.Blocks*512)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// A file that was removed and whose name is another's can still be opened again.
func TestReopenAfterRemove(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := OS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("mine"), 0); err != nil {
		t.Fatal(err)
	}
	if err := OS.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	again, err := f.Reopen()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system can't")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(again)
	if err != nil || string(got) != "mine" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reopen(); err == nil {
		t.Error("a closed file can be opened again")
	}
}
