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
	before := k.lost
	k.lost = len(lost)
	switch {
	case len(lost) > before:
		k.log.Error("cluster's store has lost site documents, which are kept", "lost", len(lost), "left", len(news.List))
	case len(lost) == 0 && before > 0:
		k.log.Info("cluster's store has all site documents again")
	}
	if len(lost) == 0 {
		return news, time.Time{}
	}
	return cluster.NewPairs(append(lost, news.List...)), time.Time{}
}

// mergeSecrets keeps the secrets that are missing from the news: nobody removes one either.
func (k *Keeper) mergeSecrets(old, news cluster.Pairs, _ time.Time) (cluster.Pairs, time.Time) {
	if lost := missing(old.List, news.List); len(lost) > 0 {
		return cluster.NewPairs(append(lost, news.List...)), time.Time{}
	}
	return news, time.Time{}
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

// Lost are the records of the site documents that the cluster's store has lost, those of
// deleted ones among them, sorted by key; see cluster.Documents.Restore.
func (k *Keeper) Lost() []cluster.Pair {
	if k == nil {
		return nil
	}
	return lostFrom(&k.sites)
}

// LostSecrets are the sealed secrets of sites that are kept though the cluster's store does
// not have them, sorted by key; put back under their keys they are what they were.
func (k *Keeper) LostSecrets() []cluster.Pair {
	if k == nil {
		return nil
	}
	return lostFrom(&k.secrets)
}

func lostFrom(s *shelf[cluster.Pairs]) []cluster.Pair {
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
		empty   bool      // the last news was of nobody
		since   time.Time // when news came without it; zero while there is nothing to distrust
		back    time.Time // when it was in the news again
		missing int
	}
}

// merge keeps those who are missing from the news of a store that has lost its data.
func (c *crowd) merge(old, news cluster.Nodes, now time.Time) (cluster.Nodes, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(news.List) == 0 {
		// Not even this node: the store is empty, for as long as it says so.
		c.mu.empty, c.mu.missing = true, len(old.List)
		return cluster.NewNodes(slices.Clone(old.List)), time.Time{}
	}
	if c.mu.empty {
		c.mu.empty = false
		if len(old.List) > 0 {
			c.mu.since, c.mu.back = now, time.Time{}
		}
	}
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
