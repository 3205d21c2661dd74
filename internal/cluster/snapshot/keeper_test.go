package snapshot

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("away")

// store is a cluster whose members are set by hand, and that can be away, mute, or empty.
type store struct {
	*local.Cluster
	mu      sync.Mutex
	changed chan struct{} // closed with each change
	nodes   []cluster.Node
	err     error // of reads
	mute    bool  // reads do not answer
	lost    bool  // keys are not listed
	reads   int
}

func newStore(t *testing.T) *store {
	t.Helper()
	c, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &store{Cluster: c, changed: make(chan struct{})}
}

func (s *store) set(change func(s *store)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

// members sets them, all ready.
func (s *store) members(names ...string) {
	s.set(func(s *store) {
		s.nodes = nil
		for _, name := range names {
			s.nodes = append(s.nodes, cluster.Node{Name: name, Role: cluster.Edge, Ready: true})
		}
	})
}

func (s *store) await(ctx context.Context, version func() (uint64, error), after uint64) error {
	for {
		s.mu.Lock()
		changed, mute := s.changed, s.mute
		s.reads++
		v, err := version()
		s.mu.Unlock()
		if !mute && (err != nil || after == 0 || v != after) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *store) Nodes(ctx context.Context, after uint64) (n cluster.Nodes, err error) {
	err = s.await(ctx, func() (uint64, error) {
		n = cluster.NewNodes(slices.Clone(s.nodes))
		return n.Version, s.err
	}, after)
	return n, err
}

func (s *store) List(ctx context.Context, prefix string, after uint64) (p cluster.Pairs, err error) {
	err = s.await(ctx, func() (uint64, error) {
		p, _ = s.Cluster.List(context.Background(), prefix, 0)
		if s.lost {
			p = cluster.NewPairs(nil)
		}
		return p.Version, s.err
	}, after)
	return p, err
}

// put writes a site document.
func (s *store) put(t *testing.T, name string) {
	t.Helper()
	if _, err := cluster.NewDocuments(s.Cluster, cluster.SitesPrefix).Put(t.Context(), name, []byte("site: "+name), "", "", cluster.AnyVersion); err != nil {
		t.Fatal(err)
	}
	s.set(func(*store) {})
}

// node is a process with a Keeper, and what those who watch in it know.
type node struct {
	*Keeper
	log  *logText
	stop func()

	mu    sync.Mutex
	names []string // members
	sites []string
}

type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a node until stop; change changes its configuration.
func start(t *testing.T, s *store, dir string, change ...func(*Config)) *node {
	t.Helper()
	n := &node{log: new(logText)}
	c := Config{
		Node: "me", Dir: dir, Cluster: "consul freshet", Secret: strings.Repeat("s", 32),
		Log: slog.New(slog.NewTextHandler(n.log, nil)), Metrics: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if n.Keeper, err = Open(c, s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { n.Run(ctx) })
	wg.Go(func() {
		cluster.WatchNodes(ctx, n, c.Log, func(nodes cluster.Nodes) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.names = nil
			for _, m := range nodes.List {
				n.names = append(n.names, m.Name)
			}
		})
	})
	docs := cluster.NewDocuments(n, cluster.SitesPrefix)
	wg.Go(func() {
		cluster.Follow(ctx, c.Log, "site documents", func(ctx context.Context, after uint64) (uint64, error) {
			all, err := docs.All(ctx, after)
			if err == nil {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.sites = []string{}
				for _, d := range all.List {
					n.sites = append(n.sites, d.Name)
				}
			}
			return all.Version, err
		})
	})
	n.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(n.stop)
	return n
}

// knows checks what those who watch know, lists separated by spaces.
func (n *node) knows(t *testing.T, members, sites string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if got := strings.Join(n.names, " "); got != members {
		t.Errorf("knows the members %q, want %q", got, members)
	}
	if got := strings.Join(n.sites, " "); got != sites {
		t.Errorf("knows the sites %q, want %q", got, sites)
	}
}

// warns checks that the warning has a text in it; "" for none.
func (n *node) warns(t *testing.T, text string) {
	t.Helper()
	synctest.Wait()
	switch err := n.Warning(); {
	case text == "" && err != nil:
		t.Errorf("warns: %v", err)
	case text != "" && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("warns %v, want %q in it", err, text)
	}
}

func TestStartsFromTheLastSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		s.members("me", "other")
		s.put(t, "a")
		s.put(t, "b")
		first := start(t, s, dir)
		first.knows(t, "me other", "a b")
		first.warns(t, "")
		first.stop()

		s.set(func(s *store) { s.err = errAway })
		second := start(t, s, dir)
		second.knows(t, "me other", "a b") // at once
		second.warns(t, "going by the last snapshot of 2000-01-01T00:00:00Z")
		if text := second.log.String(); !strings.Contains(text, "starting from its last snapshot") {
			t.Errorf("the log says nothing of the snapshot:\n%s", text)
		}
		time.Sleep(time.Hour)
		second.knows(t, "me other", "a b")

		s.set(func(s *store) { s.err = nil })
		s.members("me", "other", "third")
		s.put(t, "c")
		time.Sleep(cluster.MaxRetry)
		second.knows(t, "me other third", "a b c")
		second.warns(t, "")
		second.stop()

		s.set(func(s *store) { s.err = errAway })
		third := start(t, s, dir)
		third.knows(t, "me other third", "a b c")
		third.stop()
	})
}

