package edge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"freshet/internal/command"
	"freshet/internal/command/predicate"
)

// simTarget is a resource that the history is about.
type simTarget struct{ site, path string }

// script is what happens.
func (w *sim) script() {
	var targets []simTarget
	for range 2 + w.rnd.IntN(3) {
		targets = append(targets, simTarget{simSiteNames[w.rnd.IntN(2)], simPaths[w.rnd.IntN(len(simPaths))]})
	}
	gap := []time.Duration{5 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond}[w.rnd.IntN(3)]
	for step := range w.params.steps {
		w.sleep(simExp(w.rnd, gap))
		target := targets[w.rnd.IntN(len(targets))]
		switch x := w.rnd.IntN(100); {
		case x < 50:
			n := w.nodes[w.rnd.IntN(len(w.nodes))]
			for range 1 + max(0, w.rnd.IntN(5)-2) { // some come together
				w.request(n, w.newRequest(step, target))
			}
		case x < 58:
			w.race(step, target)
		case x < 76:
			w.change(target)
		case x < 79:
			w.origin.hold(1 + w.rnd.IntN(2))
		case x < 87:
			n := w.nodes[w.rnd.IntN(len(w.nodes))]
			w.note("%s cut off from the log: %t", n.name, !n.view.isShut())
			n.view.shut(!n.view.isShut())
		case x < 89:
			w.gap(target)
		case x < 90:
			if w.params.direct { // a tier on another log can say nothing of the one that an edge is on
				w.epoch()
			}
		case x < 92:
			w.sleep(simExp(w.rnd, 2*time.Second))
		case w.params.quiet:
			w.request(w.nodes[w.rnd.IntN(len(w.nodes))], w.newRequest(step, target))
		case x < 97:
			w.restart(step, w.nodes[w.rnd.IntN(len(w.nodes))], target)
		default:
			w.partition()
		}
	}
}

// change publishes and removes a resource, as a rule both.
func (w *sim) change(target simTarget) {
	if w.rnd.IntN(8) > 0 {
		w.origin.publish(target.site, target.path)
	}
	if w.rnd.IntN(8) > 0 {
		w.sleep(simExp(w.rnd, 2*time.Millisecond))
		w.remove(target)
	}
}

// race removes a resource while it is being fetched.
func (w *sim) race(step int, target simTarget) {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	w.request(n, w.newRequest(step, target))
	w.sleep(simExp(w.rnd, 2*w.params.latency))
	w.change(target)
	for range 2 {
		w.sleep(simExp(w.rnd, w.params.lag+2*w.params.latency))
		w.request(n, w.newRequest(step, target))
	}
}

// gap has a node miss commands, of which the log forgets some.
func (w *sim) gap(target simTarget) {
	n := w.nodes[w.rnd.IntN(len(w.nodes))]
	if w.rnd.IntN(2) == 0 {
		w.note("%s cut off from the log", n.name)
		n.view.shut(true)
		for range 1 + w.rnd.IntN(2) {
			w.change(target)
		}
	}
	w.truncate()
	if n.view.isShut() && w.rnd.IntN(2) == 0 {
		w.change(target)
		w.note("%s hears the log again", n.name)
		n.view.shut(false)
		w.sleep(simExp(w.rnd, 500*time.Millisecond))
	}
}

// hold makes so many of the next reads slow.
func (o *simOrigin) hold(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.holds = n
}

// newRequest is a client's request for a resource.
func (w *sim) newRequest(step int, target simTarget) *simRequest {
	r := &simRequest{id: step, site: target.site, path: target.path, method: "GET", kind: []string{"1", "2"}[w.rnd.IntN(2)]}
	switch w.rnd.IntN(24) {
	case 0:
		r.method = "HEAD"
	case 1:
		r.fields = [][2]string{{"Cache-Control", "no-cache"}}
	case 2:
		r.fields = [][2]string{{"Cache-Control", "max-stale"}}
	case 3:
		r.fields = [][2]string{{"Cache-Control", "no-store"}}
	case 4:
		r.fields = [][2]string{{"Authorization", "Basic eDp5"}}
	case 5, 6:
		r.fields = [][2]string{{"Range", "bytes=0-1"}}
	}
	return r
}

// request sends a request to a node, if that is one that may be asked.
func (w *sim) request(n *simNode, r *simRequest) {
	if !n.ready() {
		return
	}
	if p := n.process(); p != nil && p.begins() {
		w.wg.Go(func() { w.asks(p, r) })
	}
}

