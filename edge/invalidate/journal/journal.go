package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/invalidate"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/files"
	"freshet/internal/hop"
)

// Names within a directory of a node.
const (
	SubDir   = "marks" // where the journal lies in the directory
	fileName = "journal"
	newName  = "journal.new" // being written, not yet in place
	lockName = "lock"
)

// Config says where a journal may lie.
type Config struct {
	// Dirs are the directories that the node keeps something in, at least one: the
	// journal lies in the sub-directory SubDir of the one that it is found in, else of
	// the first. Found in several it is believed in none.
	Dirs []string
	// Bound is what the files of the journal take at most, in bytes, at least MinBound;
	// 0: no less than MaxMarks and MaxTouched of package invalidate want.
	Bound   int64
	FS      files.FS // nil: files.OS
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none
}

// Journal is an open journal, an invalidate.Journal.
type Journal struct {
	fs      files.FS
	log     *slog.Logger
	metrics *metrics
	dir     string // with SubDir
	lock    io.Closer
	bounds  bounds

	syncing sync.Mutex // one Sync or Rewrite at a time; before mu
	mu      struct {
		sync.Mutex
		phase     phase
		err       error // of the last write that failed, nil after a Rewrite
		file      files.File
		id        uint64 // of the file
		base      int64  // what the file began with
		end       int64  // behind the last record
		wanted    int64  // behind the last record that is not a note
		durable   int64  // up to here a Sync has succeeded
		allocated int64
		buf       []byte
	}
}

// phase is what a journal is good for.
type phase uint8

const (
	closed    phase = iota
	up              // it takes records
	full            // it would, had it room; to be written anew
	failed          // a write has failed: what the disk holds is not known
	abandoned       // the disk holds none
)

var errClosed = errors.New("journal is closed")

// Open opens the journal of a node, or makes one. What it held is the state, to which
// the table opens that is to write to it. A journal that is missing or damaged is a new
// one, whose generation brings all to an end that is stored; that is logged.
//
// ErrNewer and files.ErrLocked stand for a journal that must not be touched; other
// errors for a directory that cannot be used.
func Open(c Config) (*Journal, *invalidate.State, error) {
	j := &Journal{fs: c.FS, log: c.Log}
	var err error
	if j.bounds, err = boundsOf(c.Bound); err != nil {
		return nil, nil, err
	}
	if j.fs == nil {
		j.fs = files.OS
	}
	if j.log == nil {
		j.log = slog.New(slog.DiscardHandler)
	}
	found, home, err := find(j.fs, c.Dirs)
	if err != nil {
		return nil, nil, err
	}
	j.dir = filepath.Join(home, SubDir)
	if err := j.fs.MkdirAll(j.dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make directory of purge marks: %w", err)
	}
	if err := j.fs.SyncDir(home); err != nil {
		return nil, nil, fmt.Errorf("make directory of purge marks: %w", err)
	}
	if j.lock, err = j.fs.Lock(filepath.Join(j.dir, lockName)); err != nil {
		return nil, nil, fmt.Errorf("lock purge marks in %s: %w", j.dir, err)
	}
	if j.metrics, err = newMetrics(c.Metrics, j); err != nil {
		j.lock.Close()
		return nil, nil, fmt.Errorf("metrics of purge marks: %w", err)
	}
	state, err := j.load(found)
	if err == nil {
		err = j.tidy(c.Dirs, home)
	}
	if err != nil {
		j.lock.Close()
		return nil, nil, err
	}
	j.mu.phase = failed // until it is written
	if err := j.Rewrite(func() *invalidate.State { return state }); err == nil {
		j.log.Info("purge marks opened", "dir", j.dir, "clock", state.Clock.String())
	}
	return j, state, nil
}

// Home is which of a node's directories its journal will lie in; see Config.Dirs.
func Home(on files.FS, dirs []string) (string, error) {
	if on == nil {
		on = files.OS
	}
	_, home, err := find(on, dirs)
	return home, err
}

