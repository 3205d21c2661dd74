package site

import (
	"fmt"
	"slices"
	"testing"
)

func doc(name string, hosts ...string) *Document { return &Document{Site: name, Hosts: hosts} }

func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(7, []*Document{
		doc("wild", "*.example.com", "*.deep.example.com"),
		doc("exact", "www.example.com", "example.com"),
		doc("all", "*"),
		doc("zcopy", "www.example.com", "*.example.com", "*", "z.example.net"),
	})
	tests := []struct{ host, want string }{
		{"www.example.com", "exact"},
		{"example.com", "exact"},
		{"img.example.com", "wild"},
		{"a.b.example.com", "wild"},
		{"a.deep.example.com", "wild"},
		{"deep.example.com", "wild"},
		{"z.example.net", "zcopy"},
		{"example.org", "all"},
		{"com", "all"},
		{"", "all"},
		{".", "all"},
		{"..", "all"},
		{".example.com", "wild"},
	}
	for _, tt := range tests {
		if got := s.ByHost(tt.host); got == nil || got.Site != tt.want {
			t.Errorf("ByHost(%q) = %v, want %s", tt.host, got, tt.want)
		}
	}
	var names []string
	for _, d := range s.Sites() {
		names = append(names, d.Site)
	}
	if !slices.Equal(names, []string{"all", "exact", "wild", "zcopy"}) {
		t.Errorf("sites %v", names)
	}
	if s.Version() != 7 || s.ByName("wild").Site != "wild" || s.ByName("none") != nil {
		t.Error("Version or ByName is wrong")
	}
}

func TestSnapshotLongestSuffix(t *testing.T) {
	t.Parallel()
	s := NewSnapshot(1, []*Document{doc("a", "*.example.com"), doc("b", "*.img.example.com")})
	for host, want := range map[string]string{"x.example.com": "a", "x.img.example.com": "b", "x.y.img.example.com": "b", "img.example.com": "a"} {
		if got := s.ByHost(host); got == nil || got.Site != want {
			t.Errorf("ByHost(%q) = %v, want %s", host, got, want)
		}
	}
	for _, host := range []string{"example.com", "com", "xexample.com", ""} {
		if got := s.ByHost(host); got != nil {
			t.Errorf("ByHost(%q) = %v, want nil", host, got)
		}
	}
	if NewSnapshot(1, nil).ByHost("a.b") != nil {
		t.Error("an empty snapshot finds something")
	}
}

func TestSnapshotOfOneNameTwice(t *testing.T) {
	t.Parallel()
	later := doc("a", "new")
	s := NewSnapshot(1, []*Document{doc("a", "old"), later})
	if s.ByName("a") != later || s.ByHost("old") != nil || s.ByHost("new") != later || len(s.Sites()) != 1 {
		t.Error("the later document does not count")
	}
}

func TestByHostDoesNotAllocate(t *testing.T) {
	s := NewSnapshot(1, []*Document{doc("a", "www.example.com", "*.example.com", "*")})
	for _, host := range []string{"www.example.com", "a.b.example.com", "other.example"} {
		if n := testing.AllocsPerRun(100, func() { s.ByHost(host) }); n != 0 {
			t.Errorf("ByHost(%q) allocates %v times", host, n)
		}
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		docs []*Document
		want string
	}{
		{"none", []*Document{doc("a", "x", "*.x"), doc("b", "y", "*.y", "*")}, ""},
		{"no documents", nil, ""},
		{"exact beside wildcard", []*Document{doc("a", "*.x"), doc("b", "w.x")}, ""},
		{"host", []*Document{doc("b", "x", "*"), doc("a", "y", "x"), doc("c", "*")},
			"host x of site b belongs to site a already\nhost * of site c belongs to site b already"},
		{"name", []*Document{doc("a", "x"), doc("a", "x")}, "two documents are of site a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := Conflicts(tt.docs); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func BenchmarkByHost(b *testing.B) {
	docs := make([]*Document, 10_000)
	for i := range docs {
		docs[i] = doc(fmt.Sprintf("s%d", i), fmt.Sprintf("www%d.example.com", i), fmt.Sprintf("*.s%d.example.com", i))
	}
	s := NewSnapshot(1, docs)
	for _, host := range []string{"www77.example.com", "a.b.s77.example.com"} {
		b.Run(host, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s.ByHost(host) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}
