package disk_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/store/disk"
)

// long asks for the full numbers.
var long = os.Getenv("FRESHET_TEST_LONG") != ""

// settled is how old what a power cut must not lose or bring back has to be.
const settled = 5 * time.Second

// snapshot is which keys the store had at a point of the journal, and which version.
type snapshot struct {
	point int
	at    time.Time
	has   map[*history]int
}

// powerTest is one load and the power cuts that it meets.
type powerTest struct {
	name          string
	keys, largest int
	size, segment int64
	steps         int
	restarts      int // in order, spread over the steps
	states        int // with FRESHET_TEST_LONG; else a share
	share         int
}

var powerTests = []powerTest{
	{"many small", 1500, 16 << 10, 5<<19 + 64<<10, 64 << 10, 6000, 5, 1000, 15},
	{"up to a slice", 350, 1 << 20, 48<<20 + 64<<10, 2 << 20, 2500, 5, 300, 15},
	// What is hot is written again all the time, so that old records outlive newer ones.
	{"few segments", 300, 8 << 10, 600 << 10, 32 << 10, 8000, 60, 200, 5},
}

// A store on which the power was cut at any moment, with what was not synced lost, torn
// or there in any order, gives no wrong body, brings back nothing that was superseded
// or deleted long enough before, and has nearly all that was stored long enough before.
func TestPowerCuts(t *testing.T) {
	for _, test := range powerTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if test.run(t, seed); t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
}

func (p powerTest) run(t *testing.T, seed uint64) {
	h := newHardship(seed, p.keys, p.largest, p.size, p.segment)
	var snapshots []snapshot
	var evicted, rewritten, damaged int64
	synctest.Test(t, func(t *testing.T) {
		h.fs.Record(time.Now)
		s := mustOpen(t, h.config)
		defer func() { s.Close() }()
		for i := range p.steps {
			if err := h.step(s); err != nil {
				t.Fatal(err)
			}
			if i%8 == 0 {
				synctest.Wait()
				snapshots = append(snapshots, h.snapshot(s))
			}
			if i%(p.steps/p.restarts) == p.steps/p.restarts-1 {
				n := s.Stats()
				evicted, rewritten, damaged = evicted+n.Evicted, rewritten+n.Rewritten, damaged+n.Damaged
				s.Close()
				s = mustOpen(t, h.config)
				h.judgeAll(t, s)
			}
		}
		if !s.Stats().Up {
			t.Error("out of service")
		}
	})
	if t.Failed() {
		return
	}
	if evicted == 0 || rewritten == 0 || damaged > 0 {
		t.Errorf("the load was too light, or did damage: %d evicted, %d rewritten, %d damaged", evicted, rewritten, damaged)
	}
	n := p.states
	if !long {
		n /= p.share
	}
	var tally tally
	h.cutAll(t, n, seed, snapshots, &tally)
	t.Logf("%d power cuts in %d changes: %d of %d stored responses older than %v were there (%.2f %%; at worst %.2f %% with what was evicted for room), %d bodies were read; the load had %d evicted, %d rewritten",
		n, h.fs.Points(), tally.there.Load(), tally.wanted.Load(), settled,
		100*float64(tally.there.Load())/float64(tally.wanted.Load()), tally.worst, tally.read.Load(), evicted, rewritten)
	if tally.wanted.Load() == 0 || tally.there.Load()*100 < tally.wanted.Load()*95 {
		t.Error("too little was there")
	}
}

// judgeAll judges what there is under every key, of which nothing may have been lost.
func (h *hardship) judgeAll(t *testing.T, s *disk.Store) {
	t.Helper()
	for _, k := range h.keys {
		version, err := look(s, k, h.buffer)
		if err == nil {
			err = k.last().judge(k, version)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot notes what the store has.
func (h *hardship) snapshot(s *disk.Store) snapshot {
	n := snapshot{point: h.fs.Points(), at: time.Now(), has: map[*history]int{}}
	for _, k := range h.keys {
		if len(k.events) > 0 && s.Has(k.key) {
			n.has[k] = k.events[len(k.events)-1].version
		}
	}
	return n
}

// tally is what came of all power cuts.
type tally struct {
	wanted, there, read atomic.Int64
	mu                  sync.Mutex
	worst               float64
}

// cutAll cuts the power at n points that lie evenly in the journal, some close to each
// other.
func (h *hardship) cutAll(t *testing.T, n int, seed uint64, snapshots []snapshot, sum *tally) {
	sum.worst = 100
	r := rand.New(rand.NewPCG(seed, 2))
	points := h.fs.Points()
	type cut struct {
		point int
		seed  uint64
		h     *hardship
	}
	cuts := make(chan cut)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			buffer := make([]byte, h.largest)
			for c := range cuts {
				if err := h.cut(c.h, c.point, snapshots, buffer, sum); err != nil {
					t.Errorf("power cut at point %d of %d with seed %d: %v", c.point, points, c.seed, err)
				}
			}
		})
	}
	for i := range n {
		point := min(points-1, points*i/n+r.IntN(points/n+1))
		if t.Failed() {
			break
		}
		state := *h
		state.fs = h.fs.CrashState(point, seed+uint64(i))
		state.config.FS = state.fs
		cuts <- cut{point, seed + uint64(i), &state}
	}
	close(cuts)
	workers.Wait()
}

