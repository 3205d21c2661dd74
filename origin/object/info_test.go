package object

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"
)

func TestETagCoversWhatIsServed(t *testing.T) {
	base := Info{Path: "/a", Digest: sha256.Sum256([]byte("x")), ContentType: "text/plain", Headers: map[string]string{"Surrogate-Key": "a"}}
	tag := base.ETag()
	if !strings.HasPrefix(tag, `"`) || !strings.HasSuffix(tag, `"`) || strings.ContainsAny(tag, ", \\") {
		t.Fatalf("the tag is %s", tag)
	}
	later := base
	later.Modified = time.Now()
	if later.ETag() != tag || !later.Same(base) {
		t.Error("the time alone makes another object")
	}
	for name, change := range map[string]func(*Info){
		"content":      func(i *Info) { i.Digest = sha256.Sum256([]byte("y")) },
		"content type": func(i *Info) { i.ContentType = "text/css" },
		"header":       func(i *Info) { i.Headers = map[string]string{"Surrogate-Key": "b"} },
		"no header":    func(i *Info) { i.Headers = nil },
	} {
		other := base
		change(&other)
		if other.ETag() == tag || other.Same(base) {
			t.Errorf("another %s makes no other object", name)
		}
	}
}

func TestCacheControl(t *testing.T) {
	for path, want := range map[string]string{
		"/index.html":                            cacheDefault,
		"/app.js":                                cacheDefault,
		"/app.3f9a1c2b.js":                       cacheImmutable,
		"/app-3f9a1c2b77.css":                    cacheImmutable,
		"/a/logo.0123456789abcdef0123.PNG":       cacheImmutable,
		"/chunk.3f9a1c2b.js.map":                 cacheDefault, // the hash is not before the extension
		"/app.3f9a1c2.js":                        cacheDefault, // seven digits
		"/app.3F9A1C2B.js":                       cacheDefault, // bundlers write lower case
		"/app.20260102.js":                       cacheDefault, // a date
		"/app.deadbeef.js":                       cacheDefault, // a word, as likely as not
		"/app.facade12x.js":                      cacheDefault,
		"/3f9a1c2b.js":                           cacheDefault, // nothing but the hash: an id, as likely as not
		"/3f9a1c2b/app.js":                       cacheDefault,
		"/report-3f9a1c2b.pdf":                   cacheDefault, // no bundler's
		"/page.3f9a1c2b.html":                    cacheDefault,
		"/x." + strings.Repeat("a1", 33) + ".js": cacheDefault,
	} {
		if got := (Info{Path: path}).CacheControl(); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	given := Info{Path: "/app.3f9a1c2b.js", Headers: map[string]string{"Cache-Control": "no-store"}}
	if got := given.CacheControl(); got != "no-store" {
		t.Errorf("what is given does not win: %q", got)
	}
}

func TestContentTypeFor(t *testing.T) {
	for path, want := range map[string]string{
		"/a.html": "text/html; charset=utf-8", "/a.JS": "text/javascript; charset=utf-8", "/a.tar.gz": "application/gzip",
		"/a.b/c": "", "/a": "", "/a.": "", "/a.unheardof": "",
	} {
		if got := ContentTypeFor(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for ext := range contentTypes {
		if ext != strings.ToLower(ext) || strings.Contains(ext, ".") {
			t.Errorf("the extension %q is never found", ext)
		}
	}
}
