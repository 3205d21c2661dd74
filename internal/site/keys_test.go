package site

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func parsed(t testing.TB, text string) *Document {
	t.Helper()
	d, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func keys(t testing.TB, text string) *Keys {
	t.Helper()
	k, err := CompileKeys(parsed(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAppendTarget(t *testing.T) {
	t.Parallel()
	ab := []string{"a", "b"}
	tests := []struct {
		name         string
		query        Query
		target, want string
	}{
		{"zero value", Query{}, "/x?b=2&a=1", "/x?b=2&a=1"},
		{"all is exact", Query{Mode: QueryAll}, "/x?&b=2&&a=1&", "/x?&b=2&&a=1&"},
		{"all keeps a bare question mark", Query{Mode: QueryAll}, "/x?", "/x?"},
		{"none", Query{Mode: QueryNone}, "/x?b=2", "/x"},
		{"none of a bare question mark", Query{Mode: QueryNone}, "/x?", "/x"},
		{"sort", Query{Mode: QueryAll, Sort: true}, "/x?b=2&a=1", "/x?a=1&b=2"},
		{"sort keeps the order of one name", Query{Mode: QueryAll, Sort: true}, "/x?b=2&a=2&b=1&a=1", "/x?a=2&a=1&b=2&b=1"},
		{"sort drops empty ones", Query{Mode: QueryAll, Sort: true}, "/x?&b&&a&", "/x?a&b"},
		{"allow", Query{Mode: QueryAllow, Names: ab}, "/x?c=3&b=2&a=1&ab=4", "/x?b=2&a=1"},
		{"allow is exact about names", Query{Mode: QueryAllow, Names: ab}, "/x?A=3&%61=2&a[]=1", "/x"},
		{"allow without a value", Query{Mode: QueryAllow, Names: ab}, "/x?a&c&b=", "/x?a&b="},
		{"deny", Query{Mode: QueryDeny, Names: []string{"utm_*", "fbclid"}}, "/x?utm_source=a&id=1&fbclid=2&xutm_=3", "/x?id=1&xutm_=3"},
		{"deny sorted", Query{Mode: QueryDeny, Names: []string{"c"}, Sort: true}, "/x?c=3&b=2&a=1", "/x?a=1&b=2"},
		{"a second question mark is of the query", Query{Mode: QueryAllow, Names: ab}, "/x?a=1?b=2", "/x?a=1?b=2"},
		{"semicolons do not separate", Query{Mode: QueryAllow, Names: ab}, "/x?a=1;c=2&c=3", "/x?a=1;c=2"},
		{"no query", Query{Mode: QueryAllow, Names: ab, Sort: true}, "/x", "/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := string(tt.query.AppendTarget([]byte("before"), tt.target))
			if got != "before"+tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKeysTarget(t *testing.T) {
	t.Parallel()
	k := keys(t, `
site: s
hosts: [s]
cache: {key: {query: {sort: true}}}
rules:
- match: {path: {prefix: /static/}}
  cache: {key: {query: {mode: none}}}
- match: {path: {prefix: /static/fonts/}}
  last: true
- match: {path: {glob: "**.css"}}
  cache: {key: {query: {mode: allow, names: [v]}}}
`)
	tests := []struct{ target, want string }{
		{"/a?b=2&a=1", "/a?a=1&b=2"},
		{"/static/a?b=2", "/static/a"},
		{"/static/a.css?b=2&v=1", "/static/a.css?v=1"},
		{"/static/fonts/a.css?b=2&v=1", "/static/fonts/a.css"},
		{"/b.css?b=2&v=1", "/b.css?v=1"},
	}
	for _, tt := range tests {
		if got := k.Target(tt.target); got != tt.want {
			t.Errorf("Target(%q) = %q, want %q", tt.target, got, tt.want)
		}
	}
}

// randomQuery has short parameters of few names, so that they repeat.
func randomQuery(rng *rand.Rand) []string {
	params := make([]string, rng.IntN(8))
	for i := range params {
		params[i] = string("abcd"[rng.IntN(4)]) + []string{"", "=", "=1", "=2", "=x=y"}[rng.IntN(5)]
	}
	return params
}

// What a query policy keeps and drops, for many random queries.
func TestQueryProperties(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	apply := func(q Query, params []string) []string {
		target := string(q.AppendTarget(nil, "/?"+strings.Join(params, "&")))
		if again := string(q.AppendTarget(nil, target)); again != target {
			t.Fatalf("%+v of %q: %q becomes %q", q, params, target, again)
		}
		_, query, found := strings.Cut(target, "?")
		if !found {
			return nil
		}
		return strings.Split(query, "&")
	}
	for range 5000 {
		params := randomQuery(rng)
		names := []string{"a", "c"}
		allowed := apply(Query{Mode: QueryAllow, Names: names}, params)
		denied := apply(Query{Mode: QueryDeny, Names: names}, params)
		both := slices.Sorted(slices.Values(append(slices.Clone(allowed), denied...)))
		if all := slices.Sorted(slices.Values(params)); !slices.Equal(both, all) {
			t.Fatalf("allow keeps %q and deny %q of %q", allowed, denied, params)
		}
		// Parameters of different names may come in any order.
		distinct := slices.CompactFunc(slices.Sorted(slices.Values(params)), func(a, b string) bool { return a[0] == b[0] })
		sorted := apply(Query{Mode: QueryAll, Sort: true}, distinct)
		rng.Shuffle(len(distinct), func(i, j int) { distinct[i], distinct[j] = distinct[j], distinct[i] })
		if again := apply(Query{Mode: QueryAll, Sort: true}, distinct); !slices.Equal(sorted, again) {
			t.Fatalf("%q sorts to %q and %q", distinct, sorted, again)
		}
	}
}

// FuzzTarget: a normalised target is normal, keeps its path, and holds no parameter
// that the client did not send.
func FuzzTarget(f *testing.F) {
	f.Add("/a?b=2&a=1&&c", "a", true, uint8(0))
	f.Add("/a?", "*", false, uint8(1))
	f.Fuzz(func(t *testing.T, target, name string, sort bool, mode uint8) {
		modes := []QueryMode{QueryAll, QueryNone, QueryAllow, QueryDeny}
		q := Query{Mode: modes[mode%4], Names: []string{name}, Sort: sort}
		got := string(q.AppendTarget(nil, target))
		if again := string(q.AppendTarget(nil, got)); again != got {
			t.Fatalf("%+v: %q becomes %q becomes %q", q, target, got, again)
		}
		path, query, _ := strings.Cut(target, "?")
		gotPath, gotQuery, found := strings.Cut(got, "?")
		if gotPath != path {
			t.Fatalf("the path of %q becomes %q", target, gotPath)
		}
		if found && !q.Whole() {
			sent := strings.Split(query, "&")
			for _, param := range strings.Split(gotQuery, "&") {
				if param == "" || !slices.Contains(sent, param) {
					t.Fatalf("%+v of %q has parameter %q", q, target, param)
				}
			}
		}
	})
}
