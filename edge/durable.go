package edge

import (
	"encoding/json"
	"fmt"

	"github.com/zeebo/xxh3"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/store/disk"
	"freshet/internal/command"
	"freshet/internal/files"
	"freshet/internal/node"
	"freshet/internal/site"
)

// keysVersion changes with a version of Freshet that gives a request another cache key
// than the one before, or a scope another hash: purges would miss what is stored.
const keysVersion = 2

// kept is what a node keeps over a restart, and where.
type kept struct {
	disks []disk.Config
	marks journal.Config
}

// keep divides the disks of a node. The marks lie in its data directory, else beside what
// a disk holds: where they were the last time. What they may take there is the disk's, so
// its store gets the rest. It changes nothing on disk. A layer of nil is the system's.
func keep(f *node.File, on files.FS) (k kept, err error) {
	if len(f.Cache.Disk) == 0 {
		return k, nil
	}
	k.marks.FS = on
	if f.Data != "" {
		k.marks.Dirs = append(k.marks.Dirs, f.Data)
	}
	for _, d := range f.Cache.Disk {
		k.marks.Dirs = append(k.marks.Dirs, d.Dir)
	}
	home, err := journal.Home(on, k.marks.Dirs)
	if err != nil {
		return k, err
	}
	_, known := f.Kept()
	for i, d := range f.Cache.Disk {
		c := disk.Config{Dir: d.Dir, Size: int64(d.Size), ScrubRate: int64(f.Cache.Scrub), FS: on}
		if d.Dir == home {
			k.marks.Bound = marksBound(c.Size)
			c.Size -= k.marks.Bound
		}
		if i == 0 {
			c.Size -= known
		}
		k.disks = append(k.disks, c)
	}
	return k, nil
}

// marksBound is what the marks may take of a disk, both in bytes. At 3 GiB it is all that
// they ever want; below that a node forgets the oldest sooner.
func marksBound(size int64) int64 {
	const least, most = 1 << 20, 96 << 20
	return min(max(size/32, least), most)
}

// openTable opens the marks of a node, which one without disks does not keep.
func openTable(env node.Env, cfg journal.Config) (*invalidate.Table, *journal.Journal, error) {
	if len(cfg.Dirs) == 0 {
		return invalidate.New(), nil, nil
	}
	cfg.Log, cfg.Metrics = env.Log, env.Metrics
	j, state, err := journal.Open(cfg)
	if err != nil {
		return nil, nil, err
	}
	env.Health.Warn("purge marks", j.Err)
	return invalidate.Open(state, j), j, nil
}

// closeJournal ends what openTable has begun.
func (e *Edge) closeJournal() {
	if e.journal == nil {
		return
	}
	if err := e.journal.Close(); err != nil {
		e.log.Error("purge marks not closed as they should be", "err", err)
	}
}

// continueAlone takes up the log of a node without a cluster, which has no commands:
// its own, as long as doc keys responses as it did the last time.
func (e *Edge) continueAlone(doc *site.Document) {
	before := e.table.Clock()
	e.continueAs(keyedBy(doc))
	if e.table.Clock().Log != 0 {
		return
	}
	if before.Log != 0 {
		e.log.Warn("responses have other keys or another origin than the last time, everything stored is invalidated", "site", doc.Site)
	}
	// What is not durable is tried again by the table, and in the journal's log.
	_ = e.table.Restart(command.Clock{Log: command.NewLogID(), Seq: command.FirstOf(1)})
}

// continueAs says what keys this node's responses. A node whose state is of something
// else, such as of a time without a cluster, has no state.
func (e *Edge) continueAs(keyed uint64) {
	_, _ = e.table.Keyed(keyed) // likewise
}

// keyedBy is the sum of all that decides which response is stored under which key, for
// a node whose site document comes without a command in the log. nil is a node whose
// documents do not.
func keyedBy(doc *site.Document) uint64 {
	parts := []any{keysVersion}
	if doc != nil {
		parts = append(parts, doc.Site, doc.Hosts, doc.Origin, doc.Cache.Key, doc.Cache.PassCookies, doc.AmbiguousPaths, doc.Rules)
	}
	text, err := json.Marshal(parts)
	if err != nil {
		panic(fmt.Sprintf("site document as JSON: %v", err)) // plain data
	}
	return xxh3.Hash(text)
}

// Commit makes durable what was applied.
func (e *Edge) Commit() error {
	if e.yielded.Load() {
		return errYielded
	}
	return e.table.Commit()
}
