package invalidate_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
	"freshet/internal/files"
	"freshet/internal/files/filestest"
)

// node is a table with its journal on a disk in RAM, and what it has stored on another
// disk that loses nothing.
type node struct {
	fs      *filestest.FS
	lock    io.Closer
	journal *journal.Journal
	table   *invalidate.Table
}

// layer hands the lock to the node, which ends without closing its journal.
type layer struct {
	files.FS
	n *node
}

func (l layer) Lock(name string) (io.Closer, error) {
	c, err := l.FS.Lock(name)
	l.n.lock = c
	return c, err
}

// startNode starts a node whose journal takes so many bytes at most.
func startNode(t *testing.T, fs *filestest.FS, bound int64) *node {
	t.Helper()
	n := &node{fs: fs}
	j, state, err := journal.Open(journal.Config{Dirs: []string{"/disk"}, Bound: bound, FS: layer{fs, n}})
	if err != nil {
		t.Fatal(err)
	}
	n.journal, n.table = j, invalidate.Open(state, j)
	room := j.Room()
	n.table.SetMax(int64(min(room.Marks, 30)), min(room.Touched, 12))
	return n
}

// entry is one command of the log.
type entry struct {
	scopes []int
	soft   bool
	ban    bool // of the path of the first scope; else marks on all
	at     time.Time
}

// covers reports whether the command covers r.
func (e *entry) covers(r *stored) bool {
	if e.ban {
		return e.scopes[0] == r.names[0]
	}
	return slices.ContainsFunc(e.scopes, func(s int) bool { return slices.Contains(r.names, s) })
}

func (e *entry) effect() invalidate.Effect {
	f := invalidate.Effect{Soft: e.soft, At: e.at}
	if e.ban {
		f.Bans = []invalidate.Ban{{Site: "s", Match: &predicate.Match{Path: fmt.Sprint("/", e.scopes[0])}}}
		return f
	}
	for _, s := range e.scopes {
		f.Scopes = append(f.Scopes, scopeHash(s))
	}
	return f
}

// stored is a response on disk, with what the model knows of it.
type stored struct {
	log               command.LogID
	born, asOf        command.Seq
	generation        uint64
	touches           uint64
	scopes            []response.ScopeHash
	names             []int
	epoch             int  // of the log, counted by restarts
	touched, mayTouch bool // an unsafe request came through since; one that a power cut may have taken
}

// history drives one node through applies, unsafe requests, restarts of the log and of
// the process, kills and power cuts, and compares with a model that forgets nothing.
type history struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	*node

	log     command.LogID
	first   command.Seq // of the log
	entries []entry     // of the log, from first on
	epoch   int
	acked   command.Seq // by Commit
	stored  []*stored
	tended  bool // no unsafe request since Tend has succeeded
	faulty  bool // the disk has failed since the process started

	tested, alive, softened, kept int
}

const histScopes = 25

func scopeHash(i int) response.ScopeHash {
	return response.HashScope(command.Scope{Kind: command.ScopeURL, Site: "s", Value: fmt.Sprint("/", i)})
}

func (h *history) fatalf(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d: %s", h.seed, fmt.Sprintf(format, args...))
}

func (h *history) last() command.Seq { return h.first + command.Seq(len(h.entries)) - 1 }

// replace begins another log and has the node know it, as its follower does.
func (h *history) replace() {
	h.log, h.first, h.entries = command.NewLogID(), command.FirstOf(uint32(1+h.rng.IntN(3))), nil
	h.restart()
}

func (h *history) restart() {
	h.epoch++ // also if it cannot be made durable
	for h.table.Restart(command.Clock{Log: h.log, Seq: h.last()}) != nil {
		h.fs.Heal()
	}
	h.acked = h.last()
}

// append adds a command to the log, whether the node hears it or not.
func (h *history) append() {
	e := entry{soft: h.rng.IntN(3) == 0, ban: h.rng.IntN(6) == 0, at: time.UnixMilli(1_000_000 + int64(len(h.entries)))}
	for range 1 + h.rng.IntN(3) {
		e.scopes = append(e.scopes, h.rng.IntN(histScopes))
	}
	h.entries = append(h.entries, e)
}

// catchUp applies what the node has not applied, some of it at once.
func (h *history) catchUp() {
	for seq := h.acked + 1; seq <= h.last(); seq++ {
		h.table.Apply(seq, h.entries[seq-h.first].effect())
		if h.rng.IntN(3) == 0 || seq == h.last() {
			if h.table.Commit() != nil {
				return
			}
			h.acked = seq
		}
	}
}

func (h *history) touch() {
	s := h.rng.IntN(histScopes)
	h.table.Touch(scopeHash(s))
	h.tended = false
	if err := h.journal.Err(); err != nil && strings.Contains(err.Error(), "not acknowledged") {
		return // it could neither be written nor the journal be removed, which the log says
	}
	for _, r := range h.stored {
		r.mayTouch = r.mayTouch || slices.Contains(r.names, s)
	}
}

