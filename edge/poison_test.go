package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are and returns what comes until the connection ends. The
// request has to ask for that.
func raw(t *testing.T, url, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, text) // it may be refused before its end
	got, err := io.ReadAll(c)
	if err != nil && len(got) == 0 {
		t.Fatalf("%q: %v", cutText(text), err)
	}
	return string(got)
}

func cutText(s string) string { return s[:min(len(s), 200)] }

// echo answers with everything that an origin might believe of a request, for others
// to get if it were stored.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s body=%q\n", r.Method, r.Host, r.RequestURI, body)
	for name, values := range r.Header {
		if strings.Contains(strings.Join(values, ","), "evil") {
			fmt.Fprintf(w, "%s: %s\n", name, values)
		}
	}
}

// What the key does not cover must not show in what others get.
func TestUnkeyedFieldsPoisonNothing(t *testing.T) {
	o := startOrigin(t, echo)
	url, _ := startLoneSite(t, o.URL, "cache: {key: {query: {mode: deny, names: [utm_*]}}}\n")
	for i, field := range []string{
		"X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "X-Host: evil.example", "X-Forwarded-Server: evil.example",
		"X-Original-Host: evil.example", "X-HTTP-Host-Override: evil.example", "X-Forwarded-Scheme: evil", "X-Forwarded-Proto: evil",
		"X-Forwarded-Port: evil", "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-Forwarded-Prefix: /evil", "X-Original-URI: /evil",
		"X-HTTP-Method-Override: evil", "X-HTTP-Method: evil", "X-Method-Override: evil", "X-Forwarded-For: evil", "X-Real-IP: evil",
		"True-Client-IP: evil", "Cookie: a=evil", "Cookie: evil=1; session=evil", "Proxy: evil", "If-None-Match: \"evil\"", "Range: evil=1-2",
		"Expect: evil", "Connection: X-Evil", "TE: evil", "Cache-Control: evil", "Pragma: evil", "X-Device: evil", "Upgrade: evil",
		"Trailer: evil", "Keep-Alive: evil", "Proxy-Authorization: evil", "Freshet-Hop: evil", "freshet-fence: evil", "If-Range: evil",
	} {
		target := fmt.Sprintf("/%d", i)
		answer := raw(t, url, "GET "+target+"?utm_source=evil HTTP/1.1\r\nHost: good.example\r\n"+field+"\r\nConnection: close\r\n\r\n")
		if a := get(t, url+target, "Host: good.example"); strings.Contains(a.body, "evil") || a.status != 200 {
			t.Errorf("%s shows in what others get: %d %s", field, a.status, a.body)
		}
		if strings.Contains(answer, "HTTP/1.1 500") {
			t.Errorf("%s: %s", field, answer)
		}
	}
}

func TestVariantsOfOneRequestAreToldApart(t *testing.T) {
	o := startOrigin(t, echo)
	url, _ := startLone(t, o.URL)
	for _, tc := range []struct{ name, target, host, want string }{
		{"plain", "/a", "good.example", "GET good.example /a "},
		{"absolute form", "http://good.example/a", "good.example", "GET good.example /a "},
		{"absolute form of another host", "http://evil.example/a", "good.example", "GET evil.example /a "},
		{"absolute form with user", "http://good.example@evil.example/a", "good.example", "GET evil.example /a "},
		{"absolute form without path", "http://good.example?q", "good.example", "GET good.example /?q "},
		{"upper case", "/a", "GOOD.example", "GET good.example /a "},
		{"final dot", "/a", "good.example.", "GET good.example /a "},
		{"port", "/a", "good.example:8080", "GET good.example:8080 /a "},
		{"duplicate query", "/a?x=1&x=2", "good.example", "GET good.example /a?x=1&x=2 "},
		{"duplicate query, other order", "/a?x=2&x=1", "good.example", "GET good.example /a?x=2&x=1 "},
		{"semicolon", "/a?x=1;x=2", "good.example", "GET good.example /a?x=1;x=2 "},
		{"encoded", "/%61", "good.example", "GET good.example /%61 "},
		{"two slashes", "//evil.example/a", "good.example", "GET good.example //evil.example/a "},
		{"two slashes that net/url would encode", "//a|b", "good.example", "GET good.example http://good.example//a|b "},
		{"plain again", "/a", "good.example", "GET good.example /a "},
	} {
		a := raw(t, url, "GET "+tc.target+" HTTP/1.1\r\nHost: "+tc.host+"\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(a, "HTTP/1.1 200") || !strings.Contains(a, tc.want) {
			t.Errorf("%s: %s", tc.name, a)
		}
	}
	for _, host := range []string{"", "a b", "a/b", "a@b", "a:99999", "a:b", "[::1", "a\\b", "%61", "a#b", "a?b"} {
		if a := raw(t, url, "GET /a HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 400") {
			t.Errorf("host %q: %s", host, cutText(a))
		}
	}
}

// A GET with a body is passed on: what it gets is for nobody else, stored or waiting.
func TestAFatGetIsPassedAndNotStored(t *testing.T) {
	o := startOrigin(t, echo)
	url, _ := startLone(t, o.URL)
	for _, method := range []string{"GET", "HEAD"} {
		for range 2 {
			a := do(t, method, url+"/a", strings.NewReader("evil"))
			if wantStatus(t, a, "fwd=method"); method == "GET" && !strings.Contains(a.body, `body="evil"`) {
				t.Errorf("the origin got %q", a.body)
			}
		}
	}
	if a := get(t, url+"/a"); strings.Contains(a.body, "evil") {
		t.Errorf("others get %q", a.body)
	}
}

