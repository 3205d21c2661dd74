package site

import (
	"bytes"
	"context"
	"log/slog"

	"freshet/internal/cluster"
)

// Watch publishes a snapshot of the stored site documents, at once and after each
// change, until ctx ends; then it returns nil. A stored document that does not parse
// is logged and its last good version kept, which only this process knows: without
// one the site is left out. While the cluster cannot be reached the last snapshot
// stands. publish is called from one goroutine, and Watch waits for it.
func Watch(ctx context.Context, docs *cluster.Documents, log *slog.Logger, publish func(*Snapshot)) error {
	w := watcher{log: log, known: make(map[string]known)}
	cluster.Follow(ctx, log, "site documents", func(ctx context.Context, after uint64) (uint64, error) {
		all, err := docs.All(ctx, after)
		if err == nil {
			publish(w.snapshot(all))
		}
		return all.Version, err
	})
	return nil
}

// watcher remembers what was parsed, so that a change costs the parsing of what has
// changed.
type watcher struct {
	log   *slog.Logger
	known map[string]known
}

// known is a stored document: its text as last seen, and the last good version.
type known struct {
	text    []byte
	good    *Document // nil if none parsed
	damaged bool      // the record itself could not be read last time
}

func (w *watcher) snapshot(all cluster.AllDocuments) *Snapshot {
	now := make(map[string]known, len(all.List))
	for _, stored := range all.List {
		now[stored.Name] = w.read(stored)
	}
	for _, name := range all.Damaged {
		k := w.known[name]
		if !k.damaged {
			w.log.Error("stored site document is damaged", "site", name, "kept", k.good != nil)
		}
		k.damaged = true
		now[name] = k
	}
	w.known = now
	docs := make([]*Document, 0, len(now))
	for _, k := range now {
		if k.good != nil {
			docs = append(docs, k.good)
		}
	}
	if err := Conflicts(docs); err != nil {
		w.log.Error("stored site documents are in conflict", "err", err)
	}
	return NewSnapshot(all.Version, docs)
}

func (w *watcher) read(stored cluster.Document) known {
	k, ok := w.known[stored.Name]
	if ok && !k.damaged && bytes.Equal(k.text, stored.Text) {
		return k
	}
	k.text, k.damaged = stored.Text, false
	doc, err := parseStored(stored)
	if err != nil {
		w.log.Error("stored site document is invalid", "site", stored.Name, "version", stored.Version, "kept", k.good != nil, "err", err)
		return k
	}
	k.good = doc
	return k
}
