package cluster

import (
	"context"
	"fmt"
	"path"
)

// DocumentOf is what a stored record of a current version says, and whether it is of a
// deleted document.
func DocumentOf(p Pair) (doc Document, deleted bool, err error) {
	r, err := decode(p, path.Base(p.Key))
	return r.Document, r.Deleted, err
}

// Restore puts a record back that the store has lost, as it was, with its version; see
// DocumentOf. ErrConflict if the store has another under its name by now; ErrInvalid if it
// is of documents under another prefix.
func (d *Documents) Restore(ctx context.Context, lost Pair) (doc Document, deleted bool, err error) {
	doc, deleted, err = DocumentOf(lost)
	if err == nil && lost.Key != d.currentKey(doc.Name) {
		err = fmt.Errorf("it belongs under %s: %w", d.prefix, ErrInvalid)
	}
	if err == nil {
		err = CheckName(doc.Name)
	}
	if err == nil {
		_, err = d.kv.Put(ctx, lost.Key, lost.Value, Absent)
	}
	if err != nil {
		return Document{}, false, fmt.Errorf("restore record %s: %w", lost.Key, err)
	}
	return doc, deleted, nil
}
