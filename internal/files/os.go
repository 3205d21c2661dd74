package files

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// OS is the file layer of the operating system.
var OS FS = system{}

type system struct{}

func (system) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (system) Remove(name string) error                     { return os.Remove(name) }
func (system) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (system) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (system) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

func (system) SyncDir(name string) (err error) {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := dir.Close(); err == nil {
			err = e
		}
	}()
	return syncDir(dir)
}

func (system) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// file is an open file of the operating system.
type file struct{ *os.File }

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Sync() error { return syncData(f.File) }

func (f file) Allocate(size int64) error {
	now, err := f.Size()
	if err != nil || now >= size {
		return err
	}
	return allocate(f.File, size)
}

func (f file) Reopen() (*os.File, error) { return reopen(f.File) }
