package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
)

// rawOrigin answers every request with bytes as they are, then ends the connection.
type rawOrigin struct {
	URL    string
	mu     sync.Mutex
	answer string
}

func (o *rawOrigin) set(answer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func startRawOrigin(t *testing.T) *rawOrigin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &rawOrigin{URL: "http://" + ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					o.mu.Lock()
					answer := o.answer
					o.mu.Unlock()
					_, _ = c.Write([]byte(answer))
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return o
}

const good = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\ngood"

// What is no answer, or holds what no answer may, is a 502 that says so, and nothing
// of it is kept.
func TestMalformedAnswersOfTheOrigin(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
	for name, answer := range map[string]string{
		"nothing":                "",
		"no HTTP":                "good morning\r\n\r\n",
		"status line":            "HTTP/1.1 OK\r\n\r\n",
		"status of two digits":   "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
		"status of four digits":  "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"status below 100":       "HTTP/1.1 099 OK\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n",
		"status zero":            "HTTP/1.1 000 OK\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n\r\n",
		"negative status":        "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n",
		"switching protocols":    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"not modified":           "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nCache-Control: max-age=60\r\n\r\n",
		"interim answers alone":  strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100),
		"100 KB in one field":    head + "X: " + strings.Repeat("x", 100_000) + "\r\nContent-Length: 0\r\n\r\n",
		"100 KB in many fields":  head + strings.Repeat("X: "+strings.Repeat("x", 995)+"\r\n", 100) + "Content-Length: 0\r\n\r\n",
		"2000 fields":            head + strings.Repeat("X: y\r\n", 2000) + "Content-Length: 0\r\n\r\n",
		"head without end":       head + "X: y",
		"space in a name":        head + "X y: z\r\nContent-Length: 0\r\n\r\n",
		"no colon":               head + "X\r\nContent-Length: 0\r\n\r\n",
		"nul in a value":         head + "X: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"control in a value":     head + "X: a\x01b\r\nContent-Length: 0\r\n\r\n",
		"carriage return inside": head + "X: a\rb: c\r\nContent-Length: 0\r\n\r\n",
		"two lengths":            head + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"length that is none":    head + "Content-Length: four\r\n\r\nabcd",
		"negative length":        head + "Content-Length: -4\r\n\r\nabcd",
		"unknown coding":         head + "Transfer-Encoding: sponge\r\n\r\nabcd",
	} {
		t.Run(name, func(t *testing.T) {
			o := startRawOrigin(t)
			url, _ := startLone(t, o.URL)
			for _, method := range []string{"GET", "POST"} {
				if method == "POST" && name == "not modified" {
					continue // that is the client's to understand
				}
				o.set(answer)
				a := do(t, method, url+"/a", nil)
				if a.status != 502 || !strings.Contains(a.header.Get("Proxy-Status"), "freshet-e1; error=") {
					t.Errorf("%s: got %d, %v", method, a.status, a.header)
				}
			}
			o.set(good)
			if a := get(t, url+"/a"); a.status != 200 || a.body != "good" {
				t.Errorf("then %d %q", a.status, a.body)
			}
		})
	}
}

// A body that ends too early or cannot be read to its end breaks the client's
// transfer off, so that nobody takes it for a whole one, and is not kept.
func TestBrokenBodiesOfTheOrigin(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
	for name, answer := range map[string]string{
		"shorter than its length":  head + "Content-Length: 10\r\n\r\nabc",
		"no last chunk":            head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"chunk of another size":    head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
		"chunk size that is none":  head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n\r\n",
		"chunk size beyond 64 bit": head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nfffffffffffffffff\r\n\r\n",
		"trailer without end":      head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y",
	} {
		t.Run(name, func(t *testing.T) {
			o := startRawOrigin(t)
			url, _ := startLone(t, o.URL)
			o.set(answer)
			got := raw(t, url, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil); err != nil {
				t.Errorf("%q: %v", got, err)
			} else if _, err := readAll(r); err == nil && r.StatusCode == 200 {
				t.Errorf("the client takes it for whole: %q", got)
			}
			o.set(good)
			if a := get(t, url+"/a"); a.status != 200 || a.body != "good" {
				t.Errorf("then %d %q", a.status, a.body)
			}
		})
	}
}

