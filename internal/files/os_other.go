//go:build unix && !linux

package files

import (
	"errors"
	"os"
	"syscall"
)

func syncData(f *os.File) error { return f.Sync() }

func syncDir(dir *os.File) error { return dir.Sync() }

func allocate(f *os.File, size int64) error { return f.Truncate(size) }

func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

func reopen(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
