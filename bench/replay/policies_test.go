package main

import (
	"fmt"
	"strings"
	"testing"

	"freshet/bench/traces"
)

// asks requests the objects of one letter each, all of cost 1, and gives H and m.
func asks(p policy, objects string) string {
	var b strings.Builder
	for _, o := range objects {
		if p.request(uint64(o), 1) {
			b.WriteByte('H')
		} else {
			b.WriteByte('m')
		}
	}
	return b.String()
}

// LRU, worked out by hand: three places.
func TestLRU(t *testing.T) {
	for _, c := range []struct{ objects, want string }{
		{"abcabc", "mmmHHH"},
		{"abcdabcd", "mmmmmmmm"}, // a loop one longer than the cache: never a hit
		{"abcadab", "mmmHmHm"},   // d takes the place of b, b that of c
	} {
		if got := asks(newLRU(3), c.objects); got != c.want {
			t.Errorf("%s: %s, want %s", c.objects, got, c.want)
		}
	}
	p := newLRU(10)
	p.request(1, 11)
	if p.request(1, 11) {
		t.Error("an object larger than the cache was held")
	}
	p.request(2, 4)
	p.request(3, 4)
	p.request(4, 7) // both have to go
	if p.request(4, 7) != true || p.used != 7 || len(p.held) != 1 {
		t.Errorf("%d bytes, %d objects", p.used, len(p.held))
	}
}

// S3-FIFO, worked out by hand: ten places, one of them the small queue.
func TestS3FIFO(t *testing.T) {
	for _, c := range []struct{ name, objects, want string }{
		// While there is room nothing is dropped.
		{"room", "abcdefghijabcdefghij", "mmmmmmmmmmHHHHHHHHHH"},
		// k comes: a leaves the small queue, is remembered, and comes back into the main
		// queue, for which b goes, asked for never; b comes back likewise.
		{"ghost", "abcdefghijkab", "mmmmmmmmmmmmm"},
		// Then a and b stand in the main queue, and a scan does not touch them.
		{"scan", "abcdefghijkab" + "pqrstuvwxyz" + "ab", "mmmmmmmmmmmmm" + "mmmmmmmmmmm" + "HH"},
		// Asked for once more is not enough to go to the main queue, twice is.
		{"once", "abcdefghija" + "k" + "a", "mmmmmmmmmmH" + "m" + "m"},
		{"twice", "abcdefghijaa" + "klmnopqrst" + "a", "mmmmmmmmmmHH" + "mmmmmmmmmm" + "H"},
	} {
		if got := asks(newS3FIFO(10), c.objects); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// The main queue: what was asked for goes round, the rest is dropped.
func TestS3FIFOMain(t *testing.T) {
	c := newS3FIFO(10)
	asks(c, "abcdefghijkabcdefghij") // a to i have come back from the ghosts, one by one
	main := func() string {
		var b strings.Builder
		for _, e := range c.main.of[c.main.head:] {
			fmt.Fprintf(&b, "%c", rune(e.id))
		}
		return b.String()
	}
	before := main()
	if len(before) != 9 {
		t.Fatalf("main queue %q", before)
	}
	first := rune(before[0])
	asks(c, string(first))
	c.evictMain()
	if got := main(); strings.ContainsRune(got, rune(before[1])) || !strings.HasSuffix(got, string(first)) {
		t.Errorf("main queue %q after %q, of which %c was asked for", got, before, first)
	}
}

// No policy holds more than its size, and each finds what it holds.
func TestSizes(t *testing.T) {
	src, err := traces.Generate("scan", traces.Scale{Objects: 500, Requests: 20_000, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := traces.All(src, 20_000)
	if err != nil {
		t.Fatal(err)
	}
	const size = 400 << 10
	l, s := newLRU(size), newS3FIFO(size)
	for _, r := range requests {
		l.request(r.ID, r.Size)
		s.request(r.ID, r.Size)
		var held int64
		for _, e := range s.held {
			held += e.cost
		}
		if l.used > size || s.small.used+s.main.used > size || held != s.small.used+s.main.used {
			t.Fatalf("lru %d, s3-fifo %d+%d, which holds %d, of %d", l.used, s.small.used, s.main.used, held, size)
		}
	}
	for _, rival := range rivals {
		p, err := rival.make(size, 8<<10)
		if err != nil {
			t.Fatal(err)
		}
		if p.request(1, 100) || !p.request(1, 100) {
			t.Errorf("%s: the second request is no hit", rival.name)
		}
		p.close()
	}
}
