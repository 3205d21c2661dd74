package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// proto is how clients speak to a server.
type proto string

const (
	h1  proto = "h1"  // HTTP/1.1
	h1s proto = "h1s" // HTTP/1.1 over TLS
	h2  proto = "h2"  // HTTP/2 over TLS
	h3  proto = "h3"  // HTTP/3
)

func (p proto) String() string {
	switch p {
	case h1:
		return "HTTP/1.1"
	case h1s:
		return "TLS + HTTP/1.1"
	case h2:
		return "TLS + HTTP/2"
	case h3:
		return "HTTP/3"
	}
	return string(p)
}

// kind is what a row measures.
type kind string

const (
	hits kind = "hits" // answers from a warm cache
	logs kind = "log"  // the same with the access log on, against without
	cold kind = "cold" // an empty cache under load: what reaches the origin
)

// size is a body of the origin; its name is its path.
type size struct {
	name  string
	bytes int64
}

var (
	kib1  = size{"1k", 1 << 10}
	kib64 = size{"64k", 64 << 10}
	mib10 = size{"10m", 10 << 20}
	sizes = []size{kib1, kib64, mib10}
)

// byBytes reports whether requests are counted by the bytes of bodies: of large ones, too
// few are complete within a run for their number to be exact.
func (s size) byBytes() bool { return s.bytes > 1<<20 }

// row is one line of the table.
type row struct {
	kind    kind
	proto   proto
	size    size
	conns   int
	streams int // requests under way on each connection
	urls    int // cold: how many are asked for
}

func (r row) String() string {
	name := fmt.Sprintf("%s/%s/c%d", string(r.proto), r.size.name, r.conns)
	if r.streams > 1 {
		name += fmt.Sprintf("x%d", r.streams)
	}
	switch r.kind {
	case logs:
		return "log/" + name
	case cold:
		return fmt.Sprintf("cold/%s/u%d/c%d", r.size.name, r.urls, r.conns)
	}
	return name
}

// path is what the row asks for; of a cold row, what its URLs begin with.
func (r row) path() string {
	if r.kind == cold {
		return "/cold/" + r.size.name + "/"
	}
	return "/" + r.size.name
}

// allRows are the rows in the order of the table.
func allRows() (rows []row) {
	add := func(p proto, s size, conns, streams int) {
		rows = append(rows, row{kind: hits, proto: p, size: s, conns: conns, streams: streams})
	}
	for _, p := range []proto{h1, h1s, h2, h3} {
		for _, s := range sizes {
			add(p, s, 16, 1)
			if p != h3 || !s.byBytes() { // 2.5 GB would be under way at a time: seconds of QUIC
				add(p, s, 256, 1)
			}
			if (p == h2 || p == h3) && !s.byBytes() {
				add(p, s, 32, 10)
			}
		}
	}
	return append(rows,
		row{kind: logs, proto: h1, size: kib1, conns: 16, streams: 1},
		row{kind: logs, proto: h2, size: kib1, conns: 32, streams: 10},
		row{kind: cold, proto: h1, size: kib1, conns: 64, streams: 1, urls: 5000},
		row{kind: cold, proto: h1, size: kib64, conns: 64, streams: 1, urls: 1000},
		row{kind: cold, proto: h1, size: kib1, conns: 256, streams: 1, urls: 1},
		row{kind: cold, proto: h1, size: mib10, conns: 16, streams: 1, urls: 4},
	)
}

// chooseRows are those that one of the patterns names: "h2" and "h2/1k" all that begin so,
// "*/1k/c16" as in path.Match. No pattern chooses all.
func chooseRows(rows []row, patterns string) ([]row, error) {
	if patterns == "" {
		return rows, nil
	}
	var chosen []row
	for pattern := range strings.SplitSeq(patterns, ",") {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("rows %q: %w", pattern, err)
		}
		found := false
		for _, r := range rows {
			if matches(pattern, r.String()) {
				found = true
				if !slices.Contains(chosen, r) {
					chosen = append(chosen, r)
				}
			}
		}
		if !found {
			return nil, fmt.Errorf("no row is called %q; -list shows them", pattern)
		}
	}
	slices.SortStableFunc(chosen, func(a, b row) int { return slices.Index(rows, a) - slices.Index(rows, b) })
	return chosen, nil
}

// matches compares as many parts of the name as the pattern has.
func matches(pattern, name string) bool {
	parts := strings.Split(name, "/")
	n := strings.Count(pattern, "/") + 1
	if n > len(parts) {
		return false
	}
	ok, err := path.Match(pattern, strings.Join(parts[:n], "/"))
	return ok && err == nil
}
