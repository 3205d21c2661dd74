package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"freshet/internal/cluster"
)

// events answers with ten events, each of which is sent when the one before has been
// acknowledged.
type events struct{ acks chan struct{} }

func (e *events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if strings.HasPrefix(r.URL.Path, "/kept") {
		w.Header().Set("Cache-Control", "max-age=60")
	}
	for n := range 10 {
		fmt.Fprintf(w, "data: %d\n\n", n)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-e.acks:
		case <-r.Context().Done():
			return
		}
	}
}

// follow reads the events and acknowledges each; it would wait for ever for one that
// somebody keeps back.
func (e *events) follow(t *testing.T, name string, body io.Reader) {
	t.Helper()
	r := bufio.NewReader(body)
	for n := range 10 {
		line, err := r.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", n) {
			t.Fatalf("%s: event %d is %q, %v", name, n, line, err)
		}
		_, _ = r.Discard(1)
		e.acks <- struct{}{}
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("%s: ends with %q, %v", name, rest, err)
	}
}

// TestEventsArriveAtOnce proves that no piece of an answer waits for the next, by any
// protocol, be the answer passed on, fetched, or fetched to be stored.
func TestEventsArriveAtOnce(t *testing.T) {
	e := &events{acks: make(chan struct{})}
	o := startOrigin(t, e.ServeHTTP)
	s := startSecured(t, o.URL, "")
	for protocol, client := range s.clients(t) {
		for _, how := range []string{"GET /events/", "GET /kept/", "POST /passed/"} {
			method, path, _ := strings.Cut(how, " ")
			name := protocol + ", " + how
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, method, "https://"+s.secure+path+strings.ReplaceAll(protocol, "/", "-"), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			e.follow(t, name, res.Body)
			res.Body.Close()
		}
	}
}

// TestEventsArriveAtOnceThroughTiers is the same for an edge below a mid.
func TestEventsArriveAtOnceThroughTiers(t *testing.T) {
	e := &events{acks: make(chan struct{})}
	x := startTiers(t)
	serve := http.HandlerFunc(e.ServeHTTP)
	x.origin.serve.Store(&serve)
	x.start(cluster.Mid, "m1", tierSecret)
	edge := x.start(cluster.Edge, "e1", tierSecret)
	x.knowsMid(edge)
	for _, path := range []string{"/events", "/kept"} {
		res, err := http.Get(edge.url + path)
		if err != nil {
			t.Fatal(err)
		}
		e.follow(t, path, res.Body)
		res.Body.Close()
		if got := res.Header.Get("Cache-Status"); !strings.Contains(got, "freshet-m1; fwd") || !strings.Contains(got, "freshet-e1; fwd") {
			t.Errorf("%s: Cache-Status %q", path, got)
		}
	}
}

// TestManyClientsOfOneStreamOfEvents proves that those who ask for events at once wait
// neither for one another nor for one who takes nothing, however few requests at once the
// origin is to have: a stream that has begun is none.
func TestManyClientsOfOneStreamOfEvents(t *testing.T) {
	const clients = 50
	var first sync.WaitGroup
	first.Add(clients)
	all := make(chan struct{})
	go func() {
		first.Wait()
		close(all)
	}()
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		if r.Header.Get("X-Slow") != "" { // more than any buffer holds
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}
		select {
		case <-all: // nobody has the second event before everybody has the first
		case <-r.Context().Done():
			return
		}
		fmt.Fprintf(w, "data: second\n\n")
	})
	url, _ := startLoneSite(t, o.URL, "origin: {requests: 5}\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow, _ := http.NewRequestWithContext(ctx, "GET", url+"/events", nil)
	slow.Header.Set("X-Slow", "1")
	res, err := http.DefaultTransport.RoundTrip(slow)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var done sync.WaitGroup
	for range clients {
		done.Go(func() {
			res, err := http.Get(url + "/events")
			if err != nil {
				t.Error(err)
				first.Done()
				return
			}
			defer res.Body.Close()
			r := bufio.NewReader(res.Body)
			line, err := r.ReadString('\n')
			first.Done()
			if err != nil || line != "data: first\n" {
				t.Errorf("the first event is %q, %v", line, err)
			}
			if rest, err := io.ReadAll(r); err != nil || string(rest) != "\ndata: second\n\n" {
				t.Errorf("the rest is %q, %v", rest, err)
			}
		})
	}
	done.Wait()
	if n := o.asked.Load(); n != clients+1 {
		t.Errorf("the origin was asked %d times by %d clients", n, clients+1)
	}
	if r := get(t, url+"/events"); !strings.Contains(r.header.Get("Cache-Status"), "fwd=") {
		t.Errorf("Cache-Status %q", r.header.Get("Cache-Status"))
	}
}

// TestTheEndOfAClientOfEventsIsTold proves that the origin need not send for nobody.
func TestTheEndOfAClientOfEventsIsTold(t *testing.T) {
	gone := make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		gone <- struct{}{}
	})
	s := startSecured(t, o.URL, "")
	for protocol, client := range s.clients(t) {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.secure+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.RoundTrip(req) // before there is any event
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		cancel()
		<-gone
		res.Body.Close()
	}
}

// TestTrailersPass proves that an origin hears that trailers are welcome, by whatever
// protocol the client says so, and that those which it did not announce arrive.
func TestTrailersPass(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Te", r.Header.Get("Te"))
		_, _ = io.Copy(w, r.Body)
		_ = http.NewResponseController(w).Flush() // else net/http says how long it is, and sends no trailer
		w.Header().Set(http.TrailerPrefix+"X-Sum", "of the body")
	})
	s := startSecured(t, o.URL, "")
	for protocol, client := range s.clients(t) {
		req, err := http.NewRequest("POST", "https://"+s.secure+"/a", io.MultiReader(strings.NewReader("content")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("TE", "trailers")
		if protocol == "HTTP/1.1" {
			req.Header.Set("TE", "gzip;q=0.5, trailers")
			req.Header.Set("Connection", "TE")
		}
		res, err := client.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != "content" || res.Header.Get("X-Te") != "trailers" || res.Trailer.Get("X-Sum") != "of the body" {
			t.Errorf("%s: %q, %v, TE %q, trailer %v", protocol, body, err, res.Header.Get("X-Te"), res.Trailer)
		}
	}
}
