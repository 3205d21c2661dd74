package httpcache

import (
	"net/url"
	"strings"
	"testing"
)

// RFC 3986 §5.4.1 and §5.4.2, the targets of the examples there, against
// http://a/b/c/d;p?q.
func TestReferenceResolution(t *testing.T) {
	for ref, want := range map[string]string{
		"g": "/b/c/g", "./g": "/b/c/g", "g/": "/b/c/g/", "/g": "/g", "//a/g": "/g", "?y": "/b/c/d;p?y", "g?y": "/b/c/g?y",
		"#s": "/b/c/d;p?q", "g#s": "/b/c/g", "g?y#s": "/b/c/g?y", ";x": "/b/c/;x", "g;x": "/b/c/g;x", "g;x?y#s": "/b/c/g;x?y",
		".": "/b/c/", "./": "/b/c/", "..": "/b/", "../": "/b/", "../g": "/b/g", "../..": "/", "../../": "/", "../../g": "/g",
		"../../../g": "/g", "../../../../g": "/g", "/./g": "/g", "/../g": "/g", "g.": "/b/c/g.", ".g": "/b/c/.g", "g..": "/b/c/g..", "..g": "/b/c/..g",
		"./../g": "/b/g", "./g/.": "/b/c/g/", "g/./h": "/b/c/g/h", "g/../h": "/b/c/h", "g;x=1/./y": "/b/c/g;x=1/y", "g;x=1/../y": "/b/c/y",
		"g?y/./x": "/b/c/g?y/./x", "g?y/../x": "/b/c/g?y/../x", "http://a": "/", "http://a?x": "/?x", "http://a/": "/", "HTTP://A:80/x": "/x", "//a:/x": "/x",
		"/a%2Fb/{c}/\xc3\xa9": "/a%2Fb/{c}/\xc3\xa9", "1:2": "/b/c/1:2", "./x:y": "/b/c/x:y", "?": "/b/c/d;p?", "//a//x": "//x",
	} {
		if got, ok := resolveSameOrigin("http", "a", "/b/c/d;p?q", ref); !ok || got != want {
			t.Errorf("%q is %q, %v; want %q", ref, got, ok, want)
		}
	}
	for _, ref := range []string{"", "http://b/g", "https://a/g", "//b/g", "http://a:81/g", "//a:443/g", "http:g", "mailto:x@a", "g:h", "http://user@a/g", "//x@a/g", "//a@b/g", "javascript:alert(1)"} {
		if got, ok := resolveSameOrigin("http", "a", "/b/c/d;p?q", ref); ok {
			t.Errorf("%q is taken as %q of the same origin", ref, got)
		}
	}
}

func TestInvalidated(t *testing.T) {
	for _, tc := range []struct {
		name   string
		method string
		status int
		lines  []string
		want   string
	}{
		{"§4.4: the target", "POST", 200, nil, "/a/b?c"},
		{"§4.4: '(including methods whose safety is unknown)'", "FROB", 204, nil, "/a/b?c"},
		{"§4.4: 3xx is no error", "PUT", 303, nil, "/a/b?c"},
		{"§4.4: an error changes nothing", "DELETE", 404, nil, ""},
		{"§4.4: an error of the origin neither", "DELETE", 500, nil, ""},
		{"interim", "DELETE", 103, nil, ""},
		{"RFC 9110 §9.2.1: GET is safe", "GET", 200, []string{"Location: /x"}, ""},
		{"RFC 9110 §9.2.1: HEAD is safe", "HEAD", 200, nil, ""},
		{"RFC 9110 §9.2.1: OPTIONS is safe", "OPTIONS", 200, nil, ""},
		{"methods are case-sensitive", "get", 200, nil, "/a/b?c"},
		{"§4.4: Location and Content-Location", "POST", 201, []string{"Location: /x?y", "Content-Location: z"}, "/a/b?c /x?y /a/z"},
		{"the same again", "POST", 201, []string{"Location: /a/b?c", "Content-Location: /a/b?c"}, "/a/b?c"},
		{"§4.4: not of another origin", "POST", 201, []string{"Location: https://other.example/x", "Content-Location: http://a.example/x"}, "/a/b?c"},
		{"of the same origin, spelled out", "POST", 201, []string{"Location: https://A.example:443/x#y"}, "/a/b?c /x"},
		{"two Location fields are none", "POST", 201, []string{"Location: /x", "Location: /y"}, "/a/b?c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Invalidated(tc.method, "https", "a.example", "/a/b?c", tc.status, fields(t, tc.lines...))
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// FuzzReference: what is of the same origin for us is so for the standard library
// too, and what comes out is a target without dot segments.
func FuzzReference(f *testing.F) {
	f.Add("../x/./y?z#w")
	f.Add("HTTPS://A.Example:443/..//b")
	f.Add("//user@a.example/")
	f.Add("https:\\\\a.example/x")
	f.Fuzz(func(t *testing.T, ref string) {
		got, ok := resolveSameOrigin("https", "a.example", "/a/b?c", ref)
		if !ok {
			return
		}
		if got == "" || got[0] != '/' || strings.Contains(got, "#") {
			t.Fatalf("%q is %q", ref, got)
		}
		path, _, _ := strings.Cut(got, "?")
		for segment := range strings.SplitSeq(path, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q is %q", ref, got)
			}
		}
		base := &url.URL{Scheme: "https", Host: "a.example", Path: "/a/b", RawQuery: "c"}
		if u, err := base.Parse(ref); err == nil && (u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "a.example") || u.User != nil) {
			t.Fatalf("%q is %q, but the standard library says %v", ref, got, u)
		}
	})
}
