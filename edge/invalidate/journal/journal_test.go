package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/command/predicate"
	"freshet/internal/files"
	"freshet/internal/files/filestest"
	"freshet/internal/hop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = command.Clock{Log: 7, Seq: command.FirstOf(1)}

func hash(i int) response.ScopeHash {
	return response.HashScope(command.Scope{Kind: command.ScopeURL, Site: "s", Value: fmt.Sprint("/", i)})
}

// rig is a journal with its table.
type rig struct {
	t     *testing.T
	cfg   journal.Config
	log   bytes.Buffer
	j     *journal.Journal
	table *invalidate.Table
}

func newRig(t *testing.T, fs files.FS, dirs ...string) *rig {
	t.Helper()
	r := &rig{t: t}
	r.cfg = journal.Config{Dirs: dirs, FS: fs, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	return r
}

func (r *rig) open() *rig {
	r.t.Helper()
	r.log.Reset()
	j, state, err := journal.Open(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.j, r.table = j, invalidate.Open(state, j)
	return r
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.j.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// stored is a response that is stored now under the scope of i.
func (r *rig) stored(i int) *response.Response {
	clock := r.table.Clock()
	p := &response.Response{Log: clock.Log, Born: clock.Seq, Generation: r.table.Generation(), Scopes: []response.ScopeHash{hash(i)}}
	p.RaiseTouches(r.table.Touches())
	return p
}

func (r *rig) want(p *response.Response, want invalidate.Death) {
	r.t.Helper()
	if got := r.table.Test(p); got != want {
		r.t.Errorf("dead by %q, want %q", got, want)
	}
}

func (r *rig) logged(text string) {
	r.t.Helper()
	if !strings.Contains(r.log.String(), text) {
		r.t.Errorf("logged %q, want %q", r.log.String(), text)
	}
}

func inRAM(t *testing.T, dirs ...string) *filestest.FS {
	t.Helper()
	fs := filestest.New()
	for _, dir := range dirs {
		if err := fs.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

func (r *rig) restart(clock command.Clock) {
	r.t.Helper()
	if err := r.table.Restart(clock); err != nil {
		r.t.Fatal(err)
	}
}

// purgeOf is a purge of scopes.
func purgeOf(scopes ...response.ScopeHash) invalidate.Effect {
	return invalidate.Effect{Scopes: scopes}
}

func (r *rig) purge(i int) {
	r.t.Helper()
	r.table.Apply(r.table.Clock().Seq+1, purgeOf(hash(i)))
	if err := r.table.Commit(); err != nil {
		r.t.Fatal(err)
	}
}

// TestRestartKnowsWhatWasKnown runs on the disk of this machine.
func TestRestartKnowsWhatWasKnown(t *testing.T) {
	r := newRig(t, nil, t.TempDir()).open()
	r.restart(start)
	a, b, c := r.stored(1), r.stored(2), r.stored(3)
	r.purge(1)
	r.table.Touch(hash(3))
	fresh := r.stored(1)
	generation, clock, count := r.table.Generation(), r.table.Clock(), r.table.Touches()
	r.close()
	r.open()
	r.want(a, invalidate.OfMark)
	r.want(b, invalidate.Living)
	r.want(c, invalidate.OfTouch)
	r.want(fresh, invalidate.Living)
	if r.table.Generation() != generation || r.table.Clock() != clock || r.table.Marks() != 1 {
		t.Errorf("generation %d, clock %v, %d marks; were %d, %v, 1", r.table.Generation(), r.table.Clock(), r.table.Marks(), generation, clock)
	}
	if r.table.Touches() <= count {
		t.Errorf("%d unsafe requests counted, %d were", r.table.Touches(), count)
	}
	r.table.Touch(hash(2))
	r.want(b, invalidate.OfTouch)
	r.close()
}

func TestLostJournalRevivesNothing(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, fs *filestest.FS, file string){
		"removed": func(t *testing.T, fs *filestest.FS, file string) {
			if err := fs.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		"its header has rotted": func(t *testing.T, fs *filestest.FS, file string) {
			if err := fs.Damage(file, 3, 1); err != nil {
				t.Fatal(err)
			}
		},
		"a mark has rotted": func(t *testing.T, fs *filestest.FS, file string) {
			if err := fs.Damage(file, 40+24+56+24+10, 1); err != nil {
				t.Fatal(err)
			}
		},
		"too long": func(t *testing.T, fs *filestest.FS, file string) {
			f, err := fs.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(1 << 30); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := inRAM(t, "/a")
			r := newRig(t, fs, "/a").open()
			r.restart(start)
			p := r.stored(1)
			r.purge(2)
			r.close()
			lose(t, fs, "/a/marks/journal")
			r.open()
			r.want(p, invalidate.OfRestart)
			if r.table.Clock() != (command.Clock{}) {
				t.Errorf("clock %v, want none", r.table.Clock())
			}
			if name != "removed" {
				r.logged("everything stored on disk is invalidated")
			}
			r.close()
		})
	}
}

func TestNewerJournalIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, nil, dir).open()
	r.close()
	file := filepath.Join(dir, "marks", "journal")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	newer := journal.AsVersion(data, 3)
	if err := os.WriteFile(file, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = journal.Open(r.cfg)
	if !errors.Is(err, journal.ErrNewer) || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, newer) {
		t.Errorf("the file has changed, %v", err)
	}
}

func TestOneProcess(t *testing.T) {
	r := newRig(t, nil, t.TempDir()).open()
	if _, _, err := journal.Open(r.cfg); !errors.Is(err, files.ErrLocked) {
		t.Errorf("got %v, want %v", err, files.ErrLocked)
	}
	r.close()
	r.open().close()
}

// TestTheJournalIsInOnePlace: it stays where it is when directories come and go, and
// of two journals neither is believed, since each may have missed what the other knows.
func TestTheJournalIsInOnePlace(t *testing.T) {
	fs := inRAM(t, "/a", "/b", "/data")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	p := r.stored(1)
	r.close()
	r.cfg.Dirs = []string{"/data", "/b", "/a"}
	r.open()
	r.want(p, invalidate.Living)
	r.close()

	r.cfg.Dirs = []string{"/b"} // the disk with the journal is away
	r.open()
	r.want(p, invalidate.OfRestart)
	r.restart(start)
	q := r.stored(1)
	r.close()
	r.cfg.Dirs = []string{"/a", "/b"} // and is back
	r.open()
	r.want(p, invalidate.OfRestart)
	r.want(q, invalidate.OfRestart)
	r.logged("several directories")
	r.restart(start)
	q = r.stored(1)
	r.close()
	r.open()
	r.want(q, invalidate.Living)
	r.close()
}

func TestOtherKeysReviveNothing(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	if kept, err := r.table.Keyed(5); kept || err != nil {
		t.Fatalf("kept %t, %v", kept, err)
	}
	r.restart(start)
	p := r.stored(1)
	r.close()
	r.open()
	if kept, err := r.table.Keyed(5); !kept || err != nil {
		t.Errorf("kept %t, %v", kept, err)
	}
	r.want(p, invalidate.Living)
	if kept, err := r.table.Keyed(6); kept || err != nil {
		t.Errorf("kept %t, %v", kept, err)
	}
	r.want(p, invalidate.OfRestart)
	r.close()
	r.open()
	if kept, err := r.table.Keyed(6); !kept || err != nil {
		t.Errorf("kept %t, %v", kept, err)
	}
	r.want(p, invalidate.OfRestart)
	r.close()
}

// TestFullDisk: nothing is acknowledged that is not durable; then the journal is given
// up, so that a restart believes nothing, and written again when there is room.
func TestFullDisk(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a")
	registry := prometheus.NewRegistry()
	r.cfg.Metrics = registry
	r.open()
	r.restart(start)
	p := r.stored(1)
	fs.Inject(filestest.Fault{Op: filestest.Sync, N: 1, Err: syscall.ENOSPC, Stay: true})
	r.table.Apply(start.Seq+1, purgeOf(hash(1)))
	for range 3 {
		if err := r.table.Commit(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("committed: %v", err)
		}
	}
	r.want(p, invalidate.OfMark) // in this process at once
	r.logged("level=ERROR")
	if err := r.j.Err(); err == nil || !strings.Contains(err.Error(), "not acknowledged") {
		t.Errorf("got %v", err)
	}
	up := func(want string) {
		t.Helper()
		err := testutil.GatherAndCompare(registry, strings.NewReader("# HELP freshet_edge_marks_up 1 while purge marks are kept on disk, else 0. At 0 a restart of the node invalidates everything stored, or purges are not acknowledged.\n# TYPE freshet_edge_marks_up gauge\nfreshet_edge_marks_up "+want+"\n"), "freshet_edge_marks_up")
		if err != nil {
			t.Error(err)
		}
	}
	up("0")
	r.table.Tend()
	if err := r.table.Commit(); err != nil {
		t.Errorf("given up, and still %v", err)
	}
	if err := r.j.Err(); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("got %v", err)
	}
	q := r.stored(2)
	fs.Heal()
	r.table.Tend()
	if err := r.j.Err(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	up("1")
	r.close()
	r.cfg.Metrics = nil
	r.open()
	r.want(p, invalidate.OfMark)
	r.want(q, invalidate.Living)
	r.close()
}

// TestGivenUp: a node that ends while its journal is given up begins with nothing.
func TestGivenUp(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	p := r.stored(1)
	fs.Inject(filestest.Fault{Op: filestest.Write, N: 1, Err: syscall.EIO, Stay: true})
	r.table.Touch(hash(1))
	r.want(p, invalidate.OfTouch)
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	fs.Heal()
	r.open()
	r.want(p, invalidate.OfRestart)
	r.close()
}

// TestUnsafeRequestsBecomeDurable: within a tenth of a second of a busy node, too.
func TestUnsafeRequestsBecomeDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := inRAM(t, "/a")
		r := newRig(t, fs, "/a").open()
		r.restart(start)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.table.Run(ctx) }()
		fs.Record(time.Now)
		p := r.stored(1)
		for i := range 20 {
			r.table.Touch(hash(1 + i))
			time.Sleep(10 * time.Millisecond)
		}
		r.want(p, invalidate.OfTouch)
		crashed := fs.CrashState(fs.Points(), 1)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.close()
		later := newRig(t, crashed, "/a").open()
		later.want(p, invalidate.OfTouch)
		later.close()
	})
}

