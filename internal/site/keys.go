package site

import (
	"slices"
	"strings"

	"freshet/internal/wildcard"
)

// Keys are the key policies of a site: its own, and those of its rules. It is
// immutable.
type Keys struct {
	whole *Key
	rules []keyRule
}

// keyRule is a rule as far as it bears on the key. All of them match by path alone
// (see checkKeyRules).
type keyRule struct {
	path *Path
	key  *Key // nil leaves it
	last bool
}

// CompileKeys prepares the key policies of a document.
func CompileKeys(d *Document) (*Keys, error) {
	k := &Keys{whole: &d.Cache.Key}
	for i := range d.Rules {
		r := &d.Rules[i]
		if r.Cache.Key == nil && !r.Last || r.Conditional() {
			continue
		}
		path, err := CompilePath(r.Match.Path)
		if err != nil {
			return nil, err
		}
		k.rules = append(k.rules, keyRule{path, r.Cache.Key, r.Last})
	}
	return k, nil
}

// Conditional reports whether the rule looks at more of a request than its path.
func (r *Rule) Conditional() bool {
	return len(r.Match.Method)+len(r.Match.Header) > 0 || r.Match.Scheme != ""
}

// For is the key policy for a path.
func (k *Keys) For(path string) *Key {
	key := k.whole
	for i := range k.rules {
		r := &k.rules[i]
		if !r.path.Match(path) {
			continue
		}
		if r.key != nil {
			key = r.key
		}
		if r.last {
			break
		}
	}
	return key
}

// Target is the path and query by which responses to target are stored and purged:
// what a client sent, with the query that its key has. Targets that share a key
// have one, and Target of it is itself.
func (k *Keys) Target(target string) string {
	path, _, _ := strings.Cut(target, "?")
	query := k.For(path).Query
	if query.Whole() {
		return target
	}
	return string(query.AppendTarget(nil, target))
}

// Whole reports whether every query counts just as it was sent.
func (q *Query) Whole() bool { return (q.Mode == QueryAll || q.Mode == "") && !q.Sort }

// AppendTarget appends target with the query that counts.
func (q *Query) AppendTarget(dst []byte, target string) []byte {
	path, query, found := strings.Cut(target, "?")
	if q.Whole() || !found {
		return append(dst, target...)
	}
	dst = append(dst, path...)
	if q.Mode == QueryNone {
		return dst
	}
	var few [16]string
	params := few[:0]
	for param := range strings.SplitSeq(query, "&") {
		if param != "" && q.counts(param) {
			params = append(params, param)
		}
	}
	if q.Sort {
		slices.SortStableFunc(params, func(a, b string) int { return strings.Compare(nameOf(a), nameOf(b)) })
	}
	separator := byte('?')
	for _, param := range params {
		dst = append(append(dst, separator), param...)
		separator = '&'
	}
	return dst
}

func nameOf(param string) string {
	name, _, _ := strings.Cut(param, "=")
	return name
}

func (q *Query) counts(param string) bool {
	switch q.Mode {
	case QueryAllow:
		return q.named(nameOf(param))
	case QueryDeny:
		return !q.named(nameOf(param))
	}
	return true
}

func (q *Query) named(name string) bool {
	for _, pattern := range q.Names {
		if wildcard.Match(pattern, name) {
			return true
		}
	}
	return false
}
