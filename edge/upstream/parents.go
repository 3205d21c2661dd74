package upstream

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/ring"
	"freshet/internal/site"
)

// Kind says what a parent is.
type Kind int

// The kinds of parents.
const (
	Mid     Kind = iota // a cache tier of this cluster, further up
	Sibling             // the edge of the same PoP that is the key's home
	Origin              // the cluster's own origin
	Outside             // an origin outside of the cluster
)

// String is the kind in one word, as metrics and explanations have it.
func (k Kind) String() string { return [...]string{"mid", "sibling", "origin", "outside"}[k] }

// Parent is one possible next hop up.
type Parent struct {
	Name   string // the node's, or the authority of an outside origin
	URL    string // "http://host:port", "https://…", or "h2c://…" for HTTP/2 without TLS
	Kind   Kind
	Limits Limits
	Server *Server // how an outside origin is asked; nil for nodes of the cluster
}

// String is the parent's name.
func (p Parent) String() string { return p.Name }

// OfCluster reports whether the parent is a cache of this cluster: proofs, fences and truths
// are exchanged with it.
func (p Parent) OfCluster() bool { return p.Kind == Mid || p.Kind == Sibling }

// Limits is what one site's requests may take of one parent. A zero field is its default.
type Limits struct {
	Requests     int           // under way at once, bodies included; 256
	Queue        int           // waiting for that; 1024
	QueueTime    time.Duration // the longest wait; 5 s
	Connect      time.Duration // of a connection with its TLS; 3 s
	FirstByte    time.Duration // from the request's last byte to the answer's head; 30 s
	BetweenBytes time.Duration // the longest silence within a body; 30 s
	Hedge        bool          // ask another parent as well when this one is slow
}

// Server is how an outside origin is asked. It is immutable.
type Server struct {
	Host       string      // Host field to send; empty passes the client's on
	PathPrefix string      // before the request's path; empty or "/…" without a slash at its end
	Header     [][2]string // fields to send, in place of the client's of the same name
	TLS        TLS
	S3         *S3    // nil for no signature
	Affinity   string // what the site's cookie calls it; "" where clients are not bound by one

	err error // why it cannot be asked; nil if it can
}

// TLS is what is special about TLS towards a server. It is comparable: servers with the same
// share connections.
type TLS struct {
	ServerName string // for SNI and the certificate; empty: the URL's host
	CA         string // PEM of the authorities to trust; empty: the system's
	Cert, Key  string // PEM of the client's certificate and its key; empty for none
}

// S3 signs requests (AWS Signature Version 4).
type S3 struct{ Region, AccessKey, SecretKey string }

// Question is what parents are wanted for.
type Question struct {
	Key      string // of the cache
	FromTier bool   // a cache of this cluster asks: siblings are not for it
	Pass     bool   // the answer is for this client alone: the load is spread, keys have no homes
	// For affinity of what is not cacheable; zero for all else.
	Client netip.Addr
	Cookie string // the value of the site's affinity cookie
}

// Config is what parents depend on besides the cluster's members. Fields left out are zero
// values that mean what they say.
type Config struct {
	Role      cluster.Role // Edge or Mid
	Name      string       // of this node
	PoP       string
	Region    string
	Tier      int      // of a mid: its own
	Static    []string // URLs of the nodes to ask in place of the cluster's mids
	Siblings  bool     // an edge asks the home of a key among the edges of its PoP first
	Secure    bool     // nodes that listen for others over TLS are asked there
	Secret    string   // of the cluster: from it all nodes make the same cookies; "" for cookies of this process alone
	Loads     *ring.Loads
	SecretOf  func(name string) (string, error) // a secret that a site names, nil: there are none
	Unhealthy func(site, url string) bool       // what active checks have found dead, nil: nothing
	Changed   func()                            // told after Update and Refresh, if not nil
}

// Parents knows who can be asked. It may be used from any goroutine.
type Parents struct {
	cfg      Config
	affinity []byte // the key of cookies
	now      atomic.Pointer[view]
	turn     sync.Mutex // of Update and Refresh
	members  []cluster.Node
	most     int // askers of the origins within askersHold
	since    time.Time
	later    *time.Timer // looks again when they are forgotten; nil before the first time
	met      chan struct{}
	meet     func()
}

// askersHold is how long those that ask the origins count on after they are gone, or not
// ready: what they have asked may be under way, and who starts anew asks before all others
// know it.
const askersHold = 15 * time.Second

