package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/edge/exchange"
	"freshet/edge/response"
	"freshet/internal/header"
)

// copied is a responder that keeps what an answer was.
type copied struct {
	refuses bool
	status  int
	head    string
	body    string
	stream  bool
}

func (*copied) Inform(int, *header.Block) {}

func (c *copied) Respond(a *exchange.Answer) error {
	if c.refuses {
		return exchange.ErrNotAtOnce
	}
	c.status, c.body, c.stream = a.Status, string(a.Bytes), a.Stream != nil
	for _, h := range []*header.Block{a.Header, a.Extra} {
		if h != nil {
			c.head += string(h.Wire())
		}
	}
	if a.Stream != nil {
		b, err := io.ReadAll(a.Stream)
		c.body = string(b)
		return err
	}
	return nil
}

// counts are the request counters of an edge, in a fixed order.
func counts(e *Edge) string {
	r := &e.metrics.requests
	return fmt.Sprint(r.hit.sum(), r.stale.sum(), r.miss.sum(), r.pass.sum(), r.refused.sum(), r.failed.sum(), testutil.ToFloat64(e.metrics.aborted))
}

// TestAQuickAnswerIsTheOrdinaryOne, is counted as that is, and allocates nothing.
func TestAQuickAnswerIsTheOrdinaryOne(t *testing.T) {
	for name, hit := range hits(t) {
		warm(t, hit.edge, hit.req)
		var slow, quick copied
		hit.edge.Serve(context.Background(), hit.req, &slow)
		before := hit.edge.metrics.requests.hit.sum()
		served := hit.edge.ServeQuick(hit.req, &quick)
		if name == "tier" {
			if served {
				t.Error("a node of ours, which may have to wait for the log, was answered")
			}
			continue
		}
		if !served || quick != slow {
			t.Errorf("%s: %t, quick %+v\nslow %+v", name, served, quick, slow)
		}
		if n := hit.edge.metrics.requests.hit.sum(); n != before+1 {
			t.Errorf("%s: counted %d times", name, n-before)
		}
		if raceEnabled {
			continue // sync.Pool drops walks at random
		}
		to := new(sink)
		if n := testing.AllocsPerRun(100, func() { hit.edge.ServeQuick(hit.req, to) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// TestWhatCannotBeAnsweredAtOnceIsLeft: nothing is sent, counted or asked of the origin,
// and Serve answers the same request.
func TestWhatCannotBeAnsweredAtOnceIsLeft(t *testing.T) {
	var asked atomic.Int64
	up := startOriginTB(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("ETag", `"1"`)
		size := 1000
		if strings.Contains(r.URL.Path, "large") {
			size = 3 << 20
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("x", size)))
	}))
	e := served(t, up, "rules: [{cache: {honour_request: true}}, {match: {path: {prefix: /pass}}, cache: {bypass: true}}, {match: {path: {prefix: /old}}, redirect: {to: /new}}]")
	for _, target := range []string{"/a", "/large"} {
		warm(t, e, asks(t, "GET", target))
	}
	onDisk := asks(t, "GET", "/a")
	other := asks(t, "GET", "/a")
	other.Host = "other.example"
	post := asks(t, "POST", "/a")
	post.Body, post.Length = strings.NewReader("x"), 1
	tests := []struct {
		name    string
		req     *exchange.Request
		refuses bool
		prepare func()
		status  int // of Serve
	}{
		{"miss", asks(t, "GET", "/b"), false, nil, 200},
		{"only if cached", asks(t, "GET", "/c", "Cache-Control: only-if-cached"), false, nil, 504},
		{"to be validated", asks(t, "GET", "/a", "Cache-Control: no-cache"), false, nil, 200},
		{"part", asks(t, "GET", "/a", "Range: bytes=0-9"), false, nil, 206},
		{"precondition that the origin decides", asks(t, "GET", "/a", `If-Match: "2"`), false, nil, 412},
		{"slices", asks(t, "GET", "/large"), false, nil, 200},
		{"bypass", asks(t, "GET", "/pass"), false, nil, 200},
		{"redirect", asks(t, "GET", "/old"), false, nil, 302},
		{"another host", other, false, nil, 421},
		{"another method", post, false, nil, 200},
		{"a listener that cannot take it", asks(t, "GET", "/a"), true, nil, 200},
		{"handed over", asks(t, "GET", "/a"), false, func() { e.yielded.Store(true) }, 200},
		{"not in RAM", onDisk, false, func() {
			e.yielded.Store(false)
			e.store.Delete(response.NewKey(keyText(t, e, onDisk)))
		}, 200},
	}
	for _, test := range tests {
		if test.prepare != nil {
			test.prepare()
		}
		before, askedBefore := counts(e), asked.Load()
		quick := copied{refuses: test.refuses}
		if e.ServeQuick(test.req, &quick) || quick.status != 0 {
			t.Errorf("%s: answered with %d", test.name, quick.status)
		}
		if after := counts(e); after != before || asked.Load() != askedBefore {
			t.Errorf("%s: counted %s, want %s; %d requests to the origin", test.name, after, before, asked.Load()-askedBefore)
		}
		var slow copied
		e.Serve(context.Background(), test.req, &slow)
		if slow.status != test.status {
			t.Errorf("%s: Serve then answers %d, want %d", test.name, slow.status, test.status)
		}
	}
}

// keyText is the cache key of a request.
func keyText(t *testing.T, e *Edge, req *exchange.Request) string {
	t.Helper()
	w := new(walk)
	w.enlist(e, context.Background(), req, new(sink))
	if _, refused := w.admit(); refused != "" {
		t.Fatal(refused)
	}
	return string(w.text)
}

// TestAQuickStaleAnswerIsRefreshed behind the client's back.
func TestAQuickStaleAnswerIsRefreshed(t *testing.T) {
	var asked atomic.Int64
	up := startOriginTB(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Cache-Control", "max-age=10, stale-while-revalidate=100")
		_, _ = w.Write([]byte("body"))
	}))
	e := served(t, up, "")
	req := asks(t, "GET", "/a")
	warm(t, e, req)
	req.Received = req.Received.Add(20 * time.Second)
	var quick copied
	if !e.ServeQuick(req, &quick) || quick.body != "body" || !strings.Contains(quick.head, "hit; ttl=-") {
		t.Errorf("%+v", quick)
	}
	for end := time.Now().Add(patience); asked.Load() != 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}
