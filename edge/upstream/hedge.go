package upstream

import (
	"context"
	"fmt"
	"time"

	"freshet/edge/upstream/guard"
)

// When another parent is asked as well.
const (
	// hedgeQuantile of a parent's answers begin before it is hedged, hedgeMin is the least.
	hedgeQuantile = 0.95
	hedgeMin      = 50 * time.Millisecond
	// A tier is hedged where a site does not say so, but late: two tiers fetch the same from
	// the origin then. It saves those who are waiting for a node that stands still, before
	// anybody knows that it does.
	lateTimes = 3
	lateMin   = time.Second
	// hedgeProbe is for one that finds out whether a parent is back: it mostly is not, and who
	// asks must not notice. hedgeAgain is after one that nobody had leave for.
	hedgeProbe = 10 * time.Millisecond
	hedgeAgain = 100 * time.Millisecond
)

// ask carries a try out, and perhaps one more beside it. Nil: neither has the answer.
func (a *asking) ask(t *try) *Reply {
	delay := a.hedgeAfter(t)
	var gone <-chan struct{} // who asks, whose going does not end the try
	if delay > 0 && t.leaves.Probe() {
		gone = a.ctx.Done()
		t.detach()
	}
	ctx, p := t.begin()
	if delay == 0 {
		reply, err := t.do(ctx, p)
		return a.settle(t, reply, err)
	}
	type outcome struct {
		try   *try
		reply *Reply
		err   error
	}
	outcomes := make(chan outcome, 2)
	under := map[*try]struct{}{t: {}}
	a.client.tries.Go(func() {
		if gone != nil {
			defer context.AfterFunc(a.client.closing, func() { t.stop(context.Canceled) })()
		}
		reply, err := t.do(ctx, p)
		outcomes <- outcome{t, reply, err}
	})
	timer := time.NewTimer(delay)
	defer timer.Stop()
	// abandon leaves the tries that are still under way to themselves.
	abandon := func() {
		for other := range under {
			if other.asker == nil {
				other.stop(errOutdone)
			}
			a.client.tries.Go(func() {
				if o := <-outcomes; o.reply != nil {
					o.reply.Body.Close()
				}
			})
		}
	}
	for {
		select {
		case <-gone:
			abandon()
			a.failed, a.over = fmt.Errorf("ask %s: %w", t.parent, context.Cause(a.ctx)), true
			return nil
		case <-timer.C:
			second := a.hedge(t, gone != nil)
			if second == nil {
				if len(a.left) > 0 {
					timer.Reset(hedgeAgain)
				}
				continue
			}
			under[second] = struct{}{}
			ctx, p := second.begin()
			a.client.tries.Go(func() {
				reply, err := second.do(ctx, p)
				outcomes <- outcome{second, reply, err}
			})
		case o := <-outcomes:
			timer.Stop()
			delete(under, o.try)
			reply := a.settle(o.try, o.reply, o.err)
			if reply == nil && len(under) > 0 {
				continue
			}
			if reply != nil && o.try != t {
				a.client.metrics.hedgesWon.Inc()
			}
			abandon()
			return reply
		}
	}
}

// hedgeAfter is when to ask another parent beside one; 0 is never.
func (a *asking) hedgeAfter(t *try) time.Duration {
	if len(a.left) == 0 || t.req.Method != "GET" && t.req.Method != "HEAD" || !t.repeatable() {
		return 0
	}
	p95, known := t.link.Node.First.Quantile(hedgeQuantile)
	switch {
	case t.leaves.Probe():
		return hedgeProbe
	case t.parent.OfCluster() && t.client.guard.Slow(t.parent.Name): // a trial
		return hedgeMin
	case !known:
		return 0
	case t.limits.Hedge:
		return max(p95, hedgeMin)
	case t.parent.OfCluster():
		return max(lateTimes*p95, lateMin)
	}
	return 0
}

// hedge is leave for a try beside another, at the next parent that is like it, if that has
// room at once and the budget allows it; else nil. Beside a probe it may be any parent, and
// costs nothing: but for the probe that one would have been asked at once, and probes are few.
func (a *asking) hedge(beside *try, probe bool) *try {
	left := a.until.Sub(a.client.now())
	if left <= 0 {
		return nil
	}
	for i, p := range a.left {
		if p.OfCluster() != beside.parent.OfCluster() && (!probe || a.tierBusy) {
			continue
		}
		limits := p.limits()
		link := a.client.guard.Use(p.peer(), a.plan.Site)
		if !link.Ready(false) || link.Acquire(a.ctx, guard.Bounds{Requests: limits.Requests}) != nil {
			link.Leave()
			continue
		}
		t := &try{client: a.client, ctx: a.ctx, site: a.plan.Site, parent: p, limits: limits, link: link}
		var err error
		if t.req, err = a.plan.Request(p); err == nil {
			t.leaves, err = link.Enter(false)
		}
		if err != nil {
			t.end()
			continue
		}
		if !probe && !link.Site.Retry() {
			if !a.denied {
				a.denied = true
				a.client.metrics.retriesRefused.Inc()
			}
			t.leaves.Void()
			t.end()
			return nil
		}
		t.limits.FirstByte = min(t.limits.FirstByte, left)
		a.client.metrics.hedges.Inc()
		a.left = append(a.left[:i:i], a.left[i+1:]...)
		a.spent = true
		return t
	}
	return nil
}