// Values beyond all measure are no error; they do not make an answer fresh for ever,
// nor the arithmetic overflow.
func TestAbsurdValues(t *testing.T) {
	const huge = "99999999999999999999999999"
	for _, tc := range []struct {
		name   string
		header []string
		hit    bool
	}{
		{"max-age", []string{"Cache-Control: max-age=" + huge}, true},
		{"max-age and Age", []string{"Cache-Control: max-age=" + huge, "Age: " + huge}, false},
		{"Age", []string{"Cache-Control: max-age=60", "Age: " + huge}, false},
		{"negative Age", []string{"Cache-Control: max-age=60", "Age: -5"}, true},
		{"Age that is none", []string{"Cache-Control: max-age=60", "Age: old"}, true},
		{"negative max-age", []string{"Cache-Control: max-age=-60"}, false},
		{"max-age that is none", []string{"Cache-Control: max-age=soon"}, false},
		{"Expires in the year 9999", []string{"Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, true},
		{"Expires before the epoch", []string{"Expires: Mon, 01 Jan 0001 00:00:00 GMT"}, false},
		{"Date in the year 9999", []string{"Cache-Control: max-age=60", "Date: Fri, 31 Dec 9999 23:59:59 GMT"}, true},
		{"Date before the epoch", []string{"Cache-Control: max-age=60", "Date: Mon, 01 Jan 0001 00:00:00 GMT"}, false},
		{"Last-Modified in the future", []string{"Last-Modified: Fri, 31 Dec 9999 23:59:59 GMT"}, false},
		{"windows", []string{"Cache-Control: max-age=60, stale-while-revalidate=" + huge + ", stale-if-error=" + huge}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := startOrigin(t, fields("content", tc.header...))
			url, _ := startLone(t, o.URL)
			get(t, url+"/a")
			a := get(t, url+"/a")
			if hit := strings.Contains(a.header.Get("Cache-Status"), "; hit"); hit != tc.hit || a.status != 200 || a.body != "content" {
				t.Errorf("%d %q, %s", a.status, a.body, a.header.Get("Cache-Status"))
			}
			if age := a.header.Get("Age"); strings.HasPrefix(age, "-") || len(age) > 10 {
				t.Errorf("Age: %s", age)
			}
		})
	}
}

// RFC 9110 §15.2: interim answers go to the one who asked, at once, not to those who
// get what is stored.
func TestInterimAnswersArePassedOn(t *testing.T) {
	hinted := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		<-hinted // before the final answer
		cached("max-age=60", "content")(w, r)
	})
	url, _ := startLone(t, o.URL)
	ask := func() (hints []string, a answer) {
		req, err := http.NewRequest("GET", url+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(status, " ", h.Get("Link")))
			close(hinted)
			return nil
		}}
		res, err := http.DefaultTransport.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := readAll(res)
		if err != nil {
			t.Fatal(err)
		}
		return hints, answer{res.StatusCode, res.Header, body}
	}
	hints, a := ask()
	if len(hints) != 1 || hints[0] != "103 </a.css>; rel=preload" || a.body != "content" || a.header.Get("Link") != "" {
		t.Errorf("miss: %q, then %+v", hints, a)
	}
	if hints, a := ask(); len(hints) != 0 || a.body != "content" {
		t.Errorf("hit: %q, then %+v", hints, a)
	}
}

// RFC 9110 §6.5: the trailer of a body that streams through goes along, but for what
// must not stand there or is between nodes of ours.
func TestTrailersArePassedOn(t *testing.T) {
	o := startRawOrigin(t)
	url, _ := startLone(t, o.URL)
	o.set("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-More\r\n\r\n" +
		"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\nX-More: 3\r\nFreshet-True: evil\r\nConnection: evil\r\n\r\n")
	res, err := http.Get(url + "/a")
	if err != nil {
		t.Fatal(err)
	}
	body, err := readAll(res)
	if err != nil || body != "abc" {
		t.Fatalf("body %q, %v", body, err)
	}
	if got := strings.Join(res.Trailer["X-Sum"], ","); got != "1,2" || res.Trailer.Get("X-More") != "3" || len(res.Trailer) != 2 {
		t.Errorf("trailer %v", res.Trailer)
	}
}

func readAll(res *http.Response) (string, error) {
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}
