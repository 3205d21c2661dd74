package object

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParsePath(t *testing.T) {
	good := map[string]struct{ escaped, path string }{
		"plain":           {"/a/b.css", "/a/b.css"},
		"hidden":          {"/.well-known/x", "/.well-known/x"},
		"three dots":      {"/...", "/..."},
		"space":           {"/a%20b", "/a b"},
		"plus is a plus":  {"/a+b", "/a+b"},
		"decoded once":    {"/%2520", "/%20"},
		"encoded percent": {"/100%25", "/100%"},
		"question mark":   {"/a%3Fb", "/a?b"},
		"unicode":         {"/%C3%BCber", "/über"},
		"raw unicode":     {"/über", "/über"},
		"longest":         {"/" + strings.Repeat("a", MaxPath-1), "/" + strings.Repeat("a", MaxPath-1)},
		"longest encoded": {"/" + strings.Repeat("%61", MaxPath-1), "/" + strings.Repeat("a", MaxPath-1)},
	}
	for name, tt := range good {
		t.Run(name, func(t *testing.T) {
			path, err := ParsePath(tt.escaped)
			if err != nil || path != tt.path {
				t.Fatalf("ParsePath(%q) = %q, %v; want %q", tt.escaped, path, err, tt.path)
			}
		})
	}
	bad := map[string]string{
		"empty":             "",
		"root":              "/",
		"relative":          "a",
		"trailing slash":    "/a/",
		"double slash":      "/a//b",
		"leading double":    "//a",
		"dot":               "/a/./b",
		"dot dot":           "/a/../b",
		"encoded dot dot":   "/a/%2e%2E/b",
		"final dot dot":     "/a/..",
		"encoded slash":     "/a%2Fb",
		"encoded slash, lc": "/..%2f..",
		"backslash":         `/a\b`,
		"encoded backslash": "/a%5c..",
		"nul":               "/a%00b",
		"newline":           "/a%0Ab",
		"delete":            "/a%7F",
		"C1 control":        "/a%C2%85b",
		"not UTF-8":         "/a%ff",
		"overlong dot":      "/%c0%ae%c0%ae/x",
		"bad escape":        "/a%zz",
		"cut escape":        "/a%2",
		"too long":          "/" + strings.Repeat("a", MaxPath),
		"far too long":      "/" + strings.Repeat("%61", 10*MaxPath),
	}
	for name, escaped := range bad {
		t.Run("refused: "+name, func(t *testing.T) {
			if path, err := ParsePath(escaped); !errors.Is(err, ErrPath) || path != "" {
				t.Fatalf("ParsePath(%q) = %q, %v; want ErrPath", escaped, path, err)
			}
		})
	}
}

func TestEscapePath(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b-c_d.e~f":         "/a/b-c_d.e~f",
		"/!$&'()*+,;=:@":       "/!$&'()*+,;=:@",
		"/a b%20?#[]^|\"<>`{}": "/a%20b%2520%3F%23%5B%5D%5E%7C%22%3C%3E%60%7B%7D",
		"/über/日本":             "/%C3%BCber/%E6%97%A5%E6%9C%AC",
	} {
		got := EscapePath(path)
		if got != want {
			t.Errorf("EscapePath(%q) = %q, want %q", path, got, want)
		}
		u := url.URL{Path: path, RawPath: got}
		if u.EscapedPath() != got {
			t.Errorf("net/url spells %q as %q", got, u.EscapedPath())
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/a/b.css", "/%2e%2e/x", "/a%2fb", "/%00", "/ü", "//", "/a/../b", `/\`, "/%c0%ae", "/100%25"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		path, err := ParsePath(escaped)
		if err != nil {
			if !errors.Is(err, ErrPath) || path != "" {
				t.Fatalf("ParsePath(%q) = %q, %v", escaped, path, err)
			}
			return
		}
		if len(path) < 2 || len(path) > MaxPath || path[0] != '/' || path[len(path)-1] == '/' {
			t.Fatalf("ParsePath(%q) accepted %q", escaped, path)
		}
		for segment := range strings.SplitSeq(path[1:], "/") {
			if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "\\\x00\r\n\t\x7f") {
				t.Fatalf("ParsePath(%q) accepted the segment %q", escaped, segment)
			}
		}
		if again, err := ParsePath(EscapePath(path)); err != nil || again != path {
			t.Fatalf("%q escaped and parsed again is %q, %v", path, again, err)
		}
	})
}
