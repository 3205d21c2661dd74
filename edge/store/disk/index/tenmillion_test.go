//go:build !race

// The race detector takes many times the RAM that it watches.

package index

import (
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const million = 1_000_000

// TestTenMillion: ten million slots take at most 640 MB, at the worst moment of growth
// and the whole test process counted, with garbage made beside them too, and the pauses
// of the garbage collector do not show them. It prints what it measured:
//
//	FRESHET_TEST_LONG=1 go test -count 1 -run TestTenMillion -v ./edge/store/disk/index
func TestTenMillion(t *testing.T) {
	if os.Getenv("FRESHET_TEST_LONG") == "" {
		t.Skip("FRESHET_TEST_LONG is not set")
	}
	const limit = 640 * million
	before := collect()
	x := New()
	random := rand.New(rand.NewPCG(7, 8))
	worst, began := 0.0, time.Now()
	for i := range uint32(10 * million) {
		x.Put(random.Uint64(), Slot{1, i, 1, 0})
		if i%1024 == 0 && i > million {
			worst = max(worst, float64(x.Bytes())/float64(i+1))
		}
	}
	took, filled := time.Since(began), peakRSS()
	litter()
	littered := peakRSS()
	after := collect()

	t.Logf("%d slots in %.1f s: %d MB, %.1f B each, at most %.1f B each from a million on; the process has had %d MB at most, %d MB beside garbage",
		x.Len(), took.Seconds(), x.Bytes()/million, float64(x.Bytes())/float64(x.Len()), worst, filled/million, littered/million)
	if _, ok := x.Get(1); ok {
		t.Error("a key that was not put is there")
	}
	bytes := x.Bytes()
	x.Clear()
	again := collect() // the machine may have been busier before, or after
	t.Logf("without it:   %s", before)
	t.Logf("with it:      %s", after)
	t.Logf("without again: %s", again)
	if bytes > limit || littered > limit {
		t.Errorf("the index takes %d MB, the process has had %d MB; at most %d MB are allowed", bytes/million, littered/million, limit/million)
	}
	// How busy the machine is shows in the 99th of 100 pauses more than anything else;
	// the index must not show.
	if usual := max(before.p50, again.p50); after.p50 > 2*usual+100e-6 {
		t.Errorf("half of the pauses are shorter than %.3f ms, without the index than %.3f ms", after.p50*1e3, usual*1e3)
	}
	if usual := max(before.p99, again.p99); after.p99 > 2*usual+1e-3 {
		t.Errorf("99 of 100 pauses are shorter than %.3f ms, without the index than %.3f ms", after.p99*1e3, usual*1e3)
	}
	// One cycle of the collector must not walk the slots: that would take most of a second.
	if after.cycle > before.cycle+100*time.Millisecond {
		t.Errorf("a cycle of the collector takes %v, without the index %v", after.cycle, before.cycle)
	}
}

// litter makes 4 GB of garbage, in pieces of 64 B to 8 KiB, beside 20 MB that it holds on to.
func litter() {
	live := make([][]byte, 5000)
	for made := 0; made < 4000*million; {
		n := 64 + rand.IntN(8<<10-64)
		live[rand.IntN(len(live))] = make([]byte, n)
		made += n
	}
	runtime.KeepAlive(live)
}

// collection is what the garbage collector did while a program made garbage.
type collection struct {
	cycles        uint64
	p50, p99, max float64       // pauses, in seconds
	cycle         time.Duration // of one whole cycle, the program idle
}

func (c collection) String() string {
	format := func(f float64) string { return strconv.FormatFloat(f*1e3, 'f', 3, 64) + " ms" }
	return strconv.FormatUint(c.cycles, 10) + " collections, pauses p50 " + format(c.p50) + ", p99 " + format(c.p99) + ", max " + format(c.max) +
		"; one alone takes " + format(c.cycle.Seconds())
}

// collect runs the collector often, while garbage is made by one that holds on to as much
// as a program might.
func collect() collection {
	live := make([]*[64]byte, 200_000)
	first, cycles := pauses()
	var over atomic.Bool
	var wait sync.WaitGroup
	wait.Go(func() {
		for !over.Load() {
			live[rand.IntN(len(live))] = new([64]byte)
		}
	})
	for range 200 {
		runtime.GC()
	}
	over.Store(true)
	wait.Wait()
	last, after := pauses()
	c := collection{cycles: after - cycles, cycle: time.Hour}
	for i := range last.Counts {
		last.Counts[i] -= first.Counts[i]
	}
	c.p50, c.p99, c.max = quantile(last, 0.5), quantile(last, 0.99), quantile(last, 1)
	for range 5 {
		began := time.Now()
		runtime.GC()
		c.cycle = min(c.cycle, time.Since(began))
	}
	runtime.KeepAlive(live)
	return c
}

// pauses is how long the collector has stopped everything, and how often it has run.
func pauses() (*metrics.Float64Histogram, uint64) {
	samples := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	return samples[0].Value.Float64Histogram(), samples[1].Value.Uint64()
}

// quantile is the upper bound of the bucket with the q-th value.
func quantile(h *metrics.Float64Histogram, q float64) float64 {
	total := uint64(0)
	for _, n := range h.Counts {
		total += n
	}
	want, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i, n := range h.Counts {
		if seen += n; seen >= want && n > 0 {
			return h.Buckets[i+1]
		}
	}
	return 0
}

// peakRSS is the most RAM that the process has had, where the system says so.
func peakRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kb, _ := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10
}
