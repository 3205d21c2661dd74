package upstream

import (
	"net/netip"
	"slices"
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
	S3         *S3 // nil for no signature
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
	// For affinity of what is not cacheable; zero for all else.
	Client netip.Addr
	Cookie string // the value of the site's affinity cookie
}

// Parents knows who can be asked. It may be used from any goroutine.
type Parents struct {
	role   cluster.Role
	region string
	loads  *ring.Loads
	nodes  atomic.Pointer[[]cluster.Node]
}

// NewParents is for a node of that role (Edge or Mid) and region; it knows nobody
// until Update. loads is what the node asks of each.
func NewParents(role cluster.Role, region string, loads *ring.Loads) *Parents {
	p := &Parents{role: role, region: region, loads: loads}
	p.nodes.Store(new([]cluster.Node))
	return p
}

// Update takes the members of the cluster over; it must not be called twice at the
// same time. News that all parents are gone at once is distrusted: those last known
// stay, as not ready, for a last try.
func (p *Parents) Update(nodes []cluster.Node) {
	if !slices.ContainsFunc(nodes, isParent) {
		nodes = slices.Clone(nodes)
		for _, n := range *p.nodes.Load() {
			if isParent(n) {
				n.Ready = false
				nodes = append(nodes, n)
			}
		}
	}
	p.nodes.Store(&nodes)
}

func isParent(n cluster.Node) bool { return n.Role == cluster.Mid || n.Role == cluster.Origin }

// For lists the parents for a key of a site, in the order in which to ask them: for
// an edge the mids of its region in the key's order, then those of other regions;
// for both the origin last. Mids that have more than their share already come after
// others. Those that are not ready come after all that are, for
// a last try: the news of their death may be wrong.
func (p *Parents) For(s *site.Document, q Question) []Parent {
	nodes := *p.nodes.Load()
	var parents []Parent
	pick := func(want func(cluster.Node) bool, kind Kind) {
		var found []cluster.Node
		var names []string
		for _, n := range nodes {
			if want(n) && len(n.Addrs) > 0 {
				found, names = append(found, n), append(names, n.Name)
			}
		}
		for _, i := range p.loads.Order(q.Key, names) {
			parents = append(parents, Parent{Name: names[i], URL: "http://" + found[i].Addrs[0].String(), Kind: kind})
		}
	}
	for _, ready := range []bool{true, false} {
		if p.role == cluster.Edge {
			pick(func(n cluster.Node) bool { return n.Role == cluster.Mid && n.Ready == ready && n.Region == p.region }, Mid)
			pick(func(n cluster.Node) bool { return n.Role == cluster.Mid && n.Ready == ready && n.Region != p.region }, Mid)
		}
		if s.Origin.URL == "" {
			pick(func(n cluster.Node) bool { return n.Role == cluster.Origin && n.Ready == ready }, Origin)
		} else if ready {
			parents = append(parents, Parent{Name: s.Origin.URL, URL: s.Origin.URL, Kind: Outside, Server: &Server{Host: s.Origin.Host}})
		}
	}
	return parents
}
