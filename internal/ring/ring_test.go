package ring

import (
	"fmt"
	"math"
	"testing"
)

func names(n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("mid-%d", i)
	}
	return s
}

func TestOnlyTheKeysOfARemovedNodeMove(t *testing.T) {
	before, removed := names(10), 3
	after := append(append([]string(nil), before[:removed]...), before[removed+1:]...)
	for i := range 2000 {
		key := fmt.Sprintf("key-%d", i)
		order := Order(key, before)
		was, is := before[order[0]], after[Order(key, after)[0]]
		if order[0] == removed {
			if is != before[order[1]] {
				t.Fatalf("%s went to %s, not to its second choice %s", key, is, before[order[1]])
			}
		} else if was != is {
			t.Fatalf("%s moved from %s to %s though its home is alive", key, was, is)
		}
	}
}

func TestKeysSpreadEvenly(t *testing.T) {
	const nodes, keys = 10, 50_000
	counts := make([]float64, nodes)
	all := names(nodes)
	for i := range keys {
		counts[Order(fmt.Sprintf("key-%d", i), all)[0]]++
	}
	mean := float64(keys) / nodes
	for i, c := range counts {
		// 5 standard deviations of a binomial: a seeded, fixed input, so no flake.
		if math.Abs(c-mean) > 5*math.Sqrt(mean) {
			t.Errorf("node %d has %v keys, mean %v", i, c, mean)
		}
	}
}

func TestOrderIsAPermutationAndIgnoresPositions(t *testing.T) {
	a, b := []string{"x", "y", "z"}, []string{"z", "x", "y"}
	oa, ob := Order("k", a), Order("k", b)
	for i := range oa {
		if a[oa[i]] != b[ob[i]] {
			t.Fatalf("orders differ: %v over %v, %v over %v", oa, a, ob, b)
		}
	}
	if len(Order("k", nil)) != 0 {
		t.Error("no nodes, no order")
	}
}
