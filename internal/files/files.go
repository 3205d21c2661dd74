// Package files is the file layer: the few calls that code which must survive power
// cuts and failing disks makes, on the OS (see OS) or on a layer of a test that loses,
// tears and fails on purpose (package filestest).
package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// ErrLocked says that somebody else, of this process or another, holds the lock.
var ErrLocked = errors.New("locked by another process")

// FS makes, finds and removes files. Paths are absolute or relative to the process, as
// package os has them, and errors are those of package os: errors.Is tells fs.ErrExist
// and fs.ErrNotExist. It may be used from any goroutine.
//
// What was made, renamed or removed is sure to survive a power cut once SyncDir of its
// directory has returned; before that it may or may not, in any order.
type FS interface {
	// OpenFile opens name as os.OpenFile does. Flags beyond os.O_RDONLY, os.O_RDWR,
	// os.O_CREATE, os.O_EXCL and os.O_TRUNC need not be known.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Remove removes a file. Those who have it open go on using it.
	Remove(name string) error
	// Rename gives the file another name, in place of what stood there, all at once.
	Rename(oldName, newName string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// MkdirAll makes a directory with its parents.
	MkdirAll(name string, perm fs.FileMode) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// Lock takes the exclusive lock of a file, which it makes if needed, and holds it
	// until it is closed or the process ends, however it ends. ErrLocked if somebody
	// has it; it doesn't wait.
	Lock(name string) (io.Closer, error)
}

// File is an open file. It may be used from any goroutine.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Name is the name that it was opened by.
	Name() string
	// Size is how long it is, in bytes.
	Size() (int64, error)
	// Truncate makes it that long; what is added reads as zeros.
	Truncate(size int64) error
	// Sync makes what was written, and the size, durable; not the name: see FS.SyncDir.
	// When it fails, what was written since the last one may be lost even if a later
	// call succeeds.
	Sync() error
	// Allocate makes the file at least size long and reserves the space, so that a write
	// within it doesn't run out of space later, where the file system can do that. What
	// is added reads as zeros.
	Allocate(size int64) error
	// Reopen is another description of the same file, to read from and for the kernel to
	// copy from, even when the file was removed since. The caller closes it.
	// errors.ErrUnsupported on layers where no such thing exists.
	Reopen() (*os.File, error)
}