// tend is what makes unsafe requests durable.
func (h *history) tend() {
	h.table.Tend()
	if h.journal.Err() == nil && h.journal.Sync() == nil {
		h.durableTouches()
	}
}

func (h *history) durableTouches() {
	h.tended = true
	for _, r := range h.stored {
		r.touched = r.touched || r.mayTouch
		r.mayTouch = false
	}
}

func (h *history) store() {
	clock := h.table.Clock()
	r := &stored{
		log: clock.Log, born: clock.Seq, asOf: clock.Seq, generation: h.table.Generation(), touches: h.table.Touches(),
		epoch: h.epoch,
	}
	r.scopes = append(r.scopes, response.HashScope(command.Scope{Kind: command.ScopeSite, Site: "s"}))
	for range 1 + h.rng.IntN(2) {
		s := h.rng.IntN(histScopes)
		r.names, r.scopes = append(r.names, s), append(r.scopes, scopeHash(s))
	}
	h.stored = append(h.stored, r)
}

// load reads a response back from its disk.
func (r *stored) load() *response.Response {
	p := &response.Response{Key: response.NewKey(fmt.Sprint("s\nh/", r.names[0], "?q")), Log: r.log, Born: r.born, Generation: r.generation, Scopes: r.scopes}
	p.RaiseAsOf(r.asOf)
	p.RaiseTouches(r.touches)
	return p
}

// dead is the model: was r made untrue by what the node has acknowledged, or has heard
// in this process?
func (h *history) dead(r *stored, upTo command.Seq) bool {
	if r.epoch != h.epoch || r.touched {
		return true
	}
	_, dead := h.earliest(r, upTo, false)
	return dead
}

// first1 is the first command up to a sequence that covers r, of the soft ones or of the
// others.
func (h *history) earliest(r *stored, upTo command.Seq, soft bool) (entry, bool) {
	for seq := r.born + 1; seq <= upTo; seq++ {
		e := h.entries[seq-h.first]
		if e.soft == soft && e.covers(r) {
			return e, true
		}
	}
	return entry{}, false
}

// stale holds what the table says of a response that is alive against the model: it is
// under a soft mark if one covers it, and not for a shorter time.
func (h *history) stale(r *stored, p *response.Response, heard command.Seq) {
	got := p.Soft()
	e, covered := h.earliest(r, heard, true)
	if covered && (got.Seq == 0 || got.Since > e.at.UnixMilli()) {
		h.fatalf("born %v, asof %v is stale by %+v at %v, want it to be since %d", r.born, r.asOf, got, heard, e.at.UnixMilli())
	}
	if covered {
		h.softened++
	}
}

// check tests everything stored. heard is what the node has been told in this process.
func (h *history) check(heard command.Seq) {
	for _, r := range h.stored {
		p := r.load()
		alive := h.table.Alive(p)
		h.tested++
		if alive {
			h.alive++
		}
		if alive && h.dead(r, heard) {
			h.fatalf("born %v, asof %v, touched %v, is alive at %v with %v acknowledged", r.born, r.asOf, r.touched, heard, h.acked)
		}
		if alive {
			h.stale(r, p, heard)
		}
		if alive && h.rng.IntN(4) == 0 {
			r.asOf, r.touches = p.Truth().Attested(), p.Touches() // written again, as it is now
		}
	}
}

// bound is what the operator wants now: mostly that the journal is full every few steps.
func (h *history) bound() int64 {
	return []int64{0, journal.MinBound, journal.MinBound, 2 * journal.MinBound}[h.rng.IntN(4)]
}

// reopen goes on with what the disk holds.
func (h *history) reopen(fs *filestest.FS, clean bool) {
	generation, before := h.table.Generation(), h.acked
	clean = clean || !h.faulty
	h.node, h.faulty = startNode(h.t, fs, h.bound()), false
	h.fs.Record(time.Now)
	clock := h.table.Clock()
	if h.table.Generation() == generation {
		h.kept++
		if clock.Log == h.log && clock.Seq < before {
			h.fatalf("%v was acknowledged, the journal has %v", before, clock.Seq)
		}
	} else if clean {
		h.fatalf("the generation is another one")
	}
	switch {
	case clock.Log != h.log:
		h.restart()
	default:
		h.acked = clock.Seq
		h.check(clock.Seq) // before it catches up: what was acknowledged holds
	}
}

