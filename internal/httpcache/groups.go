package httpcache

import (
	"slices"

	"github.com/dunglas/httpsfv"

	"freshet/internal/header"
)

// Bounds of a list of cache groups. RFC 9875 §2 and §3 want at least 32 of at
// least 32 characters.
const (
	MaxGroups      = 128
	MaxGroupLength = 256
)

// Groups are the cache groups that a response belongs to (RFC 9875 §2), each once.
// Nil if the field is absent or malformed; what is beyond the bounds is left out.
func Groups(response *header.Block) []string { return stringList(response, "Cache-Groups") }

// InvalidatedGroups are the cache groups that the answer to a request with an
// unsafe method invalidates (RFC 9875 §3); nil for a safe method and for an error.
func InvalidatedGroups(method string, status int, response *header.Block) []string {
	if !invalidates(method, status) {
		return nil
	}
	return stringList(response, "Cache-Group-Invalidation")
}

func stringList(h *header.Block, name string) []string {
	if !h.Has(name) {
		return nil
	}
	list, err := httpsfv.UnmarshalList(slices.Collect(h.Values(name)))
	if err != nil {
		return nil
	}
	var groups []string
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(string)
		if !ok {
			return nil
		}
		if s != "" && len(s) <= MaxGroupLength && len(groups) < MaxGroups && !contains(groups, s) {
			groups = append(groups, s)
		}
	}
	return groups
}
