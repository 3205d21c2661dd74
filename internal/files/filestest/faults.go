package filestest

import (
	"io/fs"
	"syscall"
)

// Op is a kind of operation.
type Op uint8

// The kinds. Any stands for all of them.
const (
	Any      Op = iota
	Open        // OpenFile of a file that is there
	Create      // OpenFile or Lock that makes a file
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
	Size        // Size of a file
	Close       // Close of a file
	ops         // how many there are
)

var opNames = [ops]string{"any", "open", "create", "read", "write", "truncate", "allocate", "sync", "sync dir",
	"remove", "rename", "list", "mkdir", "lock", "size", "close"}

func (o Op) String() string { return opNames[o] }

// Fault is an operation that fails, without effect unless Half says so.
type Fault struct {
	Op   Op    // what fails
	N    int   // the how manieth such operation from now on, counted from 1
	Err  error // with what: syscall.EIO, syscall.ENOSPC
	Stay bool  // all such operations after it fail, too
	// Half lets a read or write do half of its bytes before it fails.
	Half bool
}

// fault is one that lies ahead: left operations from now, or has come to stay.
type fault struct {
	Fault
	left int
}

// Inject makes an operation to come fail. Faults add up.
func (f *FS) Inject(ahead Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault{ahead, ahead.N})
}

// Heal forgets all faults.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Struck is how many operations have failed by injection.
func (f *FS) Struck() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

// FirstStruck is the kind of the first operation that has failed by injection, Any if
// none has.
func (f *FS) FirstStruck() Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// Count is how many operations of that kind were tried.
func (f *FS) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

// Limit makes the layer hold at most n bytes (see Used): what would need more fails
// with ENOSPC. 0 is no limit.
func (f *FS) Limit(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = n
}

// Used is how many bytes the files take, those that were removed and are still open
// too.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used
}

// Peak is the most that Used ever was.
func (f *FS) Peak() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.peak
}

// begin counts an operation and says how it fails, if it does. The caller holds mu.
func (f *FS) begin(op Op, name string) (half bool, err error) {
	f.counts[Any]++
	f.counts[op]++
	for _, ahead := range f.faults {
		if ahead.Op != Any && ahead.Op != op {
			continue
		}
		ahead.left--
		if ahead.left == 0 || ahead.left < 0 && ahead.Stay {
			if err == nil {
				half, err = ahead.Half, wrong(op, name, ahead.Err)
			}
		}
	}
	if err != nil {
		if f.struck == 0 {
			f.first = op
		}
		f.struck++
	}
	return half, err
}

// grow accounts for a file that gets longer by n (shorter, if below zero). The caller
// holds mu.
func (f *FS) grow(op Op, name string, n int64) error {
	if n > 0 && f.limit > 0 && f.used+n > f.limit {
		return wrong(op, name, syscall.ENOSPC)
	}
	f.used += n
	f.peak = max(f.peak, f.used)
	return nil
}

func wrong(op Op, name string, err error) error {
	return &fs.PathError{Op: op.String(), Path: name, Err: err}
}