// Nor does a method override change what a GET is to the origin, while it reaches the
// origin with what is passed on.
func TestMethodOverrides(t *testing.T) {
	o := startOrigin(t, echo)
	url, _ := startLone(t, o.URL)
	if a := do(t, "POST", url+"/a", strings.NewReader("x"), "X-HTTP-Method-Override: evil"); !strings.Contains(a.body, "X-Http-Method-Override: [evil]") {
		t.Errorf("POST: %s", a.body)
	}
	if a := get(t, url+"/a", "X-HTTP-Method-Override: evil"); strings.Contains(a.body, "evil") {
		t.Errorf("GET: %s", a.body)
	}
}

// Requests that two parsers could end in two places are refused, or end the
// connection: the bytes after them are never taken for a request (RFC 9112 §6.1, §11.2).
func TestSmugglingShapes(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			t.Error("a smuggled request reached the origin")
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	url, _ := startLone(t, o.URL)
	chunked := "3\r\nabc\r\n0\r\n\r\n"
	for name, text := range map[string]string{
		"length and chunked":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"chunked and length":        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 13\r\n\r\n" + chunked,
		"two lengths":               "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"list of lengths":           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabc",
		"signed length":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
		"hexadecimal length":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc",
		"unknown coding":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n" + chunked,
		"coding twice":              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked,
		"coding before chunked":     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" + chunked,
		"space before the colon":    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n" + chunked,
		"vertical tab":              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n" + chunked,
		"line feed in a name":       "POST / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n",
		"carriage return in a line": "GET / HTTP/1.1\r\nHost: a\r\nX: a\rGET /smuggled HTTP/1.1\r\n\r\n",
		"nul in a value":            "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
		"two hosts":                 "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"no host":                   "GET / HTTP/1.1\r\n\r\n",
		"chunked in HTTP/1.0":       "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 13\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"two spaces":                "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"space in the target":       "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"bad chunk":                 "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
		"line feed alone in chunks": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;\nabc\r\n0\r\n\r\n",
	} {
		a := raw(t, url, text+smuggled)
		r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(a)), nil)
		if err != nil {
			t.Errorf("%s: %q: %v", name, a, err)
			continue
		}
		r.Body.Close()
		refused := r.StatusCode >= 400 && r.StatusCode != 404
		served := r.StatusCode == 200 && r.Close && strings.Contains(text, "Transfer-Encoding: chunked") // by the coding alone
		if !refused && !served || strings.Count(a, "HTTP/1.") != 1 {
			t.Errorf("%s: %s", name, a)
		}
	}
}

// A path that an origin may read as another one could evade a rule: sites with rules
// on paths refuse it.
func TestAmbiguousPaths(t *testing.T) {
	o := startOrigin(t, echo)
	const rules = "rules:\n- match: {path: {prefix: /private/}}\n  cache: {bypass: true}\n"
	guarded, _ := startLoneSite(t, o.URL, rules)
	passing, _ := startLoneSite(t, o.URL, "ambiguous_paths: pass\n"+rules)
	plain, _ := startLone(t, o.URL)
	for _, path := range []string{"/%70rivate/a", "//private/a", "/x/../private/a", "/./private/a", "/x/%2e%2e/private/a", "/private%2fa", "/private\\a", "/x/..;/private/a", "/%zz", "/a%00"} {
		text := "GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
		if a := raw(t, guarded, text); !strings.HasPrefix(a, "HTTP/1.1 400") {
			t.Errorf("%s: %s", path, cutText(a))
		}
		for _, url := range []string{passing, plain} {
			if a := raw(t, url, text); !strings.Contains(a, " "+path+" body") && path != "/%zz" { // Go's server refuses that one
				t.Errorf("%s passed on: %s", path, a)
			}
		}
	}
}

func TestTooMuchHeader(t *testing.T) {
	o := startOrigin(t, echo)
	url, _ := startLone(t, o.URL)
	for name, lines := range map[string]string{
		"100 KB in one":  "X: " + strings.Repeat("x", 100_000) + "\r\n",
		"100 KB in many": strings.Repeat("X: "+strings.Repeat("x", 995)+"\r\n", 100),
		"2000 fields":    strings.Repeat("X: y\r\n", 2000),
		"just above":     "X: " + strings.Repeat("x", 66_000) + "\r\n",
	} {
		if a := raw(t, url, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+lines+"\r\n"); !strings.HasPrefix(a, "HTTP/1.1 431") {
			t.Errorf("%s: %s", name, cutText(a))
		}
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// What an origin answers to a range is for that range: never for those who want the
// whole, whatever it says of its lifetime.
func TestAnAnswerToARangeIsNotTheWhole(t *testing.T) {
	body := alphabet(3000)
	for _, tc := range []struct {
		name   string
		status int
		header []string
	}{
		{"unsatisfied", 416, []string{"Content-Range: bytes */3000"}},
		{"unsatisfied, no size", 416, nil},
		{"refused", 403, nil},
		{"bad", 400, nil},
		{"error", 500, nil},
		{"part that is another one", 206, []string{"Content-Range: bytes 5-7/3000", `ETag: "1"`}},
		{"part that says nothing", 206, []string{`ETag: "1"`}},
		{"part of unknown size", 206, []string{"Content-Range: bytes 0-2/*", `ETag: "1"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					answers(tc.status, "bad", append(tc.header, "Cache-Control: max-age=60")...)(w, r)
					return
				}
				whole(body, "Cache-Control: max-age=60", `ETag: "1"`)(w, r)
			})
			url, _ := startLone(t, o.URL)
			get(t, url+"/a", "Range: bytes=4000-")
			get(t, url+"/b", "Range: bytes=0-2")
			for _, path := range []string{"/a", "/b"} {
				if a := get(t, url+path); a.status != 200 || a.body != body {
					t.Errorf("%s: others get %d %q", path, a.status, cutText(a.body))
				}
			}
		})
	}
}