// TestTheFileStaysShort: it is written anew before it is long, and says the same.
func TestTheFileStaysShort(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	a, b := r.stored(1), r.stored(-1)
	for i := range 100_000 {
		r.table.Apply(r.table.Clock().Seq+1, purgeOf(hash(i%500)))
		if i%1000 == 0 {
			r.table.Tend()
		}
	}
	if err := r.table.Commit(); err != nil {
		t.Fatal(err)
	}
	r.table.Tend()
	if used := fs.Used(); used > 3<<20 {
		t.Errorf("%d bytes for 500 marks", used)
	}
	clock := r.table.Clock()
	r.close()
	r.open()
	if r.table.Clock() != clock || r.table.Marks() != 500 {
		t.Errorf("%v with %d marks, want %v with 500", r.table.Clock(), r.table.Marks(), clock)
	}
	r.want(a, invalidate.OfMark)
	r.want(b, invalidate.Living)
	r.close()
}

// TestLargeCommand: more scopes than a record holds.
func TestLargeCommand(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	first, last := r.stored(0), r.stored(9999)
	var scopes []response.ScopeHash
	for i := range 10_000 {
		scopes = append(scopes, hash(i))
	}
	r.table.Apply(start.Seq+1, purgeOf(scopes...))
	if err := r.table.Commit(); err != nil {
		t.Fatal(err)
	}
	r.close()
	r.open()
	r.want(first, invalidate.OfMark)
	r.want(last, invalidate.OfMark)
	if r.table.Marks() != 10_000 {
		t.Errorf("%d marks", r.table.Marks())
	}
	r.close()
}

