// Package catalog remembers which objects an origin has, in one bbolt file: site
// and path to what package object calls an Info. Every change is durable when the
// call returns. It also knows which blobs no object refers to any more and since
// when, in the same transactions, so that they can be removed in time.
//
//	objects  site NUL path          -> Info as JSON, without the path
//	refs     digest site NUL path   -> nothing: who refers to a blob
//	garbage  digest                 -> 8 bytes: nanoseconds since 1970, big endian
//	totals   "objects", "bytes"     -> 8 bytes: their number, big endian
package catalog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"freshet/origin/blob"
	"freshet/origin/object"
)

// Errors of a Catalog.
var (
	ErrNotFound = errors.New("no such object")                // nothing stands under the path
	ErrInUse    = errors.New("in use by another process")     // Open: another origin has it open
	ErrForeign  = errors.New("written by a newer version")    // Open: the file has another format
	errDamaged  = errors.New("the catalog's file is damaged") // a value cannot be read
)

// format is the version of the layout, kept in totals.
const format = 1

var (
	bucketObjects = []byte("objects")
	bucketRefs    = []byte("refs")
	bucketGarbage = []byte("garbage")
	bucketTotals  = []byte("totals")

	keyObjects = []byte("objects")
	keyBytes   = []byte("bytes")
	keyFormat  = []byte("format")
)

// Catalog is an open catalog. It may be used from any goroutine.
type Catalog struct {
	db *bolt.DB
}

// Open opens the file, or makes it. ErrInUse, ErrForeign.
func Open(file string) (*Catalog, error) {
	db, err := bolt.Open(file, 0o640, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open catalog %s: %w", file, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", file, err)
	}
	// Changes that arrive together share one sync; one that comes alone waits for
	// company no longer than this.
	db.MaxBatchDelay = time.Millisecond
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketObjects, bucketRefs, bucketGarbage, bucketTotals} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		totals := tx.Bucket(bucketTotals)
		switch v := totals.Get(keyFormat); {
		case v == nil:
			return totals.Put(keyFormat, number(format))
		case decode(v) != format:
			return fmt.Errorf("%w: format %d", ErrForeign, decode(v))
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", file, err), db.Close())
	}
	return &Catalog{db: db}, nil
}

// Close waits for calls under way and closes the file.
func (c *Catalog) Close() error {
	if err := c.db.Close(); err != nil {
		return fmt.Errorf("close catalog: %w", err)
	}
	return nil
}

// Get reads one object. ErrNotFound.
func (c *Catalog) Get(site, path string) (object.Info, error) {
	var info *object.Info
	err := c.db.View(func(tx *bolt.Tx) (err error) {
		info, err = get(tx, site, path)
		return err
	})
	switch {
	case err != nil:
		return object.Info{}, fmt.Errorf("get %s%s: %w", site, path, err)
	case info == nil:
		return object.Info{}, fmt.Errorf("get %s%s: %w", site, path, ErrNotFound)
	}
	return *info, nil
}

