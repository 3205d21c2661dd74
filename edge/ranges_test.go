package edge

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// alphabet is content in which every byte tells where it stands.
func alphabet(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%07d,", i)
	}
	return b.String()[:n]
}

// parts takes a multipart/byteranges answer apart: Content-Range to content.
func parts(t *testing.T, a answer) map[string]string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("Content-Type %q: %v", a.header.Get("Content-Type"), err)
	}
	got := map[string]string{}
	for r := multipart.NewReader(strings.NewReader(a.body), params["boundary"]); ; {
		p, err := r.NextPart()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Header.Get("Content-Type") != "text/x" {
			t.Errorf("part with Content-Type %q", p.Header.Get("Content-Type"))
		}
		got[p.Header.Get("Content-Range")] = string(text)
	}
}

// whole answers with all of a body, whatever range is asked for.
func whole(body string, header ...string) http.HandlerFunc {
	return fields(body, append(header, "Content-Type: text/x", "Content-Length: "+strconv.Itoa(len(body)))...)
}

var oneRange = []struct{ spec, contentRange string }{
	{"bytes=0-9", "bytes 0-9/3000"},
	{"bytes=100-199", "bytes 100-199/3000"},
	{"bytes=2990-", "bytes 2990-2999/3000"},
	{"bytes=-10", "bytes 2990-2999/3000"},
	{"bytes=-5000", "bytes 0-2999/3000"},
	{"bytes=2000-99999999999999999999", "bytes 2000-2999/3000"},
	{"bytes=0-0", "bytes 0-0/3000"},
	{"BYTES=5-6", "bytes 5-6/3000"},
	{"bytes=10-19, 15-29", "bytes 10-29/3000"},
}

// span is what a Content-Range says of body.
func span(t *testing.T, contentRange, body string) string {
	t.Helper()
	var first, last, size int
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size); err != nil || size != len(body) {
		t.Fatalf("Content-Range %q: %v", contentRange, err)
	}
	return body[first : last+1]
}

// RFC 9110 §14: a range is answered alike from what is stored, from a fill, and from
// what is not to be stored, by an origin that knows no ranges.
func TestOneRange(t *testing.T) {
	body := alphabet(3000)
	for _, from := range []struct{ name, cc string }{{"hit", "max-age=60"}, {"miss", "max-age=60"}, {"uncacheable", "no-store"}} {
		t.Run(from.name, func(t *testing.T) {
			o := startOrigin(t, whole(body, "Cache-Control: "+from.cc, `ETag: "1"`))
			url, _ := startLone(t, o.URL)
			for i, tc := range oneRange {
				target := fmt.Sprint(url, "/", i)
				if from.name == "hit" {
					get(t, target)
				}
				a := get(t, target, "Range: "+tc.spec)
				if a.status != 206 || a.header.Get("Content-Range") != tc.contentRange || a.body != span(t, tc.contentRange, body) ||
					a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) || a.header.Get("ETag") != `"1"` {
					t.Errorf("%s: %d %q, %v", tc.spec, a.status, a.body, a.header)
				}
			}
			for _, spec := range []string{"bytes=3000-", "bytes=9999-10000", "bytes=-0"} {
				get(t, url+"/416")
				a := get(t, url+"/416", "Range: "+spec)
				if a.status != 416 || a.header.Get("Content-Range") != "bytes */3000" || a.body != "" || a.header.Get("Content-Type") != "" {
					t.Errorf("%s: %d %q, %v", spec, a.status, a.body, a.header)
				}
			}
			for _, spec := range []string{"bytes=9-1", "bytes=", "bytes=a-b", "lines=1-2", "bytes 1-2", "bytes=1-2-3"} {
				if a := get(t, url+"/ignored", "Range: "+spec); a.status != 200 || a.body != body {
					t.Errorf("%s: %d, %d bytes, want the whole", spec, a.status, len(a.body))
				}
			}
			a := do(t, "HEAD", url+"/head", nil, "Range: bytes=0-9")
			if a.status != 200 || a.header.Get("Content-Length") != "3000" || a.header.Get("Content-Range") != "" {
				t.Errorf("HEAD: %+v", a)
			}
		})
	}
}

func TestSeveralRanges(t *testing.T) {
	body := alphabet(3000)
	o := startOrigin(t, whole(body, "Cache-Control: max-age=60", `ETag: "1"`))
	url, _ := startLone(t, o.URL)
	for _, state := range []string{"miss", "hit"} {
		a := get(t, url+"/a", "Range: bytes=1000-1009, 0-9, -10, 5000-")
		switch {
		case a.status == 200 && state == "miss" && a.body == body: // the whole is as good (RFC 9110 §14.2)
		case a.status != 206 || a.header.Get("Content-Range") != "" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)):
			t.Errorf("%s: %d, %v", state, a.status, a.header)
		default:
			got := parts(t, a)
			if len(got) != 3 {
				t.Errorf("%s: parts %v, want 3", state, got)
			}
			for contentRange, text := range got {
				if text != span(t, contentRange, body) {
					t.Errorf("%s: part %s is %q", state, contentRange, text)
				}
			}
		}
	}
}

