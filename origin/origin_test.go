package origin

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"

	"freshet/origin/object"
)

func decode[T any](t *testing.T, a answerOf) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	return v
}

func TestObjectLife(t *testing.T) {
	o := start(t)
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

	a := o.put("/a/index.html", "<p>one").want(t, 201)
	if got := decode[object.Put](t, a); got.Site != "demo" || got.Path != "/a/index.html" || got.Size != 6 ||
		got.Digest.String() != sum("<p>one") || !got.Changed {
		t.Fatalf("PUT said %+v", got)
	}
	if got := a.Header.Get("Location"); got != "/v1/sites/demo/objects/a/index.html" {
		t.Errorf("Location %q", got)
	}
	first := o.do("GET", "demo.test", "/a/index.html", "").want(t, 200)
	if first.body != "<p>one" || first.Header.Get("Content-Type") != "text/html; charset=utf-8" || first.ContentLength != 6 ||
		first.Header.Get("Last-Modified") == "" || first.Header.Get("Etag") != a.Header.Get("Etag") {
		t.Fatalf("served %q %v", first.body, first.Header)
	}
	if got := o.do("GET", "www.demo.test:8080", "/a/", "").want(t, 200); got.body != "<p>one" {
		t.Fatalf("the index of a directory is %q", got.body)
	}

	if got := decode[object.Put](t, o.put("/a/index.html", "<p>one").want(t, 200)); got.Changed {
		t.Fatal("the same content again counts as changed")
	}
	if got := decode[object.Put](t, o.put("/a/index.html", "<p>two").want(t, 200)); !got.Changed {
		t.Fatal("other content does not count as changed")
	}
	second := o.do("GET", "demo.test", "/a/index.html", "").want(t, 200)
	if second.body != "<p>two" || second.Header.Get("Etag") == first.Header.Get("Etag") {
		t.Fatalf("served %q %v", second.body, second.Header)
	}

	o.do("DELETE", "", "/v1/sites/demo/objects/a/index.html", "").want(t, 204)
	o.do("DELETE", "", "/v1/sites/demo/objects/a/index.html", "").want(t, 404)
	gone := o.do("GET", "demo.test", "/a/index.html", "").want(t, 404)
	if gone.Header.Get("Cache-Control") != cacheShort {
		t.Errorf("a missing object has Cache-Control %q", gone.Header.Get("Cache-Control"))
	}
}