// Put writes one object, if check, which is told what stands there now (nil:
// nothing), returns nil; otherwise it returns check's error. check may be called
// more than once. An object that is there just so already is left as it is, with
// its time. What stood there before is returned, and nil if there was nothing.
func (c *Catalog) Put(site string, info object.Info, check func(old *object.Info) error) (old *object.Info, err error) {
	var refused error
	err = c.db.Batch(func(tx *bolt.Tx) (err error) {
		old, refused = nil, nil
		if old, err = get(tx, site, info.Path); err != nil {
			return err
		}
		// An error would undo the whole batch, the changes of others too.
		if refused = check(old); refused != nil {
			return nil
		}
		if old != nil && old.Same(info) {
			return nil
		}
		if old != nil {
			if err := drop(tx, site, *old, info.Modified); err != nil {
				return err
			}
		}
		return add(tx, site, info)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, fmt.Errorf("put %s%s: %w", site, info.Path, err)
	}
	return old, nil
}

// Delete removes one object under the same rule as Put; check sees an object.
// ErrNotFound.
func (c *Catalog) Delete(site, path string, now time.Time, check func(old *object.Info) error) error {
	var refused error
	err := c.db.Batch(func(tx *bolt.Tx) error {
		refused = nil
		old, err := get(tx, site, path)
		switch {
		case err != nil:
			return err
		case old == nil:
			refused = ErrNotFound
			return nil
		}
		if refused = check(old); refused != nil {
			return nil
		}
		return drop(tx, site, *old, now)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return fmt.Errorf("delete %s%s: %w", site, path, err)
	}
	return nil
}

// List returns at most limit objects of a site whose paths start with prefix and
// sort after the path after, sorted by path, and whether there are more.
func (c *Catalog) List(site, prefix, after string, limit int) (list []object.Info, more bool, err error) {
	err = c.db.View(func(tx *bolt.Tx) error {
		cursor := tx.Bucket(bucketObjects).Cursor()
		start, stop := key(site, max(prefix, after)), key(site, prefix)
		for k, v := cursor.Seek(start); bytes.HasPrefix(k, stop); k, v = cursor.Next() {
			path := string(k[len(site)+1:])
			if after != "" && path <= after {
				continue
			}
			if len(list) == limit {
				more = true
				return nil
			}
			info, err := unmarshal(path, v)
			if err != nil {
				return err
			}
			list = append(list, *info)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("list %s: %w", site, err)
	}
	return list, more, nil
}

// Totals is the number of objects of all sites and the sum of their sizes.
func (c *Catalog) Totals() (objects, size int64, err error) {
	err = c.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketTotals)
		objects, size = decode(b.Get(keyObjects)), decode(b.Get(keyBytes))
		return nil
	})
	return objects, size, err
}

func key(site, path string) []byte { return []byte(site + "\x00" + path) }

func refKey(d blob.Digest, site, path string) []byte {
	return append(d[:], key(site, path)...)
}

// get returns nil for what is not there.
func get(tx *bolt.Tx, site, path string) (*object.Info, error) {
	v := tx.Bucket(bucketObjects).Get(key(site, path))
	if v == nil {
		return nil, nil
	}
	return unmarshal(path, v)
}

func unmarshal(path string, v []byte) (*object.Info, error) {
	info := &object.Info{}
	if err := json.Unmarshal(v, info); err != nil {
		return nil, fmt.Errorf("%w: object %s: %w", errDamaged, path, err)
	}
	info.Path = strings.Clone(path)
	return info, nil
}

// add writes an object where there is none.
func add(tx *bolt.Tx, site string, info object.Info) error {
	path := info.Path
	info.Path = ""
	v, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if err := tx.Bucket(bucketObjects).Put(key(site, path), v); err != nil {
		return err
	}
	if err := tx.Bucket(bucketRefs).Put(refKey(info.Digest, site, path), nil); err != nil {
		return err
	}
	if err := tx.Bucket(bucketGarbage).Delete(info.Digest[:]); err != nil {
		return err
	}
	return count(tx, 1, info.Size)
}

// drop takes away an object that is there, and lists its blob as garbage if that
// was the last reference.
func drop(tx *bolt.Tx, site string, old object.Info, now time.Time) error {
	if err := tx.Bucket(bucketObjects).Delete(key(site, old.Path)); err != nil {
		return err
	}
	if err := tx.Bucket(bucketRefs).Delete(refKey(old.Digest, site, old.Path)); err != nil {
		return err
	}
	if !referenced(tx, old.Digest) {
		if err := tx.Bucket(bucketGarbage).Put(old.Digest[:], number(now.UnixNano())); err != nil {
			return err
		}
	}
	return count(tx, -1, -old.Size)
}

func referenced(tx *bolt.Tx, d blob.Digest) bool {
	k, _ := tx.Bucket(bucketRefs).Cursor().Seek(d[:])
	return bytes.HasPrefix(k, d[:])
}

func count(tx *bolt.Tx, objects, size int64) error {
	b := tx.Bucket(bucketTotals)
	if err := b.Put(keyObjects, number(decode(b.Get(keyObjects))+objects)); err != nil {
		return err
	}
	return b.Put(keyBytes, number(decode(b.Get(keyBytes))+size))
}

func number(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n))
}

// decode reads a number; what is missing is 0.
func decode(v []byte) int64 {
	if len(v) != 8 {
		return 0
	}
	n := binary.BigEndian.Uint64(v)
	if n > math.MaxInt64 {
		return 0
	}
	return int64(n)
}
