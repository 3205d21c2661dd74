package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestAMidIsKilledUnderLoad: kill -9 of one of three mids. No client sees it but those whose
// answer's first byte had gone, nobody waits for long, and the keys of the other mids stay
// where they are, also when the dead one comes back.
func TestAMidIsKilledUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	tr := newTree(t, treePlan{edges: 2, mids: 3})
	tr.origin.short = time.Second           // so the edges ask the mids again and again
	tr.origin.work = 150 * time.Millisecond // and many wait for an answer when it happens
	load := tr.load(&treeLoad{clients: 60, rate: treeRate(300, 120), keys: int(treeRate(300, 60)), seed: seed, path: shortPath})
	phase := treeShare(20*time.Second, 2*time.Second)
	begun := time.Now()
	<-time.After(phase)
	dead := tr.mids[rand.New(rand.NewPCG(seed, 0)).IntN(len(tr.mids))]
	killed := time.Now()
	tr.kill(dead)
	<-time.After(phase)
	back := time.Now()
	tr.start(dead)
	<-time.After(treeShare(10*time.Second, time.Second)) // until it is known to be ready
	returned := time.Now()
	<-time.After(phase)
	ended := time.Now()
	all := load.end()

	for _, p := range []struct {
		name     string
		from, to time.Time
	}{{"before", begun, killed}, {"without it", killed, back}, {"as it comes back", back, returned}, {"after", returned, ended}} {
		t.Logf("%s: %s", p.name, figures(among(all, p.from, p.to, nil)))
	}
	complain(t, "kill -9 of "+dead, all)
	blip := time.Duration(0)
	for _, s := range among(all, killed.Add(-time.Second), ended, nil) {
		blip = max(blip, s.took)
	}
	t.Logf("the longest wait of a client: %s", blip)
	if treeLong && blip > time.Second {
		t.Errorf("a client waited for %s, want at most 1 s", blip)
	}

	before, without, after := tr.midRequests(begun, killed), tr.midRequests(killed.Add(phase/4), back), tr.midRequests(returned, ended)
	for _, c := range []struct {
		name string
		then map[string]map[string]int
	}{{"while it is dead", without}, {"when it is back", after}} {
		stayed, moved := movedKeys(before, c.then, dead)
		part := float64(moved) / float64(max(1, stayed+moved))
		t.Logf("%s %d of %d keys of the other mids have another home: %.1f %%", c.name, moved, stayed+moved, 100*part)
		if stayed == 0 {
			t.Errorf("%s: no key was asked of its home", c.name)
		}
		if treeLong && part > 0.02 {
			t.Errorf("%s: %.1f %% of the keys of other mids have moved, want at most 2 %%", c.name, 100*part)
		}
	}
	if stayed, moved := movedKeys(before, after, ""); treeLong && float64(moved) > 0.02*float64(stayed+moved) {
		t.Errorf("when it is back, %d of %d keys are not where they were", moved, stayed+moved)
	}
}

// movedKeys counts the keys whose home, the mid that is asked for them most, is the same
// then as before, and those whose is not; of keys that were asked for often enough to tell,
// and whose home was not dead.
func movedKeys(before, then map[string]map[string]int, dead string) (stayed, moved int) {
	for path, mids := range before {
		home, sure := homeOf(mids)
		now, sureNow := homeOf(then[path])
		switch {
		case !sure || !sureNow || home == dead:
		case home == now:
			stayed++
		default:
			moved++
		}
	}
	return stayed, moved
}

// homeOf is the mid that is asked most, and whether it was asked often
// enough to tell.
func homeOf(mids map[string]int) (home string, sure bool) {
	total := 0
	for _, mid := range slices.Sorted(maps.Keys(mids)) {
		total += mids[mid]
		if mids[mid] > mids[home] {
			home = mid
		}
	}
	return home, total >= int(treeRate(4, 2))
}