// cut opens what a power cut has left and judges it.
func (h *hardship) cut(state *hardship, point int, snapshots []snapshot, buffer []byte, sum *tally) error {
	s, err := disk.Open(state.config)
	if err != nil {
		return err
	}
	defer s.Close()
	at := h.fs.At(point)
	before, after := around(snapshots, point)
	wanted, there := 0, 0
	for _, k := range h.keys {
		version, err := look(s, k, buffer)
		if err != nil {
			return err
		}
		if version > 0 {
			sum.read.Add(1)
		}
		floor := k.floor(point, at.Add(-settled))
		if err := floor.judge(k, version); err != nil {
			return fmt.Errorf("%w at %v, the power cut at %v", err, floor.at, at)
		}
		if floor != nil && !floor.deleted && before.has[k] == floor.version && after.has[k] == floor.version {
			wanted++
			if version > 0 {
				there++
			}
		}
	}
	evicted := int(s.Stats().Evicted) // to have room again, which is no loss
	if err := works(s); err != nil {
		return err
	}
	if used := state.fs.Used(); used > h.config.Size {
		return fmt.Errorf("%d bytes are used of %d", used, h.config.Size)
	}
	sum.add(wanted, there, evicted)
	if wanted >= 20 && (there+evicted)*100 < wanted*95 {
		return fmt.Errorf("only %d of %d stored responses are there, %d evicted", there, wanted, evicted)
	}
	return nil
}

// around are the last snapshot up to a point and the first from it on.
func around(snapshots []snapshot, point int) (before, after snapshot) {
	for _, s := range snapshots {
		if s.point <= point {
			before = s
		} else {
			return before, s
		}
	}
	return before, before
}

func (t *tally) add(wanted, there, evicted int) {
	t.wanted.Add(int64(wanted))
	t.there.Add(int64(there))
	t.mu.Lock()
	defer t.mu.Unlock()
	if wanted >= 20 {
		t.worst = min(t.worst, 100*float64(there+evicted)/float64(wanted))
	}
}

// A store that has just recovered from a power cut meets the next one: what it gave in
// between, or something newer, is what may be there then.
func TestPowerCutsAfterPowerCuts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	h := newHardship(seed, 300, 16<<10, 1<<20, 64<<10)
	synctest.Test(t, func(t *testing.T) {
		h.fs.Record(time.Now)
		s := mustOpen(t, h.config)
		defer s.Close()
		for range 3000 {
			if err := h.step(s); err != nil {
				t.Fatal(err)
			}
		}
	})
	rounds := 300
	if !long {
		rounds = 20
	}
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range rounds {
		if t.Failed() {
			return
		}
		h.relapse(t, r.IntN(h.fs.Points()), seed+uint64(i))
	}
}

// relapse cuts the power at a point, lets the store recover and go on, and cuts it again
// and again: in the recovery and after it.
func (h *hardship) relapse(t *testing.T, point int, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		again := h.fork(point, seed)
		again.fs.Record(time.Now)
		s := mustOpen(t, again.config)
		synctest.Wait() // for what recovery does in the background
		recovered := again.fs.Points()
		for _, k := range again.keys {
			version, err := look(s, k, h.buffer)
			if err == nil {
				err = k.last().judge(k, version)
			}
			if err != nil {
				t.Fatalf("power cut at point %d with seed %d: %v", point, seed, err)
			}
			if version > 0 {
				k.events = append(k.events, event{version: version})
			}
		}
		for range 60 {
			if err := again.step(s); err != nil {
				t.Fatalf("after a power cut at point %d with seed %d: %v", point, seed, err)
			}
		}
		s.Close()
		for range 4 {
			next := again.r.IntN(again.fs.Points())
			if again.r.IntN(2) == 0 {
				next = again.r.IntN(recovered + 1)
			}
			again.second(t, next, seed, fmt.Sprintf("power cut at point %d with seed %d, then at %d", point, seed, next))
		}
	})
}

// second judges what is there after the second power cut.
func (h *hardship) second(t *testing.T, point int, seed uint64, what string) {
	t.Helper()
	config := h.config
	config.FS = h.fs.CrashState(point, seed)
	s := mustOpen(t, config)
	defer s.Close()
	for _, k := range h.keys {
		version, err := look(s, k, h.buffer)
		if err == nil {
			err = k.floor(point, h.fs.At(point).Add(-settled)).judge(k, version)
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// fork is a load that goes on after a power cut. Of what happened before, it knows what
// must hold.
func (h *hardship) fork(point int, seed uint64) *hardship {
	f := *h
	f.r = rand.New(rand.NewPCG(seed, 4))
	f.fs = h.fs.CrashState(point, seed)
	f.config.FS = f.fs
	f.keys = nil
	for _, k := range h.keys {
		forked := &history{key: k.key, sums: slices.Clone(k.sums)}
		if floor := k.floor(point, h.fs.At(point).Add(-settled)); floor != nil {
			forked.events = []event{{version: floor.version, deleted: floor.deleted}}
		}
		f.keys = append(f.keys, forked)
	}
	return &f
}
