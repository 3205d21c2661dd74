package depot

import (
	"context"
	"fmt"
	"time"

	"freshet/origin/blob"
	"freshet/origin/catalog"
)

// sweepBatch is how many blobs are looked at between two changes of the catalog.
const sweepBatch = 500

// Reclaim finds the blobs that the catalog has not heard of, left by uploads that
// were cut off between their two halves, and lists them as garbage as of now. It
// reads the whole store: for the start of a process. It returns how many it found.
func (d *Depot) Reclaim(ctx context.Context) (found int, err error) {
	var batch []blob.Digest
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		found += len(batch)
		err := d.catalog.AddGarbage(d.now(), batch...)
		batch = batch[:0]
		return err
	}
	err = d.blobs.Walk(ctx, func(digest blob.Digest) error {
		known, err := d.catalog.Known(digest)
		if err != nil || known || d.isHeld(digest) {
			return err
		}
		if batch = append(batch, digest); len(batch) < sweepBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return found, fmt.Errorf("reclaim blobs: %w", err)
	}
	return found, nil
}

// Sweep removes the blobs that no object has referred to for at least grace, and
// returns how many.
func (d *Depot) Sweep(ctx context.Context, grace time.Duration) (removed int, err error) {
	before := d.now().Add(-grace)
	var after blob.Digest
	for {
		list, err := d.catalog.Garbage(before, after, sweepBatch)
		if err != nil || len(list) == 0 {
			return removed, err
		}
		var gone []catalog.Garbage
		for _, g := range list {
			if err := ctx.Err(); err != nil {
				return removed, err
			}
			ok, err := d.remove(g.Digest)
			if err != nil {
				return removed, fmt.Errorf("sweep blobs: %w", err)
			}
			if ok {
				gone = append(gone, g)
			}
		}
		removed += len(gone)
		if err := d.catalog.ForgetGarbage(gone); err != nil {
			return removed, err
		}
		after = list[len(list)-1].Digest
	}
}

// remove removes a blob unless an object refers to it or an upload is about to.
func (d *Depot) remove(digest blob.Digest) (bool, error) {
	l := d.lock(digest)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.held[digest] > 0 {
		return false, nil
	}
	referenced, err := d.catalog.Referenced(digest)
	if err != nil || referenced {
		return false, err
	}
	return true, d.blobs.Remove(digest)
}

func (d *Depot) isHeld(digest blob.Digest) bool {
	l := d.lock(digest)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.held[digest] > 0
}
