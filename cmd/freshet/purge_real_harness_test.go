package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

// The site whose content changes, and for how long its responses may be used stale.
const (
	changingSite = "changing"
	changingHost = changingSite + "." + devZone
	staleWindow  = time.Second
)

// changing is content of which each path has a version that only grows, on a tree whose
// nodes are killed and cut off; and what each node has acknowledged.
type changing struct {
	*tree
	*versioned
	api   *client.Client
	links map[string]*slowLink // to the bus by node, and to each mid's tier listener
	hot   atomic.Pointer[[]int]

	acknowledged chan []int // takes what each command covers, if anybody waits for it

	nodes []string         // edges and mids
	least [][]atomic.Int64 // by node and path: the version that answers have to have
	owed  [][]obligation   // by node: of commands that it has not acknowledged yet

	answers, hits, errors, older, whole atomic.Int64
	kills, cuts                         map[string]int
	aloneAnswers                        int // times that a node came back without the bus, and answered
}

// obligation is what follows from a command for a node that has acknowledged it.
type obligation struct {
	path    int
	version int64
	from    time.Time // not before then
}

func (c *changing) tag(i int) string   { return fmt.Sprint("t", i%7) }
func (c *changing) kind(i int) string  { return fmt.Sprint("k", i%3) }
func (c *changing) dir(i int) string   { return fmt.Sprintf("/d%d/", i%5) }
func (c *changing) asURL(i int) string { return "http://" + changingHost + c.paths[i] }

// newChanging starts the tree.
func newChanging(t *testing.T, r *rand.Rand, edges, mids int) *changing {
	c := &changing{
		versioned: &versioned{}, acknowledged: make(chan []int), links: make(map[string]*slowLink), kills: make(map[string]int), cuts: make(map[string]int),
	}
	c.tree = newTree(t, treePlan{edges: edges, mids: mids, origin: "  connect: 1s\n  first_byte: 2s\n", tune: func(f *node.File) {
		if f.Role != cluster.Edge && f.Role != cluster.Mid {
			return
		}
		f.Cache.Disk = []node.Disk{{Dir: filepath.Join(f.Data, "cache"), Size: document.Size(64 << 20)}}
		bus := newSlowLink(t, freeAddr(t), strings.TrimPrefix(f.Bus.Address, "nats://"))
		f.Bus.Address, c.links["bus of "+f.Name] = "nats://"+bus.ln.Addr().String(), bus
		if f.Role == cluster.Mid {
			link := newSlowLink(t, freeAddr(t), f.Tier[0])
			f.TierAdvertise, c.links["edges to "+f.Name] = []string{link.ln.Addr().String()}, link
		}
	}})
	c.nodes = slices.Concat(c.tree.edges, c.tree.mids)
	const paths = 40
	c.versions = make([]atomic.Int64, paths)
	for i := range paths {
		c.paths = append(c.paths, fmt.Sprint(c.dir(i), i))
		c.sizes = append(c.sizes, 100+r.IntN(3000))
		c.versions[i].Store(1)
	}
	c.sizes[7] = 1<<20 + 300_000 // in slices
	c.owed = make([][]obligation, len(c.nodes))
	for range c.nodes {
		c.least = append(c.least, make([]atomic.Int64, paths))
	}
	origin := httptest.NewServer(c)
	t.Cleanup(origin.Close)
	file := filepath.Join(c.dev.data, "changing.yaml")
	text := fmt.Sprintf("site: %s\nhosts: [%s]\norigin:\n  url: %s\n  connect: 1s\n  first_byte: 2s\n", changingSite, changingHost, origin.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.must("site", "apply", file)
	c.api = client.New(c.dev.api(), c.dev.token)
	t.Cleanup(c.api.Close)
	return c
}

// ServeHTTP is the origin. It reads what it answers first and is slow then, so that what is
// under way is often older than a command.
func (c *changing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i := slices.Index(c.paths, r.URL.Path)
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	version := c.versions[i].Load()
	chance := rand.IntN(100)
	if chance < 2 {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	slow := time.Duration(rand.IntN(15)) * time.Millisecond
	if chance < 8 {
		slow = time.Duration(rand.IntN(400)) * time.Millisecond
	}
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return
	}
	lifetime := 3600
	if i%4 == 0 {
		lifetime = 1
	}
	h := w.Header()
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d, stale-while-revalidate=%d, stale-if-error=%d", lifetime, staleWindow/time.Second, staleWindow/time.Second))
	h.Set("ETag", fmt.Sprintf(`"%d-%d"`, i, version))
	h.Set("Surrogate-Key", c.tag(i)+" every")
	h.Set("X-Kind", c.kind(i))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.content(i, version)))
}

