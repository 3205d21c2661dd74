package policy

import (
	"math/bits"
	"strconv"
	"strings"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// AppendKey appends the text of the request's cache key to dst:
//
//	site LF authority target
//	LF "+scheme " scheme          where the key has it
//	LF "+device " class
//	LF "+header " name [":" value]
//	LF "+cookie " name ["=" value]
//	LF "+rule " index             of each rule that matched by more than the path and
//	                              changes what the origin is asked
//
// No part can hold a line feed, so that two requests have one text only if they
// agree in every part.
func (d *Decision) AppendKey(dst []byte, req *exchange.Request) []byte {
	dst = append(dst, d.site.doc.Site...)
	dst = append(dst, '\n')
	dst = append(dst, d.Authority...)
	dst = append(dst, d.Target...)
	if d.key.Scheme {
		dst = append(dst, "\n+scheme "...)
		dst = append(dst, d.scheme...)
	}
	if d.key.Device {
		dst = append(dst, "\n+device "...)
		dst = append(dst, Device(req.Header)...)
	}
	for _, name := range d.key.Headers {
		dst = append(dst, "\n+header "...)
		dst = append(dst, name...)
		separator := byte(':')
		for v := range req.Header.Values(name) {
			dst = append(dst, separator)
			dst = append(dst, v...)
			separator = ','
		}
	}
	for _, name := range d.key.Cookies {
		dst = append(dst, "\n+cookie "...)
		dst = append(dst, name...)
		if v, ok := cookie(req.Header, name); ok {
			dst = append(dst, '=')
			dst = append(dst, v...)
		}
	}
	for i, word := range d.keyed {
		for ; word != 0; word &= word - 1 {
			dst = append(dst, "\n+rule "...)
			dst = strconv.AppendInt(dst, int64(i*64+bits.TrailingZeros64(word)), 10)
		}
	}
	return dst
}

// Device is the class of the client's device: "desktop", "mobile" or "tablet".
func Device(h *header.Block) string {
	agent := h.Get("User-Agent")
	switch {
	case containsFold(agent, "ipad"), containsFold(agent, "tablet"),
		containsFold(agent, "android") && !containsFold(agent, "mobile"):
		return "tablet"
	case h.Get("Sec-CH-UA-Mobile") == "?1", containsFold(agent, "mobi"):
		return "mobile"
	}
	return "desktop"
}

// containsFold reports whether s has part, which is in lower case, in any case.
func containsFold(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if header.EqualName(s[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// cookie is the value of the first cookie of that name (RFC 6265 §5.4).
func cookie(h *header.Block, name string) (string, bool) {
	for v := range h.Values("Cookie") {
		for pair := range strings.SplitSeq(v, ";") {
			n, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if ok && n == name {
				return value, true
			}
		}
	}
	return "", false
}
