package distributor

import (
	"slices"
	"time"

	"freshet/internal/command"
	"freshet/internal/site"
)

// maxSnapshots is how many versions of the site documents are remembered, for nodes that
// report to go by them.
const maxSnapshots = 8

// lapseOf is how long after the append of a command a node has ceased to use what it
// covers, whether it has heard of it or not: each site that it covers has a purge lease, by
// the documents that the node goes by and by those that hold now. 0: it has not, or that is
// not known.
func lapseOf(c command.Command, now, node *site.Snapshot) time.Duration {
	if now == nil || node == nil {
		return 0
	}
	var longest time.Duration
	has := func(name string) bool {
		for _, snap := range []*site.Snapshot{now, node} {
			doc := snap.ByName(name)
			if doc == nil || doc.Cache.PurgeLease == 0 {
				return false
			}
			longest = max(longest, time.Duration(doc.Cache.PurgeLease))
		}
		return true
	}
	for _, s := range c.Scopes {
		if s.Site != "" {
			if !has(s.Site) {
				return 0
			}
			continue
		}
		for _, snap := range []*site.Snapshot{now, node} {
			if slices.ContainsFunc(snap.Sites(), func(d *site.Document) bool { return !has(d.Site) }) {
				return 0
			}
		}
	}
	if longest == 0 {
		return 0
	}
	return command.Lapse(longest)
}

// lapses are the times at which nodes have ceased to use what a command covers that was
// appended at a time; of those that do not cease there is none.
func (d *Distributor) lapses(c command.Command, appended time.Time, reports map[string]report) map[string]time.Time {
	ends := make(map[string]time.Time)
	snap := d.sites.snapshot.Load()
	for name, r := range reports {
		if after := lapseOf(c, snap, r.docs); after > 0 {
			ends[name] = appended.Add(after)
		}
	}
	return ends
}

// lastEnd is the last of the times; zero for none.
func lastEnd(ends map[string]time.Time) (last time.Time) {
	for _, end := range ends {
		if end.After(last) {
			last = end
		}
	}
	return last
}

// version is a snapshot of the site documents that was the newest lately; nil if there was
// none of that version.
func (s *sites) version(v uint64) *site.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snap := range s.last {
		if snap.Version() == v {
			return snap
		}
	}
	return nil
}

// remember keeps a snapshot for version. The caller holds the lock.
func (s *sites) remember(snap *site.Snapshot) {
	if s.last = append(s.last, snap); len(s.last) > maxSnapshots {
		s.last = slices.Clone(s.last[1:])
	}
}
