package catalog

import (
	"bytes"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"freshet/origin/blob"
)

// Garbage is a blob that no object refers to.
type Garbage struct {
	Digest blob.Digest
	Since  time.Time // when the last reference went, or when it was found without one
}

// Garbage returns at most limit blobs that have been without a reference since
// before, starting after the digest after.
func (c *Catalog) Garbage(before time.Time, after blob.Digest, limit int) ([]Garbage, error) {
	var list []Garbage
	err := c.db.View(func(tx *bolt.Tx) error {
		cursor := tx.Bucket(bucketGarbage).Cursor()
		for k, v := cursor.Seek(after[:]); k != nil && len(list) < limit; k, v = cursor.Next() {
			if len(k) != len(blob.Digest{}) || bytes.Equal(k, after[:]) {
				continue
			}
			if since := time.Unix(0, decode(v)); since.Before(before) {
				list = append(list, Garbage{blob.Digest(k), since})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list garbage: %w", err)
	}
	return list, nil
}

// Referenced reports whether an object refers to the blob.
func (c *Catalog) Referenced(d blob.Digest) (yes bool, err error) {
	err = c.db.View(func(tx *bolt.Tx) error {
		yes = referenced(tx, d)
		return nil
	})
	return yes, err
}

// AddGarbage lists those blobs as garbage since now that no object refers to and
// that are not listed yet.
func (c *Catalog) AddGarbage(now time.Time, digests ...blob.Digest) error {
	err := c.db.Batch(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketGarbage)
		for _, d := range digests {
			if b.Get(d[:]) != nil || referenced(tx, d) {
				continue
			}
			if err := b.Put(d[:], number(now.UnixNano())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list garbage: %w", err)
	}
	return nil
}

// Known reports whether the catalog has heard of the blob, as referenced or as
// garbage.
func (c *Catalog) Known(d blob.Digest) (yes bool, err error) {
	err = c.db.View(func(tx *bolt.Tx) error {
		yes = tx.Bucket(bucketGarbage).Get(d[:]) != nil || referenced(tx, d)
		return nil
	})
	return yes, err
}

// ForgetGarbage takes entries off the list whose blobs were removed. One that was
// listed anew since then stays.
func (c *Catalog) ForgetGarbage(gone []Garbage) error {
	err := c.db.Batch(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketGarbage)
		for _, g := range gone {
			if v := b.Get(g.Digest[:]); v != nil && decode(v) == g.Since.UnixNano() {
				if err := b.Delete(g.Digest[:]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget garbage: %w", err)
	}
	return nil
}
