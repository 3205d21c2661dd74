package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// scribbler is a listener that has one memory for all requests of a connection, as fast
// lanes have, and writes over it as soon as Serve returns.
type scribbler struct {
	edge *Edge
	req  exchange.Request
	head header.Block
	text []byte
	got  answered
}

// answered is what a scribbler's client has received.
type answered struct {
	status      int
	head, extra string
	body        []byte
	err         error
}

func (s *scribbler) Inform(int, *header.Block) {}

func (s *scribbler) Respond(a *exchange.Answer) error {
	s.got = answered{status: a.Status, body: slices.Clone(a.Bytes)}
	if a.Header != nil {
		s.got.head = string(a.Header.Wire())
	}
	if a.Extra != nil {
		s.got.extra = string(a.Extra.Wire())
	}
	if a.Stream != nil {
		s.got.body, s.got.err = io.ReadAll(a.Stream)
	}
	return s.got.err
}

// put copies a text into the memory.
func (s *scribbler) put(text string) string {
	from := len(s.text)
	s.text = append(s.text, text...)
	return unsafe.String(unsafe.SliceData(s.text[from:]), len(text))
}

const scribble = "/scribbled-by-the-next-request" // would be a target, a host or a field as well

// ask serves one request. The context ends with it, or before, after patience.
func (s *scribbler) ask(method, target, body string, patience time.Duration, fields ...string) answered {
	ctx, cancel := context.WithCancel(context.Background())
	if patience > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), patience)
	}
	if s.text == nil {
		s.text = make([]byte, 0, 16<<10)
	}
	s.text = s.text[:0]
	s.head.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		_ = s.head.Add(s.put(name), s.put(value))
	}
	s.req = exchange.Request{
		Method: s.put(method), Scheme: s.put("http"), Host: s.put("h.example"), Port: s.put("8080"), Target: s.put(target),
		Header: &s.head, Proto: s.put("HTTP/1.1"), Remote: netip.MustParseAddrPort("192.0.2.1:1234"), Received: time.Now(),
	}
	if body != "" {
		s.req.Body, s.req.Length = strings.NewReader(s.put(body)), int64(len(body))
	}
	if patience > 0 || rand.IntN(2) == 0 || !s.edge.ServeQuick(&s.req, s) {
		s.edge.Serve(ctx, &s.req, s)
	}
	cancel()
	fields0 := s.head.Len()
	s.head.Reset()
	for range fields0 { // over the names and values of the request
		_ = s.head.Add("X-Scribbled", strings.Repeat("#", 64))
	}
	s.text = s.text[:cap(s.text)]
	for i := 0; i < len(s.text); i += copy(s.text[i:], scribble) {
	}
	s.req = exchange.Request{Method: scribble, Host: scribble, Target: scribble, Header: &s.head}
	return s.got
}

// mirror is an origin whose answers say what it was asked, and that finds fault with
// requests that do not agree with themselves.
type mirror struct {
	t    *testing.T
	slow chan struct{} // answers to /slow wait for it
}

func echoed(target string, size int) []byte {
	return bytes.Repeat([]byte(target+"\n"), size/(len(target)+1)+1)[:size]
}

const largeEcho = 2<<20 + 1234

