package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// TestConsulIsGoneAndEveryNodeRestarts: the Consul agent is killed, and then every node ends
// and starts again, one after the other. They come up from what they last knew, which they
// have on disk: no request fails for what is cached, and DNS answers.
func TestConsulIsGoneAndEveryNodeRestarts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	tr := newTree(t, treePlan{edges: 2, mids: 2, router: true, ownOrigin: true, tune: func(f *node.File) {
		if f.Role == cluster.Edge || f.Role == cluster.Mid {
			f.Cache.Disk = []node.Disk{{Dir: filepath.Join(f.Data, "cache"), Size: document.Size(64 << 20)}}
		}
		f.Drain = document.Duration(5 * time.Second)
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
	// The origin of the cluster has something to serve, too.
	document, content := filepath.Join(tr.dev.data, "own.yaml"), filepath.Join(tr.dev.data, "own.txt")
	for name, text := range map[string]string{document: "site: own\nhosts: [own." + devZone + "]\n", content: "pushed"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tr.must("site", "apply", document)
	within(t, 20*time.Second, func() error {
		if code, out := tr.freshet("push", content, "own:/own.txt"); code != exitOK {
			return fmt.Errorf("push: exit code %d: %s", code, out)
		}
		return nil
	})
	load := tr.load(&treeLoad{clients: 20, rate: treeRate(200, 80), keys: keys, seed: seed, others: true})
	<-time.After(treeShare(5*time.Second, time.Second))
	tr.agent.Kill()
	killed := time.Now()
	<-time.After(treeShare(15*time.Second, time.Second))
	order := append(slices.Concat(tr.mids, tr.edges), "router-1", "distributor-1", "origin-1")
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for i, name := range order {
		if i%3 == 0 && tr.files[name].Role != cluster.Edge { // whose clients would notice
			tr.kill(name)
		} else {
			tr.stop(name)
		}
		from := time.Now()
		tr.start(name)
		within(t, 30*time.Second, func() error { return tr.serves(name) })
		t.Logf("%s serves %s after its start", name, time.Since(from).Round(time.Millisecond))
		switch tr.files[name].Role {
		case cluster.Edge:
			if s := tr.one(name, "/l/1"); s.status != http.StatusOK || !s.hit {
				t.Errorf("%s has nothing of what was cached: status %d, hit %v", name, s.status, s.hit)
			}
		case cluster.Router:
			named("after its restart without Consul")
		}
		<-time.After(treeShare(3*time.Second, 0))
	}
	named("after all have restarted without Consul")
	<-time.After(treeShare(20*time.Second, time.Second))
	// Everything at once is the worst: nobody is left to ask.
	for _, name := range order {
		tr.kill(name)
	}
	down := time.Now()
	for _, name := range order {
		tr.start(name)
	}
	for _, name := range order {
		within(t, 30*time.Second, func() error { return tr.serves(name) })
	}
	up := time.Now()
	named("after all have been killed at once without Consul")
	<-time.After(treeShare(10*time.Second, time.Second))
	back := time.Now()
	tr.agent.Start()
	tr.ready()
	t.Logf("Consul was gone for %s; %s after its return all is well", back.Sub(killed).Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	named("with Consul again")
	<-time.After(treeShare(10*time.Second, time.Second))
	all := load.end()
	t.Logf("before:       %s", figures(among(all, time.Time{}, killed, nil)))
	one := among(all, killed, down.Add(-time.Second), nil)
	t.Logf("one by one:   %s", figures(one))
	t.Logf("all at once:  %s", figures(among(all, down.Add(-time.Second), up, nil)))
	rest := among(all, up, time.Now(), nil)
	t.Logf("after that:   %s", figures(rest))
	complain(t, "restarted one by one without Consul", one)
	complain(t, "after all had been killed at once", rest)
	for i, s := range slices.Concat(one, rest) {
		if s.cut() && i < 10 {
			t.Logf("cut off: key %d at %s: %v", s.key, s.at, s.err)
		}
	}
}

// serves asks a node whether it does what can be done without Consul.
func (tr *tree) serves(name string) error {
	f := tr.files[name]
	switch f.Role {
	case cluster.Distributor: // of its own there is nothing that it may write, but it carries the bus
		return errors.Join(dials(f.Listen[0]), dials(f.Bus.Listen))
	case cluster.Origin:
		req, err := http.NewRequest(http.MethodGet, "http://"+f.Listen[0]+"/own.txt", nil)
		if err != nil {
			return err
		}
		req.Host = "own." + devZone
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if text, err := io.ReadAll(res.Body); err != nil || string(text) != "pushed" {
			return fmt.Errorf("%s: status %d, %q, %v", name, res.StatusCode, text, err)
		}
		return nil
	}
	return tr.isReady(name)
}
