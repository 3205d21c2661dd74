package policy

import (
	"slices"
	"strings"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// Fields that this cache sets for the origin.
const (
	schemeField = "X-Forwarded-Proto"
	deviceField = "X-Device"
)

// scope says to which requests a field does not go.
type scope uint8

const (
	onFill  scope = iota + 1 // requests whose answer others may get
	onEvery                  // requests that are passed on, too
	never                    // requests of any kind: it is made anew
)

// dropped are the request fields that do not reach the origin, unless the key or a
// rule of the site has them, and why.
var dropped = []struct {
	name string
	on   scope
	why  string
}{
	{"If-Match", onFill, "the client's own copy"},
	{"If-None-Match", onFill, "the client's own copy"},
	{"If-Modified-Since", onFill, "the client's own copy"},
	{"If-Unmodified-Since", onFill, "the client's own copy"},
	{"If-Range", onFill, "the client's own copy"},
	{"Range", onFill, "the client's own copy"},
	{"A-IM", onFill, "the client's own copy"},
	{"Expect", never, "the listener's"},
	{"Host", never, "from the decision"},
	{"Content-Length", never, "from the body"},
	{"Proxy", never, "a CGI origin takes it for HTTP_PROXY"},
	{"Forwarded", onEvery, "another host, scheme or port"},
	{"X-Forwarded-Host", onEvery, "another host"},
	{"X-Forwarded-Server", onEvery, "another host"},
	{"X-Host", onEvery, "another host"},
	{"X-Original-Host", onEvery, "another host"},
	{"X-HTTP-Host-Override", onEvery, "another host"},
	{"X-Forwarded-Port", onEvery, "another port"},
	{"X-Forwarded-Proto", onEvery, "another scheme"},
	{"X-Forwarded-Protocol", onEvery, "another scheme"},
	{"X-Forwarded-Scheme", onEvery, "another scheme"},
	{"X-Forwarded-SSL", onEvery, "another scheme"},
	{"X-URL-Scheme", onEvery, "another scheme"},
	{"X-Scheme", onEvery, "another scheme"},
	{"Front-End-Https", onEvery, "another scheme"},
	{"X-Original-URL", onEvery, "another path"},
	{"X-Original-URI", onEvery, "another path"},
	{"X-Rewrite-URL", onEvery, "another path"},
	{"X-Forwarded-URI", onEvery, "another path"},
	{"X-Forwarded-Path", onEvery, "another path"},
	{"X-Forwarded-Prefix", onEvery, "another path"},
	{"X-HTTP-Method-Override", onFill, "another method"},
	{"X-HTTP-Method", onFill, "another method"},
	{"X-Method-Override", onFill, "another method"},
	{"X-Forwarded-For", onFill, "one client's address"},
	{"X-Real-IP", onFill, "one client's address"},
	{"X-Client-IP", onFill, "one client's address"},
	{"X-Cluster-Client-IP", onFill, "one client's address"},
	{"Client-IP", onFill, "one client's address"},
	{"True-Client-IP", onFill, "one client's address"},
	{deviceField, onFill, "ours, where the key has the device class"},
}

// droppedOn is how a field stands in the table; 0 where it does not.
func droppedOn(name string) scope {
	for i := range dropped {
		if header.EqualName(dropped[i].name, name) {
			return dropped[i].on
		}
	}
	return 0
}

// FillHeader is the header of a request to a parent whose answer may be stored: the
// client's, without what belongs to the client alone and without what the key does
// not cover. Before the request goes to an origin rather than to a tier of ours,
// EditForOrigin has to see it: a tier also gets what the site's rules match on.
func (d *Decision) FillHeader(req *exchange.Request) *header.Block {
	return d.forParent(req, d.fills)
}

// PassHeader is the header of a request that is only passed on. Before it goes to an
// origin, EditForOrigin has to see it.
func (d *Decision) PassHeader(req *exchange.Request) *header.Block {
	return d.forParent(req, d.passes)
}

func (d *Decision) forParent(req *exchange.Request, reaches func(string) bool) *header.Block {
	h := req.Header.Clone()
	h.RemoveHopByHop()
	h.Filter(func(name, _ string) bool {
		return reaches(name) || contains(d.site.matched, name) && droppedOn(name) != never
	})
	if d.key.Scheme || d.site.schemes {
		_ = h.Set(schemeField, d.scheme) // one of two short words: room is only lacking where the block is full
	}
	return h
}

// EditForOrigin makes of h what an origin gets; pass: it is from PassHeader, else
// from FillHeader. The error is header.ErrTooLarge.
func (d *Decision) EditForOrigin(h *header.Block, pass bool) error {
	if pass {
		h.Filter(func(name, _ string) bool { return d.passes(name) })
	} else {
		h.Filter(func(name, _ string) bool { return d.fills(name) })
		if err := d.keepCookies(h); err != nil {
			return err
		}
	}
	if d.key.Scheme {
		if err := h.Set(schemeField, d.scheme); err != nil {
			return err
		}
	}
	if d.key.Device {
		if err := h.Set(deviceField, Device(h)); err != nil {
			return err
		}
	}
	if !d.edits {
		return nil
	}
	for i := range d.site.rules {
		if d.matched[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		if err := d.site.rules[i].request.apply(h); err != nil {
			return err
		}
	}
	return nil
}

// fills reports whether a field of the client reaches the origin in a fill.
func (d *Decision) fills(name string) bool {
	switch {
	case contains(d.key.Headers, name):
		return true
	case header.EqualName(name, "Cookie"):
		return d.keep.cookies || len(d.key.Cookies) > 0
	case header.EqualName(name, "Cache-Control"), header.EqualName(name, "Pragma"):
		return d.keep.honourRequest
	case header.EqualName(name, "Origin"):
		return d.keep.origin
	}
	return droppedOn(name) == 0
}

// passes reports whether a field of the client reaches the origin in a request that
// is passed on.
func (d *Decision) passes(name string) bool {
	return droppedOn(name) <= onFill || contains(d.key.Headers, name)
}

// Varying are those of the fields that a response's Vary names which can tell its
// variants apart: not those that never reach the origin or are made by us, and not
// those that are in the key, since all who share a key agree in them. The slice is
// names itself where all count.
func (d *Decision) Varying(names []string) []string {
	idle := func(name string) bool { return d.settled(name) }
	if !slices.ContainsFunc(names, idle) {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), idle)
}

// settled reports whether all requests of one key are alike to the origin in a
// field.
func (d *Decision) settled(name string) bool {
	if contains(d.key.Headers, name) || !d.fills(name) {
		return true
	}
	return header.EqualName(name, "Cookie") && !d.keep.cookies
}

// keepCookies leaves the cookies of the key alone in h, unless all may pass.
func (d *Decision) keepCookies(h *header.Block) error {
	if d.keep.cookies || !h.Has("Cookie") {
		return nil
	}
	var kept []string
	for _, name := range d.key.Cookies {
		if v, ok := cookie(h, name); ok {
			kept = append(kept, name+"="+v)
		}
	}
	h.Del("Cookie")
	if len(kept) == 0 {
		return nil
	}
	return h.Add("Cookie", strings.Join(kept, "; "))
}

func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return header.EqualName(n, name) })
}
