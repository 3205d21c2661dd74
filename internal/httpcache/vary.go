package httpcache

import (
	"strings"

	"freshet/internal/header"
)

// MaxVary is how many fields one response may vary on; more count as "*".
const MaxVary = 64

// VaryNames are the request fields that chose a response: the members of its
// Vary, lower-cased, in order, each once (RFC 9110 §12.5.5). Nil when it does not
// vary, and when VaryAll.
func VaryNames(response *header.Block) []string {
	names, _ := varyOf(response)
	return names
}

// VaryAll reports whether no later request is known to match a response: its Vary
// has the member "*" (RFC 9111 §4.1), one that is no field name, or more than
// MaxVary.
func VaryAll(response *header.Block) bool {
	_, all := varyOf(response)
	return all
}

func varyOf(response *header.Block) (names []string, all bool) {
	for v := range response.Values("Vary") {
		for name := range members(v) {
			if name == "*" || !isToken(name) {
				return nil, true
			}
			if name = strings.ToLower(name); contains(names, name) {
				continue
			}
			if len(names) == MaxVary {
				return nil, true
			}
			names = append(names, strings.Clone(name))
		}
	}
	return names, false
}

// AppendVariant appends what tells the variants of one key apart: the request's
// values of the named fields, in their normal forms. Two requests match (RFC 9111
// §4.1) if the results are equal. A field that is absent differs from an empty one.
func AppendVariant(dst []byte, request *header.Block, names []string) []byte {
	for _, name := range names {
		dst = append(dst, '\n')
		dst = append(dst, name...)
		if request.Has(name) {
			dst = append(dst, ':')
			dst = appendNormal(dst, name, request.Joined(name))
		}
	}
	return dst
}
