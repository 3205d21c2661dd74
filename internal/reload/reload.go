// Package reload reads files again when they change: certificates and keys, which are
// replaced while the process runs.
package reload

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// Interval is the time between two looks at files. They are polled: what replaces
// certificates swaps symbolic links two directories up as often as it renames files, and
// a watch of all that would still need the poll for network file systems.
const Interval = 3 * time.Second

// maxPEM is the size in bytes of a file of certificates or keys.
const maxPEM = 1 << 20

// Set is files of which one value is made. It is for one goroutine.
type Set[T any] struct {
	read   func() (T, error)
	names  []string
	seen   []fs.FileInfo // of what was tried last
	failed int           // times that was tried and was no good
}

// Open reads a value, which must be good.
func Open[T any](read func() (T, error), names ...string) (*Set[T], T, error) {
	s := &Set[T]{read: read, names: names}
	var value T
	var err error
	if s.seen, err = s.stat(); err == nil {
		value, err = read()
	}
	return s, value, err
}

// Look reads again what has changed, and says whether there is a new value. What is no
// good is tried a second time before that is an error, which is then said once: files that
// belong together are replaced one after the other.
func (s *Set[T]) Look() (value T, changed bool, err error) {
	seen, err := s.stat()
	same := err == nil
	for i := range seen {
		same = same && unchanged(s.seen[i], seen[i])
	}
	if same && s.failed != 1 {
		return value, false, nil
	}
	if err != nil && s.failed > 1 {
		return value, false, nil // gone, and known to be
	}
	if !same && err == nil {
		s.failed = 0
	}
	if err == nil {
		s.seen = seen
		value, err = s.read()
	}
	if err == nil {
		s.failed = 0
		return value, true, nil
	}
	if s.failed++; s.failed != 2 {
		err = nil
	}
	var none T
	return none, false, err
}

func (s *Set[T]) stat() ([]fs.FileInfo, error) {
	seen := make([]fs.FileInfo, len(s.names))
	for i, name := range s.names {
		var err error
		if seen[i], err = os.Stat(name); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

func unchanged(a, b fs.FileInfo) bool {
	return a != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// PEM reads a file of certificates or keys, which is of a size that those have.
func PEM(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(text) > maxPEM {
		err = fmt.Errorf("%s: longer than %d bytes", name, maxPEM)
	}
	return text, err
}
