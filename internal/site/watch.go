package site

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"freshet/internal/cluster"
)

// How long Watch waits before it asks a cluster again that has just failed it: the
// wait doubles from the first to the last, and is drawn from its upper half so that
// the nodes of a cluster do not come back in step.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Watch publishes a snapshot of the stored site documents, at once and after each
// change, until ctx ends; then it returns nil. A stored document that does not parse
// is logged and its last good version kept, which only this process knows: without
// one the site is left out. While the cluster cannot be reached the last snapshot
// stands. publish is called from one goroutine, and Watch waits for it.
func Watch(ctx context.Context, docs *cluster.Documents, log *slog.Logger, publish func(*Snapshot)) error {
	w := watcher{log: log, known: make(map[string]known)}
	var after uint64
	retry := firstRetry
	failing := false
	for {
		all, err := docs.All(ctx, after)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !failing {
				log.Warn("site documents cannot be read, keeping those known", "err", err)
				failing = true
			}
			if !sleep(ctx, retry/2+rand.N(retry/2)) {
				return nil
			}
			retry = min(2*retry, lastRetry)
			continue
		}
		if failing {
			log.Info("site documents can be read again")
			failing = false
		}
		after, retry = all.Version, firstRetry
		publish(w.snapshot(all))
	}
}

// sleep waits; it returns false as soon as ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
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
