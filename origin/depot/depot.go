// Package depot joins the two halves of an origin's store: blobs, which hold bytes
// under their digest, and the catalog, which says what path of what site has which
// blob. It keeps the promise between them: an object that the catalog has, has its
// blob, whatever is uploaded, replaced, swept or cut off at the same time.
package depot

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"freshet/origin/blob"
	"freshet/origin/catalog"
	"freshet/origin/object"
)

// Depot is the store of an origin. It may be used from any goroutine.
type Depot struct {
	blobs   blob.Store
	catalog *catalog.Catalog
	now     func() time.Time
	locks   [64]lock // by the digest's first byte
}

// lock orders the removal of a blob and its use, for some of all digests.
type lock struct {
	mu struct {
		sync.Mutex
		held map[blob.Digest]int // uploads that have committed the blob or are about to
	}
}

// New joins the two. The caller closes the catalog, after the last call has returned.
func New(blobs blob.Store, cat *catalog.Catalog, now func() time.Time) *Depot {
	d := &Depot{blobs: blobs, catalog: cat, now: now}
	for i := range d.locks {
		d.locks[i].mu.held = make(map[blob.Digest]int)
	}
	return d
}

// Stage reads an upload into the store; see blob.Store. Put or the staged blob's
// Discard ends it.
func (d *Depot) Stage(r io.Reader, max int64) (blob.Staged, error) {
	return d.blobs.Stage(r, max)
}

// Put makes a staged blob the content of an object, durably: info's size, digest
// and time are set from it. check decides as in catalog.Put, and what Put returns
// is likewise, beside the info as it now stands.
func (d *Depot) Put(site string, info object.Info, staged blob.Staged, check func(old *object.Info) error) (now object.Info, old *object.Info, err error) {
	info.Digest, info.Size, info.Modified = staged.Digest(), staged.Size(), d.now().UTC()
	// Held from before it has its name until the catalog refers to it, the blob
	// cannot be swept in between, even if it was garbage a moment ago.
	d.hold(info.Digest)
	defer d.release(info.Digest)
	if err := staged.Commit(); err != nil {
		return object.Info{}, nil, fmt.Errorf("put %s%s: %w", site, info.Path, d.orphan(info.Digest, err))
	}
	old, err = d.catalog.Put(site, info, check)
	if err != nil {
		return object.Info{}, nil, d.orphan(info.Digest, err)
	}
	if old != nil && old.Same(info) {
		info = *old
	}
	return info, old, nil
}

// orphan lists the blob of an upload that has failed as garbage. If that fails too,
// Reclaim finds it at the next start.
func (d *Depot) orphan(digest blob.Digest, err error) error {
	return errors.Join(err, d.catalog.AddGarbage(d.now(), digest))
}

// Get reads what is known of an object. catalog.ErrNotFound.
func (d *Depot) Get(site, path string) (object.Info, error) {
	return d.catalog.Get(site, path)
}

// Open is Get, and the object's content, which the caller closes.
func (d *Depot) Open(site, path string) (object.Info, io.ReadSeekCloser, error) {
	for attempt := 0; ; attempt++ {
		info, err := d.catalog.Get(site, path)
		if err != nil {
			return object.Info{}, nil, err
		}
		content, err := d.blobs.Open(info.Digest)
		// The object may have been replaced, and its blob swept, between the two.
		if errors.Is(err, blob.ErrNotFound) && attempt == 0 {
			continue
		}
		if err != nil {
			return object.Info{}, nil, fmt.Errorf("open %s%s: %w", site, path, err)
		}
		return info, content, nil
	}
}

// Delete removes an object durably; see catalog.Delete.
func (d *Depot) Delete(site, path string, check func(old *object.Info) error) error {
	return d.catalog.Delete(site, path, d.now(), check)
}

// List is catalog.List.
func (d *Depot) List(site, prefix, after string, limit int) ([]object.Info, bool, error) {
	return d.catalog.List(site, prefix, after, limit)
}

// Totals is catalog.Totals.
func (d *Depot) Totals() (objects, size int64, err error) { return d.catalog.Totals() }

func (d *Depot) lock(digest blob.Digest) *lock {
	return &d.locks[int(digest[0])%len(d.locks)]
}

func (d *Depot) hold(digest blob.Digest) {
	l := d.lock(digest)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.held[digest]++
}

func (d *Depot) release(digest blob.Digest) {
	l := d.lock(digest)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.held[digest]--; l.mu.held[digest] == 0 {
		delete(l.mu.held, digest)
	}
}
