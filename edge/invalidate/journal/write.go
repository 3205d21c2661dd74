package journal

import (
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/files"
	"freshet/internal/hop"
)

// Applied adds a command.
func (j *Journal) Applied(seq command.Seq, e invalidate.Effect) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	since := uint64(e.At.UnixMilli())
	// Of more scopes than fit one record the first are marked ahead, which does no harm:
	// a mark above what is applied makes dead what the command, yet to come, does.
	ahead, last := kindMarks, kindApplied
	if e.Soft {
		ahead, last = kindSofts, kindSoftened
	}
	for i := range e.Bans {
		if err := j.add(kindBan, func(b []byte) []byte { return appendBan(b, &e.Bans[i]) }); err != nil {
			return err
		}
	}
	if !e.Until.IsZero() {
		for list := range slices.Chunk(e.Scopes, perRecord) {
			if err := j.add(kindWindows, func(b []byte) []byte {
				for _, scope := range list {
					b = le.AppendUint64(appendScope(b, scope), uint64(e.Until.UnixMilli()))
				}
				return b
			}); err != nil {
				return err
			}
		}
	}
	scopes := e.Scopes
	for ; len(scopes) > perRecord; scopes = scopes[perRecord:] {
		if err := j.add(ahead, func(b []byte) []byte {
			for _, scope := range scopes[:perRecord] {
				b = le.AppendUint64(appendScope(b, scope), uint64(seq))
				if e.Soft {
					b = le.AppendUint64(b, since)
				}
			}
			return b
		}); err != nil {
			return err
		}
	}
	if e.Link != (command.Link{}) {
		if err := j.add(kindLink, func(b []byte) []byte { return appendLink(b, seq, e.Link) }); err != nil {
			return err
		}
	}
	return j.add(last, func(b []byte) []byte {
		b = le.AppendUint64(b, uint64(seq))
		if e.Soft {
			b = le.AppendUint64(b, since)
		}
		for _, scope := range scopes {
			b = appendScope(b, scope)
		}
		return b
	})
}

// Forgot adds that the floor was raised.
func (j *Journal) Forgot(floor command.Seq) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.add(kindForgot, func(b []byte) []byte { return le.AppendUint64(b, uint64(floor)) })
}

// Touched adds an unsafe request.
func (j *Journal) Touched(scope response.ScopeHash, n, floor uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.add(kindTouched, func(b []byte) []byte {
		return le.AppendUint64(appendScope(le.AppendUint64(b, floor), scope), n)
	})
}

// add writes one record behind the others; mu is held.
func (j *Journal) add(k kind, fill func([]byte) []byte) error {
	m := &j.mu
	switch m.phase {
	case abandoned:
		return nil
	case full:
		return invalidate.ErrFull
	case failed:
		return m.err
	case closed:
		return errClosed
	}
	m.buf = appendRecord(m.buf[:0], m.id, k, m.durable, fill)
	end := m.end + int64(len(m.buf))
	if end > j.bounds.file {
		if k != kindNote { // which may be missing
			m.phase = full
		}
		return invalidate.ErrFull
	}
	if end > m.allocated {
		to := min(end+j.bounds.step, j.bounds.file)
		if err := m.file.Allocate(to); err != nil {
			return j.fail(err)
		}
		m.allocated = to
	}
	if _, err := m.file.WriteAt(m.buf, m.end); err != nil {
		return j.fail(err)
	}
	m.end = end
	if k != kindNote {
		m.wanted = end
	}
	return nil
}

// fail notes that the journal takes no records any more; mu is held.
func (j *Journal) fail(err error) error {
	if j.mu.phase == up || j.mu.phase == full {
		j.log.Error("purge marks cannot be written, purges are not acknowledged", "dir", j.dir, "err", err)
	}
	j.metrics.failures.Inc()
	j.mu.phase, j.mu.err = failed, err
	return err
}

// Sync makes durable what was added before.
func (j *Journal) Sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	switch j.mu.phase {
	case abandoned:
		return nil
	case full:
		return invalidate.ErrFull
	case failed:
		return j.mu.err
	case closed:
		return errClosed
	}
	if j.mu.wanted <= j.mu.durable {
		return nil
	}
	f, end := j.mu.file, j.mu.end
	j.mu.Unlock() // records may be added meanwhile
	err := f.Sync()
	j.mu.Lock()
	j.metrics.syncs.Inc()
	switch {
	case j.mu.phase == failed: // by what was added meanwhile
		return j.mu.err
	case j.mu.phase == abandoned:
		return nil
	case err != nil:
		return j.fail(err)
	}
	j.mu.durable = end // though it may be full by now
	// Not needed for what was just made durable: without it a disk that rots could pass
	// for one that lost its power before.
	_ = j.add(kindNote, func(b []byte) []byte { return b })
	return nil
}

// Due reports whether the journal should be written anew.
func (j *Journal) Due() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.phase == abandoned || j.mu.phase == up && j.mu.end > j.bounds.due(j.mu.base)
}