func (o *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.URL.RequestURI()
	asked := strings.TrimPrefix(r.Header.Get("X-Target"), "http://h.example")
	if asked != target || r.Host != "h.example:8080" || strings.Contains(fmt.Sprint(r.Header), "cribbled") || strings.Contains(fmt.Sprint(r.Header), "##") {
		o.t.Errorf("asked for %s of %s with %v", target, r.Host, r.Header)
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain")
	h.Set("ETag", `"`+target+`"`)
	switch kind, _, _ := strings.Cut(target[1:], "/"); kind {
	case "stale":
		h.Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		if rand.IntN(2) == 0 && r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	case "vary":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Vary", "X-Choice, Accept-Encoding")
		_, _ = w.Write(echoed(target+"?"+r.Header.Get("X-Choice"), 500))
		return
	case "search":
		h.Set("Cache-Control", "max-age=60")
		h.Set("No-Vary-Search", `params=("n")`)
		_, _ = w.Write(echoed(r.URL.Path, 500))
		return
	case "slow":
		h.Set("Cache-Control", "max-age=60")
		select {
		case <-o.slow:
		case <-r.Context().Done():
			return
		}
	case "large":
		h.Set("Cache-Control", "max-age=60")
		h.Set("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(echoed(target, largeEcho)))
		return
	case "pass":
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append(echoed(target, 300), body...))
		return
	default:
		h.Set("Cache-Control", "max-age=60")
	}
	_, _ = w.Write(echoed(target, 1000))
}

// TestNothingOfARequestIsUsedAfterServe: whatever outlives a request, be it a refresh in
// the background, a fill whose client has left, or what is stored, has its own copies.
func TestNothingOfARequestIsUsedAfterServe(t *testing.T) {
	o := &mirror{t: t, slow: make(chan struct{})}
	up := httptest.NewServer(o)
	t.Cleanup(up.Close)
	for name, document := range map[string]string{
		"lone":  "",
		"rules": "hosts: ['*']\ncache: {pass_cookies: true, key: {query: {sort: true}, headers: [X-Key]}}\nrules: [{match: {header: {Accept: '*'}}, request_headers: {set: {X-Set: '1'}}}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := served(t, up.URL, document)
			var lanes sync.WaitGroup
			for lane := range 6 {
				lanes.Go(func() { scribbleAway(t, e, lane) })
			}
			lanes.Wait()
			leaveAndFollow(t, e, o)
		})
	}
}

// scribbleAway sends a lane of requests of every kind, whose order is random.
func scribbleAway(t *testing.T, e *Edge, lane int) {
	s := &scribbler{edge: e}
	rnd := rand.New(rand.NewPCG(7, uint64(lane)))
	for i := range share(100, 250) {
		kind := []string{"fresh", "stale", "vary", "search", "large", "pass", "slow"}[rnd.IntN(7)]
		target := fmt.Sprintf("/%s/%d", kind, rnd.IntN(8))
		fields := []string{
			"X-Target: http://h.example" + target, "Accept: */*", "Connection: keep-alive, X-Hop", "X-Hop: 1",
			"Accept-Encoding: gzip, br", "User-Agent: scribbler/" + strings.Repeat("x", rnd.IntN(30)),
		}
		want, method, body, patience := echoed(target, 1000), "GET", "", time.Duration(0)
		switch kind {
		case "vary":
			choice := fmt.Sprint(rnd.IntN(3))
			fields, want = append(fields, "X-Choice: "+choice), echoed(target+"?"+choice, 500)
		case "search":
			want = echoed(target, 500)
			query := fmt.Sprintf("?n=%d", i)
			fields[0] += query
			target += query
		case "large":
			want = echoed(target, largeEcho)
			if from := rnd.IntN(largeEcho - 5000); rnd.IntN(4) > 0 {
				fields, want = append(fields, fmt.Sprintf("Range: bytes=%d-%d", from, from+4999)), want[from:from+5000]
			}
		case "pass":
			method, body = "POST", strings.Repeat("body of "+target, 20)
			want = append(echoed(target, 300), body...)
		case "slow": // its client goes away
			target, patience = fmt.Sprintf("/slow/%s/%d-%d", e.env.File.Cache.Site, lane, i), time.Duration(1+rnd.IntN(3))*time.Millisecond
			fields[0] = "X-Target: http://h.example" + target
		}
		got := s.ask(method, target, body, patience, fields...)
		if kind == "slow" {
			continue
		}
		if got.status != 200 && got.status != 206 || got.err != nil || !bytes.Equal(got.body, want) || strings.Contains(got.head+got.extra, "#") {
			t.Errorf("%s %s: status %d, %q, %q, %d bytes %.40q, %v", method, target, got.status, got.head, got.extra, len(got.body), got.body, got.err)
			return
		}
	}
}

// leaveAndFollow has the leader of a fill leave, and its follower get what it began.
func leaveAndFollow(t *testing.T, e *Edge, o *mirror) {
	target := "/slow/followed"
	fields := []string{"X-Target: http://h.example" + target, "Accept: */*"}
	(&scribbler{edge: e}).ask("GET", target, "", 20*time.Millisecond, fields...)
	follower := make(chan answered, 1)
	go func() { follower <- (&scribbler{edge: e}).ask("GET", target, "", 0, fields...) }()
	for {
		select {
		case o.slow <- struct{}{}: // all that are under way
		case got := <-follower:
			if !bytes.Equal(got.body, echoed(target, 1000)) {
				t.Errorf("the follower gets %d, %q, %q, %.40q", got.status, got.head, got.extra, got.body)
			}
			return
		}
	}
}
