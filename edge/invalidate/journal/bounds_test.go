package journal_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/edge/invalidate"
	"freshet/edge/invalidate/journal"
	"freshet/edge/response"
	"freshet/internal/files/filestest"
)

// TestBoundIsKept: however many purges and unsafe requests come, also faster than Tend
// does, and however the process starts again, the files never take more than they may,
// and nothing is lost by it.
func TestBoundIsKept(t *testing.T) {
	const bound = 1 << 20
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a")
	r.cfg.Bound = bound
	rng := rand.New(rand.NewPCG(1, 2))
	clock, deaths := start, map[invalidate.Death]int{}
	for era := range 4 {
		r.open()
		if era == 0 {
			r.restart(start)
		} else if r.table.Clock() != clock {
			t.Fatalf("clock %v, want %v", r.table.Clock(), clock)
		}
		var purged, touched []*response.Response
		for step := range 200 {
			p := r.stored(rng.IntN(1 << 30))
			scopes := []response.ScopeHash{p.Scopes[0]}
			for range rng.IntN(400) {
				scopes = append(scopes, hash(rng.IntN(1<<30)))
			}
			if step%100 == 50 { // more than may be held
				for range 40_000 {
					scopes = append(scopes, hash(rng.IntN(1<<30)))
				}
			}
			r.table.Apply(r.table.Clock().Seq+1, purgeOf(scopes...))
			if step%100 == 50 { // likewise of soft marks, which take the most
				soft := purgeOf()
				for range 40_000 {
					soft.Scopes = append(soft.Scopes, hash(rng.IntN(1<<30)))
				}
				soft.Soft, soft.At = true, time.UnixMilli(1)
				r.table.Apply(r.table.Clock().Seq+1, soft)
			}
			var together sync.WaitGroup
			for g := range 4 {
				n := rng.IntN(1<<30) + g
				q := r.stored(n)
				touched = append(touched, q)
				together.Go(func() {
					for i := range 10 {
						r.table.Touch(hash(n + i))
					}
				})
			}
			if err := r.table.Commit(); err != nil {
				t.Fatal(err)
			}
			purged = append(purged, p)
			together.Wait()
			if era%2 == 1 && step%20 == 0 {
				r.table.Tend()
			}
			if peak := fs.Peak(); peak > bound {
				t.Fatalf("era %d, step %d: the files took %d bytes of %d", era, step, peak, bound)
			}
		}
		if err := r.j.Err(); err != nil {
			t.Fatal(err)
		}
		clock = r.table.Clock()
		fresh := r.stored(-1)
		r.close()
		r.open()
		for i := range purged {
			death := r.table.Test(purged[i])
			if deaths[death]++; death == invalidate.Living {
				t.Fatalf("era %d: purge %d is forgotten, and not in the floor", era, i)
			}
		}
		for i := range touched {
			death := r.table.Test(touched[i])
			if deaths[death]++; death == invalidate.Living {
				t.Fatalf("era %d: unsafe request %d is forgotten, and not in the floor", era, i)
			}
		}
		r.want(fresh, invalidate.Living)
		r.close()
		if strings.Contains(r.log.String(), "WARN") || strings.Contains(r.log.String(), "ERROR") {
			t.Fatal(r.log.String())
		}
	}
	if peak := fs.Peak(); peak < bound*7/10 { // hard marks take less than room is kept for
		t.Errorf("at most %d bytes of %d were used: the test shows nothing", peak, bound)
	}
	if deaths[invalidate.OfMark] == 0 || deaths[invalidate.OfTouch] == 0 || deaths[invalidate.BelowFloor] == 0 {
		t.Errorf("deaths %v: the test shows nothing", deaths)
	}
}

// TestBoundLowered: what an operator gives less room to is short after the start. The
// newest marks are known still, what is older counts as untrue.
func TestBoundLowered(t *testing.T) {
	const bound = 1 << 20
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	const marks, touches = 200_000, 50_000
	old, untouched := r.stored(-1), r.stored(-2)
	for i := range marks {
		r.table.Apply(r.table.Clock().Seq+1, purgeOf(hash(i)))
	}
	late, purged, living := r.stored(-3), r.stored(marks), r.stored(-5)
	r.purge(marks)
	for i := range touches {
		r.table.Touch(hash(i))
	}
	living.RaiseTouches(r.table.Touches())
	late.RaiseTouches(r.table.Touches())
	purged.RaiseTouches(r.table.Touches())
	again := r.stored(7)
	r.table.Touch(hash(7))
	clock := r.table.Clock()
	r.close()
	if fs.Used() <= 4*bound {
		t.Fatalf("%d bytes: nothing to shorten", fs.Used())
	}

	r.cfg.Bound = bound
	r.open()
	r.logged("oldest are forgotten")
	if fs.Used() > bound {
		t.Errorf("%d bytes after the start, bound to %d", fs.Used(), bound)
	}
	most := r.j.Room().Marks
	if got := r.table.Marks(); r.table.Clock() != clock || got > int64(most) || got < int64(most)*9/10 {
		t.Errorf("%v with %d marks, want %v with at most %d", r.table.Clock(), got, clock, most)
	}
	old.RaiseTouches(r.table.Touches())
	r.want(old, invalidate.BelowFloor)
	r.want(untouched, invalidate.OfTouch)
	r.want(purged, invalidate.OfMark)
	r.want(again, invalidate.OfTouch)
	r.want(late, invalidate.Living)
	r.want(living, invalidate.Living)
	r.close()
	r.open()
	if strings.Contains(r.log.String(), "WARN") {
		t.Errorf("started again: %s", r.log.String())
	}
	r.close()
}