// Rewrite puts a state in place of all that the journal holds.
func (j *Journal) Rewrite(state func() *invalidate.State) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	m := &j.mu
	if m.phase == closed {
		return errClosed
	}
	id := newID()
	f, base, allocated, err := j.write(id, state())
	if err != nil {
		// What is in place, if anything, is still that.
		if m.err == nil {
			j.log.Error("purge marks cannot be written anew", "dir", j.dir, "err", err)
		}
		j.metrics.failures.Inc()
		m.err = err
		if m.phase == full {
			m.phase = failed
		}
		return err
	}
	if err := j.place(); err != nil {
		f.Close()
		if m.file != nil {
			m.file.Close() // nor does it take space any more, if it has no name
			m.file = nil
		}
		return j.fail(err) // either may be in place
	}
	if m.err != nil {
		j.log.Info("purge marks are written again", "dir", j.dir)
	}
	if m.file != nil {
		m.file.Close() // of a file that has no name any more
	}
	m.phase, m.err, m.file, m.id = up, nil, f, id
	m.base, m.end, m.wanted, m.durable, m.allocated = base, base, base, base, allocated
	return nil
}

// write writes a new file under the name newName.
func (j *Journal) write(id uint64, s *invalidate.State) (f files.File, base, allocated int64, err error) {
	f, err = j.fs.OpenFile(filepath.Join(j.dir, newName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, 0, err
	}
	w := writer{file: f, id: id, off: headerSize, max: j.bounds.anew - j.bounds.step}
	w.record(kindState, func(b []byte) []byte { return appendState(b, s) })
	if s.Link != (command.Link{}) {
		w.record(kindLink, func(b []byte) []byte { return appendLink(b, s.Clock.Seq, s.Link) })
	}
	chunks(s.Marks, func(list []pair[command.Seq]) {
		w.record(kindMarks, func(b []byte) []byte { return appendPairs(b, list) })
	})
	chunks(s.Softs, func(list []pair[hop.Soft]) {
		w.record(kindSofts, func(b []byte) []byte {
			for _, p := range list {
				b = le.AppendUint64(le.AppendUint64(appendScope(b, p.scope), uint64(p.n.Seq)), uint64(p.n.Since))
			}
			return b
		})
	})
	chunks(maps.All(s.Windows), func(list []pair[int64]) {
		w.record(kindWindows, func(b []byte) []byte {
			for _, p := range list {
				b = le.AppendUint64(appendScope(b, p.scope), uint64(p.n))
			}
			return b
		})
	})
	for i := range s.Bans {
		w.record(kindBan, func(b []byte) []byte { return appendBan(b, &s.Bans[i]) })
	}
	chunks(s.Touched, func(list []pair[uint64]) {
		w.record(kindTouched, func(b []byte) []byte { return appendPairs(le.AppendUint64(b, s.TouchFloor), list) })
	})
	base = w.off
	w.write(appendHeader(nil, id, uint64(base)), 0)
	allocated = base + j.bounds.step
	if err = w.err; err == nil {
		err = f.Allocate(allocated)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		return nil, 0, 0, err
	}
	return f, base, allocated, nil
}

// place puts the new file in the place of the old.
func (j *Journal) place() error {
	if err := j.fs.Rename(filepath.Join(j.dir, newName), filepath.Join(j.dir, fileName)); err != nil {
		return err
	}
	return j.fs.SyncDir(j.dir)
}

// Abandon makes sure that a restart finds no journal.
func (j *Journal) Abandon() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch j.mu.phase {
	case abandoned:
		return nil
	case closed:
		return errClosed
	}
	if err := j.remove(j.dir); err != nil {
		return j.fail(err)
	}
	j.mu.phase = abandoned
	j.log.Error("purge marks are given up until they can be written, a restart before that would invalidate everything stored", "dir", j.dir, "err", j.mu.err)
	return nil
}

// remove removes the journal of a directory for good.
func (j *Journal) remove(dir string) error {
	for _, name := range []string{fileName, newName} {
		if err := j.fs.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return j.fs.SyncDir(dir)
}

// writer writes the records that a file begins with.
type writer struct {
	file files.File
	id   uint64
	off  int64
	max  int64 // no more than this
	buf  []byte
	err  error
}

func (w *writer) record(k kind, fill func([]byte) []byte) {
	w.buf = appendRecord(w.buf[:0], w.id, k, 0, fill)
	w.write(w.buf, w.off)
	w.off += int64(len(w.buf))
}

func (w *writer) write(b []byte, off int64) {
	if w.err == nil && off+int64(len(b)) > w.max {
		w.err = errTooMuch
	}
	if w.err == nil {
		_, w.err = w.file.WriteAt(b, off)
	}
}

func appendBan(b []byte, ban *invalidate.Ban) []byte {
	soft := uint64(0)
	if ban.Soft {
		soft = 1
	}
	b = le.AppendUint64(le.AppendUint64(b, uint64(ban.Seq)), uint64(ban.Since))
	b = le.AppendUint64(le.AppendUint64(b, uint64(ban.Until)), soft)
	return append(b, ban.Text()...)
}

// pair is a scope and what concerns it.
type pair[N any] struct {
	scope response.ScopeHash
	n     N
}

func appendPairs[N ~uint64](b []byte, list []pair[N]) []byte {
	b = slices.Grow(b, len(list)*markSize)
	for _, p := range list {
		b = le.AppendUint64(appendScope(b, p.scope), uint64(p.n))
	}
	return b
}

// chunks cuts what seq yields, which may be nil, into what fits a record.
func chunks[N any](seq iter.Seq2[response.ScopeHash, N], do func([]pair[N])) {
	if seq == nil {
		return
	}
	list := make([]pair[N], 0, 64)
	for scope, n := range seq {
		if list = append(list, pair[N]{scope, n}); len(list) == perRecord {
			do(list)
			list = list[:0]
		}
	}
	if len(list) > 0 {
		do(list)
	}
}
