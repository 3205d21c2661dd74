package policy

import (
	"time"
	"unsafe"

	"freshet/edge/exchange"
	"freshet/internal/site"
)

// maxTarget bounds a target, of a client and as rules have made it, in bytes. Policy:
// twice what other servers take, and little enough to match against every rule.
const maxTarget = 16 << 10

// choice is what the rules say beside caching, while they are walked: the last one
// that says something counts.
type choice struct {
	rewrite, redirect, cors *rule
}

func (d *Decision) decide(req *exchange.Request, fromTier bool) {
	s := d.site
	d.fromTier = fromTier
	path, query := splitTarget(req.Target)
	if d.Refuse = refusal(req.Target, path, s.guarded); d.Refuse != "" {
		return
	}
	if fromTier {
		d.scheme = tierScheme(req)
	}
	var c choice
	for i := range s.rules {
		r := &s.rules[i]
		if !r.matches(req, d.scheme, path) {
			continue
		}
		d.matched[i/64] |= 1 << (i % 64)
		if r.inKey {
			d.keyed[i/64] |= 1 << (i % 64)
		}
		d.apply(r, &c)
		if r.doc.Last {
			break
		}
	}
	d.Authority = d.authority(req, d.key.Host)
	d.Target = req.Target
	if query != "" && !d.key.Query.Whole() {
		d.Target = d.made(len(d.text), d.key.Query.AppendTarget(d.text, req.Target))
	}
	if d.path, d.rewrite = path, c.rewrite; d.rewrite != nil && d.rewrite.rewrite.to.Longest(len(path))+len(query) > maxTarget {
		if len(d.OriginTarget()) > maxTarget {
			d.Refuse = "the path is too long for its rewrite"
			return
		}
	}
	d.keep.origin = c.cors == nil
	if fromTier {
		d.answer = answer{}
		return
	}
	if c.redirect != nil {
		d.redirect(c.redirect, req, path, query)
	}
	d.decideAnswer(c.cors, req)
}

// apply takes over what a rule says.
func (d *Decision) apply(r *rule, c *choice) {
	k := &r.doc.Cache
	set(&d.Bypass, k.Bypass)
	set(&d.Policy.StoreSetCookie, k.StoreSetCookie)
	set(&d.keep.cookies, k.PassCookies)
	if k.HonourRequest != nil {
		d.keep.honourRequest, d.Policy.IgnoreRequestDirectives = *k.HonourRequest, !*k.HonourRequest
	}
	set(&d.Policy.StaleWhileRevalidate, (*time.Duration)(k.StaleWhileRevalidate))
	set(&d.Policy.StaleIfError, (*time.Duration)(k.StaleIfError))
	set(&d.Policy.DefaultLifetime, (*time.Duration)(k.DefaultLifetime))
	if k.ForceLifetime != nil {
		d.Policy.ForceLifetime = (*time.Duration)(k.ForceLifetime)
	}
	if k.Key != nil {
		d.key = k.Key
	}
	d.edits = d.edits || !r.doc.RequestHeaders.Empty()
	d.answer.edits = d.answer.edits || !r.doc.ResponseHeaders.Empty()
	if r.rewrite != nil {
		c.rewrite = r
	}
	if r.to != nil {
		c.redirect = r
	}
	if r.doc.CORS != nil {
		c.cors = r
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// authority is the host under which parents are asked, and part of the key: all
// exact hosts of a site share their content, so the first stands for them; a host
// that a wildcard matched stands for itself, with its port. share, if not nil, makes
// all hosts one (false) or all different (true).
func (d *Decision) authority(req *exchange.Request, apart *bool) string {
	s := d.site
	switch {
	case apart != nil && !*apart && s.first != "":
		return s.first
	case s.hosts[req.Host]:
		if apart != nil {
			return req.Host
		}
		return s.first
	}
	return d.made(len(d.text), req.AppendAuthority(d.text))
}

// made is the string that was appended to the decision's text.
func (d *Decision) made(from int, text []byte) string {
	d.text = text
	return unsafe.String(&text[from], len(text)-from) // nobody changes it before the next decision
}

// OriginTarget is the path and query under which the origin is asked: Target, or what a
// rule rewrites it to. Only who asks the origin needs it, so it is made when it is wanted.
func (d *Decision) OriginTarget() string {
	if d.rewrite == nil {
		return d.Target
	}
	r := d.rewrite
	by := r.path
	if r.rewrite.path != nil {
		by = r.rewrite.path
	}
	captures := by.Captures(d.path)
	if captures == nil {
		return d.Target // the rewrite has a condition of its own, which does not hold
	}
	_, query := splitTarget(d.Target)
	to := r.rewrite.to.Append(nil, &site.Values{Captures: captures, Path: d.path})
	return string(append(to, query...))
}

// redirect makes the answer of a rule that redirects.
func (d *Decision) redirect(r *rule, req *exchange.Request, path, query string) {
	to := r.to.Append(nil, &site.Values{Captures: r.path.Captures(path), Path: path, Query: query, Host: req.Authority()})
	if len(to) > maxTarget {
		d.Refuse = "the path is too long for its redirect"
		return
	}
	d.Redirect = Redirect{r.doc.Redirect.Status, location(to)}
}

// tierScheme is the scheme of the client, as a tier of ours hands it on.
func tierScheme(req *exchange.Request) string {
	if scheme := req.Header.Get(schemeField); scheme == "https" || scheme == "http" {
		return scheme
	}
	return req.Scheme
}
