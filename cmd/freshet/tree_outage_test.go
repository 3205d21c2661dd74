package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestAnOriginIsOutUnderLoad: the origin refuses, hangs, closes and fails by turns while a
// third of the keys expires. Nothing that is cached is answered with an error, and when the
// origin is back it is not asked for everything at once, and everything is fresh soon.
func TestAnOriginIsOutUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	tr := newTree(t, treePlan{edges: 2, mids: 2, origin: "  first_byte: 2s\n  connect: 1s\n"})
	tr.origin.short = treeShare(5*time.Second, time.Second)
	keys := int(treeRate(900, 90))
	tr.warm(keys, treePath)
	load := tr.load(&treeLoad{clients: 40, rate: treeRate(400, 120), keys: keys, seed: seed})
	<-time.After(treeShare(10*time.Second, time.Second)) // what was warmed at once is spread by now
	begun := time.Now()
	<-time.After(treeShare(30*time.Second, 2*time.Second))
	out := time.Now()
	outage := treeShare(60*time.Second, 5*time.Second)
	faults := []originFault{originRefuses, originHangs, originFails, originCloses}
	for _, fault := range faults {
		from := time.Now()
		tr.origin.set(fault)
		<-time.After(outage / time.Duration(len(faults)))
		t.Logf("the origin %s: asked %v times in each second", fault, tr.origin.perSecond(from, time.Now()))
	}
	tr.origin.set(originWell)
	back := time.Now()
	<-time.After(treeShare(10*time.Second, 4*time.Second))
	settled := time.Now()
	<-time.After(treeShare(20*time.Second, 2*time.Second))
	ended := time.Now()
	all := load.end()

	normal, outside, coming, after := among(all, begun, out, nil), among(all, out, back, nil), among(all, back, settled, nil), among(all, settled, ended, nil)
	t.Logf("before: %s", figures(normal))
	t.Logf("out:    %s", figures(outside))
	t.Logf("back:   %s", figures(coming))
	t.Logf("later:  %s", figures(after))
	complain(t, "an origin that is out", all)

	asked, then := tr.origin.perSecond(begun, out), tr.origin.perSecond(back, ended)
	mean := meanOf(asked)
	t.Logf("the origin was asked %v times in each second before, on average %.1f", asked, mean)
	t.Logf("and then %v, on average %.1f, in the ten seconds after its return %.1f", then, meanOf(then), meanOf(then[:min(10, len(then))]))
	lastStale := time.Duration(0)
	oldest := time.Duration(0)
	for _, s := range all {
		if s.stale {
			lastStale = max(lastStale, s.at.Sub(back))
		}
	}
	for _, s := range after {
		if s.key%3 == 0 && s.err == nil {
			oldest = max(oldest, s.age)
		}
	}
	t.Logf("the last stale answer went out %s after the return; later the oldest content of those that live for %s is of %s before", lastStale, tr.origin.short, oldest)
	if len(among(outside, out, back, func(s *sample) bool { return s.stale })) == 0 {
		t.Error("nothing was served stale: the outage was none")
	}
	if !treeLong {
		return
	}
	// What falls into one second by chance is no herd: the busiest second before is as good.
	if most := max(1.1*mean, float64(slices.Max(asked))); float64(slices.Max(then)) > most {
		t.Errorf("the origin is asked %d times in a second after its return, want at most %.1f", slices.Max(then), most)
	}
	if meanOf(then[:10]) > 1.1*mean {
		t.Errorf("the origin is asked %.1f times a second after its return, want at most 1.1 of %.1f", meanOf(then[:10]), mean)
	}
	if was, is := hitRatio(normal), hitRatio(after); is < was-0.02 {
		t.Errorf("ten seconds after the return %.1f %% are fresh hits, want %.1f %%", 100*is, 100*was)
	}
	if lastStale > 10*time.Second {
		t.Errorf("stale answers until %s after the return, want at most 10 s", lastStale)
	}
	if slack := tr.origin.short + 2*time.Second; oldest > slack {
		t.Errorf("content is %s old ten seconds after the return, want at most %s", oldest, slack)
	}
}

func meanOf(counts []int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / float64(max(1, len(counts)))
}