// NewParents knows nobody but Config.Static until Update.
func NewParents(cfg Config) *Parents {
	if cfg.Role == cluster.Mid {
		cfg.Tier = max(cfg.Tier, 1)
	}
	p := &Parents{cfg: cfg, met: make(chan struct{})}
	p.meet = sync.OnceFunc(func() { close(p.met) })
	if cfg.Secret != "" {
		mac := hmac.New(sha256.New, []byte(cfg.Secret))
		mac.Write([]byte("freshet affinity 1"))
		p.affinity = mac.Sum(nil)
	} else {
		p.affinity = make([]byte, sha256.Size)
		_, _ = rand.Read(p.affinity) // never fails
	}
	p.Refresh()
	return p
}

// Update takes the members of the cluster over. News that all parents are gone at once
// is distrusted: those last known stay, as not ready, for a last try.
func (p *Parents) Update(nodes []cluster.Node) {
	p.turn.Lock()
	defer p.turn.Unlock()
	if !slices.ContainsFunc(nodes, isParent) {
		nodes = slices.Clone(nodes)
		for _, n := range p.members {
			if isParent(n) {
				n.Ready = false
				nodes = append(nodes, n)
			}
		}
	}
	p.members = nodes
	p.look()
	p.meet()
}

// Met is closed by the first Update. Before that a node would take the origin, outside of
// the cluster, for its only parent.
func (p *Parents) Met() <-chan struct{} { return p.met }

// look makes a view of the members.
func (p *Parents) look() {
	v := p.cfg.view(p.members)
	if now := time.Now(); v.askers >= p.most || now.Sub(p.since) >= askersHold {
		p.most, p.since = v.askers, now
	} else {
		v.askers = p.most
		if left := askersHold - now.Sub(p.since); p.later == nil {
			p.later = time.AfterFunc(left, p.Refresh)
		} else {
			p.later.Reset(left)
		}
	}
	p.now.Store(v)
	if p.cfg.Changed != nil {
		p.cfg.Changed()
	}
}

// Refresh has the sites compiled anew: their secrets have changed, or sites are gone.
func (p *Parents) Refresh() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.look()
}

func isParent(n cluster.Node) bool { return n.Role == cluster.Mid || n.Role == cluster.Origin }

// AsksOrigin reports whether this node is of the tier that asks the origins: no mid that is
// ready is above it.
func (p *Parents) AsksOrigin() bool { return len(p.now.Load().ready) == 0 }

// Bounds of the parents that are listed: enough for two to be gone at the same time.
const (
	mostNear   = 4 // mids of the region
	mostFar    = 3 // of other regions, and of tiers above the next
	mostUnsure = 2 // of those not ready
	mostOwn    = 3 // of the cluster's origins
)

// group are parents among which a key has an order.
type group struct {
	parents []Parent // without limits
	names   []string
	most    int // that are listed
}

// view is what For draws on, at one moment. It is immutable but for what it has compiled.
type view struct {
	ready    []group  // of the next tier up, then of those above it
	unsure   []group  // likewise of those not ready
	origins  group    // the cluster's own, those ready first
	sound    int      // how many of origins are ready
	siblings group    // the edges of the PoP that are ready, and this node
	askers   int      // nodes that ask the origins; at least 1
	levels   int      // tiers above this node, at least 1
	sites    sync.Map // of *site.Document to *compiled
}

// view sorts the members by what they are to this node.
func (c *Config) view(nodes []cluster.Node) *view {
	v := &view{askers: 1, levels: 1}
	v.origins.most, v.siblings.most = mostOwn, 1
	if len(c.Static) > 0 {
		g := group{most: mostNear}
		for _, url := range c.Static {
			g.add(Parent{Name: authority(url), URL: url, Kind: Mid})
		}
		v.ready = append(v.ready, g)
	}
	var tiers []int // above this node, in order
	top, atTop, edges := 0, 0, 0
	for _, n := range nodes {
		tier := tierOf(n)
		switch {
		case tier > 0 && n.Ready && tier > top:
			top, atTop = tier, 1
		case tier > 0 && n.Ready && tier == top:
			atTop++
		case n.Role == cluster.Edge && n.Ready:
			edges++
		}
		if tier > c.Tier && !slices.Contains(tiers, tier) {
			tiers = append(tiers, tier)
		}
	}
	slices.Sort(tiers)
	if v.askers = max(atTop, 1); top == 0 {
		v.askers = max(edges, 1)
	}
	v.levels = max(len(tiers), 1)
	for _, tier := range tiers {
		if len(c.Static) == 0 {
			v.addTier(c, nodes, tier)
		}
	}
	for _, ready := range []bool{true, false} {
		for _, n := range nodes {
			if n.Role == cluster.Origin && n.Ready == ready && len(n.Addrs) > 0 {
				v.origins.add(c.parent(n, Origin))
			}
		}
		if ready {
			v.sound = len(v.origins.parents)
		}
	}
	if c.Siblings && c.Role == cluster.Edge {
		v.siblings.add(Parent{Name: c.Name, Kind: Sibling})
		for _, n := range nodes {
			if n.Role == cluster.Edge && n.PoP == c.PoP && n.Ready && n.Name != c.Name && len(n.Addrs) > 0 {
				v.siblings.add(c.parent(n, Sibling))
			}
		}
	}
	return v
}