// TestMarksAheadAreNoFloor: of a command that was not applied to its end there may be
// marks, which are told again. They may not raise the floor above what is applied.
func TestMarksAheadAreNoFloor(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a").open()
	r.restart(start)
	scopes := make([]response.ScopeHash, 9000)
	for i := range scopes {
		scopes[i] = hash(i)
	}
	fs.Inject(filestest.Fault{Op: filestest.Write, N: 3, Err: syscall.EIO, Stay: true}) // the record that would end it
	r.table.Apply(start.Seq+1, purgeOf(scopes...))
	if r.j.Close() == nil {
		t.Fatal("closed as if it were whole")
	}
	fs.Heal()
	r.cfg.Bound = 64 << 10
	r.open()
	if clock, floor := r.table.Clock(), r.table.Fence(nil).Floor; clock != start || floor > start.Seq {
		t.Errorf("clock %v, floor %v, want %v", clock, floor, start)
	}
	r.want(r.stored(1), invalidate.Living)
	r.close()
}

// TestFullAndCannotBeWrittenAnew: as of any journal that cannot be written, nothing is
// acknowledged, and then it is given up.
func TestFullAndCannotBeWrittenAnew(t *testing.T) {
	fs := inRAM(t, "/a")
	r := newRig(t, fs, "/a")
	r.cfg.Bound = journal.MinBound
	r.open()
	r.restart(start)
	fs.Inject(filestest.Fault{Op: filestest.Create, N: 1, Err: syscall.ENOSPC, Stay: true})
	p := r.stored(0)
	r.table.Touch(hash(0))
	var err error
	for i := range 1000 {
		r.table.Apply(r.table.Clock().Seq+1, purgeOf(hash(i)))
		if err = r.table.Commit(); err != nil {
			break
		}
	}
	if err == nil || r.j.Err() == nil {
		t.Fatalf("committed 1000 purges in %d bytes: %v, %v", journal.MinBound, err, r.j.Err())
	}
	r.table.Tend()
	if err := r.j.Err(); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("got %v", err)
	}
	fs.Heal()
	r.table.Tend()
	if err := r.j.Err(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	r.close()
	r.open()
	r.want(p, invalidate.OfTouch)
	r.close()
}

// TestNothingIsLeftElsewhere: a file that was half written in a directory which the
// journal lies in no more takes none of its space.
func TestNothingIsLeftElsewhere(t *testing.T) {
	fs := inRAM(t, "/a", "/b")
	r := newRig(t, fs, "/b").open()
	r.close()
	if err := fs.Rename("/b/marks/journal", "/b/marks/journal.new"); err != nil { // given up, killed while it was written
		t.Fatal(err)
	}
	r.cfg.Dirs = []string{"/a", "/b"}
	r.open()
	r.close()
	for dir, want := range map[string]int{"/a/marks": 2, "/b/marks": 1} {
		if names, err := fs.ReadDir(dir); err != nil || len(names) != want {
			t.Errorf("%s holds %v, %v", dir, names, err)
		}
	}
}

func TestBoundTooSmall(t *testing.T) {
	cfg := journal.Config{Dirs: []string{"/a"}, FS: inRAM(t, "/a"), Bound: journal.MinBound - 1}
	if _, _, err := journal.Open(cfg); err == nil || !strings.Contains(err.Error(), "4095") {
		t.Errorf("got %v", err)
	}
}

// TestRoom: a table may hold the more, the more its journal may take, up to what it
// holds without a bound.
func TestRoom(t *testing.T) {
	last := 0
	for _, bound := range []int64{journal.MinBound, 1 << 20, 2 << 20, 32 << 20, 96 << 20, 1 << 40, 0} {
		j, _, err := journal.Open(journal.Config{Dirs: []string{"/a"}, FS: inRAM(t, "/a"), Bound: bound})
		if err != nil {
			t.Fatal(err)
		}
		marks, touched := j.Room().Marks, j.Room().Touched
		whole := bound == 0 || bound >= 96<<20
		if (marks == invalidate.MaxMarks) != whole || (touched == invalidate.MaxTouched) != whole || marks < last {
			t.Errorf("%d bytes hold %d marks, %d touched scopes", bound, marks, touched)
		}
		t.Logf("%d bytes hold %d marks, %d touched scopes", bound, marks, touched)
		last = marks
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
}