// TestTheSameNewsEndsTheSnapshot: a cluster that comes back as it was is heard.
func TestTheSameNewsEndsTheSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		s.members("me")
		s.put(t, "a")
		start(t, s, dir).stopAfter()
		s.set(func(s *store) { s.err = errAway })
		n := start(t, s, dir)
		n.knows(t, "me", "a")
		n.warns(t, "last snapshot")
		s.set(func(s *store) { s.err = nil })
		time.Sleep(cluster.MaxRetry)
		n.warns(t, "")
		before := s.reads
		time.Sleep(time.Hour)
		if s.reads != before {
			t.Errorf("%d reads while nothing changes", s.reads-before)
		}
	})
}

// stopAfter stops when all is known.
func (n *node) stopAfter() {
	synctest.Wait()
	n.stop()
}

func TestWaitsAMomentForASlowCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		s.members("me")
		s.put(t, "a")
		start(t, s, dir).stopAfter()
		s.set(func(s *store) { s.mute = true })
		n := start(t, s, dir)
		time.Sleep(firstWait - time.Millisecond)
		n.knows(t, "", "")
		time.Sleep(time.Millisecond)
		n.knows(t, "me", "a")
		s.put(t, "b")
		s.set(func(s *store) { s.mute = false })
		n.knows(t, "me", "a b") // it went on asking
		n.warns(t, "")
	})
}

// TestItIsNoticedThatTheClusterIsBack where nothing has changed meanwhile.
func TestItIsNoticedThatTheClusterIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.members("me")
		s.put(t, "a")
		n := start(t, s, t.TempDir())
		n.knows(t, "me", "a")
		s.set(func(s *store) { s.err = errAway })
		n.warns(t, "going by what was known at")
		s.set(func(s *store) { s.err = nil })
		time.Sleep(cluster.MaxRetry)
		n.warns(t, "")
	})
}

// TestWithoutASnapshotItWaits as a node without a Keeper does.
func TestWithoutASnapshotItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.set(func(s *store) { s.err = errAway })
		n := start(t, s, t.TempDir())
		time.Sleep(time.Hour)
		n.knows(t, "", "")
		s.set(func(s *store) { s.err = nil })
		s.members("me")
		time.Sleep(cluster.MaxRetry)
		n.knows(t, "me", "")
	})
}

func TestAStoreThatLostItsDataIsDistrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		s.members("me", "other", "third")
		s.put(t, "a")
		s.put(t, "b")
		n := start(t, s, dir)
		n.knows(t, "me other third", "a b")

		s.set(func(s *store) { s.lost = true })
		s.members()
		n.knows(t, "me other third", "a b")
		n.warns(t, "has lost 2 site documents, which are kept (a, b)")
		n.warns(t, "has lost 3 members")
		if text := n.log.String(); strings.Count(text, "level=ERROR") != 1 {
			t.Errorf("want one error in the log, have\n%s", text)
		}
		before := s.reads
		time.Sleep(time.Hour)
		n.knows(t, "me other third", "a b")
		if s.reads > before {
			t.Errorf("asks %d times while nothing changes", s.reads-before)
		}

		// The nodes come back, one after the other, but for one.
		s.members("other")
		n.knows(t, "me other third", "a b")
		s.members("me", "other")
		n.knows(t, "me other third", "a b")
		time.Sleep(comeBack - time.Millisecond)
		n.knows(t, "me other third", "a b")
		time.Sleep(time.Millisecond)
		n.knows(t, "me other", "a b")
		n.warns(t, "site documents")

		// It is the same after a restart, also one without the cluster.
		n.stop()
		n = start(t, s, dir)
		n.knows(t, "me other", "a b")
		n.warns(t, "has lost 2 site documents")
		n.stop()
		s.set(func(s *store) { s.err = errAway })
		n = start(t, s, dir)
		n.knows(t, "me other", "a b")
		s.set(func(s *store) { s.err, s.lost = nil, false }) // restored
		time.Sleep(cluster.MaxRetry)
		n.knows(t, "me other", "a b")
		n.warns(t, "")
	})
}

