package filestest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// file is an open file.
type file struct {
	fs                           *FS
	inode                        *inode
	name                         string
	reads, writes, locks, closed bool
}

func (f *file) Name() string { return f.name }

// begin takes the lock of the layer, which the caller gives back, and counts the
// operation.
func (f *file) begin(op Op) (half bool, err error) {
	f.fs.mu.Lock()
	if f.closed {
		return false, wrong(op, f.name, fs.ErrClosed)
	}
	half, err = f.fs.begin(op, f.name)
	if err == nil && (op == Read && !f.reads || op != Read && op <= Allocate && !f.writes) {
		err = wrong(op, f.name, syscall.EBADF)
	}
	return half, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	half, err := f.begin(Read)
	defer f.fs.mu.Unlock()
	if err != nil && !half {
		return 0, err
	}
	if off < 0 {
		return 0, wrong(Read, f.name, errors.New("negative offset"))
	}
	if half {
		p = p[:len(p)/2]
	}
	n := int(min(int64(len(p)), max(0, f.inode.size-off)))
	f.inode.readAt(p[:n], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	half, err := f.begin(Write)
	defer f.fs.mu.Unlock()
	if err != nil && !half {
		return 0, err
	}
	if off < 0 {
		return 0, wrong(Write, f.name, errors.New("negative offset"))
	}
	if half {
		p = p[:len(p)/2]
	}
	if len(p) == 0 {
		return 0, err
	}
	if full := f.fs.grow(Write, f.name, max(0, off+int64(len(p))-f.inode.size)); full != nil {
		return 0, full
	}
	f.fs.journal.write(f.inode.number, off, p)
	f.inode.writeAt(p, off, f.fs.by)
	return len(p), err
}

func (f *file) Size() (int64, error) {
	_, err := f.begin(Size)
	defer f.fs.mu.Unlock()
	return f.inode.size, err
}

func (f *file) Truncate(size int64) error {
	_, err := f.begin(Truncate)
	defer f.fs.mu.Unlock()
	if err != nil {
		return err
	}
	if size < 0 {
		return wrong(Truncate, f.name, syscall.EINVAL)
	}
	return f.fs.resize(Truncate, f.name, f.inode, size)
}

func (f *file) Allocate(size int64) error {
	_, err := f.begin(Allocate)
	defer f.fs.mu.Unlock()
	if err != nil || size <= f.inode.size {
		return err
	}
	return f.fs.resize(Allocate, f.name, f.inode, size)
}

// resize changes how long a file is. The caller holds mu.
func (f *FS) resize(op Op, name string, node *inode, size int64) error {
	if err := f.grow(op, name, size-node.size); err != nil {
		return err
	}
	f.journal.add(change{kind: resized, inode: node.number, off: size})
	node.resize(size, f.by)
	return nil
}

func (f *file) Sync() error {
	_, err := f.begin(Sync)
	defer f.fs.mu.Unlock()
	if err != nil {
		f.fs.journal.add(change{kind: syncFailed, inode: f.inode.number})
		return err
	}
	f.fs.journal.add(change{kind: synced, inode: f.inode.number})
	return nil
}

func (*file) Reopen() (*os.File, error) { return nil, errors.ErrUnsupported }

// Close closes the file even when it fails.
func (f *file) Close() error {
	_, err := f.begin(Close)
	defer f.fs.mu.Unlock()
	if f.closed {
		return err
	}
	f.closed = true
	f.inode.open--
	if f.locks {
		f.inode.locked = false
	}
	f.fs.release(f.inode)
	return err
}
