package node

import (
	"slices"
	"strings"
	"testing"
)

// TestTiers: a mid is of tier 1 unless it says so, an edge of none; parents and siblings are
// for nodes of a cluster.
func TestTiers(t *testing.T) {
	t.Parallel()
	mid := strings.Replace(leastEdge, "role: edge", "role: mid", 1)
	for text, want := range map[string]int{
		leastEdge: 0,
		mid:       1,
		mid + "cache: {tier: 3, parents: ['https://a.example:8443', 'http://192.0.2.1']}\n": 3,
	} {
		f, err := Read("f", []byte(text), lookup)
		if err != nil {
			t.Fatal(err)
		}
		self, err := f.selfForTest()
		if err != nil || f.Cache.Tier != want || self != want || want == 3 && !slices.Equal(f.Cache.Parents, []string{"https://a.example:8443", "http://192.0.2.1"}) {
			t.Errorf("%s: tier %d, announced as %d, %v; want %d", text, f.Cache.Tier, self, err, want)
		}
	}
	if f, err := Read("f", []byte(leastEdge+"cache: {siblings: true}\n"), lookup); err != nil || !f.Cache.Siblings {
		t.Errorf("siblings of an edge: %v", err)
	}
	for text, want := range map[string]string{
		leastEdge + "cache: {tier: 1}\n":                                                     "cache.tier: is for the role mid",
		mid + "cache: {tier: 0}\n":                                                           "cache.tier: \"0\" ",
		mid + "cache: {tier: 17}\n":                                                          "cache.tier: \"17\" ",
		mid + "cache: {siblings: true}\n":                                                    "cache.siblings: is for the role edge",
		leastEdge + "cache: {parents: ['ftp://a']}\n":                                        "cache.parents[0]: \"ftp://a\" must begin with http:// or https://",
		leastEdge + "cache: {parents: ['http://a', 'http://a']}\n":                           "cache.parents[1]: http://a is listed twice",
		leastEdge + "cache: {parents: ['http://a/b']}\n":                                     "cache.parents[0]: \"http://a/b\" must end after the host and port",
		leastEdge + "cache: {upstream: 'http://o', parents: ['http://a'], siblings: true}\n": "cache.parents: is for a node of a cluster",
	} {
		if _, err := Read("f", []byte(text), lookup); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

// selfForTest is the tier that the node is announced with.
func (f *File) selfForTest() (int, error) {
	self, err := Env{File: f}.Self()
	return self.Tier, err
}
