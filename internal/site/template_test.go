package site

import (
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	t.Parallel()
	values := &Values{Captures: []string{"one", "two"}, Path: "/p", Query: "?q", Host: "h:1"}
	tests := []struct {
		text, want string
		groups     int
	}{
		{"", "", 0},
		{"/plain", "/plain", 0},
		{"/$1/$2", "/one/two", 2},
		{"/$12", "/one2", 1},
		{"/${1}2", "/one2", 1},
		{"/${12}", "/", 12},
		{"$2$1", "twoone", 2},
		{"$$1", "$1", 0},
		{"${path}${query}", "/p?q", 0},
		{"https://${host}/", "https://h:1/", 0},
	}
	for _, tt := range tests {
		tpl, err := CompileTemplate(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if got := string(tpl.Append(nil, values)); got != tt.want || tpl.Groups() != tt.groups {
			t.Errorf("%q gives %q with %d groups, want %q with %d", tt.text, got, tpl.Groups(), tt.want, tt.groups)
		}
	}
	for _, text := range []string{"$", "a$", "$0", "${0}", "${100}", "${-1}", "${}", "${1", "${Path}", "$a", strings.Repeat("$1", 17), strings.Repeat("a", MaxPattern+1)} {
		if _, err := CompileTemplate(text); err == nil {
			t.Errorf("%.20q passes", text)
		}
	}
}

// FuzzTemplate: dollars doubled stand for themselves, and what a template makes is
// not much longer than what it is made of.
func FuzzTemplate(f *testing.F) {
	f.Add("/$1${path}$$", "capture")
	f.Fuzz(func(t *testing.T, text, capture string) {
		if tpl, err := CompileTemplate(strings.ReplaceAll(text, "$", "$$")); err == nil {
			if got := string(tpl.Append(nil, &Values{})); got != text {
				t.Fatalf("%q gives %q", text, got)
			}
		}
		tpl, err := CompileTemplate(text)
		if err != nil {
			return
		}
		got := tpl.Append(nil, &Values{Captures: []string{capture}, Path: capture, Query: capture, Host: capture})
		if len(got) > len(text)+maxPlaceholders*len(capture) {
			t.Fatalf("%q with %q gives %d bytes", text, capture, len(got))
		}
	})
}