// find says which of the directories hold a journal, and which is its home.
func find(on files.FS, dirs []string) (found []string, home string, err error) {
	if len(dirs) == 0 {
		return nil, "", errors.New("purge marks have no directory")
	}
	for _, dir := range dirs {
		f, err := on.OpenFile(filepath.Join(dir, SubDir, fileName), os.O_RDONLY, 0)
		switch {
		case err == nil:
			f.Close()
			found = append(found, dir)
		case !errors.Is(err, os.ErrNotExist):
			return nil, "", fmt.Errorf("look for purge marks: %w", err)
		}
	}
	if len(found) == 1 {
		return found, found[0], nil
	}
	return found, dirs[0], nil
}

// load is the state that the journal holds, or a new one.
func (j *Journal) load(found []string) (*invalidate.State, error) {
	fresh := &invalidate.State{Generation: invalidate.NewGeneration()}
	switch len(found) {
	case 0:
		return fresh, nil
	case 1:
	default:
		j.log.Warn("purge marks are in several directories and believed in none, everything stored on disk is invalidated", "dirs", found)
		for _, dir := range found {
			if err := j.remove(filepath.Join(dir, SubDir)); err != nil {
				return nil, fmt.Errorf("remove purge marks that are one of several: %w", err)
			}
		}
		return fresh, nil
	}
	data, err := j.read()
	if err != nil {
		return nil, fmt.Errorf("read purge marks: %w", err)
	}
	m, err := parse(data)
	switch {
	case errors.Is(err, ErrNewer):
		return nil, fmt.Errorf("%s: %w: run the version of freshet that wrote it or a newer one, or remove the file and with it all that is stored", filepath.Join(j.dir, fileName), err)
	case err != nil:
		j.log.Warn("purge marks cannot be believed, everything stored on disk is invalidated", "dir", j.dir, "err", err)
		return fresh, nil
	}
	if m.fit(j.Room()) {
		j.log.Warn("purge marks are more than there is room for, the oldest are forgotten and what is stored of that time invalidated", "dir", j.dir)
	}
	return m.restore(), nil
}

// tidy removes what was left half-written in a directory that the journal lies in no more.
func (j *Journal) tidy(dirs []string, home string) error {
	for _, dir := range dirs {
		if dir == home {
			continue
		}
		if err := j.fs.Remove(filepath.Join(dir, SubDir, newName)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove purge marks that are not used: %w", err)
		}
	}
	return nil
}

// restore is the state to go on from.
func (m *image) restore() *invalidate.State {
	s := m.state
	// A power cut may have taken the last unsafe requests. Their counts must not be
	// given out again: what is stored bears them.
	s.Touches += 1 << 32
	s.Marks = func(yield func(response.ScopeHash, command.Seq) bool) {
		for scope, seq := range m.marks {
			if !yield(scope, seq) {
				return
			}
		}
	}
	s.Windows, s.Bans = m.windows, m.bans
	s.Softs = func(yield func(response.ScopeHash, hop.Soft) bool) {
		for at, since := range m.softs {
			if !yield(at.scope, hop.Soft{Seq: at.seq, Since: since}) {
				return
			}
		}
	}
	s.Touched = func(yield func(response.ScopeHash, uint64) bool) {
		for scope, n := range m.touched {
			if !yield(scope, n) {
				return
			}
		}
	}
	return &s
}

// read reads the whole file.
func (j *Journal) read() ([]byte, error) {
	f, err := j.fs.OpenFile(filepath.Join(j.dir, fileName), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxFile {
		return nil, nil // no journal is that long: damaged
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), data); err != nil {
		return nil, err
	}
	return data, nil
}

// Close makes everything durable and lets go of the directory.
func (j *Journal) Close() error {
	err := j.Sync()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.phase == closed {
		return nil
	}
	if f := j.mu.file; f != nil {
		if j.mu.phase == up && err == nil {
			err = f.Sync() // of the note
		}
		err = errors.Join(err, f.Close())
	}
	j.mu.phase, j.mu.file = closed, nil
	return errors.Join(err, j.lock.Close())
}

// Err is nil while the journal takes what it is told, else it says what that means.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch j.mu.phase {
	case failed:
		return fmt.Errorf("purges are not acknowledged: %w", j.mu.err)
	case abandoned:
		return fmt.Errorf("a restart would invalidate everything stored: %w", j.mu.err)
	}
	return nil
}

// newID draws the id of a file.
func newID() uint64 { return rand.Uint64() }