// TestSecretsAreKept, sealed as they are, as documents are.
func TestSecretsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		s.members("me")
		s.put(t, "a")
		for _, name := range []string{"one", "two"} {
			if _, err := s.Put(t.Context(), cluster.SiteSecretsPrefix+"/"+name, []byte("sealed "+name), cluster.Absent); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var known string
		follow := func(n *node) func() {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				cluster.Follow(ctx, n.Keeper.log, "secrets", func(ctx context.Context, after uint64) (uint64, error) {
					list, err := n.List(ctx, cluster.SiteSecretsPrefix, after)
					if err == nil {
						mu.Lock()
						defer mu.Unlock()
						known = ""
						for _, p := range list.List {
							known += string(p.Value) + ";"
						}
					}
					return list.Version, err
				})
			}()
			return func() { cancel(); <-done; n.stop() }
		}
		knows := func(want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if known != want {
				t.Errorf("knows %q, want %q", known, want)
			}
		}
		n := start(t, s, dir)
		stop := follow(n)
		knows("sealed one;sealed two;")
		s.set(func(s *store) { s.lost = true })
		time.Sleep(time.Hour)
		knows("sealed one;sealed two;")
		if got := n.LostSecrets(); len(got) != 2 {
			t.Errorf("lost are %v", got)
		}
		stop()
		s.set(func(s *store) { s.err = errAway })
		known = ""
		n = start(t, s, dir)
		stop = follow(n)
		knows("sealed one;sealed two;")
		stop()
	})
}

// TestDeletionIsMeant: what is deleted by the API, the last site too, is gone.
func TestDeletionIsMeant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.members("me")
		s.put(t, "a")
		n := start(t, s, t.TempDir())
		n.knows(t, "me", "a")
		if err := cluster.NewDocuments(s.Cluster, cluster.SitesPrefix).Delete(t.Context(), "a", cluster.AnyVersion); err != nil {
			t.Fatal(err)
		}
		s.set(func(*store) {})
		n.knows(t, "me", "")
		n.warns(t, "")
	})
}

// TestMembersThatLeaveAreGone: others, one or all, while this node stays.
func TestMembersThatLeaveAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.members("me", "a", "b", "c")
		n := start(t, s, t.TempDir())
		n.knows(t, "me a b c"[3:]+" me", "")
		s.members("me", "a")
		n.knows(t, "a me", "")
		s.members("me")
		n.knows(t, "me", "")
		n.warns(t, "")
	})
}

// TestANodeThatIsNotTakenBack does not keep others for ever.
func TestANodeThatIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.members("me", "a", "b")
		n := start(t, s, t.TempDir())
		n.knows(t, "a b me", "")
		s.members("a")
		n.knows(t, "a b me", "")
		n.warns(t, "lost 2 members")
		time.Sleep(forgetLost)
		n.knows(t, "a", "")
		n.warns(t, "")
	})
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.members("me")
		s.put(t, "a")
		s.put(t, "a") // version 2
		s.put(t, "b")
		s.put(t, "gone")
		if err := cluster.NewDocuments(s.Cluster, cluster.SitesPrefix).Delete(t.Context(), "gone", cluster.AnyVersion); err != nil {
			t.Fatal(err)
		}
		n := start(t, s, t.TempDir())
		n.knows(t, "me", "a b")
		empty := newStore(t)
		empty.put(t, "b") // by an operator who was faster
		s.set(func(s *store) { s.Cluster = empty.Cluster })
		n.knows(t, "me", "a b")
		if got := n.State().Lost; !slices.Equal(got, []string{"a"}) {
			t.Fatalf("lost are %q", got)
		}
		docs := cluster.NewDocuments(empty.Cluster, cluster.SitesPrefix)
		for _, p := range n.Lost() {
			if _, _, err := docs.Restore(t.Context(), p); err != nil {
				t.Error(err)
			}
		}
		s.set(func(*store) {})
		n.knows(t, "me", "a b")
		n.warns(t, "")
		if doc, err := docs.Get(t.Context(), "a"); err != nil || doc.Version != 2 {
			t.Errorf("restored is version %d, %v; want 2", doc.Version, err)
		}
		if doc, err := docs.Put(t.Context(), "gone", nil, "", "", cluster.AnyVersion); err != nil || doc.Version != 3 {
			t.Errorf("a deleted site comes back as version %d, %v; want 3", doc.Version, err)
		}
	})
}

