package policy

import (
	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/httpcache"
	"freshet/internal/site"
)

// KeyText is the text of the cache key of a request to a site.
func KeyText(s *site.Document, req *exchange.Request) string {
	return s.Site + "\n" + Authority(s, req) + req.Target
}

// Authority is the host under which a request to a site is asked for above.
func Authority(s *site.Document, req *exchange.Request) string {
	c, err := Compile(&site.Document{Site: s.Site, Hosts: s.Hosts})
	if err != nil {
		return req.Authority()
	}
	return c.authority(req, nil)
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
func Defaults(s *site.Document) httpcache.Policy { return basePolicy(s) }

// FillHeader is Decision.FillHeader of a site without rules.
func FillHeader(req *exchange.Request) *header.Block {
	d := Decision{site: &Site{}, keep: keep{key: &site.Key{}, cookies: true, honourRequest: true, origin: true}}
	d.key = d.keep.key
	h := d.FillHeader(req)
	if err := d.EditForOrigin(h, false); err != nil {
		return new(header.Block)
	}
	return h
}

// PassHeader is Decision.PassHeader of a site without rules.
func PassHeader(req *exchange.Request) *header.Block {
	d := Decision{site: &Site{}, keep: keep{key: &site.Key{}}}
	d.key = d.keep.key
	return d.PassHeader(req)
}
