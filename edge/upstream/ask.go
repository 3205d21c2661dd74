package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet/edge/upstream/guard"
)

// ErrNoParent: nobody is known who could be asked.
var ErrNoParent = errors.New("no parent is known")

// Plan is one request and who may answer it.
type Plan struct {
	Site    string   // whose limits and budget it counts to
	Parents []Parent // in the order in which to ask them
	// Request makes what a parent is asked, just before it is. It is called again for each
	// try, perhaps for two at once.
	Request func(Parent) (Request, error)
	// Judge, if not nil, refuses answers: then the next parent is asked.
	Judge func(*Reply) error
	// Asked, if not nil, is told of each try, and how it went.
	Asked func(Parent, error)
}

// Ask asks the parents in order until one gives an answer that Judge takes, within the
// limits of each:
//
//   - Who has failed too often is passed over, and from time to time asked by one request
//     to see whether it is back. If that is so of all, ErrOpen comes at once.
//   - Who has all that it may be asked is waited for. Where there is no waiting the next one
//     is asked, but never an origin in place of a tier: a tier that is busy must not lead
//     all those below it past itself. Then it is ErrBusy.
//   - That a tier could not reach anybody (see TierError) counts only if no other parent does
//     better; that those above it are busy, or do not answer what they got, at once.
//   - Who is asked after a try that cost a parent something is asked out of the site's
//     budget. A connection that did not come about costs nothing: the breaker sees to those.
//   - What is not idempotent, or has a body, is asked again only if nobody can have got
//     anything of it.
//
// All of it takes QueueTime, Connect and FirstByte of the first parent at most, and while a
// body is being sent.
func (c *Client) Ask(ctx context.Context, plan Plan) (*Reply, error) {
	a := &asking{client: c, ctx: ctx, plan: &plan, left: plan.Parents}
	for {
		t, err := a.next()
		switch {
		case err != nil:
			return nil, err
		case t == nil:
			return nil, a.conclude()
		}
		if reply := a.ask(t); reply != nil {
			return reply, nil
		}
	}
}

// asking is one Ask on its way.
type asking struct {
	client *Client
	ctx    context.Context
	plan   *Plan
	until  time.Time // no head is waited for after this; zero before the first try

	left  []Parent // to be asked yet
	later []Parent // that would have to be probed, for which the request is not fit
	last  bool     // it has to be
	sent  bool     // something was: the first try is counted
	spent bool     // by a try that cost a parent something
	over  bool     // nobody else may be asked

	denied bool // the budget has no hedge for it

	waited   time.Duration // in queues
	tierBusy bool
	failed   error // of the last try
	refused  *Refused
	busy     *Refused
}

// next is leave for a try at the next parent that gives any; nil if none does.
func (a *asking) next() (*try, error) {
	for !a.over {
		if len(a.left) == 0 {
			if len(a.later) == 0 || a.spent {
				break
			}
			a.left, a.later, a.last = a.later, nil, true
		}
		p := a.left[0]
		a.left = a.left[1:]
		if a.tierBusy && !p.OfCluster() {
			continue
		}
		t, err := a.admit(p)
		if t != nil || err != nil {
			return t, err
		}
	}
	return nil, nil
}

// admit is leave for a try at a parent; nil if it gives none. An error is not the parent's.
func (a *asking) admit(p Parent) (*try, error) {
	c, limits := a.client, p.limits()
	link := c.guard.Use(p.peer(), a.plan.Site)
	if !link.Ready(true) {
		a.isOpen(p, link)
		link.Leave()
		return nil, nil
	}
	bounds := guard.Bounds{Requests: limits.Requests, Queue: limits.Queue, Wait: limits.QueueTime - a.waited}
	began := c.now()
	err := link.Acquire(a.ctx, bounds)
	waited := c.now().Sub(began)
	a.waited += waited
	c.metrics.waited(p, waited)
	if err != nil {
		link.Leave()
		if !errors.Is(err, guard.ErrBusy) {
			return nil, fmt.Errorf("ask %s: %w", p, err)
		}
		c.metrics.refused(p, err)
		a.busy = &Refused{Reason: fmt.Errorf("ask %s: %w", p, err), After: limits.QueueTime, Last: link.Last()}
		a.tierBusy = a.tierBusy || p.OfCluster()
		return nil, nil
	}
	t := &try{client: c, ctx: a.ctx, site: a.plan.Site, parent: p, limits: limits, link: link}
	if t.req, err = a.plan.Request(p); err != nil {
		t.end()
		return nil, err
	}
	if t.req.Body != nil {
		t.body = &sentBody{Reader: t.req.Body}
		t.req.Body = t.body
	}
	if t.leaves, err = link.Enter(a.last || t.repeatable()); err != nil {
		a.isOpen(p, link)
		if state, _ := link.State(); state == guard.HalfOpen && !a.last {
			a.later = append(a.later, p)
		}
		t.end()
		return nil, nil
	}
	if !a.pay(t) {
		t.leaves.Void()
		t.end()
		a.over = true
		return nil, nil
	}
	return t, nil
}

// pay counts a try, and reports whether there may be it.
func (a *asking) pay(t *try) bool {
	now := a.client.now()
	switch {
	case !a.sent:
		t.link.Site.First()
		a.sent, a.until = true, now.Add(t.limits.QueueTime-a.waited+t.limits.Connect+t.limits.FirstByte)
		return true
	case !now.Before(a.until):
		return false
	case !a.spent:
	case !t.link.Site.Retry():
		a.client.metrics.retriesRefused.Inc()
		return false
	default:
		a.client.metrics.retries.Inc()
	}
	t.limits.FirstByte = min(t.limits.FirstByte, a.until.Sub(now))
	return true
}

// isOpen notes that a parent is left alone.
func (a *asking) isOpen(p Parent, link *guard.Link) {
	_, wait := link.State()
	err := fmt.Errorf("ask %s: %w", p, ErrOpen)
	a.client.metrics.refused(p, err)
	if a.refused == nil || wait < a.refused.After {
		a.refused = &Refused{Reason: err, After: wait, Last: link.Last()}
	}
}

// settle says what becomes of a try: its reply is the answer, or nil.
func (a *asking) settle(t *try, reply *Reply, err error) *Reply {
	untrue := false
	var tier *TierError
	if err == nil {
		if tier = reply.ownError(); tier != nil {
			reply.Body.Close()
			err = tier
		}
	}
	if err == nil && a.plan.Judge != nil {
		if err = a.plan.Judge(reply); err != nil {
			reply.Body.Close()
			untrue = true
		}
	}
	if a.plan.Asked != nil {
		a.plan.Asked(t.parent, err)
	}
	if err == nil {
		return reply
	}
	a.failed = err
	// What is not true enough is asked for elsewhere in any case: nobody has failed, and an
	// answer out of a cache cost little.
	reached := t.connected && !untrue
	a.spent = a.spent || reached
	a.over = a.over || a.ctx.Err() != nil || tier != nil && !tier.elsewhere() || t.taken() || t.connected && !t.repeatable()
	return nil
}

// conclude is the outcome when there is nobody else to ask.
func (a *asking) conclude() error {
	switch {
	case a.busy != nil && !a.over:
		if a.failed != nil {
			a.busy.Last = a.failed
		}
		return a.busy
	case a.failed != nil:
		return a.failed
	case a.refused != nil:
		return a.refused
	}
	return ErrNoParent
}
