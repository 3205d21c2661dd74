package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/header"
	"freshet/internal/ring"
)

const patience = 20 * time.Second

// above is a parent of a test, over a real socket.
type above struct {
	Parent
	server *httptest.Server
	asked  atomic.Int64
	under  atomic.Int64
	most   atomic.Int64 // of under
}

func (a *above) answer(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		n := a.under.Add(1)
		defer a.under.Add(-1)
		for {
			most := a.most.Load()
			if n <= most || a.most.CompareAndSwap(most, n) {
				break
			}
		}
		h(w, r)
	}
}

func startAbove(t *testing.T, kind Kind, name string, h http.HandlerFunc) *above {
	t.Helper()
	a := new(above)
	a.server = httptest.NewServer(a.answer(h))
	t.Cleanup(a.server.Close)
	a.Parent = Parent{Name: name, URL: a.server.URL, Kind: kind}
	if kind == Outside {
		a.Server = new(Server)
	}
	return a
}

func ok(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }

// cut ends the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// gone is a parent that refuses connections.
func gone(t *testing.T, kind Kind, name string) Parent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := Parent{Name: name, URL: "http://" + l.Addr().String(), Kind: kind}
	if kind == Outside {
		p.Server = new(Server)
	}
	return p
}

func newTestClient(t *testing.T) *Client {
	c := NewClient(time.Now, ring.NewLoads(time.Now))
	t.Cleanup(c.Close)
	return c
}

// plan asks for a path by a method.
func plan(method, path string, parents ...Parent) Plan {
	return Plan{Site: "site", Parents: parents, Request: func(Parent) (Request, error) {
		return Request{Key: path, Method: method, Host: "www.test", Target: path, Header: new(header.Block)}, nil
	}}
}

func read(t *testing.T, r *Reply, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// TestAskIsBoundedByLimitAndQueue: a parent that hangs sees at most as many at once as it
// may, as many wait as may, the others hear so at once; when it answers all get theirs.
func TestAskIsBoundedByLimitAndQueue(t *testing.T) {
	release := make(chan struct{})
	o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
		<-release
		ok(w, r)
	})
	o.Limits = Limits{Requests: 3, Queue: 4, QueueTime: time.Minute}
	c := newTestClient(t)
	var busy, answered atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			reply, err := c.Ask(t.Context(), plan("GET", fmt.Sprint("/", i), o.Parent))
			switch refused := (*Refused)(nil); {
			case err == nil:
				_, _ = io.ReadAll(reply.Body) // its end gives the place back, not its close
				answered.Add(1)
				t.Cleanup(func() { reply.Body.Close() })
			case errors.Is(err, ErrBusy) && errors.As(err, &refused) && refused.After > 0:
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	await(t, "the excess is refused", func() bool { return busy.Load() == 13 && o.under.Load() == 3 })
	if s := c.State(o.Parent, "site"); s.Open != 3 || s.Queued != 4 || s.Limit != 3 || s.Breaker != "closed" {
		t.Errorf("while the parent hangs: %+v", s)
	}
	close(release)
	all.Wait()
	if answered.Load() != 7 || o.most.Load() != 3 || o.asked.Load() != 7 {
		t.Errorf("%d answered, at most %d of %d at once", answered.Load(), o.most.Load(), o.asked.Load())
	}
	if s := c.State(o.Parent, "site"); s.Open != 0 || s.Queued != 0 {
		t.Errorf("in the end: %+v", s)
	}
	if n := testutil.ToFloat64(c.metrics.refusals.WithLabelValues("o", "queue_full")); n != 13 {
		t.Errorf("counted as refused: %v", n)
	}
}

