package distributor

import (
	"testing"
	"time"

	"freshet/internal/command"
	"freshet/internal/document"
	"freshet/internal/site"
)

// leases is a snapshot of sites with these purge leases, in seconds.
func leases(version uint64, of map[string]int) *site.Snapshot {
	var docs []*site.Document
	for name, seconds := range of {
		d := &site.Document{Site: name}
		d.Cache.PurgeLease = document.Duration(time.Duration(seconds) * time.Second)
		docs = append(docs, d)
	}
	return site.NewSnapshot(version, docs)
}

// TestLapse: a node counts as having ceased to use what a command covers only if each site
// has a lease by every document that the node may go by, and after the longest of them.
func TestLapse(t *testing.T) {
	t.Parallel()
	scope := func(sites ...string) command.Command {
		c := command.Command{Kind: command.Purge}
		for _, s := range sites {
			kind := command.ScopeSite
			if s == "" {
				kind = command.ScopeAll
			}
			c.Scopes = append(c.Scopes, command.Scope{Kind: kind, Site: s})
		}
		return c
	}
	ten := leases(1, map[string]int{"a": 10, "b": 20, "none": 0})
	for _, test := range []struct {
		name      string
		c         command.Command
		now, node *site.Snapshot
		want      time.Duration
	}{
		{"a site with a lease", scope("a"), ten, ten, 10*time.Second + 100*time.Millisecond + 2*time.Second},
		{"the longest of two", scope("a", "b"), ten, ten, 20*time.Second + 200*time.Millisecond + 2*time.Second},
		{"one without", scope("a", "none"), ten, ten, 0},
		{"all, one without", scope(""), ten, ten, 0},
		{"all", scope(""), leases(2, map[string]int{"a": 10}), leases(1, map[string]int{"a": 30}), 30*time.Second + 300*time.Millisecond + 2*time.Second},
		{"all, where the node has one more without", scope(""), leases(2, map[string]int{"a": 10}), ten, 0},
		{"no sites", scope(""), leases(2, nil), leases(2, nil), 0},
		{"the node has a longer one", scope("a"), leases(2, map[string]int{"a": 5}), ten, 10*time.Second + 100*time.Millisecond + 2*time.Second},
		{"the node does not know of it", scope("none"), leases(2, map[string]int{"none": 5}), ten, 0},
		{"it is no longer there", scope("a"), leases(2, map[string]int{"a": 0}), ten, 0},
		{"the node has no such site", scope("c"), leases(2, map[string]int{"c": 5}), ten, 0},
		{"what the node goes by is not known", scope("a"), ten, nil, 0},
		{"nor what holds", scope("a"), nil, ten, 0},
	} {
		if got := lapseOf(test.c, test.now, test.node); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestSnapshotsAreFoundByVersion, the newest ones.
func TestSnapshotsAreFoundByVersion(t *testing.T) {
	t.Parallel()
	s := sites{changed: make(chan struct{})}
	for v := range uint64(20) {
		s.publish(leases(v+1, nil))
	}
	for v, want := range map[uint64]bool{0: false, 1: false, 12: false, 13: true, 20: true, 21: false} {
		if snap := s.version(v); (snap != nil) != want || want && snap.Version() != v {
			t.Errorf("version %d: %v", v, snap)
		}
	}
}

// TestTheReportSaysWhichDocuments a node goes by.
func TestTheReportSaysWhichDocuments(t *testing.T) {
	t.Parallel()
	tr, old, now := newTracker(time.Now), leases(1, nil), leases(2, nil)
	known := map[uint64]*site.Snapshot{1: old, 2: now}
	tr.docs = func(v uint64) *site.Snapshot { return known[v] }
	report := func(data string, want *site.Snapshot) {
		t.Helper()
		if err := tr.receive("progress.e1", []byte(`{"node": "e1"`+data+`}`)); err != nil {
			t.Fatal(err)
		}
		if got := tr.reports()["e1"].docs; got != want {
			t.Errorf("%s: %v, want %v", data, got, want)
		}
	}
	report(``, nil) // a release that does not say so
	report(`, "sites": 1`, old)
	delete(known, 1)
	report(`, "sites": 1`, old) // which it still goes by
	report(`, "sites": 2`, now)
	report(`, "sites": 3`, nil)
	report(`, "sites": 2`, now)
	report(`, "sites": 0`, nil) // not durable yet
}