// TestWindowsAndBansOutliveTheProcess, be it appended to the file or what that begins with.
func TestWindowsAndBansOutliveTheProcess(t *testing.T) {
	r := newRig(t, inRAM(t, "/a"), "/a").open()
	r.restart(start)
	held := r.stored(1)
	held.Key = response.NewKey("s\nh/banned")
	e := purgeOf(hash(2))
	e.At, e.Until = time.UnixMilli(1000), time.UnixMilli(9000)
	r.table.Apply(start.Seq+1, e)
	ban := invalidate.Effect{Soft: true, At: time.UnixMilli(2000), Bans: []invalidate.Ban{{Site: "s", Match: &predicate.Match{Path: "/ban*"}}}}
	r.table.Apply(start.Seq+2, ban)
	if err := r.table.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the second and the third find what the one before has written anew
		r.close()
		r.open()
		p := held.WithBody(nil)
		if !r.table.Alive(p) || p.Soft() != (hop.Soft{Seq: start.Seq + 2, Since: 2000}) {
			t.Errorf("%s, under %+v", r.table.Test(p), p.Soft())
		}
		barred := r.stored(2)
		if !r.table.Barred(barred, time.UnixMilli(8999)) || r.table.Barred(barred, time.UnixMilli(9000)) || r.table.Barred(held, time.UnixMilli(8999)) {
			t.Error("another window than was set")
		}
	}
	r.close()
}

// TestLinkOutlivesTheProcess: so that a node that starts again can tell whether the log is
// still the one that it has applied.
func TestLinkOutlivesTheProcess(t *testing.T) {
	r := newRig(t, inRAM(t, "/a"), "/a").open()
	r.restart(start)
	e := purgeOf(hash(1))
	for i, link := range []command.Link{{1}, {2}, {}, {4}} {
		e.Link = link
		r.table.Apply(start.Seq+command.Seq(i)+1, e)
		if err := r.table.Commit(); err != nil {
			t.Fatal(err)
		}
		for _, anew := range []bool{false, true} {
			if anew {
				if err := r.j.Rewrite(func() *invalidate.State {
					return &invalidate.State{Clock: r.table.Clock(), Link: r.table.Link(), Generation: r.table.Generation()}
				}); err != nil {
					t.Fatal(err)
				}
			}
			r.close()
			if r.open(); r.table.Link() != link || r.table.Clock().Seq != start.Seq+command.Seq(i)+1 {
				t.Errorf("after command %d, written anew %t: link %s at %s, want %s", i+1, anew, r.table.Link(), r.table.Clock(), link)
			}
		}
	}
	e.Link = command.Link{5}
	r.table.Apply(start.Seq+5, e)
	r.restart(start)
	r.close()
	if r.open(); r.table.Link() != (command.Link{}) {
		t.Errorf("after a restart of the log: link %s", r.table.Link())
	}
	r.close()
}
