// Package policy applies a site's rules to one request: the cache key, the scopes
// that cover it, where and how a parent is asked, and what a response may be kept
// for. It is pure.
//
// A document is compiled once (Compile), and decides each request in one pass over
// its rules (Decide). Rules match on what the client sent: a rewrite, or a field
// that one rule sets, is not seen by another.
//
// Two principles keep one client from shaping what others get. What the key does
// not cover does not reach the origin: the query parameters that do not count, the
// cookies, and the fields by which clients make an origin believe in another host,
// path or method (see fields.go); and when what the origin is asked depends on a
// rule that matched by a request field or the method, that rule is in the key.
//
// Tiers: an edge and the mid above it decide alike. Between them goes what the client
// asked, with the query that counts; only the one that asks the origin rewrites the
// path and edits the request, and only the one that answers the client redirects and
// edits the answer.
package policy

import (
	"fmt"
	"strings"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// Site is a compiled site document. It is immutable, and may be used from any
// goroutine.
type Site struct {
	doc    *site.Document
	first  string // the exact host that stands for the others; "" if there is none
	hosts  map[string]bool
	rules  []rule
	keys   *site.Keys
	policy httpcache.Policy
	keep   keep
	// guarded: paths that could be read in two ways are refused.
	guarded bool
	targets *header.Names // targeted fields, which the answer to a client does not have
	matched []string      // fields that rules match on: tiers of ours get them
	schemes bool          // rules match on the scheme, likewise
	wide    []response.ScopeHash
	strict  string // Strict-Transport-Security; "" for none
}

// keep is what of a request may reach the origin when the answer is for others.
type keep struct {
	cookies       bool
	honourRequest bool
	origin        bool // the Origin field
}

// Compile prepares a document for deciding requests: once for each document. The
// error names the rule; documents that site.Parse accepts have none.
func Compile(doc *site.Document) (*Site, error) {
	s := &Site{
		doc: doc, hosts: make(map[string]bool), policy: basePolicy(doc), strict: doc.HTTPS.StrictTransportSecurity(),
		keep: keep{cookies: doc.Cache.PassCookies, honourRequest: doc.Cache.HonourRequest},
		wide: []response.ScopeHash{
			response.HashScope(command.Scope{Kind: command.ScopeSite, Site: doc.Site}),
			response.HashScope(command.Scope{Kind: command.ScopeAll}),
		},
	}
	for _, host := range doc.Hosts {
		if host[0] == '*' {
			continue
		}
		if s.first == "" {
			s.first = host
		}
		s.hosts[host] = true
	}
	s.targets = header.NamesOf(doc.Cache.Targets...)
	var err error
	if s.keys, err = site.CompileKeys(doc); err != nil {
		return nil, fmt.Errorf("site %s: %w", doc.Site, err)
	}
	for i := range doc.Rules {
		r, err := compileRule(&doc.Rules[i], i)
		if err != nil {
			return nil, fmt.Errorf("site %s: %s: %w", doc.Site, r.name, err)
		}
		s.rules = append(s.rules, r)
		if r.asks() {
			s.lastsInKey()
		}
		s.guarded = s.guarded || doc.Rules[i].Match.Path != (site.PathMatch{}) && doc.AmbiguousPaths != site.PassAmbiguous
		s.schemes = s.schemes || doc.Rules[i].Match.Scheme != ""
		for name := range doc.Rules[i].Match.Header {
			s.matched = append(s.matched, name)
		}
	}
	return s, nil
}

// lastsInKey puts the rules so far into the key that end the evaluation for some
// clients and not for others: the next rule changes what the origin is asked.
func (s *Site) lastsInKey() {
	for i := range s.rules[:len(s.rules)-1] {
		r := &s.rules[i]
		r.inKey = r.inKey || r.doc.Last && r.doc.Conditional()
	}
}

// Document is what the site was compiled from.
func (s *Site) Document() *site.Document { return s.doc }

// Name is the site's.
func (s *Site) Name() string { return s.doc.Site }

// basePolicy is the site's caching policy where no rule says otherwise.
func basePolicy(doc *site.Document) httpcache.Policy {
	c := &doc.Cache
	p := httpcache.Policy{
		DefaultLifetime:         time.Duration(c.DefaultLifetime),
		Heuristic:               httpcache.Heuristic{Fraction: float64(c.Heuristic.Percent) / 100, Max: time.Duration(c.Heuristic.Max)},
		StaleWhileRevalidate:    time.Duration(c.StaleWhileRevalidate),
		StaleIfError:            time.Duration(c.StaleIfError),
		StoreSetCookie:          c.StoreSetCookie,
		IgnoreRequestDirectives: !c.HonourRequest,
	}
	if len(c.StatusLifetimes) > 0 {
		p.StatusLifetimes = make(map[int]time.Duration, len(c.StatusLifetimes))
		for status, lifetime := range c.StatusLifetimes {
			p.StatusLifetimes[status] = time.Duration(lifetime)
		}
	}
	for _, name := range c.Targets {
		if header.EqualName(name, "Surrogate-Control") {
			p.SurrogateControl = true
			continue
		}
		p.Targets = append(p.Targets, name)
	}
	return p
}

// Decision is what a site says of one request. Its strings belong to the request, as
// the request's do to the listener, or to the Decision: Clone what lives longer.
type Decision struct {
	site *Site

	// Refuse is why the request is not served (400), "" if it is.
	Refuse string
	// Redirect is the answer, when Redirect.Status is not zero.
	Redirect Redirect
	// Preflight answers a CORS preflight with 204 and these fields; nil otherwise.
	Preflight *header.Block

	// Bypass: the request is passed on and its answer not stored.
	Bypass bool
	// Policy is for the answer's storage and freshness.
	Policy httpcache.Policy

	// Authority is the host, with a port if it is one that a wildcard matched, under
	// which parents are asked, and part of the key.
	Authority string
	// Target is the path and query under which a tier of ours is asked, the response
	// stored and purged: the client's, with the query that counts.
	Target string

	key     *site.Key
	rewrite *rule  // that rewrites the path for the origin; nil for none
	path    string // of the client's target
	text    []byte // of strings that had to be made
	keep    keep
	scheme  string
	matched [(site.MaxRules + 63) / 64]uint64 // the rules that matched
	keyed   [(site.MaxRules + 63) / 64]uint64 // those of them that are in the key
	edits   bool                              // some matched rule edits the request
	answer  answer

	fromTier bool // see Decide
}

// Redirect is an answer that names another place.
type Redirect struct {
	Status   int
	Location string
}

// Decide applies the site to a request, whose header has end-to-end fields alone
// (what Connection names is gone): else a client could have a field counted in the
// key and kept from the origin. fromTier: it comes from a node of this
// cluster, which answers the client itself, so that there is no redirect, no
// preflight and no edit of the answer here.
func (s *Site) Decide(req *exchange.Request, fromTier bool) Decision {
	var d Decision
	s.DecideInto(&d, req, fromTier)
	return d
}

// DecideInto is Decide that makes d the decision and uses the memory of what it was. It
// allocates nothing then, but for redirects, preflights, what regular expressions need and
// rewrites of very long paths.
func (s *Site) DecideInto(d *Decision, req *exchange.Request, fromTier bool) {
	*d = Decision{site: s, Policy: s.policy, keep: s.keep, key: &s.doc.Cache.Key, scheme: req.Scheme, text: d.text[:0]}
	d.decide(req, fromTier)
}

// Reset forgets the decision, and keeps its memory for DecideInto.
func (d *Decision) Reset() { *d = Decision{text: d.text[:0]} }

// Scopes are the scopes that cover whatever is stored for the request, whose key that is.
func (d *Decision) Scopes(key response.Key) []response.ScopeHash {
	url := response.HashScope(command.Scope{Kind: command.ScopeURL, Site: d.site.doc.Site, Value: d.Target})
	path, _, _ := strings.Cut(d.Target, "?")
	scopes := make([]response.ScopeHash, 0, 2+strings.Count(path, "/")+len(d.site.wide))
	scopes = append(scopes, url, key.Scope())
	return append(response.AppendPrefixes(scopes, d.site.doc.Site, path), d.site.wide...)
}

// TagScopes are the scopes of the surrogate keys and cache groups of a response.
func (d *Decision) TagScopes(of *header.Block) (scopes []response.ScopeHash) {
	tag := command.Scope{Kind: command.ScopeTag, Site: d.site.doc.Site}
	if of.HasAny(tagFields) {
		tags, all := httpcache.Tags(of)
		for _, tag.Value = range tags {
			scopes = append(scopes, response.HashScope(tag))
		}
		if all { // a command on any key is one on this, too
			tag.Value = ""
			scopes = append(scopes, response.HashScope(tag))
		}
	}
	for _, group := range httpcache.Groups(of) {
		scopes = append(scopes, d.GroupScope(group))
	}
	return scopes
}

// tagFields are those that surrogate keys stand in.
var tagFields = header.NamesOf(httpcache.TagFields...)

// TargetScope is the scope of another target of the site, as a client would ask for
// it.
func (d *Decision) TargetScope(target string) response.ScopeHash {
	value := d.site.keys.Target(target)
	return response.HashScope(command.Scope{Kind: command.ScopeURL, Site: d.site.doc.Site, Value: value})
}

// GroupScope is the scope of a cache group of the site (RFC 9875).
func (d *Decision) GroupScope(group string) response.ScopeHash {
	return response.HashScope(command.Scope{Kind: response.ScopeGroup, Site: d.site.doc.Site, Value: group})
}

// Rules names the rules that matched, in order.
func (d *Decision) Rules() []string {
	var names []string
	for i := range d.site.rules {
		if d.matched[i/64]&(1<<(i%64)) != 0 {
			names = append(names, d.site.rules[i].name)
		}
	}
	return names
}

// Clone is a copy that shares nothing with the request.
func (d *Decision) Clone() Decision {
	c := *d
	c.Authority, c.Target, c.path = strings.Clone(d.Authority), strings.Clone(d.Target), strings.Clone(d.path)
	c.scheme, c.answer.origin, c.text = strings.Clone(d.scheme), strings.Clone(d.answer.origin), nil
	return c
}