// TestQueueIsNotWaitedInForever: who waits is refused after the queue's time, or leaves with
// its context, and the place goes to who comes next.
func TestQueueIsNotWaitedInForever(t *testing.T) {
	o := startAbove(t, Outside, "o", ok)
	o.Limits = Limits{Requests: 1, Queue: 10, QueueTime: 50 * time.Millisecond}
	c := newTestClient(t)
	first, err := c.Ask(t.Context(), plan("GET", "/first", o.Parent))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Ask(t.Context(), plan("GET", "/late", o.Parent)); !errors.Is(err, ErrBusy) {
		t.Errorf("after the queue's time: %v", err)
	}
	left := errors.New("the client went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(left)
	if _, err := c.Ask(ctx, plan("GET", "/gone", o.Parent)); !errors.Is(err, left) {
		t.Errorf("after the client left: %v", err)
	}
	first.Body.Close()
	first.Body.Close()
	next, err := c.Ask(t.Context(), plan("GET", "/next", o.Parent))
	read(t, next, err)
	if s := c.State(o.Parent, "site"); s.Open != 0 || s.Queued != 0 {
		t.Errorf("in the end: %+v", s)
	}
}

// TestStreamsOfEventsTakeNoPlace: nor do they keep others from the origin.
func TestStreamsOfEventsTakeNoPlace(t *testing.T) {
	restart := make(chan struct{})
	o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		fmt.Fprint(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-restart:
			cut(w, r)
		}
	})
	o.Limits.Requests = 1
	c := newTestClient(t)
	var streams []*Reply
	for i := range 10 {
		r, err := c.Ask(t.Context(), plan("GET", fmt.Sprint("/", i), o.Parent))
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, r)
		said := make([]byte, 9)
		if _, err := io.ReadFull(r.Body, said); err != nil || string(said) != "data: 1\n\n" {
			t.Errorf("%q, %v", said, err)
		}
		defer r.Body.Close()
	}
	if s := c.State(o.Parent, "site"); s.Open != 0 {
		t.Errorf("%+v", s)
	}
	close(restart)
	for _, r := range streams {
		_, _ = io.ReadAll(r.Body)
	}
	if s := c.State(o.Parent, "site"); s.Breaker != "closed" {
		t.Errorf("after all have broken off: %+v", s)
	}
}

// TestConnectionsThatAreGivenUpTakeNoPlace: a WebSocket may last for days.
func TestConnectionsThatAreGivenUpTakeNoPlace(t *testing.T) {
	o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			ok(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, conn)
	})
	o.Limits.Requests = 1
	c := newTestClient(t)
	p := plan("GET", "/", o.Parent)
	request := p.Request
	p.Request = func(p Parent) (Request, error) {
		req, err := request(p)
		req.Upgrade = "echo"
		return req, err
	}
	r, err := c.Ask(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if s := c.State(o.Parent, "site"); r.Conn == nil || s.Open != 0 {
		t.Fatalf("%d, %+v", r.Status, s)
	}
	said := make([]byte, 5)
	if _, err := io.WriteString(r.Conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.Conn, said); err != nil || string(said) != "hello" {
		t.Errorf("%q, %v", said, err)
	}
}

