package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// condition is a conditional request of a client, and whether it is to be answered
// with 304 where the response has the ETag "v1" and was modified at modified.
type condition struct {
	name string
	head []string
	want int
}

func conditionsOn(modified time.Time) []condition {
	at := func(d time.Duration) string { return modified.Add(d).Format(http.TimeFormat) }
	return []condition{
		{"same tag", []string{`If-None-Match: "v1"`}, 304},
		{"same tag, weak", []string{`If-None-Match: W/"v1"`}, 304},
		{"in a list", []string{`If-None-Match: "v0", W/"v1" , "v2"`}, 304},
		{"in several lines", []string{`If-None-Match: "v0"`, `If-None-Match: "v1"`}, 304},
		{"star", []string{"If-None-Match: *"}, 304},
		{"other tag", []string{`If-None-Match: "v2"`}, 200},
		{"no tag at all", []string{"If-None-Match: v1"}, 200},
		{"tag with a comma", []string{`If-None-Match: "v0, v1"`}, 200},
		{"modified since", []string{"If-Modified-Since: " + at(-time.Hour)}, 200},
		{"not modified since", []string{"If-Modified-Since: " + at(0)}, 304},
		{"not modified since later", []string{"If-Modified-Since: " + at(time.Hour)}, 304},
		{"a tag hides a date", []string{`If-None-Match: "v2"`, "If-Modified-Since: " + at(time.Hour)}, 200},
		{"unreadable date", []string{"If-Modified-Since: yesterday"}, 200},
		{"If-Match holds", []string{`If-Match: "v1"`}, 200},
		{"If-Match star", []string{"If-Match: *"}, 200},
		{"If-Unmodified-Since holds", []string{"If-Unmodified-Since: " + at(0)}, 200},
	}
}

// wantCondition checks an answer to a conditional request for "content".
func wantCondition(t *testing.T, a answer, want int) {
	t.Helper()
	if a.status != want {
		t.Errorf("got %d, want %d: %v", a.status, want, a.header)
		return
	}
	if want == 200 && a.body != "content" {
		t.Errorf("body %q", a.body)
	}
	if want != 304 {
		return
	}
	if a.body != "" {
		t.Errorf("a 304 with the body %q", a.body)
	}
	// RFC 9110 §15.4.5: these where the 200 has them; nothing else about the content.
	for _, name := range []string{"Cache-Control", "Date", "ETag", "Vary", "Content-Location", "Expires"} {
		if a.header.Get(name) == "" {
			t.Errorf("the 304 has no %s: %v", name, a.header)
		}
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Language", "Last-Modified", "Content-Encoding"} {
		if a.header.Get(name) != "" {
			t.Errorf("the 304 has %s: %v", name, a.header)
		}
	}
}

func conditional(cc string, modified time.Time) http.HandlerFunc {
	return fields("content", "Cache-Control: "+cc, `ETag: "v1"`, "Last-Modified: "+modified.Format(http.TimeFormat),
		"Vary: Accept-Language", "Content-Location: /there", "Content-Language: de", "Content-Type: text/x",
		"Expires: "+modified.Add(1000*time.Hour).Format(http.TimeFormat))
}

// Conditions are answered here, alike from what is stored, from a fill, and for what
// is not to be stored; the origin sees none of them (RFC 9111 §4.3.2).
func TestClientsConditions(t *testing.T) {
	modified := time.Now().Add(-240 * time.Hour).UTC().Truncate(time.Second)
	for _, from := range []struct{ name, cc string }{
		{"hit", "max-age=60"}, {"miss", "max-age=60"}, {"uncacheable", "no-store"}, {"private", "private, max-age=60"},
	} {
		t.Run(from.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				for name := range r.Header {
					if strings.HasPrefix(name, "If-") {
						t.Errorf("the origin got %s", name)
					}
				}
				conditional(from.cc, modified)(w, r)
			})
			url, _ := startLone(t, o.URL)
			for i, tc := range conditionsOn(modified) {
				t.Run(tc.name, func(t *testing.T) {
					for _, method := range []string{"GET", "HEAD"} {
						target := fmt.Sprintf("%s/%s%d", url, method, i)
						if from.name == "hit" {
							get(t, target)
						}
						a := do(t, method, target, nil, tc.head...)
						if method == "HEAD" && a.status == 200 {
							a.body = "content"
						}
						wantCondition(t, a, tc.want)
					}
				})
			}
		})
	}
}

