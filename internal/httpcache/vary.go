package httpcache

import (
	"strings"

	"freshet/internal/header"
)

// VaryNames are the request fields that chose a response: the members of its
// Vary, lower-cased, in order, each once (RFC 9110 §12.5.5). Nil when it does not
// vary.
func VaryNames(response *header.Block) []string {
	var names []string
	for v := range response.Values("Vary") {
	members:
		for name := range strings.SplitSeq(v, ",") {
			name = strings.ToLower(trimSpace(name))
			if name == "" {
				continue
			}
			for _, seen := range names {
				if seen == name {
					continue members
				}
			}
			names = append(names, name)
		}
	}
	return names
}

// VaryAll reports whether a response varies on more than header fields ("*"), so
// that no later request is known to match.
func VaryAll(response *header.Block) bool {
	for v := range response.Values("Vary") {
		for name := range strings.SplitSeq(v, ",") {
			if trimSpace(name) == "*" {
				return true
			}
		}
	}
	return false
}

// AppendVariant appends what tells the variants of one key apart: the request's
// values of the named fields (RFC 9111 §4.1). Two requests match if and only if
// the results are equal. The values are taken as they are, several lines of a
// field joined.
func AppendVariant(dst []byte, request *header.Block, names []string) []byte {
	for _, name := range names {
		dst = append(dst, '\n')
		dst = append(dst, name...)
		if request.Has(name) {
			dst = append(dst, ':')
			dst = append(dst, request.Joined(name)...)
		}
	}
	return dst
}
