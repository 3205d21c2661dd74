package upstream

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/ring"
	"freshet/internal/site"
)

func member(name string, role cluster.Role, region string, ready bool) cluster.Node {
	n := cluster.Node{Name: name, Role: role, Region: region, Ready: ready, Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}}
	if role == cluster.Mid {
		n.Tier = 1
	}
	return n
}

func order(p *Parents, s *site.Document, key string) (names []string) {
	for _, parent := range p.For(s, Question{Key: key}) {
		names = append(names, parent.Name)
	}
	return names
}

// TestThoseWhoWentAreForgottenOnce proves that news which come while nodes that are gone still
// count among those who ask the origin lead to one look when they count no more, not to one
// each: with every look all sites are compiled anew.
func TestThoseWhoWentAreForgottenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		p := NewParents(Config{Role: cluster.Edge, Changed: func() { looks.Add(1) }})
		p.Update([]cluster.Node{member("a", cluster.Mid, "r", true), member("b", cluster.Mid, "r", true)})
		for range 10 {
			time.Sleep(time.Second)
			p.Update([]cluster.Node{member("a", cluster.Mid, "r", true)})
		}
		if v := p.now.Load(); v.askers != 2 {
			t.Errorf("%d ask the origin within the hold", v.askers)
		}
		looks.Store(0)
		time.Sleep(askersHold)
		synctest.Wait()
		if v := p.now.Load(); v.askers != 1 || looks.Load() != 1 {
			t.Errorf("%d ask the origin after %d looks", v.askers, looks.Load())
		}
	})
}

func TestTheOrderOfParents(t *testing.T) {
	own, outside := &site.Document{Site: "s"}, &site.Document{Site: "s", Origin: site.Origin{URL: "http://o.example"}}
	nodes := []cluster.Node{
		member("mid-far", cluster.Mid, "far", true), member("mid-near", cluster.Mid, "near", true), member("mid-sick", cluster.Mid, "near", false),
		member("origin", cluster.Origin, "far", true), member("edge", cluster.Edge, "near", true), {Name: "mid-without-address", Role: cluster.Mid, Tier: 1, Ready: true},
	}
	parents := func(role cluster.Role) *Parents {
		c := Config{Role: role, Name: "self", PoP: "p", Region: "near", Loads: ring.NewLoads(time.Now)}
		if role == cluster.Mid {
			c.Tier = 1
		}
		return NewParents(c)
	}
	edge, mid := parents(cluster.Edge), parents(cluster.Mid)
	edge.Update(nodes)
	mid.Update(nodes)
	for _, tc := range []struct {
		name    string
		parents *Parents
		site    *site.Document
		want    []string
	}{
		{"of an edge", edge, own, []string{"mid-near", "mid-far", "origin", "mid-sick"}},
		{"of an edge, with an outside origin", edge, outside, []string{"mid-near", "mid-far", "o.example", "mid-sick"}},
		{"of a mid", mid, own, []string{"origin"}},
		{"of a mid, with an outside origin", mid, outside, []string{"o.example"}},
		{"of a node that knows nobody", parents(cluster.Edge), own, nil},
	} {
		if got := order(tc.parents, tc.site, "k"); !slices.Equal(got, tc.want) {
			t.Errorf("parents %s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestNewsThatAllParentsAreGoneIsDistrusted(t *testing.T) {
	p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: ring.NewLoads(time.Now)})
	p.Update([]cluster.Node{member("mid", cluster.Mid, "r", true), member("origin", cluster.Origin, "r", true)})
	own := &site.Document{Site: "s"}
	for range 2 {
		p.Update([]cluster.Node{member("edge", cluster.Edge, "r", true)})
		if got := order(p, own, "k"); !slices.Equal(got, []string{"mid", "origin"}) {
			t.Errorf("parents %v, want those last known", got)
		}
	}
	p.Update([]cluster.Node{member("origin", cluster.Origin, "r", true)})
	if got := order(p, own, "k"); !slices.Equal(got, []string{"origin"}) {
		t.Errorf("parents %v after news of one", got)
	}
}

// TestAHotKeyIsAskedOfSeveralParents: what is asked of a parent, and what is still under
// way there, has its next requests go to others.
func TestAHotKeyIsAskedOfSeveralParents(t *testing.T) {
	var nodes []cluster.Node
	for _, name := range []string{"m1", "m2", "m3"} {
		nodes = append(nodes, member(name, cluster.Mid, "r", true))
	}
	doc := &site.Document{Site: "s"}
	for name, ends := range map[string]bool{"many": true, "slow": false} {
		loads := ring.NewLoads(time.Now)
		p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: loads})
		p.Update(nodes)
		asked := map[string]int{}
		for range 1000 {
			to := p.For(doc, Question{Key: "key"})[0].Name
			asked[to]++
			if end := loads.Begin("key", to); ends {
				end()
			}
		}
		for _, n := range nodes {
			if share := float64(asked[n.Name]) / 1000 * 3; share < 0.75 || share > 1.25 {
				t.Errorf("%s: %s is asked %.2f of the mean", name, n.Name, share)
			}
		}
	}
}