// tierOf is the tier of a mid, which is 1 if it does not say; 0 of other nodes.
func tierOf(n cluster.Node) int {
	if n.Role != cluster.Mid {
		return 0
	}
	return max(n.Tier, 1)
}

// addTier adds the mids of one tier: those of the region, then the others.
func (v *view) addTier(c *Config, nodes []cluster.Node, tier int) {
	for _, near := range []bool{true, false} {
		ready, unsure := group{most: mostFar}, group{most: mostUnsure}
		if near && len(v.ready) == 0 {
			ready.most = mostNear
		}
		for _, n := range nodes {
			switch {
			case tierOf(n) != tier || (n.Region == c.Region) != near || len(n.Addrs) == 0:
			case n.Ready:
				ready.add(c.parent(n, Mid))
			default:
				unsure.add(c.parent(n, Mid))
			}
		}
		if len(ready.parents) > 0 {
			v.ready = append(v.ready, ready)
		}
		if len(unsure.parents) > 0 {
			v.unsure = append(v.unsure, unsure)
		}
	}
}

func (g *group) add(p Parent) {
	g.parents, g.names = append(g.parents, p), append(g.names, p.Name)
}

// parent is a node of the cluster that has an address.
func (c *Config) parent(n cluster.Node, kind Kind) Parent {
	if c.Secure && len(n.TierAddrs) > 0 {
		return Parent{Name: n.Name, URL: "https://" + n.TierAddrs[0].String(), Kind: kind}
	}
	return Parent{Name: n.Name, URL: "http://" + n.Addrs[0].String(), Kind: kind}
}

// authority is the host and port of a URL that has been checked.
func authority(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Host
	}
	return text
}

// For lists the parents for a key of a site, in the order in which to ask them: the home
// of the key among the siblings, where these are asked; the mids of the next tier that has
// any, of the region in the key's order, then of other regions, then those of the tiers
// above; and the origins. Mids that have more than their share already come after others.
// Those that are not ready come after all that are, for a last try: the news of their
// death may be wrong. That all mids are is not believed: they come before the origin then,
// which they protect.
func (p *Parents) For(s *site.Document, q Question) []Parent {
	v := p.now.Load()
	c := v.compiled(p, s)
	parents := make([]Parent, 0, c.room)
	if len(v.siblings.names) > 1 && !q.FromTier && !q.Pass {
		if home := ring.First(q.Key, v.siblings.names); home > 0 { // 0 is this node
			parents = append(parents, v.siblings.parents[home].within(c.tier))
		}
	}
	for i := range v.ready {
		parents = p.list(parents, &v.ready[i], q.Key, c.tier)
	}
	unsure := func() {
		for i := range v.unsure {
			parents = p.list(parents, &v.unsure[i], q.Key, c.tier)
		}
	}
	if len(v.ready) == 0 {
		unsure()
	}
	if c.pool == nil {
		for _, o := range v.origins.parents[:min(v.sound, mostOwn)] {
			parents = append(parents, o.within(c.origin))
		}
	} else {
		parents = c.pool.list(parents, q, p.cfg.Unhealthy)
	}
	if len(v.ready) > 0 {
		unsure()
	}
	if left := v.origins.parents[v.sound:]; c.pool == nil {
		for _, o := range left[:min(len(left), mostOwn)] {
			parents = append(parents, o.within(c.origin))
		}
	}
	return parents
}

// list adds a group's first for a key.
func (p *Parents) list(parents []Parent, g *group, key string, limits Limits) []Parent {
	if len(g.parents) == 1 {
		return append(parents, g.parents[0].within(limits))
	}
	order := p.cfg.Loads.Order(key, g.names)
	for _, i := range order[:min(len(order), g.most)] {
		parents = append(parents, g.parents[i].within(limits))
	}
	return parents
}

func (p Parent) within(l Limits) Parent {
	p.Limits = l
	return p
}