// TestRefusedSnapshots: what is not this cluster's, not whole, or of another version.
func TestRefusedSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		s.members("me")
		s.put(t, "a")
		start(t, s, dir).stopAfter()
		good, err := os.ReadFile(filepath.Join(dir, "sites"))
		if err != nil {
			t.Fatal(err)
		}
		s.set(func(s *store) { s.err = errAway })
		other := bytes.Clone(good)
		other[8]++
		flipped := bytes.Clone(good)
		flipped[len(flipped)-1] ^= 1
		for _, c := range []struct {
			name   string
			file   []byte
			change func(*Config)
			says   string
		}{
			{"torn", good[:len(good)-1], nil, errDamaged.Error()},
			{"head only", good[:headSize], nil, errDamaged.Error()},
			{"empty", nil, nil, errDamaged.Error()},
			{"flipped", flipped, nil, errDamaged.Error()},
			{"other format", other, nil, "its format is 2"},
			{"other secret", good, func(c *Config) { c.Secret = "x" }, errForeign.Error()},
			{"other prefix", good, func(c *Config) { c.Cluster = "consul other" }, errForeign.Error()},
			{"too large", good, func(c *Config) { c.Bytes = 6 * (headSize + 1) }, "at most"},
		} {
			if err := os.WriteFile(filepath.Join(dir, "sites"), c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			change := c.change
			if change == nil {
				change = func(*Config) {}
			}
			n := start(t, s, dir, change)
			synctest.Wait()
			n.mu.Lock()
			if n.sites != nil {
				t.Errorf("%s: goes by it: %q", c.name, n.sites)
			}
			n.mu.Unlock()
			n.stop()
			if text := n.log.String(); !strings.Contains(text, "not gone by") || !strings.Contains(text, c.says) {
				t.Errorf("%s: the log says\n%s", c.name, text)
			}
		}
	})
}

// TestWritesAreCoalesced: at most one a second, and the last news is written.
func TestWritesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := newStore(t), t.TempDir()
		n := start(t, s, dir)
		for i := range 1000 {
			s.members("me", "n"+string(rune('a'+i%26)))
			time.Sleep(10 * time.Millisecond)
		}
		if writes := n.disk.count(func(d *disk) uint64 { return d.mu.writes }); writes > 13 {
			t.Errorf("%v writes in 10 s", writes)
		}
		n.stop()
		list, _, ok := load(n.disk, fileMembers, decodeNodes)
		if !ok || list[1].Name != "n"+string(rune('a'+999%26)) {
			t.Errorf("on disk is %v", list)
		}
	})
}

func FuzzOpen(f *testing.F) {
	seal := newSealer("c", "s")
	f.Add(seal.seal(fileSites, time.Unix(1, 2), encodePairs([]cluster.Pair{{Key: "sites/current/a", Value: []byte("x"), Version: 3}})))
	nodes, _ := encodeNodes([]cluster.Node{{Name: "a", Role: cluster.Mid}})
	f.Add(seal.seal(fileMembers, time.Unix(1, 2), nodes))
	f.Add(encodePairs([]cluster.Pair{{Key: "k", Value: nil, Version: 1}}))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, k := range []kind{fileMembers, fileSites} {
			if content, at, err := seal.open(k, file); err == nil && !bytes.Equal(seal.seal(k, at, content), file) {
				t.Error("a file that was not sealed like this is opened")
			}
		}
		if list, err := decodePairs(file); err == nil {
			again, err := decodePairs(encodePairs(list))
			if err != nil || len(again) != len(list) {
				t.Errorf("%d pairs become %d, %v", len(list), len(again), err)
			}
		}
		_, _ = decodeNodes(file)
	})
}