func (h *history) step() {
	switch h.rng.IntN(24) {
	case 0, 1, 2, 3, 4, 5:
		h.append()
	case 6, 7, 8:
		h.append()
		h.catchUp()
	case 9, 10:
		h.touch()
	case 11, 12:
		h.tend()
	case 13, 14, 15, 16, 17:
		h.store()
	case 18:
		switch h.rng.IntN(8) {
		case 0:
			h.replace()
		case 1: // the log has lost its end, and gives its sequences out again
			h.entries = h.entries[:h.rng.IntN(len(h.entries)+1)]
			h.restart()
		}
	case 19: // as a process should end
		h.tend()
		whole := h.journal.Err() == nil
		err := h.journal.Close()
		_ = h.lock.Close()
		h.fs.Heal()
		h.reopen(h.fs, err == nil && whole)
	case 20: // killed: what was written is there
		h.fs.Heal()
		_ = h.lock.Close()
		h.durableTouches()
		h.reopen(h.fs, false)
	case 21: // the power goes
		crashed := h.fs.CrashState(h.fs.Points(), h.rng.Uint64())
		if !h.tended { // what was touched may be forgotten
			for _, r := range h.stored {
				r.mayTouch = false
			}
		}
		h.reopen(crashed, false)
	case 22:
		h.faulty = true
		h.fs.Inject(filestest.Fault{
			Op: []filestest.Op{filestest.Write, filestest.Sync, filestest.Allocate, filestest.Rename, filestest.SyncDir, filestest.Remove, filestest.Create}[h.rng.IntN(7)],
			N:  1 + h.rng.IntN(3), Err: []error{syscall.EIO, syscall.ENOSPC}[h.rng.IntN(2)], Stay: h.rng.IntN(3) == 0, Half: h.rng.IntN(2) == 0,
		})
	case 23:
		h.fs.Heal()
	}
}

// TestHistories: whatever happens to the node, no response is alive that something
// acknowledged, or heard of since the start, has made untrue. That what is true stays
// alive is seen by the count.
func TestHistories(t *testing.T) {
	count := 200
	if os.Getenv("FRESHET_TEST_LONG") != "" {
		count = 20_000
	}
	var tested, alive, softened, kept int
	for i := range count {
		h := &history{t: t, seed: uint64(i), rng: rand.New(rand.NewPCG(uint64(i), 7)), tended: true}
		fs := filestest.New()
		if err := fs.MkdirAll("/disk", 0o700); err != nil {
			t.Fatal(err)
		}
		h.node = startNode(t, fs, h.bound())
		h.fs.Record(time.Now)
		h.replace()
		for range 120 {
			h.step()
			if h.rng.IntN(4) == 0 {
				h.catchUp()
				h.check(max(h.acked, h.table.Clock().Seq))
			}
		}
		tested, alive, softened, kept = tested+h.tested, alive+h.alive, softened+h.softened, kept+h.kept
	}
	t.Logf("%d tests of stored responses, %d alive, %d of those stale; %d restarts with what was known", tested, alive, softened, kept)
	if alive < tested/10 || softened < alive/20 || kept < count {
		t.Errorf("of %d tests %d found a response alive, %d stale, and %d restarts knew what was: the histories show nothing", tested, alive, softened, kept)
	}
}

// TestEveryFailureInTurn has each write, sync and rename of a short life fail, once or
// for good, at the start or later.
func TestEveryFailureInTurn(t *testing.T) {
	for _, op := range []filestest.Op{
		filestest.Open, filestest.Create, filestest.Read, filestest.Write, filestest.Allocate, filestest.Sync, filestest.SyncDir,
		filestest.Rename, filestest.Remove, filestest.Mkdir, filestest.Lock,
	} {
		for n := 1; n <= 12; n++ {
			for _, stay := range []bool{false, true} {
				fs := filestest.New()
				if err := fs.MkdirAll("/disk", 0o700); err != nil {
					t.Fatal(err)
				}
				first := startNode(t, fs, 0)
				clock := command.Clock{Log: 7, Seq: 10}
				if err := first.table.Restart(clock); err != nil {
					t.Fatal(err)
				}
				r := stored{log: 7, born: 10, asOf: 10, generation: first.table.Generation(), names: []int{1}, scopes: []response.ScopeHash{scopeHash(1)}}
				fs.Inject(filestest.Fault{Op: op, N: n, Err: syscall.EIO, Stay: stay})
				var acked bool
				switch n % 3 {
				case 0:
					first.table.Apply(11, invalidate.Effect{Scopes: []response.ScopeHash{scopeHash(1)}})
					acked = first.table.Commit() == nil
					first.table.Tend()
					acked = acked || first.table.Commit() == nil
				case 1:
					first.table.Touch(scopeHash(1))
					acked = first.journal.Err() == nil
					first.table.Tend()
				case 2:
					acked = first.table.Restart(command.Clock{Log: 7, Seq: 20}) == nil
				}
				if first.table.Alive(r.load()) {
					t.Errorf("%v %d, stay %t: alive in the process that heard of it", op, n, stay)
				}
				_ = first.lock.Close()
				second := &node{fs: fs}
				j, state, err := journal.Open(journal.Config{Dirs: []string{"/disk"}, FS: layer{fs, second}})
				if err != nil && !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				fs.Heal()
				if err == nil && acked && invalidate.Open(state, j).Alive(r.load()) {
					t.Errorf("%v %d, stay %t: alive after a restart, though its end was acknowledged", op, n, stay)
				}
			}
		}
	}
}
