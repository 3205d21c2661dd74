package edge

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// counted answers GET with how often it was asked for that path, with header
// fields; any other method as unsafe says.
func counted(unsafe http.HandlerFunc, header ...string) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			unsafe(w, r)
			return
		}
		fields(fmt.Sprint(n.Add(1)), append(header, "Cache-Control: max-age=60")...)(w, r)
	}
}

// isStored reports whether a GET is a hit.
func isStored(t *testing.T, url string, header ...string) bool {
	t.Helper()
	return strings.Contains(get(t, url, header...).header.Get("Cache-Status"), "; hit")
}

// RFC 9111 §4.4: an answer that is no error, to a method that is not safe,
// invalidates the target.
func TestUnsafeMethodsInvalidateTheirTarget(t *testing.T) {
	for _, tc := range []struct {
		method string
		status int
		want   bool // still stored
	}{
		{"POST", 200, false},
		{"PUT", 204, false},
		{"DELETE", 200, false},
		{"PATCH", 201, false},
		{"POST", 303, false},
		{"FROBNICATE", 200, false},
		{"POST", 404, true},
		{"PUT", 412, true},
		{"DELETE", 500, true},
		{"OPTIONS", 200, true},
		{"PROPFIND", 207, true},
	} {
		t.Run(fmt.Sprint(tc.method, " ", tc.status), func(t *testing.T) {
			o := startOrigin(t, counted(answers(tc.status, "done")))
			url, _ := startLone(t, o.URL)
			get(t, url+"/a?q=1")
			get(t, url+"/b")
			if a := do(t, tc.method, url+"/a?q=1", nil); a.status != tc.status {
				t.Errorf("%s: got %d", tc.method, a.status)
			}
			if got := isStored(t, url+"/a?q=1"); got != tc.want {
				t.Errorf("the target is stored: %t, want %t", got, tc.want)
			}
			if !isStored(t, url+"/b") {
				t.Error("another target is not stored any more")
			}
			if !isStored(t, url+"/a?q=1") {
				t.Error("what was fetched anew is not stored")
			}
		})
	}
}

// RFC 9111 §4.4: what Location and Content-Location name, of the same origin alone.
func TestUnsafeMethodsInvalidateLocations(t *testing.T) {
	for _, field := range []string{"Location", "Content-Location"} {
		for _, tc := range []struct {
			to   string // %s is the edge's authority
			want bool   // still stored
		}{
			{"/other", false},
			{"other", false},
			{"./x/../other", false},
			{"http://%s/other", false},
			{"//%s/other", false},
			{"http://elsewhere.example/other", true},
			{"https://%s/other", true},
			{"http://user@%s/other", true},
			{"/other?x", true},
		} {
			t.Run(field+" "+tc.to, func(t *testing.T) {
				var location string
				o := startOrigin(t, counted(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set(field, location)
					w.WriteHeader(201)
				}))
				url, _ := startLone(t, o.URL)
				location = strings.ReplaceAll(tc.to, "%s", strings.TrimPrefix(url, "http://"))
				get(t, url+"/other")
				do(t, "POST", url+"/a", nil)
				if got := isStored(t, url+"/other"); got != tc.want {
					t.Errorf("stored: %t, want %t", got, tc.want)
				}
			})
		}
	}
}

func TestUnsafeMethodsInvalidateEveryVariant(t *testing.T) {
	o := startOrigin(t, counted(answers(200, "done"), "Vary: Accept-Language"))
	url, _ := startLone(t, o.URL)
	for _, lang := range []string{"de", "fr"} {
		get(t, url+"/a", "Accept-Language: "+lang)
		if !isStored(t, url+"/a", "Accept-Language: "+lang) {
			t.Fatalf("%s is not stored", lang)
		}
	}
	do(t, "POST", url+"/a", nil)
	for _, lang := range []string{"de", "fr"} {
		if isStored(t, url+"/a", "Accept-Language: "+lang) {
			t.Errorf("%s is still stored", lang)
		}
	}
}

// The query of the key is what counts, also for what is invalidated.
func TestUnsafeMethodsInvalidateByTheKey(t *testing.T) {
	o := startOrigin(t, counted(answers(200, "done")))
	url, _ := startLoneSite(t, o.URL, "cache: {key: {query: {mode: deny, names: [utm_*]}}}\n")
	get(t, url+"/a?id=1&utm_source=x")
	do(t, "POST", url+"/a?utm_source=y&id=1", nil)
	if isStored(t, url+"/a?id=1") {
		t.Error("the target is still stored")
	}
}

