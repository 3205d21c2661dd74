package httpcache

import (
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"freshet/internal/header"
)

// NoVarySearch says which part of a query tells the responses of one path apart
// (draft-ietf-httpbis-no-vary-search). The zero value is the default: all of it,
// byte for byte.
type NoVarySearch struct {
	Set      bool     // it says something: not the default
	AnyOrder bool     // key-order: the order of different keys does not matter
	Except   bool     // Params are the only ones that matter; else those that do not
	Params   []string // decoded, sorted, each once
}

// MaxVarySearchParams is how many parameters one No-Vary-Search field may name.
const MaxVarySearchParams = 64

// ParseNoVarySearch reads the field. Whatever is malformed, contradicts itself or
// goes beyond the bounds gives the default, which only costs hits.
func ParseNoVarySearch(response *header.Block) NoVarySearch {
	lines := slices.Collect(response.Values("No-Vary-Search"))
	if len(lines) == 0 {
		return NoVarySearch{}
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return NoVarySearch{}
	}
	return varySearchOf(dict)
}

func varySearchOf(dict *httpsfv.Dictionary) (n NoVarySearch) {
	if member, ok := dict.Get("key-order"); ok {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return NoVarySearch{}
		}
		if n.AnyOrder, ok = item.Value.(bool); !ok {
			return NoVarySearch{}
		}
	}
	list, hasParams := dict.Get("params")
	except, hasExcept := dict.Get("except")
	// Until the end of 2025 the draft had params as a Boolean, true for all of them and
	// alone beside except; browsers and sites have it still. Its meaning is plain.
	all, isBool := boolOf(list)
	if isBool {
		n.Except, hasParams = all, !all && hasExcept
	}
	switch {
	case hasParams && hasExcept:
		return NoVarySearch{}
	case hasExcept:
		list, n.Except = except, true
	}
	// The draft's algorithm wants one of the two; its examples, and what is deployed,
	// have key-order alone.
	if hasParams || hasExcept {
		var ok bool
		if n.Params, ok = keysOf(list); !ok {
			return NoVarySearch{}
		}
	}
	n.Set = n.AnyOrder || n.Except || len(n.Params) > 0
	return n
}

// boolOf is the value of a member that is a Boolean.
func boolOf(member httpsfv.Member) (value, ok bool) {
	item, isItem := member.(httpsfv.Item)
	if !isItem {
		return false, false
	}
	value, ok = item.Value.(bool)
	return value, ok
}

// keysOf reads an inner list of strings as decoded, sorted keys.
func keysOf(member httpsfv.Member) ([]string, bool) {
	list, ok := member.(httpsfv.InnerList)
	if !ok || len(list.Items) > MaxVarySearchParams {
		return nil, false
	}
	keys := make([]string, 0, len(list.Items))
	for _, item := range list.Items {
		s, ok := item.Value.(string)
		if !ok {
			return nil, false
		}
		keys = append(keys, decodeForm(s))
	}
	slices.Sort(keys)
	return slices.Compact(keys), true
}

// Query is the canonical form of a query (without "?"): two targets with the same
// path get the same response if and only if theirs are equal. With the default it
// is the query itself; otherwise the pairs that matter, decoded and encoded anew.
func (n NoVarySearch) Query(query string) string {
	if !n.Set {
		return query
	}
	pairs := parseForm(query)
	pairs = slices.DeleteFunc(pairs, func(p formPair) bool {
		_, named := slices.BinarySearch(n.Params, p.key)
		return named != n.Except
	})
	if n.AnyOrder {
		// Any order will do that is the same for everybody; values of one key keep theirs.
		slices.SortStableFunc(pairs, func(a, b formPair) int { return strings.Compare(a.key, b.key) })
	}
	return encodeForm(pairs)
}
