package upstream

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/internal/site"
)

// tierRequests is what one site may ask at once of one node of the cluster: these
// protect themselves, and share what their own parents take.
const tierRequests = 1024

// compiled is what a site's origin section means under one view.
type compiled struct {
	tier   Limits // of caches of this cluster
	origin Limits // of each server of the origin
	pool   *pool  // nil for the cluster's own origin
	room   int    // for a list of parents
}

// compiled is what is known of a site; it is compiled when it is first asked for.
func (v *view) compiled(p *Parents, s *site.Document) *compiled {
	if c, ok := v.sites.Load(s); ok {
		return c.(*compiled)
	}
	o := &s.Origin
	c := &compiled{origin: Limits{
		Requests: o.Requests, Queue: o.Queue, QueueTime: time.Duration(o.QueueTime), Connect: time.Duration(o.Connect),
		FirstByte: time.Duration(o.FirstByte), BetweenBytes: time.Duration(o.BetweenBytes), Hedge: o.Hedge,
	}}
	c.tier = c.origin
	c.tier.Requests, c.tier.Connect = tierRequests, 0
	if c.tier.FirstByte > 0 {
		// Each tier above may wait in its queue and connect before it asks: the last of them is
		// the one to give up first, for it knows why.
		c.tier.FirstByte += time.Duration(v.levels) * time.Duration(o.QueueTime+o.Connect)
	}
	if o.Requests > 0 {
		c.origin.Requests = max(o.Requests/v.askers, 1)
	}
	for _, groups := range [][]group{v.ready, v.unsure, {v.siblings, v.origins}} {
		for _, g := range groups {
			c.room += min(len(g.parents), 2*g.most)
		}
	}
	if o.Outside() {
		c.pool = p.newPool(s, c.origin)
		c.room += len(c.pool.servers)
	}
	got, _ := v.sites.LoadOrStore(s, c)
	return got.(*compiled)
}

// pool is an origin outside of the cluster: servers that answer alike. It is immutable.
//
// Of what is cacheable each key has its order of them, by rendezvous hashing with weights:
// the entity-tags and dates of several servers often differ, so that a validation, or the
// next range of the same content, is worth nothing at another one; and what caches the
// servers have themselves is used best so. Keys are many and each is asked for rarely, so the
// load is shared by the weights nevertheless. What is passed on is drawn by the weights anew
// for each request, unless the site has affinity: one address may be all that is asked for.
type pool struct {
	site    string
	servers []poolServer
	backups bool // some are
	own     site.Affinity
}

// poolServer is one server.
type poolServer struct {
	Parent
	seed   uint64
	weight float64
	backup bool
}

// newPool compiles the servers of a site.
func (p *Parents) newPool(s *site.Document, limits Limits) *pool {
	o := &s.Origin
	servers := o.Pool()
	pl := &pool{site: s.Site, own: o.Affinity, servers: make([]poolServer, len(servers))}
	base := Server{Host: o.Host, PathPrefix: o.PathPrefix, TLS: TLS{ServerName: o.ServerName, CA: o.CA}}
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		base.Header = append(base.Header, [2]string{name, o.Headers[name]})
	}
	base.resolve(o, p.cfg.SecretOf)
	named := make(map[string]int, len(servers))
	for i, from := range servers {
		server := base
		name := authority(from.URL)
		if server.S3 != nil && server.Host == "" {
			server.Host = name // the client's is nothing that S3 knows
		}
		if o.Affinity == site.AffinityCookie {
			server.Affinity = p.nameOf(s.Site, from.URL)
		}
		if named[name]++; named[name] > 1 {
			name = from.URL // http and https at one host
		}
		pl.servers[i] = poolServer{
			Parent: Parent{Name: name, URL: from.URL, Kind: Outside, Limits: limits, Server: &server},
			seed:   xxh3.HashString(from.URL), weight: float64(max(from.Weight, 1)), backup: from.Backup,
		}
		pl.backups = pl.backups || from.Backup
	}
	return pl
}

var errNoSecrets = errors.New("there are no secrets here")

// resolve fills in what the site names secrets for. What is missing makes the server one
// that is not asked, with the reason.
func (s *Server) resolve(o *site.Origin, secretOf func(string) (string, error)) {
	if secretOf == nil {
		secretOf = func(string) (string, error) { return "", errNoSecrets }
	}
	secret := func(field, name string) string {
		text, err := secretOf(name)
		if err != nil && s.err == nil {
			s.err = fmt.Errorf("%w: origin.%s: secret %s: %w", ErrUnusable, field, name, err)
		}
		return text
	}
	if o.ClientCert != "" {
		s.TLS.Cert, s.TLS.Key = secret("client_cert", o.ClientCert), secret("client_key", o.ClientKey)
		if s.err == nil {
			if _, err := tls.X509KeyPair([]byte(s.TLS.Cert), []byte(s.TLS.Key)); err != nil {
				s.err = fmt.Errorf("%w: origin.client_cert: secrets %s and %s: %w", ErrUnusable, o.ClientCert, o.ClientKey, err)
			}
		}
	}
	if o.S3 != nil {
		s.S3 = &S3{
			Region: o.S3.Region, AccessKey: strings.TrimSpace(secret("s3.access_key", o.S3.AccessKey)),
			SecretKey: strings.TrimSpace(secret("s3.secret_key", o.S3.SecretKey)),
		}
	}
}

// nameOf is what a cookie calls a server: it says nothing to those who have no key.
func (p *Parents) nameOf(site, url string) string {
	mac := hmac.New(sha256.New, p.affinity)
	mac.Write([]byte(site + "\x00" + url))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}

// list adds the servers in the order of the question: those that are well, then the backups
// that are, then the others. If none is well, the checks are not believed.
func (pl *pool) list(parents []Parent, q Question, unhealthy func(site, url string) bool) []Parent {
	if len(pl.servers) == 1 {
		return append(parents, pl.servers[0].Parent)
	}
	type place struct {
		index, class int
		distance     float64
	}
	var room [64]place
	places := room[:0]
	seed, bound := pl.seed(q)
	dead := 0
	for i := range pl.servers {
		m := &pl.servers[i]
		at := place{index: i, distance: m.distance(seed)}
		if m.backup {
			at.class = 1
		}
		if q.Pass && q.Cookie != "" && bound && m.Server.Affinity == q.Cookie {
			at.class = -1 // unless it is dead
		}
		if unhealthy != nil && unhealthy(pl.site, m.URL) {
			at.class = 2
			if m.backup {
				at.class = 3
			}
			dead++
		}
		places = append(places, at)
	}
	if dead == len(places) {
		for i := range places {
			places[i].class -= 2
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.distance, b.distance), cmp.Compare(a.index, b.index))
	})
	for _, at := range places {
		parents = append(parents, pl.servers[at.index].Parent)
	}
	return parents
}

// distance orders the members for a seed: over all seeds a member is the nearest as often
// as its weight says (the least of exponential variables with these rates).
func (m *poolServer) distance(seed uint64) float64 {
	u := xxh3.HashSeed(nil, seed^m.seed)
	return -math.Log((float64(u>>11)+0.5)/(1<<53)) / m.weight
}

// seed is what the order is drawn by; bound: the site binds clients by cookies.
func (pl *pool) seed(q Question) (seed uint64, bound bool) {
	switch {
	case !q.Pass:
		return xxh3.HashString(q.Key), false
	case pl.own == site.AffinityAddress && q.Client.IsValid():
		return seedOf(q.Client), false
	}
	return rand.Uint64(), pl.own == site.AffinityCookie
}
