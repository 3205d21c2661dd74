package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"freshet/internal/files"
)

// names are those of the files; one that is being written has newSuffix.
var names = map[kind]string{fileMembers: "members", fileSites: "sites", fileSecrets: "secrets"}

const (
	newSuffix = ".new"
	lockName  = "lock" // held by who is writing: a process and its successor may be two
)

// disk holds the files.
type disk struct {
	fs     files.FS
	dir    string
	bound  int64 // of one file: there may be two of each kind
	sealer sealer
	log    *slog.Logger
	wake   chan struct{}

	mu struct {
		sync.Mutex
		due    map[kind]draft
		busy   bool  // what was due is being written
		err    error // of the last write, nil after one that went well
		writes uint64
		failed uint64
	}
}

// draft is what is to be written.
type draft struct {
	content func() ([]byte, error)
	at      time.Time
}

func newDisk(c Config) *disk {
	d := &disk{fs: c.FS, dir: c.Dir, bound: c.Bytes, sealer: newSealer(c.Cluster, c.Secret), log: c.Log, wake: make(chan struct{}, 1)}
	if d.fs == nil {
		d.fs = files.OS
	}
	if d.bound == 0 {
		d.bound = DefaultMaxBytes
	}
	d.bound /= int64(2 * len(names))
	d.mu.due = make(map[kind]draft)
	return d
}

// load reads one file. A file that cannot be gone by is as none, but for the log.
func load[T any](d *disk, k kind, decode func([]byte) (T, error)) (value T, at time.Time, ok bool) {
	content, at, err := d.read(k)
	if err == nil {
		value, err = decode(content)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return value, at, false
	case err != nil:
		d.log.Warn("last snapshot of the cluster is not gone by", "file", d.path(k), "err", err)
		return value, at, false
	}
	return value, at, true
}

func (d *disk) path(k kind) string { return filepath.Join(d.dir, names[k]) }

func (d *disk) read(k kind) (content []byte, at time.Time, err error) {
	f, err := d.fs.OpenFile(d.path(k), os.O_RDONLY, 0)
	if err != nil {
		return nil, at, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, at, err
	}
	if size > d.bound {
		return nil, at, fmt.Errorf("%d bytes, at most %d are read", size, d.bound)
	}
	text := make([]byte, size)
	if n, err := f.ReadAt(text, 0); n < len(text) {
		return nil, at, err
	}
	return d.sealer.open(k, text)
}

// saver is what tells a disk of a kind's news; without a disk (nil) it does nothing.
func saver[T any](d *disk, k kind, encode func(T) ([]byte, error)) func(T, time.Time) {
	return func(value T, at time.Time) {
		if d == nil {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.mu.due[k] = draft{func() ([]byte, error) { return encode(value) }, at}
		d.nudge()
	}
}

// run writes what is due until ctx ends, and once more then.
func (d *disk) run(ctx context.Context) error {
	pause := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			d.flush()
			return nil
		case <-d.wake:
		}
		if d.flush(); d.trouble() != nil {
			pause = retryWrite
		} else {
			pause = writeEvery
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// flush writes what is due; what fails stays due.
func (d *disk) flush() {
	d.mu.Lock()
	due := d.mu.due
	d.mu.due = make(map[kind]draft)
	d.mu.busy = len(due) > 0
	d.mu.Unlock()
	if len(due) == 0 {
		return
	}
	var errs []error
	for k, what := range due {
		err := d.write(k, what)
		if err != nil {
			d.again(k, what)
		}
		if !errors.Is(err, files.ErrLocked) {
			errs = append(errs, err)
		}
	}
	failed := len(slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil }))
	err := errors.Join(errs...)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil && d.mu.err == nil:
		d.log.Error("last snapshot of the cluster cannot be written", "dir", d.dir, "err", err)
	case err == nil && d.mu.err != nil:
		d.log.Info("last snapshot of the cluster is written again", "dir", d.dir)
	}
	d.mu.busy = false
	d.mu.err = err
	d.mu.writes += uint64(len(errs) - failed)
	d.mu.failed += uint64(failed)
}

// again makes due what could not be written, unless there is something newer.
func (d *disk) again(k kind, what draft) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, newer := d.mu.due[k]; !newer {
		d.mu.due[k] = what
	}
	d.nudge()
}

func (d *disk) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// write puts a file in place of the one before, all at once.
func (d *disk) write(k kind, what draft) (err error) {
	content, err := what.content()
	if err != nil {
		return err
	}
	if size := int64(len(content) + headSize); size > d.bound {
		return fmt.Errorf("write %s: %d bytes, at most %d may be kept", d.path(k), size, d.bound)
	}
	if err := d.fs.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("make directory of the last snapshot: %w", err)
	}
	lock, err := d.fs.Lock(filepath.Join(d.dir, lockName))
	if err != nil {
		return fmt.Errorf("lock %s: %w", d.dir, err)
	}
	defer lock.Close()
	f, err := d.fs.OpenFile(d.path(k)+newSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(d.sealer.seal(k, what.at, content), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.fs.Rename(d.path(k)+newSuffix, d.path(k))
	}
	if err == nil {
		err = d.fs.SyncDir(d.dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path(k), err)
	}
	return nil
}

// written reports whether nothing is due of a kind.
func (d *disk) written(k kind) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, due := d.mu.due[k]
	return !due && !d.mu.busy
}

// trouble is why the last write failed.
func (d *disk) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.err == nil {
		return nil
	}
	return fmt.Errorf("what is known of the cluster cannot be kept: %w", d.mu.err)
}
