package files

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// control runs a system call on the descriptor of f, again as long as a signal
// interrupts it, and names what failed.
func control(f *os.File, op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		for {
			if failed = call(int(fd)); !errors.Is(failed, unix.EINTR) {
				return
			}
		}
	}); err != nil {
		failed = os.ErrClosed // all that Control complains of
	}
	if failed != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return nil
}

// syncData leaves out the times of the file, which fsync would write as well.
func syncData(f *os.File) error { return control(f, "fdatasync", unix.Fdatasync) }

// syncDir takes EINVAL for an answer: some file systems have no way to sync a directory.
func syncDir(dir *os.File) error {
	err := control(dir, "fsync", unix.Fsync)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

func allocate(f *os.File, size int64) error {
	err := control(f, "fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

func lock(f *os.File) error {
	err := control(f, "flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// reopen goes by the descriptor, not by the name, which may be gone or another file's.
func reopen(f *os.File) (*os.File, error) {
	var again *os.File
	err := control(f, "reopen", func(fd int) (err error) {
		again, err = os.Open("/proc/self/fd/" + strconv.Itoa(fd))
		return err
	})
	return again, err
}