// TestTierThatIsBusyIsNotGoneAround: where a tier has all that it may be asked another one is,
// but never the origin; and a tier that says that its own parents are busy ends the matter.
func TestTierThatIsBusyIsNotGoneAround(t *testing.T) {
	release := make(chan struct{})
	hang := func(w http.ResponseWriter, r *http.Request) {
		<-release
		ok(w, r)
	}
	defer close(release)
	m1, m2, o := startAbove(t, Mid, "m1", hang), startAbove(t, Mid, "m2", hang), startAbove(t, Outside, "o", ok)
	m1.Limits = Limits{Requests: 1, Queue: -1, QueueTime: time.Minute}
	m2.Limits = m1.Limits
	c := newTestClient(t)
	for range 2 {
		go func() {
			if r, err := c.Ask(t.Context(), plan("GET", "/", m1.Parent, m2.Parent, o.Parent)); err == nil {
				r.Body.Close()
			}
		}()
	}
	await(t, "both tiers are busy", func() bool { return m1.under.Load() == 1 && m2.under.Load() == 1 })
	if _, err := c.Ask(t.Context(), plan("GET", "/", m1.Parent, m2.Parent, o.Parent)); !errors.Is(err, ErrBusy) {
		t.Errorf("with both tiers busy: %v", err)
	}
	says := startAbove(t, Mid, "m3", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "freshet-m3; error=connection_limit_reached")
		w.WriteHeader(503)
	})
	var tier *TierError
	if _, err := c.Ask(t.Context(), plan("GET", "/", says.Parent, o.Parent)); !errors.Is(err, ErrBusy) || !errors.As(err, &tier) || tier.Status != 503 {
		t.Errorf("a tier whose parents are busy: %v", err)
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}

	// One that reached nobody is no authority.
	lost := startAbove(t, Mid, "m4", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "freshet-m4; error=connection_refused")
		w.WriteHeader(502)
	})
	r, err := c.Ask(t.Context(), plan("GET", "/", lost.Parent, o.Parent))
	if read(t, r, err) != "hello" {
		t.Errorf("after a tier that reached nobody: %d", r.Status)
	}
	asked := o.asked.Load()
	if _, err = c.Ask(t.Context(), plan("POST", "/", lost.Parent, o.Parent)); !errors.As(err, &tier) || tier.Status != 502 || tier.Reason != "connection_refused" {
		t.Errorf("what is not idempotent: %v", err)
	}
	// Who was reached and did not answer is not asked by all.
	late := startAbove(t, Mid, "m5", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Status", "other; error=dns_error, freshet-m5; error=http_response_timeout")
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(504)
	})
	if _, err = c.Ask(t.Context(), plan("GET", "/", late.Parent, o.Parent)); !errors.As(err, &tier) || tier.Status != 504 || tier.After != 3*time.Second {
		t.Errorf("a tier whose parent does not answer: %v", err)
	}
	// What the origin itself says is an answer.
	page := startAbove(t, Mid, "m6", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(503)
		fmt.Fprint(w, "closed for today")
	})
	if r, err = c.Ask(t.Context(), plan("GET", "/", page.Parent, o.Parent)); read(t, r, err) != "closed for today" {
		t.Errorf("a page of the origin: %d", r.Status)
	}
	if n := o.asked.Load(); n != asked {
		t.Errorf("the origin was asked %d times more", n-asked)
	}
}

// TestFailover: who asks goes on to the next parent, if the request may be sent again.
func TestFailover(t *testing.T) {
	for _, test := range []struct {
		name, method, body string
		first              string // gone, cut, or nothing: it is the last
		want               string // the body, or an error
		next               int64  // requests at the second parent
	}{
		{"refused", "GET", "", "gone", "hello", 1},
		{"refused, with a body", "POST", "abc", "gone", "hello abc", 1},
		{"cut", "GET", "", "cut", "hello", 1},
		{"cut, idempotent", "DELETE", "", "cut", "hello", 1},
		{"cut, not idempotent", "POST", "", "cut", "error", 0},
		{"cut, with a body", "PUT", "abc", "cut", "error", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				fmt.Fprint(w, strings.TrimSpace("hello "+string(body)))
			})
			first := gone(t, Outside, "first")
			if test.first == "cut" {
				first = startAbove(t, Outside, "first", func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body)
					cut(w, r)
				}).Parent
			}
			p := plan(test.method, "/", first, o.Parent)
			if test.body != "" {
				once := strings.NewReader(test.body) // one body for all tries, as a client's
				request := p.Request
				p.Request = func(parent Parent) (Request, error) {
					req, err := request(parent)
					req.Body, req.Length = once, int64(len(test.body))
					return req, err
				}
			}
			c := newTestClient(t)
			r, err := c.Ask(t.Context(), p)
			switch {
			case test.want == "error":
				if err == nil {
					t.Errorf("answered %d by %s", r.Status, r.Parent)
					r.Body.Close()
				}
			default:
				if body := read(t, r, err); body != test.want {
					t.Errorf("body %q, want %q", body, test.want)
				}
			}
			if n := o.asked.Load(); n != test.next {
				t.Errorf("the second parent was asked %d times, want %d", n, test.next)
			}
		})
	}
}

