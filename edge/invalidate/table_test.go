package invalidate

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/hop"
)

const testLog = command.LogID(7)

func url(site, target string) command.Scope {
	return command.Scope{Kind: command.ScopeURL, Site: site, Value: target}
}

func purge(scopes ...command.Scope) (e Effect) {
	for _, s := range scopes {
		e.Scopes = append(e.Scopes, response.HashScope(s))
	}
	return e
}

func stored(born command.Seq, scopes ...command.Scope) *response.Response {
	r := &response.Response{Log: testLog, Born: born, Generation: 1}
	for _, s := range scopes {
		r.Scopes = append(r.Scopes, response.HashScope(s))
	}
	return r
}

func started() *Table {
	return Open(&State{Clock: command.Clock{Log: testLog, Seq: 10}, Floor: 10, Generation: 1}, nowhere{})
}

func TestAMarkKillsWhatItCoversAndNothingElse(t *testing.T) {
	table := started()
	a, b := stored(10, url("s", "/a"), command.Scope{Kind: command.ScopeSite, Site: "s"}), stored(10, url("s", "/b"))
	table.Apply(11, purge(url("s", "/a")))
	if table.Alive(a) {
		t.Error("/a is alive after its purge")
	}
	if !table.Alive(b) {
		t.Error("/b is dead, nothing covered it")
	}
	if got := b.AsOf(); got != 11 {
		t.Errorf("asof of /b = %v, want the applied 11", got)
	}
	if fresh := stored(11, url("s", "/a")); !table.Alive(fresh) {
		t.Error("a response born at the purge is dead")
	}
	if got := table.Fence(a.Scopes); got.Hard != 11 || got.Floor != 10 || got.Log != testLog {
		t.Errorf("fence = %+v", got)
	}
	table.Apply(12, purge(command.Scope{Kind: command.ScopeSite, Site: "s"}))
	if table.Alive(stored(11, url("s", "/a"), command.Scope{Kind: command.ScopeSite, Site: "s"})) {
		t.Error("alive after the purge of its site")
	}
}

func TestRestartKillsAllThatCameBefore(t *testing.T) {
	table := started()
	before := stored(10, url("s", "/a"))
	if !table.Alive(before) {
		t.Fatal("dead at the start")
	}
	table.Apply(11, purge(url("s", "/b")))
	table.Restart(command.Clock{Log: testLog, Seq: 20})
	if table.Alive(before) {
		t.Error("alive across a gap in the log")
	}
	if table.Marks() != 0 {
		t.Errorf("%d marks held", table.Marks())
	}
	other := stored(20, url("s", "/a"))
	other.Generation = table.Generation()
	if !table.Alive(other) {
		t.Error("what was asked for after the restart is dead")
	}
	table.Restart(command.Clock{Log: 99, Seq: 1})
	if table.Alive(other) {
		t.Error("alive under another log, whose sequences are lower")
	}
}

func TestALogThatLostItsEndRevivesNothing(t *testing.T) {
	table := started()
	table.Apply(11, purge(url("s", "/x")))
	r := stored(11, url("s", "/a"))
	if !table.Alive(r) {
		t.Fatal("dead at the start")
	}
	table.Restart(command.Clock{Log: testLog, Seq: 10})
	table.Apply(11, purge(url("s", "/a"))) // the number is given out again
	if table.Alive(r) {
		t.Error("alive after a purge that bears the number of an earlier command")
	}
}

func TestATouchKillsWhatWasAskedForBefore(t *testing.T) {
	table := started()
	a, b := stored(10, url("s", "/a")), stored(10, url("s", "/b"))
	table.Touch(response.HashScope(url("s", "/a")))
	if table.Alive(a) || !table.Alive(b) {
		t.Error("want /a dead and /b alive")
	}
	later := stored(10, url("s", "/a"))
	later.RaiseTouches(table.Touches())
	if !table.Alive(later) {
		t.Error("what was asked for after the touch is dead")
	}
	var middle *response.Response
	for i := range MaxTouched + 10 {
		table.Touch(response.HashScope(url("s", fmt.Sprint(i))))
		if i == MaxTouched*2/3 {
			middle = stored(10, url("s", "/a"))
			middle.RaiseTouches(table.Touches())
		}
	}
	if table.Alive(a) || table.Alive(later) {
		t.Error("alive although touches were forgotten")
	}
	if !table.Alive(middle) {
		t.Error("dead although no touch was forgotten that came after it")
	}
	newest := stored(10, url("s", "/a"))
	newest.RaiseTouches(table.Touches())
	if !table.Alive(newest) {
		t.Error("the newest is dead")
	}
}

