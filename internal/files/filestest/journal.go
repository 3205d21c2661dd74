package filestest

import (
	"bytes"
	"path/filepath"
	"time"
)

// The kinds of changes.
const (
	written    = iota // bytes from off on
	resized           // to off bytes
	synced            // the bytes and the size of the file
	syncFailed        // what was not synced before this may be lost though a later sync succeeds
	linked            // name made
	unlinked          // name removed
	renamed           // name moved
	dirSynced         // the names within name
)

// change is one entry of the journal.
type change struct {
	kind     uint8
	inode    uint64
	off      int64
	data     []byte // shared by all who are rebuilt
	name, to string
	at       time.Time
}

// journal is what has changed, in order, since a state in which all was durable.
type journal struct {
	now     func() time.Time
	changes []change
	base    *FS   // owns no files that are open
	disk    *disk // as of some point; nil: not begun
}

// add notes a change; without a journal it does nothing.
func (j *journal) add(c change) {
	if j == nil {
		return
	}
	c.at = j.now()
	j.changes = append(j.changes, c)
}

// write notes bytes that were written.
func (j *journal) write(inode uint64, off int64, p []byte) {
	if j != nil {
		j.add(change{kind: written, inode: inode, off: off, data: bytes.Clone(p)})
	}
}

// Record keeps a journal of what changes from now on, each change stamped by now; one
// that was kept before is forgotten. What is there counts as durable.
func (f *FS) Record(now func() time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.journal = &journal{now: now, base: f.copy()}
}

// Copy is what a process leaves that is killed: a layer with all that was written, synced or
// not, without faults, locks and journal.
func (f *FS) Copy() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.copy()
}

// copy is a layer with the same names, files and directories. The caller holds mu.
func (f *FS) copy() *FS {
	c := New()
	c.number = f.number
	f.by = &owner{}
	for name := range f.dirs {
		c.dirs[name] = true
	}
	for name, node := range f.inodes {
		c.inodes[name] = &inode{content: node.clone(), number: node.number, named: true}
		c.used += node.size
	}
	c.peak = c.used
	return c
}

// Points is how many changes the journal holds: CrashState takes 0 up to this.
func (f *FS) Points() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journal == nil {
		return 0
	}
	return len(f.journal.changes)
}

// At is the stamp of the i-th change, counted from 0: the first that a power cut at
// point i prevents.
func (f *FS) At(i int) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.journal.changes[i].at
}

// disk is what is known of the disk at a point of the journal: what is durable, and
// what may be there or not.
type disk struct {
	point int
	by    *owner
	files map[uint64]*state
	names map[string]uint64 // durable
	loose []change          // of names, in order
	gone  []*state          // the last few files whose removal is durable: blocks that others get
}

// state is a file on the disk.
type state struct {
	durable content
	loose   []change // of bytes and size, in order
	doomed  int      // that many of the first of them may be lost though a sync succeeds
}

// keepGone is how many removed files' bytes are remembered.
const keepGone = 4

// begin is the disk at the start of the journal.
func (j *journal) begin() *disk {
	d := &disk{by: &owner{}, files: map[uint64]*state{}, names: map[string]uint64{}}
	for name, node := range j.base.inodes {
		d.files[node.number] = &state{durable: node.clone()}
		d.names[name] = node.number
	}
	return d
}

// apply moves the disk past one change.
func (d *disk) apply(c change) {
	d.point++
	switch c.kind {
	case linked:
		d.files[c.inode] = &state{}
		d.loose = append(d.loose, c)
	case unlinked, renamed:
		d.loose = append(d.loose, c)
	case dirSynced:
		d.syncNames(c.name)
	}
	file := d.files[c.inode]
	if file == nil {
		return
	}
	switch c.kind {
	case written, resized:
		file.loose = append(file.loose, c)
	case syncFailed:
		file.doomed = len(file.loose)
	case synced:
		file.sync(d.by, uint64(d.point))
	}
}

// sync makes the loose changes durable. The doomed ones are kept or not as the point
// of the journal has it.
func (s *state) sync(by *owner, point uint64) {
	fate := fateOf(allKept)
	if s.doomed > 0 {
		fate = sectorFate(point, s.doomed)
	}
	s.durable = s.survivors(s.durable, by, fate, nil)
	s.loose, s.doomed = nil, 0
}

// syncNames makes what happened to the names of a directory durable. A rename from one
// directory to another is, when either of them is synced.
func (d *disk) syncNames(dir string) {
	var rest []change
	for _, c := range d.loose {
		if filepath.Dir(c.name) == dir || c.to != "" && filepath.Dir(c.to) == dir {
			follow(d.names, c)
		} else {
			rest = append(rest, c)
		}
	}
	d.loose = rest
	d.forget()
}

// follow does to the names what c did.
func follow(names map[string]uint64, c change) {
	switch c.kind {
	case linked:
		names[c.name] = c.inode
	case unlinked:
		delete(names, c.name)
	case renamed:
		if names[c.name] == c.inode {
			delete(names, c.name)
		}
		names[c.to] = c.inode
	}
}

// forget drops the files that no name can lead to any more.
func (d *disk) forget() {
	used := map[uint64]bool{}
	for _, number := range d.names {
		used[number] = true
	}
	for _, c := range d.loose {
		used[c.inode] = true
	}
	for number, file := range d.files {
		if !used[number] {
			delete(d.files, number)
			d.gone = append(d.gone, file)
		}
	}
	d.gone = d.gone[max(0, len(d.gone)-keepGone):]
}
