package httpcache

import (
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"freshet/internal/header"
)

// Directives are the cache directives of a response that concern this cache: those
// of the first of the site's targeted fields that is there, valid and not empty
// (RFC 9213 §2.2), then of Surrogate-Control where the site obeys it, else of
// Cache-Control. targeted says that it was not Cache-Control; then Expires does
// not count either.
func (p *Policy) Directives(h *header.Block) (d ResponseDirectives, targeted bool) {
	for _, name := range p.Targets {
		if d, ok := parseTargeted(h, name); ok {
			return d, true
		}
	}
	if p.SurrogateControl {
		if d, ok := parseSurrogate(h); ok {
			return d, true
		}
	}
	return ParseResponse(h.Values("Cache-Control")), false
}

// parseTargeted reads a targeted field as a Dictionary (RFC 9213 §2.1). ok is
// false if it is absent, empty or malformed: then it is ignored as a whole.
func parseTargeted(h *header.Block, name string) (ResponseDirectives, bool) {
	lines := slices.Collect(h.Values(name))
	if len(lines) == 0 {
		return ResponseDirectives{}, false
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return ResponseDirectives{}, false
	}
	d := ParseResponse(func(func(string) bool) {})
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		d.set(typedDirective(name, member))
	}
	return d, true
}

// typedDirective is a member of a targeted field as a directive.
func typedDirective(name string, member httpsfv.Member) directive {
	x := directive{name: name, hasArg: true, broken: true}
	item, ok := member.(httpsfv.Item)
	if !ok {
		return x
	}
	switch v := item.Value.(type) {
	case bool:
		if !v {
			return directive{} // "?0": as if it did not stand there
		}
		return directive{name: name}
	case int64:
		if v < 0 {
			return x
		}
		return directive{name: name, hasArg: true, delta: time.Duration(min(v, MaxDelta)) * time.Second, typed: true}
	case string:
		if !takesSeconds(name) { // they are Integers, of no other type
			return directive{name: name, hasArg: true, arg: v}
		}
	}
	return x
}

// takesSeconds reports whether the argument of a directive is delta-seconds.
func takesSeconds(name string) bool {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		return true
	}
	return false
}

// parseSurrogate reads Surrogate-Control of the Edge Architecture Specification:
// no-store, and max-age=N+M with M the time that the response may be used stale.
// What is meant for another surrogate (";name") is passed over. ok is false if
// nothing in it is for this cache.
func parseSurrogate(h *header.Block) (d ResponseDirectives, ok bool) {
	d = ParseResponse(func(func(string) bool) {})
	for v := range h.Values("Surrogate-Control") {
		for l := (memberList{rest: v}); l.rest != ""; {
			member := l.next()
			if strings.Contains(member, ";") {
				continue
			}
			switch x := parseDirective(member); {
			case x.is("no-store"):
				d.NoStore, ok = true, true
			case x.is("max-age"):
				ok = true
				arg, extension, extended := strings.Cut(x.arg, "+")
				x.arg = arg
				x.seconds(&d.MaxAge, 0)
				if more, valid := ParseDelta(extension); extended && valid {
					d.StaleWhileRevalidate, d.StaleIfError = more, more
				}
			}
		}
	}
	return d, ok
}