// TestRefusedConnectionsCostNoBudget: all requests get their answer while one parent of two
// is dead, and soon it is left alone; when it is back it is asked again.
func TestRefusedConnectionsCostNoBudget(t *testing.T) {
	o, dead := startAbove(t, Mid, "o", ok), gone(t, Mid, "dead")
	c := newTestClient(t)
	tries := 0
	for i := range 200 {
		p := plan("GET", fmt.Sprint("/", i), dead, o.Parent)
		p.Asked = func(p Parent, err error) {
			if err != nil {
				tries++
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Error(err)
				}
			}
		}
		r, err := c.Ask(t.Context(), p)
		read(t, r, err)
	}
	if tries < 5 || tries > 8 {
		t.Errorf("the dead parent was tried %d times", tries)
	}
	if n := testutil.ToFloat64(c.metrics.retries); n != 0 {
		t.Errorf("%v retries counted", n)
	}
	l, err := net.Listen("tcp", strings.TrimPrefix(dead.URL, "http://"))
	if err != nil {
		t.Skip("somebody else has the port:", err)
	}
	back := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	back.Listener.Close()
	back.Listener = l
	back.Start()
	defer back.Close()
	await(t, "the parent that is back is asked", func() bool {
		r, err := c.Ask(t.Context(), plan("GET", "/again", dead, o.Parent))
		read(t, r, err)
		return r.Parent.Name == "dead" && c.State(dead, "site").Breaker == "closed"
	})
}

// TestBreakerOpensAndCloses: a site whose origin breaks off is told at once after a while,
// others are not; it is asked again by and by, and all is well when the origin is.
func TestBreakerOpensAndCloses(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() && r.URL.Path != "/other" {
			cut(w, r)
		}
		ok(w, r)
	})
	c := newTestClient(t)
	var news []BreakerChange
	c.OnChange(func(b BreakerChange) { news = append(news, b) })
	ask := func(i int) error {
		r, err := c.Ask(t.Context(), plan("GET", fmt.Sprint("/", i), o.Parent))
		if err == nil {
			read(t, r, err)
		}
		return err
	}
	for i := range 5 {
		if err := ask(i); err == nil || errors.Is(err, ErrOpen) {
			t.Fatalf("try %d: %v", i, err)
		}
	}
	asked := o.asked.Load()
	for i := range 100 {
		var refused *Refused
		if err := ask(i); !errors.Is(err, ErrOpen) || !errors.As(err, &refused) || refused.Last == nil || refused.After <= 0 {
			t.Fatalf("it should be left alone: %v", err)
		}
	}
	if n := o.asked.Load(); n != asked {
		t.Errorf("it was asked %d times all the same", n-asked)
	}
	other := plan("GET", "/other", o.Parent)
	other.Site = "other"
	r, err := c.Ask(t.Context(), other)
	read(t, r, err)
	broken.Store(false)
	await(t, "the breaker is closed", func() bool { return ask(1) == nil && c.State(o.Parent, "site").Breaker == "closed" })
	if len(news) != 2 || !news[0].Open || news[0].Err == nil || news[0].Site != "site" || news[1].Open || news[1].Site != "site" {
		t.Errorf("news of the breaker: %+v", news)
	}
}

// TestClientsThatLeaveAreNoFailures: whoever goes away, before the head or within the body,
// says nothing of the parent.
func TestClientsThatLeaveAreNoFailures(t *testing.T) {
	o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "12345")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	c := newTestClient(t)
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			go func() {
				await(t, "it is asked", func() bool { return o.under.Load() > 0 })
				cancel()
			}()
			if _, err := c.Ask(ctx, plan("GET", "/head", o.Parent)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		} else {
			r, err := c.Ask(ctx, plan("GET", "/body", o.Parent))
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := io.ReadAll(r.Body); err == nil {
				t.Error("the body is whole")
			}
			r.Body.Close()
		}
		cancel()
		await(t, "it is over", func() bool { return o.under.Load() == 0 })
	}
	if s := c.State(o.Parent, "site"); s.Breaker != "closed" || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