// TestTiers: the parents of a tier are the mids of the next one above it that has any who
// are ready, those of the region first; then of the tiers above that; then the origin.
func TestTiers(t *testing.T) {
	mid := func(name string, tier int, region string, ready bool) cluster.Node {
		n := member(name, cluster.Mid, region, ready)
		n.Tier = tier
		return n
	}
	nodes := []cluster.Node{
		mid("one-near", 1, "near", true), mid("one-far", 1, "far", true), mid("three-near", 3, "near", true), mid("three-sick", 3, "far", false),
		member("origin-a", cluster.Origin, "far", false), member("origin-b", cluster.Origin, "far", true), member("edge", cluster.Edge, "near", true),
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		nodes  []cluster.Node
		want   []string
		top    bool
	}{
		{"an edge", nil, nodes, []string{"one-near", "one-far", "three-near", "origin-b", "three-sick", "origin-a"}, false},
		{"tier 1", func(c *Config) { c.Role, c.Tier = cluster.Mid, 1 }, nodes, []string{"three-near", "origin-b", "three-sick", "origin-a"}, false},
		{"tier 2", func(c *Config) { c.Role, c.Tier = cluster.Mid, 2 }, nodes, []string{"three-near", "origin-b", "three-sick", "origin-a"}, false},
		{"tier 3", func(c *Config) { c.Role, c.Tier = cluster.Mid, 3 }, nodes, []string{"origin-b", "origin-a"}, true},
		{"a mid that does not say", func(c *Config) { c.Role = cluster.Mid }, nodes, []string{"three-near", "origin-b", "three-sick", "origin-a"}, false},
		{"an edge, tier 1 sick", nil, []cluster.Node{mid("one", 1, "near", false), nodes[2], nodes[5]}, []string{"three-near", "origin-b", "one"}, false},
		{"a list", func(c *Config) { c.Static = []string{"https://x.example:8443"} }, nodes, []string{"x.example:8443", "origin-b", "origin-a"}, false},
	} {
		c := Config{Role: cluster.Edge, Name: "self", PoP: "p", Region: "near", Loads: ring.NewLoads(time.Now)}
		if tc.change != nil {
			tc.change(&c)
		}
		p := NewParents(c)
		p.Update(tc.nodes)
		if got := order(p, &site.Document{Site: "s"}, "k"); !slices.Equal(got, tc.want) || p.AsksOrigin() != tc.top {
			t.Errorf("%s: %v, asks origins: %v; want %v, %v", tc.name, got, p.AsksOrigin(), tc.want, tc.top)
		}
	}
}

// TestManyParentsAreNotAllListed, but the key's home is the first of them.
func TestManyParentsAreNotAllListed(t *testing.T) {
	var nodes []cluster.Node
	var names []string
	for i := range 100 {
		nodes = append(nodes, member(fmt.Sprint("near", i), cluster.Mid, "r", true), member(fmt.Sprint("far", i), cluster.Mid, "q", true), member(fmt.Sprint("sick", i), cluster.Mid, "r", false))
		names = append(names, fmt.Sprint("near", i))
	}
	p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: ring.NewLoads(time.Now)})
	p.Update(nodes)
	for i := range 100 {
		key := fmt.Sprint(i)
		got := order(p, &site.Document{Site: "s"}, key)
		if len(got) != mostNear+mostFar+mostUnsure || got[0] != names[ring.First(key, names)] {
			t.Fatalf("%v, want %s first", got, names[ring.First(key, names)])
		}
	}
}

// TestSiblings: all edges of a PoP agree in who is a key's home; that one asks the mids. Who
// is asked by a tier asks no sibling, nor does who passes on what is for one client.
func TestSiblings(t *testing.T) {
	edge := func(name, pop string, ready bool) cluster.Node {
		n := member(name, cluster.Edge, "r", ready)
		n.PoP = pop
		return n
	}
	nodes := []cluster.Node{edge("a", "p", true), edge("b", "p", true), edge("c", "p", true), edge("d", "p", false), edge("e", "q", true), member("mid", cluster.Mid, "r", true)}
	doc := &site.Document{Site: "s"}
	homes := make(map[string]int)
	for i := range 300 {
		key := fmt.Sprint("key-", i)
		home := []string{"a", "b", "c"}[ring.First(key, []string{"a", "b", "c"})]
		homes[home]++
		for _, self := range []string{"a", "b", "c"} {
			p := NewParents(Config{Role: cluster.Edge, Name: self, PoP: "p", Region: "r", Siblings: true, Loads: ring.NewLoads(time.Now)})
			p.Update(nodes)
			want := []string{home, "mid"}
			if self == home {
				want = want[1:]
			}
			if got := order(p, doc, key); !slices.Equal(got, want) {
				t.Fatalf("%s of %s: %v, want %v", self, key, got, want)
			}
			if i > 0 {
				continue
			}
			for _, q := range []Question{{Key: key, FromTier: true}, {Key: key, Pass: true}} {
				if got := p.For(doc, q); len(got) != 1 || got[0].Kind != Mid {
					t.Errorf("%s asks %v for %+v", self, got, q)
				}
			}
		}
	}
	if len(homes) != 3 {
		t.Errorf("homes %v", homes)
	}
}