// A miss that is still arriving answers 304 from its head alone.
func TestAConditionIsAnsweredBeforeTheBody(t *testing.T) {
	modified := time.Now().Add(-240 * time.Hour).UTC().Truncate(time.Second)
	release := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "7")
		conditional("max-age=60", modified)(flushed{w}, r)
		<-release
		fmt.Fprint(w, "content")
	})
	url, _ := startLone(t, o.URL)
	wantCondition(t, get(t, url+"/a", `If-None-Match: "v1"`), 304) // the one who asks first
	wantCondition(t, get(t, url+"/a", "If-Modified-Since: "+modified.Format(http.TimeFormat)), 304)
	close(release)
	if a := get(t, url+"/a", `If-None-Match: "v2"`); a.status != 200 || a.body != "content" {
		t.Errorf("got %d %q", a.status, a.body)
	}
	if n := o.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
}

// flushed sends the head alone.
type flushed struct{ http.ResponseWriter }

func (f flushed) Write(p []byte) (int, error) {
	f.ResponseWriter.(http.Flusher).Flush()
	return len(p), nil
}

// Only the origin may say that a precondition failed (RFC 9111 §4.3.2): it gets the
// request as the client sent it, and the client its answer.
func TestFailedPreconditionsAreTheOriginsToJudge(t *testing.T) {
	modified := time.Now().Add(-240 * time.Hour).UTC().Truncate(time.Second)
	for _, tc := range []struct{ name, head string }{
		{"If-Match", `If-Match: "v0"`},
		{"weak If-Match", `If-Match: W/"v1"`},
		{"If-Unmodified-Since", "If-Unmodified-Since: " + modified.Add(-time.Hour).Format(http.TimeFormat)},
	} {
		for _, stored := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stored %t", tc.name, stored), func(t *testing.T) {
				o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
					if name, value, _ := strings.Cut(tc.head, ": "); r.Header.Get(name) == value {
						w.WriteHeader(412)
						return
					}
					conditional("max-age=60", modified)(w, r)
				})
				url, _ := startLone(t, o.URL)
				if stored {
					get(t, url+"/a")
				}
				if a := get(t, url+"/a", tc.head); a.status != 412 {
					t.Errorf("got %d", a.status)
				}
				if a := get(t, url+"/a"); a.status != 200 || a.body != "content" {
					t.Errorf("then %d %q", a.status, a.body)
				}
			})
		}
	}
}

// An origin that does not know If-Match answers with what it has: so it be.
func TestAnOriginThatIgnoresIfMatch(t *testing.T) {
	for _, cc := range []string{"max-age=60", "no-store"} {
		t.Run(cc, func(t *testing.T) {
			o := startOrigin(t, fields("content", "Cache-Control: "+cc, `ETag: "v1"`))
			url, _ := startLone(t, o.URL)
			if a := get(t, url+"/a", `If-Match: "v0"`); a.status != 200 || a.body != "content" {
				t.Errorf("got %d %q", a.status, a.body)
			}
			if n := o.asked.Load(); n != 2 {
				t.Errorf("the origin was asked %d times, want 2", n)
			}
		})
	}
}

// What is stored is validated by its own validators, whatever the client's are.
func TestAClientsConditionIsNotTheCaches(t *testing.T) {
	url, v, _ := startValidated(t, fields("content", "Cache-Control: max-age=0", `ETag: "v1"`), answers(304, "", "Cache-Control: max-age=0", `ETag: "v1"`))
	get(t, url+"/a")
	if a := get(t, url+"/a", `If-None-Match: "mine"`); a.status != 200 || a.body != "content" {
		t.Errorf("client with another copy: %d %q", a.status, a.body)
	}
	if a := get(t, url+"/a", `If-None-Match: "v1"`); a.status != 304 {
		t.Errorf("client with the same copy: %d", a.status)
	}
	for _, got := range v.seen()[1:] {
		if got != `"v1" | ` {
			t.Errorf("the origin was asked with %q", got)
		}
	}
}

// A status other than 2xx has no conditions (RFC 9110 §13.2.1).
func TestErrorsHaveNoConditions(t *testing.T) {
	o := startOrigin(t, answers(404, "none", "Cache-Control: max-age=60", `ETag: "v1"`))
	url, _ := startLone(t, o.URL)
	for range 2 {
		if a := get(t, url+"/a", `If-None-Match: "v1"`, `If-Match: "v2"`); a.status != 404 || a.body != "none" {
			t.Errorf("got %d %q", a.status, a.body)
		}
	}
}

// The conditions of a request that is passed on belong to it.
func TestConditionsPassWithWhatIsPassedOn(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Header.Get("If-Match"), r.Header.Get("If-None-Match"))
	})
	url, _ := startLone(t, o.URL)
	if a := do(t, "PUT", url+"/a", strings.NewReader("x"), `If-Match: "1"`); a.body != `"1"` {
		t.Errorf("PUT: the origin got %q", a.body)
	}
	if a := do(t, "PUT", url+"/a", strings.NewReader("x"), "If-None-Match: *"); a.body != "*" {
		t.Errorf("PUT: the origin got %q", a.body)
	}
}
