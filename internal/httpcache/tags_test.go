package httpcache

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"freshet/internal/header"
)

func TestTags(t *testing.T) {
	t.Parallel()
	many := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprint("k", i))
		}
		return list
	}
	long := strings.Repeat("x", MaxTagLength)
	for _, tc := range []struct {
		name   string
		fields []string
		want   []string
		all    bool
	}{
		{"none", nil, nil, false},
		{"between spaces", []string{"Surrogate-Key", "a  b\tc,d"}, []string{"a", "b", "c,d"}, false},
		{"between commas", []string{"Cache-Tag", "a, b c ,,d"}, []string{"a", "b c", "d"}, false},
		{"between either", []string{"xkey", "a, b c"}, []string{"a", "b", "c"}, false},
		{"of several lines and fields, each once", []string{"xkey", "a", "Cache-Tag", "b,a", "surrogate-key", "c", "Surrogate-Key", "A c"}, []string{"c", "A", "b", "a"}, false},
		{"as many as there may be", []string{"Surrogate-Key", strings.Join(many(MaxTags), " ")}, many(MaxTags), false},
		{"one more", []string{"Surrogate-Key", strings.Join(many(MaxTags+1), " ")}, many(MaxTags), true},
		{"as long as it may be", []string{"xkey", long}, []string{long}, false},
		{"longer", []string{"xkey", "a " + long + "x b"}, []string{"a"}, true},
	} {
		h := new(header.Block)
		for i := 0; i < len(tc.fields); i += 2 {
			if err := h.Add(tc.fields[i], tc.fields[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if got, all := Tags(h); !slices.Equal(got, tc.want) || all != tc.all {
			t.Errorf("%s: %q, %t", tc.name, got, all)
		}
	}
}

// FuzzTags: whatever a field has, what is made of it is bounded and of what stands there.
func FuzzTags(f *testing.F) {
	f.Add("a b", "a,b", "a, b")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		h := new(header.Block)
		for i, v := range []string{a, b, c} {
			if h.Add(TagFields[i], v) != nil {
				return
			}
		}
		tags, _ := Tags(h)
		if len(tags) > MaxTags {
			t.Fatalf("%d tags", len(tags))
		}
		for i, tag := range tags {
			if tag == "" || len(tag) > MaxTagLength || slices.Contains(tags[:i], tag) || !strings.Contains(a+" "+b+" "+c, tag) {
				t.Fatalf("%q of %q, %q, %q", tags, a, b, c)
			}
		}
	})
}