// What was asked for before the origin changed is not given to those who come after
// the change was acknowledged, even if it is still arriving.
func TestAFillUnderWayDoesNotOutliveAnUnsafeRequest(t *testing.T) {
	for _, headSent := range []bool{true, false} {
		t.Run(fmt.Sprintf("head sent %t", headSent), func(t *testing.T) {
			changed, release := make(chan struct{}), make(chan struct{})
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-changed:
					cached("max-age=60", "new")(w, r)
					return
				default:
				}
				if r.Method != "GET" {
					close(changed)
					return
				}
				if headSent {
					w.Header().Set("Cache-Control", "max-age=60")
					w.Header().Set("Content-Length", "3")
					w.(http.Flusher).Flush()
				}
				<-release
				cached("max-age=60", "old")(w, r)
			})
			url, _ := startLone(t, o.URL)
			before := make(chan answer, 1)
			go func() { before <- get(t, url+"/a") }()
			waitFor(t, func() bool { return o.asked.Load() == 1 })
			if a := do(t, "POST", url+"/a", nil); a.status != 200 {
				t.Fatalf("POST: %d", a.status)
			}
			after := make(chan answer, 1)
			go func() { after <- get(t, url+"/a") }()
			if headSent {
				if a := <-after; a.status != 200 || a.body != "new" {
					t.Errorf("after the change, while the old one arrives: %d %q", a.status, a.body)
				}
			}
			close(release)
			if !headSent {
				if a := <-after; a.status != 200 || a.body != "new" {
					t.Errorf("after the change: %d %q", a.status, a.body)
				}
			}
			if a := <-before; a.status != 200 || a.body != "old" {
				t.Errorf("who asked before the change got %d %q", a.status, a.body)
			}
			if a := get(t, url+"/a"); a.body != "new" {
				t.Errorf("later: %q", a.body)
			}
		})
	}
}

// However many changes there are, each client gets what is as new as the last change
// before its request, while all older answers are still arriving.
func TestFillsOfEveryAgeUnderWay(t *testing.T) {
	var version atomic.Int64
	release := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			version.Add(1)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, version.Load())
		w.(http.Flusher).Flush()
		<-release
	})
	url, _ := startLone(t, o.URL)
	var bodies []*http.Response
	for want := range int64(6) {
		res, err := http.Get(url + "/a")
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, res)
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, got); res.StatusCode != 200 || string(got) != fmt.Sprint(want) || err != nil {
			t.Errorf("after %d changes: %d, version %s, %v", want, res.StatusCode, got, err)
		}
		do(t, "POST", url+"/a", nil)
	}
	close(release)
	for _, res := range bodies {
		res.Body.Close()
	}
}

// RFC 9875: the answer to an unsafe method invalidates the groups that it names, in
// its own site, and what belongs to none of them stays.
func TestCacheGroups(t *testing.T) {
	invalidation := `"red", "blue"`
	status := 200
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			answers(status, "done", "Cache-Group-Invalidation: "+invalidation)(w, r)
			return
		}
		counted(nil, "Cache-Groups: "+r.URL.Query().Get("groups"), "Cache-Group-Invalidation: \"green\"")(w, r)
	})
	url, _ := startLone(t, o.URL)
	in := map[string]string{
		"/red": `"red"`, "/both": `"blue", "red"`, "/green": `"green"`, "/upper": `"RED"`, "/bad": `red`, "/none": "",
	}
	target := func(path string) string {
		return url + path + "?groups=" + strings.NewReplacer(`"`, "%22", " ", "%20").Replace(in[path])
	}
	fill := func() {
		for path := range in {
			get(t, target(path))
		}
	}
	want := func(stored map[string]bool) {
		t.Helper()
		for path := range in {
			if got := isStored(t, target(path)); got != stored[path] {
				t.Errorf("%s is stored: %t, want %t", path, got, stored[path])
			}
		}
	}
	all := map[string]bool{"/red": true, "/both": true, "/green": true, "/upper": true, "/bad": true, "/none": true}
	fill()
	want(all) // the answers to GET invalidate nothing
	do(t, "POST", url+"/elsewhere", nil)
	want(map[string]bool{"/green": true, "/upper": true, "/bad": true, "/none": true})
	status = 400
	do(t, "POST", url+"/elsewhere", nil)
	want(all) // an error invalidates nothing
	status, invalidation = 200, "red"
	do(t, "POST", url+"/elsewhere", nil)
	want(all) // nor does a malformed field
}
