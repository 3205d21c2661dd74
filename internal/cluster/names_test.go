package cluster

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestUnder(t *testing.T) {
	tests := []struct {
		prefix, want string
		err          error
	}{
		{"", "", nil},
		{"/", "", nil},
		{"a", "a/", nil},
		{"a/b/", "a/b/", nil},
		{"a//", "", ErrInvalid},
		{"/a", "", ErrInvalid},
		{"a/../b", "", ErrInvalid},
	}
	for _, test := range tests {
		got, err := Under(test.prefix)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("Under(%q) = %q, %v, want %q, %v", test.prefix, got, err, test.want, test.err)
		}
	}
}

func TestReason(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"healthy", nil, ""},
		{"a reason", errors.New("disk: full"), "disk: full"},
		{"no text", errors.New(""), "not ready"},
		{"blank", errors.New(" \n"), "not ready"},
		{"not UTF-8", errors.New("a\xffb"), "a?b"},
		{"long", errors.New(strings.Repeat("a", 600)), strings.Repeat("a", 512)},
		{"cut within a letter", errors.New("a" + strings.Repeat("ü", 300)), "a" + strings.Repeat("ü", 255)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Reason(test.err)
			if got != test.want || !utf8.ValidString(got) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestVersions: whatever differs in a list, its version differs.
func TestVersions(t *testing.T) {
	lists := [][]Pair{
		nil,
		{{Key: "a", Value: []byte("b"), Version: 1}},
		{{Key: "a", Value: []byte("b"), Version: 2}},
		{{Key: "a", Value: []byte("c"), Version: 1}},
		{{Key: "ab", Version: 1}},
		{{Key: "a", Value: []byte("b"), Version: 1}, {Key: "b", Version: 1}},
	}
	seen := map[uint64]int{0: -1}
	for i, list := range lists {
		version := NewPairs(list).Version
		if before, twice := seen[version]; twice {
			t.Errorf("lists %d and %d have version %d", before, i, version)
		}
		seen[version] = i
	}
	nodes := [][]Node{
		{},
		{{Name: "a"}},
		{{Name: "a", Ready: true}},
		{{Name: "a", Reason: "b"}},
		{{Name: "a", PoP: "b"}},
		{{Name: "a", Region: "b"}},
		{{Name: "b"}, {Name: "a"}},
	}
	seen = map[uint64]int{0: -1}
	for i, list := range nodes {
		version := NewNodes(list).Version
		if before, twice := seen[version]; twice {
			t.Errorf("nodes %d and %d have version %d", before, i, version)
		}
		seen[version] = i
	}
	if NewNodes([]Node{{Name: "a"}, {Name: "b"}}).Version != NewNodes([]Node{{Name: "b"}, {Name: "a"}}).Version {
		t.Error("the order of a list changes its version")
	}
}

// FuzzDecode reads records that anybody with the store's credentials may have
// written.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"name":"demo","version":1,"text":"YQ==","at":"2026-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"name":"demo","version":2,"deleted":true}`))
	f.Add([]byte(`{"name":"other","version":-1}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		r, err := decode(Pair{Key: "sites/current/demo", Value: stored}, "demo")
		if err == nil && (r.Name != "demo" || r.Version < 1) {
			t.Errorf("read as %+v", r)
		}
	})
}

// FuzzOpen opens what is no secret of ours.
func FuzzOpen(f *testing.F) {
	s, err := NewSecrets(nil, []byte(strings.Repeat("k", minSecret)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, secretHead+gcmTagSize))
	f.Add(s.seal("another", []byte("x")))
	f.Fuzz(func(t *testing.T, stored []byte) {
		if secret, err := s.open("name", stored); err == nil {
			t.Errorf("opened as %q", secret)
		} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrOtherKey) {
			t.Errorf("error %v", err)
		}
	})
}
