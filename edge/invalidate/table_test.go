package invalidate

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"freshet/edge/response"
	"freshet/internal/command"
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

func BenchmarkAlive(b *testing.B) {
	table := started()
	r := stored(10, url("s", "/a"), command.Scope{Kind: command.ScopeSite, Site: "s"}, command.Scope{Kind: command.ScopeAll})
	for i := range command.Seq(100_000) {
		table.Apply(11+i, purge(url("s", fmt.Sprint("/", i, "x"))))
	}
	b.ReportAllocs()
	for b.Loop() {
		table.highest(r.Scopes)
	}
}
