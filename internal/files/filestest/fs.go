// Package filestest is a file layer in RAM for tests of code that must survive failing
// disks and power cuts: any operation can be made to fail, and from what was written
// and synced it rebuilds what a disk might hold after the power went.
package filestest

import (
	"errors"
	"time"

	"freshet/internal/files"
)

// Op is a kind of operation.
type Op uint8

// The kinds. Any stands for all of them.
const (
	Any      Op = iota
	Open        // OpenFile of a file that is there
	Create      // OpenFile that makes a file, and Lock likewise
	Read        // ReadAt
	Write       // WriteAt
	Truncate    // Truncate
	Allocate    // Allocate
	Sync        // Sync of a file
	SyncDir     // SyncDir
	Remove      // Remove
	Rename      // Rename
	List        // ReadDir
	Mkdir       // MkdirAll
	Lock        // Lock
	Close       // Close of a file
	ops         // how many there are
)

// FS is a file layer in RAM.
type FS struct{ files.FS }

var errStub = errors.New("not there yet")

// New is an empty layer that knows only the root and the working directory.
func New() *FS { return &FS{} }

// Fault is an operation that fails.
type Fault struct {
	Op   Op    // what fails; Any: whatever comes
	N    int   // the how manieth such operation from now on, counted from 1
	Err  error // with what
	Stay bool  // all later ones fail, too
	// Half lets a read or write do half of its bytes before it fails.
	Half bool
}

// Inject makes an operation to come fail.
func (f *FS) Inject(Fault) {}

// Heal forgets all faults.
func (f *FS) Heal() {}

// Count is how many operations of that kind there were.
func (f *FS) Count(op Op) int { return 0 }

// Record keeps a journal of what changes from now on, each stamped by now. What is
// there is taken as durable.
func (f *FS) Record(now func() time.Time) {}

// Points is how many changes the journal holds.
func (f *FS) Points() int { return 0 }

// At is the stamp of the i-th change.
func (f *FS) At(i int) time.Time { return time.Time{} }

// CrashState is what a disk might hold when the power went after the first point
// changes: a layer of its own. The seed chooses one of the many.
func (f *FS) CrashState(point int, seed uint64) *FS { return nil }

// Damage flips the bits of mask in one byte of a file, as a disk that rots.
func (f *FS) Damage(name string, off int64, mask byte) error { return errStub }

// Limit makes the layer hold at most n bytes: what would need more fails with ENOSPC.
func (f *FS) Limit(n int64) {}

// Used is how many bytes all files take, those that were removed and are still open too.
func (f *FS) Used() int64 { return 0 }
