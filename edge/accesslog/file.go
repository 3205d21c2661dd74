package accesslog

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// fileMode: the lines name clients.
const fileMode = 0o640

// open opens the file, in place of the one that is open.
func (l *Log) open() error {
	if l.cfg.File == Stdout {
		return l.openStdout()
	}
	f, err := os.OpenFile(l.cfg.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return fmt.Errorf("open the access log: %w", err)
	}
	at, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open the access log: %w", err)
	}
	if l.out != nil {
		l.out.Close()
	}
	if l.at == nil || !os.SameFile(l.at, at) {
		l.torn = false
	}
	l.out, l.at = f, at
	return nil
}

// openStdout opens standard output under another number, so that a reader of it that has
// gone away is an error, and not a signal that ends the process.
func (l *Log) openStdout() error {
	fd, err := syscall.Dup(int(os.Stdout.Fd()))
	if err != nil {
		return fmt.Errorf("open standard output for the access log: %w", err)
	}
	syscall.CloseOnExec(fd)
	l.out = os.NewFile(uintptr(fd), "standard output")
	return nil
}

// look opens the file anew when another stands in its place, or none, as after a
// rotation, and after an error.
func (l *Log) look() {
	if l.cfg.File == Stdout {
		return
	}
	if at, err := os.Stat(l.cfg.File); err == nil && l.at != nil && os.SameFile(at, l.at) && !l.down {
		return
	}
	if err := l.open(); err != nil {
		l.fail(err)
	}
}

// put writes a piece, and gives it back.
func (l *Log) put(piece []byte) {
	if err := l.write(piece); err != nil {
		l.fail(err)
	} else if l.down {
		l.down = false
		l.cfg.Log.Info("access log is written again", "file", l.cfg.File)
	}
	l.free <- piece[:0] // there is room for all pieces there are
}

// write writes lines. What it cannot write is counted.
func (l *Log) write(lines []byte) error {
	if l.torn {
		if n, err := l.out.Write([]byte{'\n'}); n == 0 {
			l.lost(lines)
			return fmt.Errorf("write the access log: %w", err)
		}
		l.torn = false
	}
	n, err := l.out.Write(lines)
	l.metrics.lines.Add(float64(bytes.Count(lines[:n], []byte{'\n'})))
	if err == nil {
		return nil
	}
	l.torn = n > 0 && lines[n-1] != '\n'
	l.lost(lines[n:])
	return fmt.Errorf("write the access log: %w", err)
}

func (l *Log) lost(lines []byte) {
	l.metrics.dropped.Add(float64(bytes.Count(lines, []byte{'\n'})))
}

// fail says once that the log cannot be written. The next piece tries again.
func (l *Log) fail(err error) {
	if !l.down {
		l.down = true
		l.cfg.Log.Error("access log is not written, lines are left out until it can be", "file", l.cfg.File, "err", err)
	}
}
