package upstream

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/ring"
	"freshet/internal/site"
)

// pooled is a site whose origin section is text, and the parents of a node that asks it.
func pooled(t *testing.T, text string, change func(*Config)) (*Parents, *site.Document) {
	t.Helper()
	doc, err := site.Parse("f", []byte("site: s\nhosts: [s.example]\norigin:\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Role: cluster.Mid, Name: "m", Region: "r", Loads: ring.NewLoads(time.Now), Secret: "the secret of the cluster"}
	if change != nil {
		change(&c)
	}
	return NewParents(c), doc
}

const threeServers = `  servers:
    - {url: 'http://a'}
    - {url: 'http://b', weight: 3}
    - {url: 'http://c', backup: true}
`

func names(parents []Parent) string {
	var list []string
	for _, p := range parents {
		list = append(list, p.Name)
	}
	return strings.Join(list, " ")
}

// TestAPoolIsSharedByItsWeights: over many keys as over many requests, each server is the
// first as often as its weight says, and the backup never; of one key the order stays.
func TestAPoolIsSharedByItsWeights(t *testing.T) {
	p, doc := pooled(t, threeServers, nil)
	const n = 20_000
	for name, question := range map[string]func(i int) Question{
		"cacheable": func(i int) Question { return Question{Key: fmt.Sprint("key-", i)} },
		"passed":    func(int) Question { return Question{Key: "key", Pass: true} },
	} {
		first := make(map[string]int)
		for i := range n {
			got := p.For(doc, question(i))
			if first[got[0].Name]++; len(got) != 3 || got[2].Name != "c" {
				t.Fatalf("%s: %s", name, names(got))
			}
		}
		if share := float64(first["b"]) / n; math.Abs(share-0.75) > 0.02 { // 6.5 standard deviations
			t.Errorf("%s: b, with three quarters of the weights, has %.3f of all", name, share)
		}
	}
	for i := range 100 {
		q := Question{Key: fmt.Sprint("key-", i)}
		if one, two := names(p.For(doc, q)), names(p.For(doc, q)); one != two {
			t.Fatalf("%s, then %s", one, two)
		}
	}
}

// TestOnlyTheKeysOfAServerThatIsGoneMove to another one.
func TestOnlyTheKeysOfAServerThatIsGoneMove(t *testing.T) {
	dead := ""
	p, doc := pooled(t, "  servers: [{url: 'http://a'}, {url: 'http://b'}, {url: 'http://c'}, {url: 'http://d'}]\n", func(c *Config) {
		c.Unhealthy = func(_, url string) bool { return url == dead }
	})
	for i := range 1000 {
		q := Question{Key: fmt.Sprint("key-", i)}
		dead = ""
		before := p.For(doc, q)
		dead = "http://b"
		after := p.For(doc, q)
		want := before[0].Name
		if want == "b" {
			want = before[1].Name
		}
		if after[0].Name != want || after[3].Name != "b" {
			t.Fatalf("%s becomes %s", names(before), names(after))
		}
	}
}

// TestDeadServersComeLast: after the backups; unless all are dead, which is not believed.
func TestDeadServersComeLast(t *testing.T) {
	for dead, want := range map[string][]string{
		"":      {"a b c", "b a c"},
		"a":     {"b c a"},
		"a b":   {"c a b", "c b a"},
		"c":     {"a b c", "b a c"},
		"b c":   {"a b c"},
		"a b c": {"a b c", "b a c"},
	} {
		p, doc := pooled(t, threeServers, func(c *Config) {
			c.Unhealthy = func(site, url string) bool {
				return site == "s" && slices.Contains(strings.Fields(dead), strings.TrimPrefix(url, "http://"))
			}
		})
		for i := range 100 {
			if got := names(p.For(doc, Question{Key: fmt.Sprint(i)})); !slices.Contains(want, got) {
				t.Errorf("with %q dead: %s, want one of %q", dead, got, want)
			}
		}
	}
}

// TestAffinityByAddress: all that is passed on for one client goes to one server, by the
// weights; another one of its network of IPv6 is the same client. What is cacheable has its
// homes by key nevertheless.
func TestAffinityByAddress(t *testing.T) {
	p, doc := pooled(t, threeServers+"  affinity: address\n", nil)
	first := make(map[string]int)
	for i := range 4000 {
		client := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		one := p.For(doc, Question{Key: "a", Pass: true, Client: client})
		two := p.For(doc, Question{Key: "b", Pass: true, Client: netip.AddrFrom16(client.As16())})
		if names(one) != names(two) {
			t.Fatalf("%s: %s and %s", client, names(one), names(two))
		}
		first[one[0].Name]++
	}
	if share := float64(first["b"]) / 4000; math.Abs(share-0.75) > 0.05 {
		t.Errorf("b, with three quarters of the weights, has %.3f of the clients", share)
	}
	for i := range 100 {
		one := Question{Pass: true, Client: netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", i))}
		two := Question{Pass: true, Client: netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x:1:2:3:4", i))}
		if names(p.For(doc, one)) != names(p.For(doc, two)) {
			t.Fatalf("%s and %s have different servers", one.Client, two.Client)
		}
	}
	homes := make(map[string]bool)
	for i := range 100 {
		homes[p.For(doc, Question{Key: fmt.Sprint(i), Client: netip.MustParseAddr("192.0.2.1")})[0].Name] = true
	}
	if len(homes) < 2 {
		t.Errorf("all that is cacheable is asked of %v", homes)
	}
}

// TestAffinityByCookie: the server that the cookie names is the first while it is well;
// another node of the cluster knows the cookie, another cluster or site does not.
func TestAffinityByCookie(t *testing.T) {
	dead := ""
	unhealthy := func(c *Config) { c.Unhealthy = func(_, url string) bool { return url == dead } }
	p, doc := pooled(t, threeServers+"  affinity: cookie\n", unhealthy)
	q, _ := pooled(t, threeServers+"  affinity: cookie\n", unhealthy)
	for _, bound := range p.For(doc, Question{Key: "k"}) {
		cookie := bound.Server.Affinity
		if len(cookie) != 16 || strings.Contains(cookie, "://") {
			t.Errorf("%s is called %q", bound.Name, cookie)
		}
		for range 20 {
			if got := q.For(doc, Question{Key: "k", Pass: true, Cookie: cookie}); got[0].Name != bound.Name {
				t.Fatalf("bound to %s: %s", bound.Name, names(got))
			}
		}
		dead = bound.URL
		if got := p.For(doc, Question{Key: "k", Pass: true, Cookie: cookie}); got[2].Name != bound.Name {
			t.Errorf("bound to %s, which is dead: %s", bound.Name, names(got))
		}
		dead = ""
	}
	other, sameDoc := pooled(t, threeServers+"  affinity: cookie\n", func(c *Config) { c.Secret = "that of another cluster" })
	if a, b := p.For(doc, Question{Key: "k"})[0], other.For(sameDoc, Question{Key: "k"})[0]; a.Server.Affinity == b.Server.Affinity {
		t.Error("another cluster has the same cookies")
	}
	if plain, doc := pooled(t, threeServers, nil); plain.For(doc, Question{Key: "k"})[0].Server.Affinity != "" {
		t.Error("a site without affinity has cookies")
	}
}

// TestLimitsAreSharedByTheNodesThatAsk: those of the top tier have a part each of what the
// site allows, at least one; without mids the edges. The tiers get a limit of their own.
func TestLimitsAreSharedByTheNodesThatAsk(t *testing.T) {
	own, outside := &site.Document{Site: "s"}, &site.Document{Site: "s"}
	for _, d := range []*site.Document{own, outside} {
		document.SetDefaults(&d.Origin)
		d.Origin.Requests, d.Origin.Queue = 10, 7
	}
	outside.Origin.URL = "http://o.example"
	mid := func(name string, tier int, ready bool) cluster.Node {
		n := member(name, cluster.Mid, "r", ready)
		n.Tier = tier
		return n
	}
	edges := []cluster.Node{member("e1", cluster.Edge, "r", true), member("e2", cluster.Edge, "q", true), member("e3", cluster.Edge, "r", false), member("o", cluster.Origin, "r", true)}
	for _, tc := range []struct {
		name string
		mids []cluster.Node
		want int
	}{
		{"edges", nil, 5},
		{"mids", []cluster.Node{mid("a", 1, true), mid("b", 1, true), mid("c", 1, true), mid("d", 1, false)}, 3},
		{"the top tier", []cluster.Node{mid("a", 1, true), mid("b", 1, true), mid("c", 3, true)}, 10},
		{"the top tier that is ready", []cluster.Node{mid("a", 1, true), mid("b", 1, true), mid("c", 3, false)}, 5},
		{"more than there is to share", slices.Repeat([]cluster.Node{mid("a", 1, true)}, 11), 1},
	} {
		p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: ring.NewLoads(time.Now)})
		p.Update(append(tc.mids, edges...))
		for _, d := range []*site.Document{own, outside} {
			for _, parent := range p.For(d, Question{Key: "k"}) {
				want := tc.want
				if parent.Kind == Mid {
					want = tierRequests
				}
				if parent.Limits.Requests != want || parent.Limits.Queue != 7 {
					t.Errorf("%s: %s %s has %+v, want %d requests", tc.name, parent.Kind, parent.Name, parent.Limits, want)
				}
				if parent.Kind == Mid && parent.Limits.FirstByte <= time.Duration(d.Origin.FirstByte+d.Origin.Connect) {
					t.Errorf("%s: an edge gives up on %s before that does on the origin: %+v", tc.name, parent.Name, parent.Limits)
				}
			}
		}
	}
	if alone := NewParents(Config{Role: cluster.Edge, Loads: ring.NewLoads(time.Now)}); alone.For(outside, Question{})[0].Limits.Requests != 10 {
		t.Error("a node alone has not all that the site allows")
	}
}

// TestServersAreCompiled: what the site says, with its secrets; one that is missing keeps the
// servers from being asked and is named.
func TestServersAreCompiled(t *testing.T) {
	secrets := map[string]string{"id": "ID\n", "key": "KEY"}
	text := "  servers: [{url: 'https://a'}, {url: 'http://a'}]\n  path_prefix: /p\n  headers: {B: '2', A: '1'}\n  server_name: n.example\n  s3: {region: r, access_key: id, secret_key: key}\n"
	p, doc := pooled(t, text, func(c *Config) {
		c.SecretOf = func(name string) (string, error) {
			if s, ok := secrets[name]; ok {
				return s, nil
			}
			return "", errors.New("there is no such secret")
		}
	})
	for _, parent := range p.For(doc, Question{}) {
		s := parent.Server
		if s.PathPrefix != "/p" || !slices.Equal(s.Header, [][2]string{{"A", "1"}, {"B", "2"}}) || s.TLS.ServerName != "n.example" ||
			*s.S3 != (S3{"r", "ID", "KEY"}) || s.Host != "a" || s.err != nil {
			t.Errorf("%s: %+v", parent.Name, s)
		}
	}
	if got := p.For(doc, Question{}); got[0].Name == got[1].Name {
		t.Errorf("two servers are called %s", got[0].Name)
	}
	delete(secrets, "key")
	p.Refresh()
	hr, err := prepared(p.For(doc, Question{})[0].Server, "GET", "/a")
	if err == nil || !strings.Contains(err.Error(), "origin.s3.secret_key: secret key: there is no such secret") {
		t.Errorf("prepared %v, %v", hr, err)
	}
	q, doc := pooled(t, "  url: https://a\n  client_cert: id\n  client_key: id\n", func(c *Config) {
		c.SecretOf = func(string) (string, error) { return "no PEM", nil }
	})
	if err := q.For(doc, Question{})[0].Server.err; err == nil || !strings.Contains(err.Error(), "client_cert") || strings.Contains(err.Error(), "no PEM") {
		t.Errorf("a certificate that is none: %v", err)
	}
}

// TestForIsCheap: it runs for each miss.
func TestForIsCheap(t *testing.T) {
	if raceEnabled {
		t.Skip("counts allocations")
	}
	p, doc := pooled(t, threeServers, nil)
	p.Update([]cluster.Node{member("o", cluster.Origin, "r", true)})
	if n := testing.AllocsPerRun(100, func() { p.For(doc, Question{Key: "k"}) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFor(b *testing.B) {
	var nodes []cluster.Node
	for i := range 16 {
		nodes = append(nodes, member(fmt.Sprint("m", i), cluster.Mid, "r", true))
	}
	p := NewParents(Config{Role: cluster.Edge, Region: "r", Loads: ring.NewLoads(time.Now)})
	p.Update(nodes)
	doc := &site.Document{Site: "s", Origin: site.Origin{URL: "http://o"}}
	b.ReportAllocs()
	for b.Loop() {
		p.For(doc, Question{Key: "key"})
	}
}