func TestEveryDeathHasAReason(t *testing.T) {
	for _, tc := range []struct {
		name string
		kill func(table *Table, r *response.Response)
		want Death
	}{
		{"nothing", func(*Table, *response.Response) {}, Living},
		{"a purge", func(table *Table, _ *response.Response) { table.Apply(11, purge(url("s", "/a"))) }, OfMark},
		{"another purge", func(table *Table, _ *response.Response) { table.Apply(11, purge(url("s", "/b"))) }, Living},
		{"an unsafe request", func(table *Table, _ *response.Response) { table.Touch(response.HashScope(url("s", "/a"))) }, OfTouch},
		{"a restart", func(table *Table, _ *response.Response) { table.Restart(command.Clock{Log: testLog, Seq: 10}) }, OfRestart},
		{"another log", func(_ *Table, r *response.Response) { r.Log++ }, OfOtherLog},
		{"the floor", func(_ *Table, r *response.Response) { r.Born = 9 }, BelowFloor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			table, r := started(), stored(10, url("s", "/a"))
			tc.kill(table, r)
			if got := table.Test(r); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func invalidation(at int64, scopes ...command.Scope) Effect {
	e := purge(scopes...)
	e.Soft, e.At = true, time.UnixMilli(at)
	return e
}

func TestASoftMarkMakesStaleUntilValidated(t *testing.T) {
	table := started()
	a := stored(10, url("s", "/a"), command.Scope{Kind: command.ScopeSite, Site: "s"})
	table.Apply(11, invalidation(1100, url("s", "/b")))
	if !table.Alive(a) || a.Soft().Seq != 0 {
		t.Fatalf("under %+v, nothing covers it", a.Soft())
	}
	table.Apply(12, invalidation(1200, url("s", "/a")))
	table.Apply(13, invalidation(1300, command.Scope{Kind: command.ScopeSite, Site: "s"}))
	if !table.Alive(a) || a.Soft() != (hop.Soft{Seq: 12, Since: 1200}) || a.AsOf() != 13 || a.Truth().Attested() != 11 {
		t.Errorf("under %+v as of %v", a.Soft(), a.AsOf())
	}
	if got := table.Fence(a.Scopes); got.Soft != 13 || got.Hard != 0 {
		t.Errorf("fence %+v", got)
	}
	for _, tc := range []struct {
		born command.Seq
		want command.Seq
	}{{11, 12}, {12, 13}, {13, 0}} {
		r := stored(tc.born, url("s", "/a"), command.Scope{Kind: command.ScopeSite, Site: "s"})
		if !table.Alive(r) || r.Soft().Seq != tc.want {
			t.Errorf("born %v: under %+v, want %v", tc.born, r.Soft(), tc.want)
		}
	}
	if v := a.WithTruth(12, 12, 0); v.Soft().Seq != 0 || !table.Alive(v) || v.Soft().Seq != 13 {
		t.Errorf("validated at 12: under %+v", v.Soft())
	}
	table.Apply(14, purge(url("s", "/a")))
	if table.Alive(a) {
		t.Error("alive after its purge")
	}
}

// TestSoftMarksOfOneScopeAreBounded: what was not tested since before the last few of them
// is dead, and of the rest each is found.
func TestSoftMarksOfOneScopeAreBounded(t *testing.T) {
	table := started()
	for seq := command.Seq(11); seq <= 100; seq++ {
		table.Apply(seq, invalidation(int64(seq), url("s", "/a")))
	}
	if n := table.Marks(); n != maxSofts+1 {
		t.Errorf("%d marks on one scope", n)
	}
	for born := command.Seq(10); born <= 100; born++ {
		r := stored(born, url("s", "/a"))
		alive := table.Alive(r)
		switch {
		case born < 100-maxSofts:
			if alive {
				t.Errorf("born %v: alive", born)
			}
		case born == 100:
			if !alive || r.Soft().Seq != 0 {
				t.Errorf("the newest is under %+v", r.Soft())
			}
		case !alive || r.Soft() != (hop.Soft{Seq: born + 1, Since: int64(born + 1)}):
			t.Errorf("born %v: under %+v, alive %t", born, r.Soft(), alive)
		}
	}
}

// TestYoungMarksAreKept: those of the last minute stay when others have to go, as long as
// that makes room.
func TestYoungMarksAreKept(t *testing.T) {
	table := started()
	table.max = 1000
	for seq := command.Seq(11); table.Fence(nil).Floor == 10; seq++ {
		e := purge(url("s", fmt.Sprint(seq)))
		e.At = time.Unix(int64(seq)/10, 0) // ten a second
		table.Apply(seq, e)
	}
	if young := table.Marks(); young < 590 || young > 620 {
		t.Errorf("%d marks are left, 600 are of the last minute", young)
	}
}

func TestNothingIsTrueBeforeTheLogIsKnown(t *testing.T) {
	if New().Alive(stored(1, url("s", "/a"))) {
		t.Error("alive in a table that knows no log")
	}
}

// TestForgettingNeverRevives: whatever is forgotten, no response that a command
// covered after its birth is ever alive again. The oracle keeps every command.
func TestForgettingNeverRevives(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		table := started()
		table.max = 20
		scope := func() command.Scope { return url("s", fmt.Sprint(rng.IntN(100))) }
		last := map[command.Scope]command.Seq{}
		var all []*response.Response
		var scopes []command.Scope
		for seq := command.Seq(11); seq < 600; seq++ {
			s := scope()
			all, scopes = append(all, stored(seq-1, s)), append(scopes, s)
			c := scope()
			table.Apply(seq, purge(c))
			last[c] = seq
			i := rng.IntN(len(all))
			if table.Alive(all[i]) && last[scopes[i]] > all[i].Born {
				t.Fatalf("seed %d: response born %v is alive, its scope was purged at %v", seed, all[i].Born, last[scopes[i]])
			}
			if table.Marks() > 21 {
				t.Fatalf("seed %d: %d marks held, 20 allowed", seed, table.Marks())
			}
		}
		if fresh := stored(599, scope()); !table.Alive(fresh) {
			t.Fatalf("seed %d: the newest is dead", seed)
		}
	}
}

// TestForgettingNeverRevivesUnderRace tests responses on many goroutines while
// marks are set and forgotten: once the purge of a response has been applied, it
// must never be alive again.
func TestForgettingNeverRevivesUnderRace(t *testing.T) {
	table := started()
	table.max = 8
	var wg sync.WaitGroup
	for seq := command.Seq(11); seq < 3000; seq++ {
		r := stored(seq-1, url("s", fmt.Sprint(seq%16)))
		wg.Go(func() { table.Alive(r) })
		table.Apply(seq, purge(url("s", fmt.Sprint(seq%16))))
		wg.Go(func() {
			if table.Alive(r) {
				t.Errorf("response born %v is alive after its purge was applied", r.Born)
			}
		})
	}
	wg.Wait()
}

func TestTestingAllocatesNothing(t *testing.T) {
	table := started()
	r := stored(10, url("s", "/a"), command.Scope{Kind: command.ScopeAll})
	seq := command.Seq(11)
	if n := testing.AllocsPerRun(100, func() {
		if !table.Alive(r) {
			t.Fatal("dead")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	table.Apply(seq, purge(url("s", "/b")))
	if n := testing.AllocsPerRun(100, func() { table.Fence(r.Scopes) }); n != 0 {
		t.Errorf("%v allocations for a fence", n)
	}
}
