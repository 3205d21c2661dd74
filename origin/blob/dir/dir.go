// Package dir keeps blobs as files of a directory.
//
//	<root>/ab/abcdef…   a blob under its digest, in one of 256 directories
//	<root>/staged/…     what is being uploaded; emptied by Open
//
// A blob is written to staged/ and synced, then renamed to its name and that
// directory synced: under a digest there is never anything but the whole blob. One
// process at a time may have a root open; the caller sees to that.
package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"freshet/origin/blob"
)

const (
	stagedName = "staged"
	dirMode    = 0o750
	copyBuffer = 256 << 10 // bytes read from an upload at a time
)

// Store is a blob.Store in a directory.
type Store struct {
	root    string
	buffers sync.Pool // of *[copyBuffer]byte
}

var _ blob.Store = (*Store)(nil)

// Open makes the directories that are missing and removes what uploads that were
// cut off by a crash have left.
func Open(root string) (*Store, error) {
	staged := filepath.Join(root, stagedName)
	if err := os.RemoveAll(staged); err != nil {
		return nil, fmt.Errorf("clear unfinished uploads: %w", err)
	}
	if err := os.MkdirAll(staged, dirMode); err != nil {
		return nil, fmt.Errorf("make blob directory: %w", err)
	}
	for i := range 256 {
		if err := os.Mkdir(filepath.Join(root, fmt.Sprintf("%02x", i)), dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make blob directory: %w", err)
		}
	}
	// The names of the directories must be as durable as the blobs in them.
	for _, dir := range []string{root, filepath.Dir(root)} {
		if err := syncDir(dir); err != nil {
			return nil, fmt.Errorf("make blob directory: %w", err)
		}
	}
	s := &Store{root: root}
	s.buffers.New = func() any { return new([copyBuffer]byte) }
	return s, nil
}

// Stage implements blob.Store.
func (s *Store) Stage(r io.Reader, max int64) (blob.Staged, error) {
	f, err := os.CreateTemp(filepath.Join(s.root, stagedName), "upload-")
	if err != nil {
		return nil, fmt.Errorf("stage blob: %w", full(err))
	}
	st := &staged{store: s, name: f.Name()}
	sum := sha256.New()
	if err := errors.Join(s.fill(f, sum, r, max, &st.size), f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("stage blob: %w", full(err)), st.Discard())
	}
	sum.Sum(st.digest[:0])
	return st, nil
}

// fill copies r to f and sum, at most max bytes, and syncs f.
func (s *Store) fill(f *os.File, sum hash.Hash, r io.Reader, max int64, size *int64) error {
	buf := s.buffers.Get().(*[copyBuffer]byte)
	defer s.buffers.Put(buf)
	for {
		n, readErr := r.Read(buf[:])
		if *size += int64(n); *size > max {
			return fmt.Errorf("%w: more than %d bytes", blob.ErrTooLarge, max)
		}
		if n > 0 {
			sum.Write(buf[:n]) // a hash.Hash returns no error
			if _, err := f.Write(buf[:n]); err != nil {
				return err
			}
		}
		if readErr == io.EOF {
			return f.Sync()
		}
		if readErr != nil {
			return readErr
		}
	}
}

// Open implements blob.Store. What it returns is an *os.File, so that net/http
// sends it with sendfile.
func (s *Store) Open(d blob.Digest) (io.ReadSeekCloser, error) {
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open blob %s: %w", d, blob.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Remove implements blob.Store. A removal that a crash undoes is found again by the
// next Walk, so it is not synced.
func (s *Store) Remove(d blob.Digest) error {
	if err := os.Remove(s.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove blob: %w", err)
	}
	return nil
}

// Walk implements blob.Store. Files that are not named by a digest are left alone.
func (s *Store) Walk(ctx context.Context, fn func(blob.Digest) error) error {
	for i := range 256 {
		dir, err := os.Open(filepath.Join(s.root, fmt.Sprintf("%02x", i)))
		if err != nil {
			return fmt.Errorf("walk blobs: %w", err)
		}
		err = walkDir(ctx, dir, fn)
		if err := errors.Join(err, dir.Close()); err != nil {
			return err
		}
	}
	return nil
}

func walkDir(ctx context.Context, dir *os.File, fn func(blob.Digest) error) error {
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			d, err := blob.ParseDigest(name)
			if err != nil {
				continue
			}
			if err := fn(d); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("walk blobs: %w", err)
		}
	}
}

func (s *Store) path(d blob.Digest) string {
	name := d.String()
	return filepath.Join(s.root, name[:2], name)
}

// staged is a file in staged/.
type staged struct {
	store  *Store
	name   string
	digest blob.Digest
	size   int64
}

func (st *staged) Digest() blob.Digest { return st.digest }
func (st *staged) Size() int64         { return st.size }

func (st *staged) Commit() error {
	path := st.store.path(st.digest)
	if err := os.Rename(st.name, path); err != nil {
		return errors.Join(fmt.Errorf("commit blob: %w", full(err)), st.Discard())
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("commit blob: %w", err)
	}
	return nil
}

func (st *staged) Discard() error {
	if err := os.Remove(st.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard staged blob: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// full adds blob.ErrFull to the errors by which a file system says so.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	return err
}
