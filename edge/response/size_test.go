package response

import (
	"math"
	"runtime/metrics"
	"slices"
	"testing"
)

// TestSizeClassesAreTheRuntimes: what is charged for a response follows the heap of the
// Go version that the program is built with.
func TestSizeClassesAreTheRuntimes(t *testing.T) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs-by-size:bytes"}}
	metrics.Read(sample)
	var want []int
	for _, bucket := range sample[0].Value.Float64Histogram().Buckets {
		if !math.IsInf(bucket, 0) {
			want = append(want, int(bucket)-1) // a bucket ends below its bound
		}
	}
	if !slices.Equal(sizeClasses[:], want) {
		t.Errorf("the size classes are\n%v, want\n%v", sizeClasses, want)
	}
	for _, tc := range []struct{ n, want int64 }{
		{0, 0}, {1, 8}, {8, 8}, {9, 16}, {33, 48}, {32767, 32768}, {32768, 32768}, {32769, 40960}, {1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 8192},
	} {
		if got := heapSize(int(tc.n)); got != tc.want {
			t.Errorf("%d bytes take %d, want %d", tc.n, got, tc.want)
		}
	}
}
