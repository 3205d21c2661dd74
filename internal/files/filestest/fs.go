// Package filestest is a file layer in RAM for tests of code that must survive failing
// disks and power cuts: any operation can be made to fail, and from what was written
// and synced it rebuilds what a disk might hold after the power went.
package filestest

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"freshet/internal/files"
)

var _ files.FS = (*FS)(nil)

// FS is a file layer in RAM. Directories are durable as soon as they are made; names of
// files, sizes and bytes are not.
type FS struct {
	mu      sync.Mutex
	by      *owner
	inodes  map[string]*inode
	dirs    map[string]bool
	number  uint64 // of the last inode
	used    int64
	peak    int64
	limit   int64
	faults  []*fault
	struck  int
	first   Op
	counts  [ops]int
	journal *journal // nil: nothing is recorded
}

// inode is a file, whatever its name.
type inode struct {
	content
	number uint64
	named  bool
	open   int
	locked bool
}

// New is an empty layer that knows only the root and the working directory.
func New() *FS {
	return &FS{
		by:     &owner{},
		inodes: map[string]*inode{},
		dirs:   map[string]bool{"/": true, ".": true},
	}
}

// OpenFile opens or makes a file.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (files.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := os.O_RDONLY | os.O_RDWR | os.O_WRONLY | os.O_CREATE | os.O_EXCL | os.O_TRUNC; flag&^known != 0 {
		return nil, wrong(Open, name, syscall.EINVAL)
	}
	node, err := f.find(name, flag)
	if err != nil {
		return nil, err
	}
	if flag&os.O_TRUNC != 0 && node.size != 0 {
		if err := f.resize(Truncate, name, node, 0); err != nil {
			return nil, err
		}
	}
	node.open++
	return &file{fs: f, inode: node, name: name, reads: flag&os.O_WRONLY == 0, writes: flag&(os.O_RDWR|os.O_WRONLY) != 0}, nil
}

// find is the file of that name, made if flag says so. The caller holds mu.
func (f *FS) find(name string, flag int) (*inode, error) {
	path := filepath.Clean(name)
	node := f.inodes[path]
	op := Open
	if node == nil && flag&os.O_CREATE != 0 {
		op = Create
	}
	if _, err := f.begin(op, name); err != nil {
		return nil, err
	}
	switch {
	case f.dirs[path]:
		return nil, wrong(op, name, syscall.EISDIR)
	case node != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, wrong(op, name, fs.ErrExist)
	case node != nil:
		return node, nil
	case op == Open || !f.dirs[filepath.Dir(path)]:
		return nil, wrong(op, name, fs.ErrNotExist)
	}
	f.number++
	node = &inode{number: f.number, named: true}
	f.inodes[path] = node
	f.journal.add(change{kind: linked, name: path, inode: node.number})
	return node, nil
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin(Remove, name); err != nil {
		return err
	}
	path := filepath.Clean(name)
	if f.dirs[path] {
		if len(f.list(path)) > 0 {
			return wrong(Remove, name, syscall.ENOTEMPTY)
		}
		delete(f.dirs, path)
		return nil
	}
	node := f.inodes[path]
	if node == nil {
		return wrong(Remove, name, fs.ErrNotExist)
	}
	delete(f.inodes, path)
	f.journal.add(change{kind: unlinked, name: path, inode: node.number})
	node.named = false
	f.release(node)
	return nil
}

// release gives the bytes of a file back that has neither name nor user. The caller
// holds mu.
func (f *FS) release(node *inode) {
	if !node.named && node.open == 0 {
		f.used -= node.size
		node.content = content{}
	}
}

// Rename gives a file another name; directories keep theirs.
func (f *FS) Rename(oldName, newName string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin(Rename, oldName); err != nil {
		return err
	}
	from, to := filepath.Clean(oldName), filepath.Clean(newName)
	node, was := f.inodes[from], f.inodes[to]
	switch {
	case node == nil || !f.dirs[filepath.Dir(to)]:
		return wrong(Rename, oldName, fs.ErrNotExist)
	case f.dirs[to]:
		return wrong(Rename, newName, syscall.EISDIR)
	case node == was:
		return nil
	}
	delete(f.inodes, from)
	f.inodes[to] = node
	f.journal.add(change{kind: renamed, name: from, to: to, inode: node.number})
	if was != nil {
		was.named = false
		f.release(was)
	}
	return nil
}

// ReadDir lists a directory.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin(List, name); err != nil {
		return nil, err
	}
	path := filepath.Clean(name)
	if !f.dirs[path] {
		return nil, wrong(List, name, fs.ErrNotExist)
	}
	return f.list(path), nil
}

// list is what a directory holds. The caller holds mu.
func (f *FS) list(path string) []fs.DirEntry {
	var found []fs.DirEntry
	for name, node := range f.inodes {
		if filepath.Dir(name) == path {
			found = append(found, fs.FileInfoToDirEntry(info{filepath.Base(name), node.size, 0o644}))
		}
	}
	for name := range f.dirs {
		if filepath.Dir(name) == path && name != path {
			found = append(found, fs.FileInfoToDirEntry(info{filepath.Base(name), 0, fs.ModeDir | 0o755}))
		}
	}
	slices.SortFunc(found, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return found
}

// MkdirAll makes a directory with its parents.
func (f *FS) MkdirAll(name string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin(Mkdir, name); err != nil {
		return err
	}
	for path := filepath.Clean(name); !f.dirs[path]; path = filepath.Dir(path) {
		if f.inodes[path] != nil {
			return wrong(Mkdir, name, syscall.ENOTDIR)
		}
		f.dirs[path] = true
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin(SyncDir, name); err != nil {
		return err
	}
	path := filepath.Clean(name)
	if !f.dirs[path] {
		return wrong(SyncDir, name, fs.ErrNotExist)
	}
	f.journal.add(change{kind: dirSynced, name: path})
	return nil
}

// Lock takes the lock of a file.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.begin(Lock, name); err != nil {
		return nil, err
	}
	node, err := f.find(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if node.locked {
		return nil, fmt.Errorf("lock %s: %w", name, files.ErrLocked)
	}
	node.locked = true
	node.open++
	return &file{fs: f, inode: node, name: name, locks: true}, nil
}

// Damage flips the bits of mask in one byte of a file, as a disk that rots: nothing is
// recorded.
func (f *FS) Damage(name string, off int64, mask byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.inodes[filepath.Clean(name)]
	if node == nil || off < 0 || off >= node.size {
		return wrong(Write, name, fs.ErrNotExist)
	}
	var one [1]byte
	node.readAt(one[:], off)
	one[0] ^= mask
	node.writeAt(one[:], off, f.by)
	return nil
}

// info describes a file.
type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string      { return i.name }
func (i info) Size() int64       { return i.size }
func (i info) Mode() fs.FileMode { return i.mode }
func (info) ModTime() time.Time  { return time.Time{} }
func (i info) IsDir() bool       { return i.mode.IsDir() }
func (info) Sys() any            { return nil }
