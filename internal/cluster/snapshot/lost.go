package snapshot

import (
	"slices"
	"strings"
	"sync"
	"time"

	"freshet/internal/cluster"
)

// mergeSites keeps the documents that are missing from the news: nobody removes one.
func (k *Keeper) mergeSites(old, news cluster.Pairs, _ time.Time) (cluster.Pairs, time.Time) {
	lost := missing(old.List, news.List)
	if len(lost) == 0 {
		return news, time.Time{}
	}
	if n := len(lost); n != len(missing(old.List, k.sites.lastNews)) {
		k.log.Error("cluster's store has lost site documents, which are kept", "sites", n, "left", len(news.List))
	}
	return cluster.NewPairs(append(lost, news.List...)), time.Time{}
}

// missing are the pairs of old whose keys news lacks. Both are sorted.
func missing(old, news []cluster.Pair) []cluster.Pair {
	var lost []cluster.Pair
	for _, p := range old {
		if _, ok := slices.BinarySearchFunc(news, p.Key, func(p cluster.Pair, key string) int { return strings.Compare(p.Key, key) }); !ok {
			lost = append(lost, p)
		}
	}
	return lost
}

// Lost are the records of the site documents that the cluster's store has lost, deleted
// ones among them, sorted by key; put back under their keys, where there is nothing, they
// are what they were.
func (k *Keeper) Lost() []cluster.Pair {
	if k == nil {
		return nil
	}
	s := &k.sites
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.fresh {
		return nil
	}
	return missing(s.mu.value.List, s.mu.news.List)
}

// crowd distrusts news of members that are gone.
type crowd struct {
	self string

	mu struct {
		sync.Mutex
		seen    bool      // this node was in the news
		since   time.Time // when news came without it; zero while there is nothing to distrust
		back    time.Time // when it was in the news again
		missing int
	}
}

// merge keeps those who are missing from the news of a store that has lost its data.
func (c *crowd) merge(old, news cluster.Nodes, now time.Time) (cluster.Nodes, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	here := slices.ContainsFunc(news.List, func(n cluster.Node) bool { return n.Name == c.self })
	switch {
	case here && !c.mu.since.IsZero() && c.mu.back.IsZero():
		c.mu.back = now
	case !here && c.mu.seen && c.mu.since.IsZero():
		c.mu.since = now
	case !here:
		c.mu.back = time.Time{}
	}
	c.mu.seen = c.mu.seen || here
	var until time.Time
	switch {
	case len(news.List) == 0:
		// Not even this node: the store is empty, for as long as it says so.
		c.mu.missing = len(old.List)
		return cluster.NewNodes(slices.Clone(old.List)), time.Time{}
	case !c.mu.back.IsZero():
		until = c.mu.back.Add(comeBack)
	case !c.mu.since.IsZero():
		until = c.mu.since.Add(forgetLost)
	}
	if !now.Before(until) {
		c.mu.since, c.mu.back, c.mu.missing = time.Time{}, time.Time{}, 0
		c.mu.seen = here
		return news, time.Time{}
	}
	list := slices.Clone(news.List)
	for _, n := range old.List {
		if !slices.ContainsFunc(news.List, func(m cluster.Node) bool { return m.Name == n.Name }) {
			list = append(list, n)
		}
	}
	c.mu.missing = len(list) - len(news.List)
	return cluster.NewNodes(list), until
}

func (c *crowd) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.missing
}