// asks has a process that has begun with a request answer it, and judges the answer.
func (w *sim) asks(p *simProcess, r *simRequest) {
	defer p.serving.Done()
	arrived := w.now()
	acked, some := p.n.acknowledged()
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	a := &clientAnswer{quick: true}
	quick := p.ServeQuick(r.exchange(), a)
	if !quick {
		w.note("%s %s at %s", p.n.name, r, clockOf(p))
		a = &clientAnswer{}
		p.Serve(ctx, r.exchange(), a)
	}
	w.judgeTime(p.n, r, arrived, acked, some)
	w.count(func(c *simCounts) {
		c.requests++
		switch status := a.header.Get("Cache-Status"); {
		case !a.whole():
			c.errors++
		case quick || strings.Contains(status, "-"+p.n.name+"; hit"):
			c.hits++
		}
	})
	switch {
	case !a.done:
		if p.ctx.Err() == nil {
			w.violate("%s %s has no answer", p.n.name, r)
		}
	case a.whole():
		w.judge(p.n, r, a, arrived, acked, some)
	default:
		w.note("%s %s fails: %d %v %s %s", p.n.name, r, a.status, a.broken, a.header.Get("Cache-Status"), a.header.Get("Proxy-Status"))
		// Of what was begun out of slices no other version can be gone on with.
		changed := a.broken != nil && strings.Contains(a.broken.Error(), "has changed")
		if w.params.quiet && !w.overtaken(arrived) && !changed {
			w.violate("%s %s fails though nothing was wrong: %d %v %s", p.n.name, r, a.status, a.broken, a.header.Get("Proxy-Status"))
		}
	}
}

// overtaken reports whether so much has become untrue since a request arrived, or just
// before, that all of its attempts may have been in vain: another log, or several removals.
func (w *sim) overtaken(arrived time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	from, n := arrived-2*w.params.lag, 0
	for _, m := range w.mu.removals {
		if m.at >= from {
			n++
		}
	}
	return n >= 3 || w.mu.replaced >= from && w.mu.replaced > 0
}

// remove appends a command that covers a resource.
func (w *sim) remove(target simTarget) {
	c, m := w.removal(target)
	w.append(c, m)
}

// removal is a command that covers a resource by any kind of scope.
func (w *sim) removal(t simTarget) (command.Command, removed) {
	s := command.Scope{Kind: command.ScopeURL, Site: t.site, Value: t.path}
	m := removed{covers: func(c *simContent) bool { return c.site == t.site && c.path == t.path }, all: true}
	c := command.Command{Kind: command.Purge}
	switch w.rnd.IntN(14) {
	case 0, 1:
		s.Kind, s.Value = command.ScopeKey, t.site+"\n"+t.site+".test"+t.path
	case 2, 3:
		prefix := t.path[:strings.LastIndexByte(t.path, '/')+1]
		if w.rnd.IntN(2) == 0 {
			prefix = "/p/"
		}
		s.Kind, s.Value = command.ScopePrefix, prefix
		m.covers = func(c *simContent) bool { return c.site == t.site && strings.HasPrefix(c.path, prefix) }
	case 4, 5, 6:
		tag := simTags[w.rnd.IntN(len(simTags))]
		s.Kind, s.Value = command.ScopeTag, tag
		m.all = false
		m.covers = func(c *simContent) bool { return c.site == t.site && slices.Contains(c.tags(), tag) }
	case 7, 8:
		shade := []string{"light", "dark"}[w.rnd.IntN(2)]
		c.Kind, s.Kind, s.Value = command.Ban, command.ScopeMatch, ""
		s.Match = &predicate.Match{Headers: []predicate.Header{{Name: "Shade", Value: shade}}}
		if w.rnd.IntN(2) == 0 {
			s.Site = ""
		}
		site := s.Site
		m.all = false
		m.covers = func(c *simContent) bool { return (site == "" || c.site == site) && c.shade() == shade }
	case 9:
		c.Kind, s.Kind, s.Value = command.Ban, command.ScopeMatch, ""
		s.Match = &predicate.Match{Path: t.path[:len(t.path)-1] + "*"}
		m.covers = func(c *simContent) bool { return c.site == t.site && strings.HasPrefix(c.path, t.path[:len(t.path)-1]) }
	case 10:
		if w.rnd.IntN(2) == 0 {
			s.Kind, s.Value = command.ScopeSite, ""
			m.covers = func(c *simContent) bool { return c.site == t.site }
			break
		}
		s = command.Scope{Kind: command.ScopeAll}
		m.covers = func(*simContent) bool { return true }
	}
	switch {
	case w.rnd.IntN(3) > 0:
	case c.Kind == command.Ban:
		c.Soft, m.soft = true, true
	case s.Kind == command.ScopeURL && w.rnd.IntN(2) == 0:
		c.Kind, m.soft = command.Refresh, true
		s.Base = "http://" + t.site + ".test"
	default:
		c.Kind, m.soft = command.Invalidate, true
	}
	if w.rnd.IntN(16) == 0 && c.Kind != command.Refresh && c.Kind != command.Invalidate && !c.Soft {
		c.NoStore = 1
	}
	c.Scopes = []command.Scope{s}
	m.text = fmt.Sprintf("%s %s %s%s", c.Kind, s.Kind, s.Site, s.Value)
	if s.Match != nil {
		m.text += fmt.Sprintf(" %+v", *s.Match)
	}
	return c, m
}

