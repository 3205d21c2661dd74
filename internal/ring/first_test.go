package ring

import (
	"fmt"
	"testing"
)

func TestFirstIsTheHome(t *testing.T) {
	for n := range 20 {
		nodes := names(n)
		for i := range 100 {
			key := fmt.Sprint("key-", i)
			want := -1
			if n > 0 {
				want = Order(key, nodes)[0]
			}
			if got := First(key, nodes); got != want {
				t.Fatalf("%d of %d nodes, want %d", got, n, want)
			}
		}
	}
}