// removal draws a command, and the paths that it covers.
func (c *changing) removal(r *rand.Rand) (req client.CommandRequest, covered []int) {
	one := r.IntN(len(c.paths))
	cover := func(covers func(i int) bool) {
		for i := range c.paths {
			if covers(i) {
				covered = append(covered, i)
			}
		}
	}
	soft := r.IntN(4) == 0
	req.Kind = "purge"
	if soft {
		req.Kind = "invalidate"
	}
	ban := func(m client.Match) {
		m.Site = changingSite
		req.Kind, req.Soft, req.Match = "ban", soft, []client.Match{m}
	}
	switch n := r.IntN(20); {
	case n < 6:
		for _, i := range r.Perm(len(c.paths))[:1+r.IntN(3)] {
			req.URLs, covered = append(req.URLs, c.asURL(i)), append(covered, i)
		}
		if soft && r.IntN(2) == 0 {
			req.Kind = "refresh"
		}
	case n < 7:
		req.Keys, covered = []string{changingSite + "\n" + changingHost + c.paths[one]}, []int{one}
	case n < 11:
		req.Tags = []client.Tag{{Site: changingSite, Tag: c.tag(one)}}
		cover(func(i int) bool { return c.tag(i) == c.tag(one) })
	case n < 14:
		req.Prefixes = []string{"http://" + changingHost + c.dir(one)}
		cover(func(i int) bool { return c.dir(i) == c.dir(one) })
	case n < 16:
		ban(client.Match{Path: c.dir(one) + "*"})
		cover(func(i int) bool { return c.dir(i) == c.dir(one) })
	case n < 18:
		ban(client.Match{Headers: []client.MatchHeader{{Name: "X-Kind", Value: c.kind(one)}}})
		cover(func(i int) bool { return c.kind(i) == c.kind(one) })
	case n < 19:
		req.Sites = []string{changingSite}
		cover(func(int) bool { return true })
	default:
		req.Tags = []client.Tag{{Site: changingSite, Tag: "every"}}
		cover(func(int) bool { return true })
	}
	return req, covered
}

func isSoft(req client.CommandRequest) bool {
	return req.Soft || req.Kind == "invalidate" || req.Kind == "refresh"
}

// remove publishes new versions, removes the old ones, and notes who has acknowledged.
// Commands are given one after the other, and applied so: who has this one has those before.
func (c *changing) remove(ctx context.Context, req client.CommandRequest, covered []int) (client.Receipt, error) {
	versions := make([]int64, len(covered))
	for n, i := range covered {
		versions[n] = c.versions[i].Add(1)
	}
	c.hot.Store(&covered)
	var receipt client.Receipt
	for begun := time.Now(); ; {
		var err error
		if receipt, err = c.api.Command(ctx, req); err == nil {
			break
		}
		if time.Since(begun) > time.Minute || ctx.Err() != nil {
			return receipt, fmt.Errorf("%+v: %w", req, err)
		}
		<-time.After(20 * time.Millisecond)
	}
	from := time.Now()
	if isSoft(req) {
		from = receipt.At.Add(staleWindow + 50*time.Millisecond)
	}
	for node := range c.nodes {
		for n, i := range covered {
			c.owed[node] = append(c.owed[node], obligation{i, versions[n], from})
		}
	}
	if receipt.Complete {
		c.whole.Add(1)
	}
	for _, n := range receipt.Nodes {
		if node := slices.Index(c.nodes, n.Node); node >= 0 && n.State == client.Applied {
			for _, o := range c.owed[node] {
				c.demand(node, o)
			}
			c.owed[node] = nil
		}
	}
	select {
	case c.acknowledged <- covered:
	default:
	}
	return receipt, nil
}

// demand makes it an error if a node answers with less from now on, or from then on.
func (c *changing) demand(node int, o obligation) {
	raise := func() {
		for at := &c.least[node][o.path]; ; {
			if was := at.Load(); was >= o.version || at.CompareAndSwap(was, o.version) {
				return
			}
		}
	}
	if wait := time.Until(o.from); wait > 0 {
		time.AfterFunc(wait, raise)
		return
	}
	raise()
}

// ask asks a node for a path and holds the answer against what the node has acknowledged
// before.
func (c *changing) ask(client *http.Client, node, i int) (version int64, err error) {
	least := c.least[node][i].Load()
	asked := time.Now()
	req, err := http.NewRequest(http.MethodGet, "http://"+c.files[c.nodes[node]].Listen[0]+c.paths[i], nil)
	if err != nil {
		return 0, err
	}
	req.Host = changingHost
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", res.StatusCode)
	}
	if err != nil {
		return 0, err
	}
	status := strings.Join(res.Header.Values("Cache-Status"), ", ")
	var path string
	line, _, _ := bytes.Cut(body, []byte("\n"))
	if _, err := fmt.Sscan(string(line), &path, &version); err != nil || path != c.paths[i] || version > c.versions[i].Load() || !bytes.Equal(body, c.content(i, version)) {
		c.t.Errorf("%s %s: a foreign body, %q, %s", c.nodes[node], c.paths[i], line, status)
		return 0, fmt.Errorf("a foreign body")
	}
	c.answers.Add(1)
	if strings.Contains(status[strings.LastIndex(status, ", ")+1:], "; hit") {
		c.hits.Add(1)
	}
	if version < c.versions[i].Load() {
		c.older.Add(1)
	}
	if version < least {
		c.t.Errorf("stale after acknowledge: %s %s, asked at %s: version %d, want at least %d: %s",
			c.nodes[node], c.paths[i], asked.Format("15:04:05.000"), version, least, status)
	}
	return version, nil
}

// load asks random nodes for random paths, above all for those of the last command, until
// ctx ends.
func (c *changing) load(ctx context.Context, seed uint64, pause time.Duration) {
	r := rand.New(rand.NewPCG(seed, 1))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		i := r.IntN(len(c.paths))
		if hot := c.hot.Load(); hot != nil && r.IntN(2) == 0 {
			i = (*hot)[r.IntN(len(*hot))]
		}
		if _, err := c.ask(client, r.IntN(len(c.nodes)), i); err != nil {
			c.errors.Add(1)
		}
		<-time.After(time.Duration(r.Int64N(int64(2 * pause))))
	}
}