// append appends a command; what it is to the checker begins now.
func (w *sim) append(c command.Command, m removed) {
	c.ID, c.At = command.NewID(), time.Now()
	data, err := command.Encode(c)
	if err != nil {
		w.violate("encode %+v: %v", c, err)
		return
	}
	ctx := context.Background()
	head, err := w.bus.Head(ctx)
	if err != nil {
		w.violate("append: %v", err)
		return
	}
	w.mu.Lock() // nobody may acknowledge it before the checker knows it
	defer w.mu.Unlock()
	seq, err := w.bus.Append(ctx, data, head.Last)
	if err != nil {
		panic(err)
	}
	m.at, m.pos = w.now(), position{w.mu.logs[head.Log], seq}
	w.mu.removals = append(w.mu.removals, m)
	w.mu.counts.removals++
	w.mu.trace = append(w.mu.trace, simEvent{m.at, "append %s: %s, soft %t, %ds", []any{command.Clock{Log: head.Log, Seq: seq}, m.text, m.soft, c.NoStore}})
}

// truncate loses the log's records but the last few.
func (w *sim) truncate() {
	head, err := w.bus.Head(context.Background())
	if err != nil || head.Last < head.First {
		return
	}
	w.note("the log now begins at %s", head.Last+1)
	w.bus.Truncate(head.Last + 1)
	w.count(func(c *simCounts) { c.gaps++ })
}

// epoch loses the log and begins another.
func (w *sim) epoch() {
	w.mu.Lock()
	n := len(w.mu.logs)
	w.mu.Unlock()
	w.count(func(c *simCounts) { c.epochs++ })
	first := command.FirstOf(uint32(n + 1))
	if w.rnd.IntN(4) == 0 {
		first = command.FirstOf(1) // the cluster's store was lost as well
	}
	w.note("another log, from %s on", first)
	w.newLog(w.bus.Replace(first))
}

// restart ends a process in some way, and begins another after a while; often just after it
// has acknowledged a removal of what it holds.
func (w *sim) restart(step int, n *simNode, target simTarget) {
	if !n.alive() {
		return
	}
	purged := w.rnd.IntN(2) == 0
	if purged {
		w.request(n, w.newRequest(step, target))
		w.sleep(simExp(w.rnd, 400*time.Millisecond))
		w.change(target)
		w.sleep(simExp(w.rnd, 2*w.params.lag))
	}
	switch w.rnd.IntN(5) {
	case 0:
		w.note("%s stops", n.name)
		n.stop()
	case 1, 2:
		n.kill(true, 0)
	default:
		n.kill(false, w.rnd.Uint64())
	}
	cut := w.rnd.IntN(2) == 0
	if cut {
		w.note("%s cut off from the log", n.name)
		n.view.shut(true)
	}
	if w.rnd.IntN(2) == 0 {
		w.tellMembers()
	}
	away := simExp(w.rnd, 300*time.Millisecond)
	again := w.newRequest(step, target)
	w.wg.Go(func() {
		w.sleep(away)
		n.start()
		w.tellMembers()
		if purged {
			if cut {
				w.sleep(4 * time.Second) // it begins without the log, if it may
			}
			w.request(n, again)
		}
	})
}

// partition cuts a link, or all of one kind, or heals all.
func (w *sim) partition() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.counts.cuts++
	if len(w.mu.cut) > 0 && w.rnd.IntN(2) == 0 {
		clear(w.mu.cut)
		w.mu.trace = append(w.mu.trace, simEvent{w.now(), "all links healed", nil})
		return
	}
	from, to := simNames[w.rnd.IntN(len(simNames))], append([]string{"origin"}, simNames...)[w.rnd.IntN(5)]
	w.mu.cut[from+">"+to] = true
	w.mu.trace = append(w.mu.trace, simEvent{w.now(), "link %s>%s cut", []any{from, to}})
}

// settle heals all, and has everybody know the last version of everything.
func (w *sim) settle() {
	w.wg.Wait() // processes that are about to begin, and requests
	w.note("all is healed")
	w.mu.Lock()
	clear(w.mu.cut)
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.view.shut(false)
	}
	w.tellMembers()
	w.sleep(15 * time.Second) // breakers, troubles, no_store
	w.awaitReady()
	w.append(command.Command{Kind: command.Purge, Scopes: []command.Scope{{Kind: command.ScopeAll}}}, removed{
		text: "purge all at the end", covers: func(*simContent) bool { return true }, all: true,
	})
	w.sleep(10 * time.Second)
	w.params.quiet = true
	for i, site := range simSiteNames {
		for _, n := range w.nodes {
			p := n.process()
			if p == nil {
				w.violate("%s is down at the end", n.name)
				continue
			}
			path := simPaths[(w.seed+uint64(i))%uint64(len(simPaths))]
			if acked, _ := n.acknowledged(); acked.before(w.mu.removals[len(w.mu.removals)-1].pos) {
				w.violate("%s does not acknowledge the last purge: %v", n.name, acked)
			}
			p.begins()
			w.asks(p, &simRequest{id: -1, site: site, path: path, method: "GET"})
		}
	}
}