// However many ranges are asked for, what is sent is no more than the whole, but for
// a head (CVE-2011-3192 and its kin).
func TestManyRangesDoNotAmplify(t *testing.T) {
	const size = 100_000
	body := alphabet(size)
	o := startOrigin(t, whole(body, "Cache-Control: max-age=60", `ETag: "1"`))
	url, _ := startLone(t, o.URL)
	get(t, url+"/a")
	spec := func(n int, one func(i int) string) string {
		ranges := make([]string, n)
		for i := range ranges {
			ranges[i] = one(i)
		}
		return "Range: bytes=" + strings.Join(ranges, ",")
	}
	asked := o.asked.Load()
	for name, header := range map[string]string{
		"all of it":      spec(1000, func(int) string { return "0-" }),
		"overlapping":    spec(1000, func(i int) string { return fmt.Sprintf("%d-", i) }),
		"one byte each":  spec(1000, func(i int) string { return fmt.Sprintf("%d-%d", 2*i, 2*i) }),
		"the same":       spec(30, func(int) string { return "5-99000" }),
		"falling":        spec(30, func(i int) string { return fmt.Sprintf("%d-%d", 99000-i*3000, 99000-i*3000+2000) }),
		"many suffixes":  spec(30, func(i int) string { return fmt.Sprintf("-%d", size-i) }),
		"apart, at most": spec(32, func(i int) string { return fmt.Sprintf("%d-%d", i*3000, i*3000+2900) }),
	} {
		if a := get(t, url+"/a", header); a.status != 200 && a.status != 206 || len(a.body) > size {
			t.Errorf("%s: %d with %d bytes of %d", name, a.status, len(a.body), size)
		}
	}
	if n := o.asked.Load(); n != asked {
		t.Errorf("the origin was asked %d times more", n-asked)
	}
}

// RFC 9110 §13.1.5: the range if the client's part is of this response, else the whole.
func TestIfRange(t *testing.T) {
	body := alphabet(3000)
	old, recent := ago(240*time.Hour), ago(0)
	for _, tc := range []struct {
		name, modified, ifRange string
		want                    int
	}{
		{"same tag", old, `"1"`, 206},
		{"other tag", old, `"2"`, 200},
		{"weak tag", old, `W/"1"`, 200},
		{"same date", old, old, 206},
		{"later date", old, ago(time.Hour), 200},
		{"date too young to be strong", recent, recent, 200},
		{"nonsense", old, "x", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, whole(body, "Cache-Control: max-age=60", `ETag: "1"`, "Last-Modified: "+tc.modified))
			url, _ := startLone(t, o.URL)
			for _, state := range []string{"miss", "hit"} {
				a := get(t, url+"/a", "Range: bytes=0-9", "If-Range: "+tc.ifRange)
				if a.status != tc.want || tc.want == 206 && a.body != body[:10] || tc.want == 200 && a.body != body {
					t.Errorf("%s: %d with %d bytes", state, a.status, len(a.body))
				}
			}
		})
	}
}

// A range of what is still arriving is there as soon as its bytes are.
func TestARangeOfAStreamingMiss(t *testing.T) {
	body := alphabet(3000)
	release := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", "3000")
		fmt.Fprint(w, body[:1000])
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprint(w, body[1000:])
	})
	url, _ := startLone(t, o.URL)
	leader := make(chan answer, 1)
	go func() { leader <- get(t, url+"/a") }()
	waitFor(t, func() bool { return o.asked.Load() == 1 })
	if a := get(t, url+"/a", "Range: bytes=500-599"); a.status != 206 || a.body != body[500:600] {
		t.Errorf("while it streams: %d %q", a.status, a.body)
	}
	close(release)
	if a := <-leader; a.body != body {
		t.Errorf("the whole has %d bytes", len(a.body))
	}
	if a := get(t, url+"/a", "Range: bytes=-10"); a.status != 206 || a.body != body[2990:] {
		t.Errorf("then: %d %q", a.status, a.body)
	}
}

// A range cannot be told of a body whose length is not known: the whole, until it is.
func TestARangeOfUnknownLength(t *testing.T) {
	body := alphabet(3000)
	for _, cc := range []string{"max-age=60", "no-store"} {
		t.Run(cc, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", cc)
				w.(http.Flusher).Flush()
				fmt.Fprint(w, body)
			})
			url, _ := startLone(t, o.URL)
			if a := get(t, url+"/a", "Range: bytes=-10"); a.status != 200 || a.body != body {
				t.Errorf("miss: %d with %d bytes", a.status, len(a.body))
			}
			a := get(t, url+"/a", "Range: bytes=-10")
			if stored := cc != "no-store"; stored && (a.status != 206 || a.body != body[2990:]) || !stored && a.body != body {
				t.Errorf("again: %d with %d bytes", a.status, len(a.body))
			}
		})
	}
}

// What is larger than is kept of one response has ranges, too.
func TestARangeOfALargeBody(t *testing.T) {
	const size = 12 << 20
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(body)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(body)
	})
	url, _ := startLone(t, o.URL)
	for _, tc := range []struct{ spec, want string }{
		{"bytes=0-99", "bytes 0-99/12582912"},
		{"bytes=6000000-6000099", "bytes 6000000-6000099/12582912"},
		{"bytes=-100", "bytes 12582812-12582911/12582912"},
	} {
		a := get(t, url+"/a", "Range: "+tc.spec)
		if a.status != 206 || a.header.Get("Content-Range") != tc.want || a.body != span(t, tc.want, string(body)) {
			t.Errorf("%s: %d with %d bytes, %v", tc.spec, a.status, len(a.body), a.header)
		}
	}
	if a := get(t, url+"/a"); !bytes.Equal([]byte(a.body), body) {
		t.Errorf("the whole has %d bytes that differ", len(a.body))
	}
}
