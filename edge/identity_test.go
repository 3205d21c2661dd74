package edge

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/authority"
	"freshet/internal/cluster"
	"freshet/internal/header"
	"freshet/internal/hop"
	"freshet/internal/node"
)

func newCA(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := authority.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// identified gives a node an identity, and a listener for tiers.
func identified(t *testing.T, ca string, env *node.Env) {
	t.Helper()
	env.Identity = identityOf(t, ca, string(env.File.Role), env.File.Name)
	env.File.Identity = node.Identity{CA: "ca.crt", Cert: "node.crt", Key: "node.key"} // as it may be called
	env.File.Tier = []string{"127.0.0.1:0"}
}

func identityOf(t *testing.T, ca, role, name string) *authority.Identity {
	t.Helper()
	files, _, err := authority.Issue(ca, t.TempDir(), authority.Order{Name: authority.Name{Role: role, Node: name}, Life: time.Hour}, false, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority.Open(files, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// tierURL is where other nodes reach a node.
func (x *tiers) tierURL(n *tier) string {
	x.t.Helper()
	nodes, err := x.cluster.Nodes(x.t.Context(), 0)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, m := range nodes.List {
		if m.Name == n.name && len(m.TierAddrs) > 0 {
			return "https://" + m.TierAddrs[0].String()
		}
	}
	x.t.Fatalf("%s does not say where it serves tiers", n.name)
	return ""
}

// accepted is how many connections a node has accepted on listeners of a kind.
func (n *tier) accepted(t *testing.T, kind string) float64 {
	t.Helper()
	families, err := n.env.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "freshet_edge_connections_accepted_total" && m.Label[0].GetValue() == kind {
				return m.Counter.GetValue()
			}
		}
	}
	t.Fatalf("connections on %s are not counted", kind)
	return 0
}

// TestTiersByCertificate proves that nodes with identities believe each other: a purge that
// the mid has not heard of is honoured through it, over HTTP/2 on the listener for tiers.
func TestTiersByCertificate(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	x.ca = newCA(t)
	mid := x.start(cluster.Mid, "m1", "")
	e1, e2 := x.start(cluster.Edge, "e1", ""), x.start(cluster.Edge, "e2", "")
	x.knowsMid(e1)
	x.knowsMid(e2)
	wantStatus(t, e1.want(t, "/a", 0), "freshet-m1; fwd=uri-miss; fwd-status=200; stored, freshet-e1; fwd=uri-miss")
	wantStatus(t, e2.want(t, "/a", 0), "freshet-m1; hit")
	mid.log.shut(true)
	x.origin.publish("/a")
	x.applied(x.purge("/a"), e1, e2)
	wantStatus(t, e1.want(t, "/a", 1), "freshet-m1; fwd=miss")
	e2.want(t, "/a", 1)
	wantAsked(t, x.origin, 2)
	mid.log.shut(false)
	if plain, tier := mid.accepted(t, "http"), mid.accepted(t, "tier"); plain != 0 || tier != 2 {
		t.Errorf("the mid has accepted %v connections on its plain listener and %v on that for tiers, want 0 and 2", plain, tier)
	}
}

// TestStreamsByCertificate proves that WebSocket and gRPC come through tiers with identities.
func TestStreamsByCertificate(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	x.ca = newCA(t)
	origin := echoSocket(t)
	x.origin.serve.Store(&origin)
	mid := x.start(cluster.Mid, "m1", "")
	edge := x.start(cluster.Edge, "e1", "")
	x.knowsMid(edge)
	converses(t, edge.url, nil)
	x.wait("the mid has counted the tunnel", func() bool { return testutil.CollectAndCount(mid.metrics.tunnels.ends) > 0 })

	c, addr := startGRPC(t)
	site := "site: test\nhosts: ['*']\norigin:\n  url: h2c://" + addr + "\n"
	if _, err := cluster.NewDocuments(x.cluster, cluster.SitesPrefix).Put(t.Context(), "test", []byte(site), "test", "", 1); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*tier{mid, edge} {
		x.wait(n.name+" knows the new origin", func() bool {
			return strings.HasPrefix(n.sites.Load().snapshot.ByName("test").Origin.URL, "h2c:")
		})
	}
	c.behaves(t, dialGRPC(t, strings.TrimPrefix(edge.url, "http://"), nil))
}

// TestTheSecretIsNoIdentity proves who is told what only nodes of the cluster are: on a node
// with an identity those with a certificate, and nobody by the proof of the cluster's secret,
// on whichever listener; on one that also knows nodes without identities yet, both.
func TestTheSecretIsNoIdentity(t *testing.T) {
	t.Parallel()
	x := startTiers(t)
	x.ca = newCA(t)
	mid := x.start(cluster.Mid, "m1", tierSecret)
	edge := identityOf(t, x.ca, "edge", "e1")
	proof := new(header.Block)
	if err := hop.NewKey(tierSecret).Prove(proof); err != nil {
		t.Fatal(err)
	}
	ask := func(url string, config *tls.Config, proven bool) (trusted bool, err error) {
		tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if proven {
			req.Header.Set(hop.ProofField, proof.Get(hop.ProofField))
		}
		res, err := tr.RoundTrip(req)
		if err != nil {
			return false, err
		}
		res.Body.Close()
		return res.Header.Get(hop.TrueField) != "", nil
	}
	tierTLS := edge.ClientConfig(authority.Name{Role: "mid", Node: "m1"})
	anyServer := func(id *authority.Identity) *tls.Config {
		c := id.ClientConfig(authority.Name{Role: "mid", Node: "m1"})
		c.VerifyConnection = nil
		return c
	}
	for _, tt := range []struct {
		what   string
		url    string
		config *tls.Config
		proven bool
		want   bool
	}{
		{"a stranger", mid.url, nil, false, false},
		{"a stranger with the proof", mid.url, nil, true, false},
		{"an edge by its certificate", x.tierURL(mid), tierTLS, false, true},
		{"an edge by both", x.tierURL(mid), tierTLS, true, true},
	} {
		if got, err := ask(tt.url, tt.config, tt.proven); err != nil || got != tt.want {
			t.Errorf("%s: trusted %v, %v, want %v", tt.what, got, err, tt.want)
		}
	}
	for what, config := range map[string]*tls.Config{
		"nobody":                 {InsecureSkipVerify: true},
		"a router":               anyServer(identityOf(t, x.ca, "router", "r1")),
		"an edge of another CA":  anyServer(identityOf(t, newCA(t), "edge", "e1")),
		"a node of an older TLS": {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12},
	} {
		if _, err := ask(x.tierURL(mid), config, true); err == nil {
			t.Errorf("%s is served where tiers are", what)
		}
	}
	mid.stop()

	x.ca = ""
	plain := x.start(cluster.Mid, "m2", tierSecret)
	if got, err := ask(plain.url, nil, true); err != nil || !got {
		t.Errorf("without identities the proof is not taken: %v, %v", got, err)
	}
	for secretToo, want := range map[bool]bool{false: false, true: true} {
		f := &node.File{Identity: node.Identity{CA: "ca.crt", SecretToo: secretToo}}
		f.Cluster.Secret = plain.env.File.Cluster.Secret
		if got := proofOf(f).Trusts(proof); got != want {
			t.Errorf("secret_too %v: the proof is taken %v", secretToo, got)
		}
	}
}