// TestRetriesStayWithinATenth: in a flood of misses while all parents break off, what is
// asked a second time is a tenth of what is asked first, and ten.
func TestRetriesStayWithinATenth(t *testing.T) {
	var served [3]*above
	var parents []Parent
	for i := range served {
		n := 0
		var mu sync.Mutex
		served[i] = startAbove(t, Mid, fmt.Sprint("m", i), func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			n++
			good := n%3 == 0 // so that no breaker opens for good
			mu.Unlock()
			if good {
				ok(w, r)
				return
			}
			w.Header().Set("Proxy-Status", "freshet-m; error=connection_refused")
			w.WriteHeader(502) // it reached nobody
		})
		parents = append(parents, served[i].Parent)
	}
	c := newTestClient(t)
	const flood = 1500
	var all sync.WaitGroup
	for worker := range 10 {
		all.Go(func() {
			for i := range flood / 10 {
				r, err := c.Ask(t.Context(), plan("GET", fmt.Sprint("/", worker, "/", i), parents...))
				if err == nil {
					r.Body.Close()
				}
			}
		})
	}
	all.Wait()
	asked := int64(0)
	for _, a := range served {
		asked += a.asked.Load()
	}
	t.Logf("%d requests cost %d", flood, asked)
	if asked > flood+flood/10+10 || asked < flood+flood/20 {
		t.Errorf("%d requests cost %d", flood, asked)
	}
}

// TestDeadlines: each part of a request has its time, and the error says which was over.
func TestDeadlines(t *testing.T) {
	o := startAbove(t, Outside, "o", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			<-r.Context().Done()
		case "/body":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "12345")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/upload":
			_, _ = io.ReadAll(r.Body)
			ok(w, r)
		}
	})
	o.Limits = Limits{Connect: 100 * time.Millisecond, FirstByte: 100 * time.Millisecond, BetweenBytes: 100 * time.Millisecond}
	mute, err := net.Listen("tcp", "127.0.0.1:0") // never shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	c := newTestClient(t)
	silent := o.Parent
	silent.URL, silent.Name = "https://"+mute.Addr().String(), "mute"
	if _, err := c.Ask(t.Context(), plan("GET", "/", silent)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no connection: %v", err)
	}
	if _, err := c.Ask(t.Context(), plan("GET", "/head", o.Parent)); !errors.Is(err, ErrNoHead) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("no head: %v", err)
	}
	r, err := c.Ask(t.Context(), plan("GET", "/body", o.Parent))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("a body that stands still ends well")
	}
	r.Body.Close()
	// An upload may last longer than the answer to it: that is waited for from its end.
	upload := plan("PUT", "/upload", o.Parent)
	request := upload.Request
	upload.Request = func(p Parent) (Request, error) {
		req, err := request(p)
		req.Body, req.Length = &slowBody{left: 6, pause: 40 * time.Millisecond}, 6
		return req, err
	}
	r, err = c.Ask(t.Context(), upload)
	read(t, r, err)
}

// slowBody is an upload that takes its time.
type slowBody struct {
	left  int
	pause time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	<-time.After(b.pause)
	b.left--
	p[0] = 'x'
	return 1, nil
}

// BenchmarkAsk is a miss on one parent, beside what Do alone costs.
func BenchmarkAsk(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(ok))
	defer s.Close()
	p := Parent{Name: "o", URL: s.URL, Kind: Outside, Server: new(Server)}
	c := NewClient(time.Now, ring.NewLoads(time.Now))
	defer c.Close()
	finish := func(r *Reply, err error) {
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	b.Run("do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			finish(c.Do(b.Context(), p, Request{Key: "/", Method: "GET", Host: "www.test", Target: "/", Header: new(header.Block)}))
		}
	})
	b.Run("ask", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			finish(c.Ask(b.Context(), plan("GET", "/", p)))
		}
	})
}
