package upstream

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/header"
	"freshet/internal/site"
)

const (
	// checkBody is how much of the answer to a check is read, so that its connection can be
	// used again.
	checkBody = 64 << 10
	// checkSpread is the time within which the first checks of many servers begin.
	checkSpread = time.Second
)

// Checks asks the servers of outside origins now and then, where their sites want it and
// this node is of those that ask them. What it finds dead comes last in pools. Every node
// that asks checks for itself: it may be the way there that is broken.
type Checks struct {
	do      func(context.Context, Parent, Request) (*Reply, error)
	log     *slog.Logger
	healthy *prometheus.GaugeVec
	wake    chan struct{}
	sites   atomic.Pointer[[]*site.Document]

	mu   sync.Mutex // of changes
	dead atomic.Pointer[map[place]struct{}]
}

// place is one server of a site.
type place struct{ site, url string }

// NewChecks makes checks that ask by do, as Client.Do does, or one that stands for it.
func NewChecks(do func(context.Context, Parent, Request) (*Reply, error), log *slog.Logger) *Checks {
	c := &Checks{do: do, log: log, healthy: newHealthy(), wake: make(chan struct{}, 1)}
	c.dead.Store(new(map[place]struct{}))
	c.sites.Store(new([]*site.Document))
	return c
}

// Register declares what the checks count.
func (c *Checks) Register(reg prometheus.Registerer) error { return reg.Register(c.healthy) }

// Unhealthy reports whether the checks have found a server dead.
func (c *Checks) Unhealthy(site, url string) bool {
	dead := *c.dead.Load()
	if len(dead) == 0 {
		return false
	}
	_, is := dead[place{site, url}]
	return is
}

// Sites takes over what sites there are.
func (c *Checks) Sites(docs []*site.Document) {
	c.sites.Store(&docs)
	c.Changed()
}

// Changed has Run look anew at what there is to check.
func (c *Checks) Changed() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run checks until ctx ends, and returns when the last check has.
func (c *Checks) Run(ctx context.Context, parents *Parents) error {
	running := make(map[place]*prober)
	var all sync.WaitGroup
	defer all.Wait()
	defer func() {
		for _, p := range running {
			p.stop()
		}
	}()
	for {
		wanted := make(map[place]*site.Document)
		if parents.AsksOrigin() {
			for _, doc := range *c.sites.Load() {
				if doc.Origin.Check.Path == "" {
					continue
				}
				for _, s := range doc.Origin.Pool() {
					wanted[place{doc.Site, s.URL}] = doc
				}
			}
		}
		for at, p := range running {
			if doc := wanted[at]; doc == nil || doc.Origin.Check != p.check {
				p.stop()
				<-p.ended
				c.forget(at)
				delete(running, at)
			}
		}
		for at, doc := range wanted {
			p := running[at]
			if p == nil {
				p = &prober{checks: c, parents: parents, at: at, check: doc.Origin.Check, ended: make(chan struct{})}
				running[at] = p
				var probing context.Context
				probing, p.stop = context.WithCancel(ctx)
				p.doc.Store(doc)
				all.Go(func() { p.run(probing) })
			}
			p.doc.Store(doc)
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// set records what is known of a server.
func (c *Checks) set(at place, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make(map[place]struct{})
	for other := range *c.dead.Load() {
		if other != at {
			next[other] = struct{}{}
		}
	}
	value := 1.0
	if dead {
		next[at], value = struct{}{}, 0
	}
	c.dead.Store(&next)
	c.healthy.WithLabelValues(at.site, authority(at.url)).Set(value)
}

// forget has nothing known of a server that is not checked any more.
func (c *Checks) forget(at place) {
	c.set(at, false)
	c.healthy.DeleteLabelValues(at.site, authority(at.url))
}

// prober checks one server.
type prober struct {
	checks  *Checks
	parents *Parents
	at      place
	check   site.Check
	doc     atomic.Pointer[site.Document]
	stop    context.CancelFunc
	ended   chan struct{}

	dead bool
	row  int // checks that have gone the other way since, in a row
}

// run checks until ctx ends. A server is held for well until it has failed.
func (p *prober) run(ctx context.Context) {
	defer close(p.ended)
	p.checks.set(p.at, false)
	every := time.Duration(p.check.Every)
	timer := time.NewTimer(rand.N(min(every, checkSpread)))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		p.judge(err)
		timer.Reset(every - every/10 + rand.N(every/5+1)) // so that nodes do not fall into step
	}
}

// judge counts a check.
func (p *prober) judge(err error) {
	need := p.check.Fails
	if p.dead {
		need = p.check.Passes
	}
	if (err != nil) == p.dead {
		p.row = 0
		return
	}
	if p.row++; p.row < need {
		return
	}
	p.dead, p.row = !p.dead, 0
	p.checks.set(p.at, p.dead)
	if p.dead {
		p.checks.log.Warn("server of an origin fails its checks, others are asked first", "site", p.at.site, "parent", p.at.url, "err", err)
	} else {
		p.checks.log.Info("server of an origin passes its checks again", "site", p.at.site, "parent", p.at.url)
	}
}

// once asks the server as requests of clients would, and says what is wrong with it.
func (p *prober) once(ctx context.Context) error {
	doc := p.doc.Load()
	parent, ok := p.parents.server(doc, p.at.url)
	if !ok {
		return nil // it is about to be stopped
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.check.Timeout))
	defer cancel()
	h := new(header.Block)
	_ = h.Add("User-Agent", "freshet-check")
	reply, err := p.checks.do(ctx, parent, Request{Method: "GET", Host: checkHost(doc, p.at.url), Target: p.check.Path, Header: h})
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if first, last, _ := p.check.Statuses(); reply.Status < first || reply.Status > last {
		return fmt.Errorf("%s answers %d to %s, want %s", parent, reply.Status, p.check.Path, p.check.Expect)
	}
	if _, err := io.CopyN(io.Discard, reply.Body, checkBody); err != nil && err != io.EOF {
		return fmt.Errorf("%s breaks its answer to %s off: %w", parent, p.check.Path, err)
	}
	return nil
}

// checkHost is the Host field of a check whose site does not say one: a host that clients
// use, if one is named in full.
func checkHost(doc *site.Document, url string) string {
	for _, host := range doc.Hosts {
		if !strings.HasPrefix(host, "*") {
			return host
		}
	}
	return authority(url)
}

// server is a server of a site as it is asked now.
func (p *Parents) server(doc *site.Document, url string) (Parent, bool) {
	if c := p.now.Load().compiled(p, doc); c.pool != nil {
		for i := range c.pool.servers {
			if s := &c.pool.servers[i]; s.URL == url {
				return s.Parent, true
			}
		}
	}
	return Parent{}, false
}
