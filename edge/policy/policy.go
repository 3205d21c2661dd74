// Package policy applies a site's rules to one request: the cache key, the scopes
// that cover it, what is passed on to a parent, and what a response may be kept
// for. It is pure.
package policy

import (
	"strings"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// Authority is the host under which a request to a site is asked for above, and
// which is part of its key: all exact hosts of a site share their content, so the
// first stands for them; a host that a wildcard matched stands for itself, with its
// port. What the key does not cover is not passed on.
func Authority(s *site.Document, req *exchange.Request) string {
	first := ""
	for _, host := range s.Hosts {
		if strings.HasPrefix(host, "*") {
			continue
		}
		if first == "" {
			first = host
		}
		if host == req.Host {
			return first
		}
	}
	return req.Authority()
}

// KeyText is the text of the cache key of a request to a site. The scheme is no
// part of it.
func KeyText(s *site.Document, req *exchange.Request) string {
	return s.Site + "\n" + Authority(s, req) + req.Target
}

// Scopes are the scopes that cover whatever is stored for a target of a site.
func Scopes(s *site.Document, target string) []response.ScopeHash {
	return []response.ScopeHash{
		response.HashScope(command.Scope{Kind: command.ScopeURL, Site: s.Site, Value: target}),
		response.HashScope(command.Scope{Kind: command.ScopeSite, Site: s.Site}),
		response.HashScope(command.Scope{Kind: command.ScopeAll}),
	}
}

// Defaults are the site's words for responses that do not say so themselves.
func Defaults(s *site.Document) httpcache.Policy {
	return httpcache.Policy{
		Targets:              httpcache.DefaultTargets,
		DefaultLifetime:      time.Duration(s.Cache.DefaultLifetime),
		StaleWhileRevalidate: time.Duration(s.Cache.StaleWhileRevalidate),
		StaleIfError:         time.Duration(s.Cache.StaleIfError),
	}
}

// notFilled are request fields that must not shape a response which others will
// get: conditionals and ranges are the client's own affair, and the rest could
// make an origin answer for another resource than the key says.
var notFilled = []string{
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range",
	"X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Port",
	"X-Forwarded-Prefix", "Forwarded", "Expect", "Host", "Content-Length",
}

// FillHeader is the header of a request to a parent whose answer may be stored:
// the client's, without what belongs to the client alone.
func FillHeader(req *exchange.Request) *header.Block {
	h := req.Header.Clone()
	h.RemoveHopByHop()
	h.Filter(func(name, _ string) bool {
		for _, n := range notFilled {
			if header.EqualName(name, n) {
				return false
			}
		}
		return true
	})
	return h
}

// PassHeader is the header of a request that is only passed on.
func PassHeader(req *exchange.Request) *header.Block {
	h := req.Header.Clone()
	h.RemoveHopByHop()
	h.Filter(func(name, _ string) bool {
		return !header.EqualName(name, "Host") && !header.EqualName(name, "Content-Length") && !header.EqualName(name, "Expect")
	})
	return h
}
