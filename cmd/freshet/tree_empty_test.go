package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// TestConsulComesBackEmpty: Consul loses all its data under load. No node forgets a site or
// whom it asks, also not over its own restart; the operator is told, and puts the sites back
// with one command. What he deletes is gone.
func TestConsulComesBackEmpty(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	tr := newTree(t, treePlan{edges: 2, mids: 2, router: true, tune: func(f *node.File) {
		if f.Role == cluster.Edge || f.Role == cluster.Mid {
			f.Cache.Disk = []node.Disk{{Dir: filepath.Join(f.Data, "cache"), Size: document.Size(64 << 20)}}
		}
	}})
	keys := int(treeRate(600, 60))
	tr.warm(keys, treePath)
	var edges []string
	for i := range tr.edges {
		edges = append(edges, treeIP(cluster.Edge, i))
	}
	named := func(what string) {
		t.Helper()
		within(t, 10*time.Second, func() error {
			if got, err := tr.resolve(); err != nil || !slices.Equal(got, edges) {
				return fmt.Errorf("%s: DNS names %v (%v), want %v", what, got, err, edges)
			}
			return nil
		})
	}
	named("before")
	load := tr.load(&treeLoad{clients: 20, rate: treeRate(200, 80), keys: keys, seed: seed, others: true})
	<-time.After(treeShare(5*time.Second, time.Second))
	tr.agent.Kill()
	tr.agent.Wipe()
	tr.agent.Start()
	emptied := time.Now()
	alarmed := func() error {
		_, out := tr.freshet("status", "--json")
		if !strings.Contains(out, "has lost 1 site documents") || !strings.Contains(out, "keeps 1 site documents") {
			return fmt.Errorf("status does not tell of the loss: %s", out)
		}
		return nil
	}
	within(t, 30*time.Second, alarmed)
	t.Logf("status tells of the loss %s after Consul's return", time.Since(emptied).Round(time.Millisecond))
	named("with an empty Consul")
	for _, name := range []string{tr.edges[0], tr.mids[1], "router-1"} { // who restarts knows it still
		tr.stop(name)
		tr.start(name)
		within(t, 30*time.Second, func() error { return tr.serves(name) })
	}
	if s := tr.one(tr.edges[0], "/l/1"); s.status != http.StatusOK || !s.hit {
		t.Errorf("after its restart %s has nothing of what was cached: status %d, hit %v", tr.edges[0], s.status, s.hit)
	}
	named("after a restart with an empty Consul")
	within(t, 30*time.Second, func() error {
		if code, out := tr.freshet("site", "restore"); code != exitOK || !strings.Contains(out, "1 sites and 0 secrets restored") {
			return fmt.Errorf("site restore: exit code %d: %s", code, out)
		}
		return nil
	})
	within(t, 30*time.Second, func() error {
		if _, out := tr.freshet("status", "--json"); strings.Contains(out, "site documents") {
			return fmt.Errorf("status still tells of a loss: %s", out)
		}
		return nil
	})
	tr.ready()
	<-time.After(treeShare(5*time.Second, time.Second))
	all := load.end()
	t.Logf("all the time: %s", figures(all))
	complain(t, "while Consul was empty", among(all, time.Time{}, time.Now(), nil))

	_, out := tr.freshet("site", "list", "--json")
	name, _, _ := strings.Cut(strings.SplitAfter(out, `"name": "`)[min(1, strings.Count(out, `"name": "`))], `"`)
	tr.must("site", "delete", name, "--yes")
	within(t, 10*time.Second, func() error {
		if s := tr.one(tr.edges[1], "/l/1"); s.status != http.StatusMisdirectedRequest {
			return errors.New("the last site is deleted, and served still")
		}
		return nil
	})
}
