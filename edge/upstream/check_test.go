package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"freshet/internal/cluster"
	"freshet/internal/header"
	"freshet/internal/ring"
	"freshet/internal/site"
)

// checkBed is checks in a bubble of time, by a client that is played.
type checkBed struct {
	*Checks
	parents *Parents
	doc     *site.Document

	mu     sync.Mutex
	status map[string]int // of a server by its URL; 0 for no answer before the timeout
	asked  map[string][]time.Time
}

const checked = `  servers: [{url: 'http://a'}, {url: 'http://b'}]
  check: {path: /healthz, every: 10s, timeout: 2s, expect: 200-204, fails: 3, passes: 2}
`

// inChecks runs a test with checks of a site that a mid runs.
func inChecks(t *testing.T, text string, test func(t *testing.T, b *checkBed)) {
	synctest.Test(t, func(t *testing.T) {
		b := &checkBed{status: map[string]int{"http://a": 200, "http://b": 204}, asked: make(map[string][]time.Time)}
		b.Checks = NewChecks(b.answer, slog.New(slog.DiscardHandler))
		b.parents, b.doc = pooled(t, text, func(c *Config) { c.Unhealthy, c.Changed = b.Unhealthy, b.Changed })
		b.Sites([]*site.Document{b.doc})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx, b.parents) }()
		test(t, b)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (b *checkBed) answer(ctx context.Context, p Parent, req Request) (*Reply, error) {
	b.mu.Lock()
	status := b.status[p.URL]
	b.asked[p.URL] = append(b.asked[p.URL], time.Now())
	b.mu.Unlock()
	if req.Method != "GET" || req.Target != "/healthz" || req.Host != "s.example" {
		return nil, errors.New("asked for something else")
	}
	if status == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &Reply{Parent: p, Status: status, Header: new(header.Block), Body: io.NopCloser(strings.NewReader("ok"))}, nil
}

func (b *checkBed) set(url string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status[url] = status
}

func (b *checkBed) count(url string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked[url])
}

// healthy is the metric of a server.
func (b *checkBed) healthy(server string) float64 {
	return testutil.ToFloat64(b.Checks.healthy.WithLabelValues("s", server))
}

// TestChecksCountInARow: so many failures make a server dead, so many passes well; one of
// another kind between them begins the count anew.
func TestChecksCountInARow(t *testing.T) {
	for name, bad := range map[string]int{"status": 503, "redirect": 302, "silence": 0} {
		t.Run(name, func(t *testing.T) {
			inChecks(t, checked, func(t *testing.T, b *checkBed) {
				step := func(url string, status int) {
					b.set(url, status)
					for n := b.count(url); b.count(url) == n; {
						time.Sleep(100 * time.Millisecond)
					}
					time.Sleep(2100 * time.Millisecond) // a silent one is waited for
				}
				for i, status := range []int{bad, bad, 200, bad, bad, bad, 200, bad, 200, 200, bad} {
					step("http://a", status)
					dead := i >= 5 && i < 9
					if b.Unhealthy("s", "http://a") != dead || (b.healthy("a") == 0) != dead {
						t.Errorf("after check %d: dead %v, metric %v", i, b.Unhealthy("s", "http://a"), b.healthy("a"))
					}
					if got := names(b.parents.For(b.doc, Question{Key: "k"})); dead && got != "b a" {
						t.Errorf("after check %d: %s", i, got)
					}
				}
				if b.Unhealthy("s", "http://b") || b.healthy("b") != 1 {
					t.Error("the other server is dead as well")
				}
			})
		})
	}
}

// TestChecksAreSpread: the first of them within a second, and two of one server never at
// times that make nodes fall into step.
func TestChecksAreSpread(t *testing.T) {
	inChecks(t, checked, func(t *testing.T, b *checkBed) {
		began := time.Now()
		time.Sleep(10 * time.Minute)
		b.mu.Lock()
		defer b.mu.Unlock()
		for url, at := range b.asked {
			if first := at[0].Sub(began); first >= time.Second {
				t.Errorf("%s: the first after %s", url, first)
			}
			apart := make(map[time.Duration]bool)
			for i := 1; i < len(at); i++ {
				d := at[i].Sub(at[i-1])
				if apart[d.Round(time.Millisecond)] = true; d < 9*time.Second || d > 11*time.Second {
					t.Errorf("%s: %s between two", url, d)
				}
			}
			if len(at) < 50 || len(apart) < 20 {
				t.Errorf("%s: %d checks, %d different times between them", url, len(at), len(apart))
			}
		}
	})
}

// TestWhoChecks: a node below others does not, and forgets what it knew; who is the
// last does; a site that is gone, or has other checks, is not checked as before.
func TestWhoChecks(t *testing.T) {
	inChecks(t, checked, func(t *testing.T, b *checkBed) {
		b.set("http://a", 500)
		time.Sleep(time.Minute)
		if !b.Unhealthy("s", "http://a") {
			t.Fatal("the server is not dead")
		}
		above := member("above", cluster.Mid, "r", true)
		above.Tier = 2
		b.parents.Update([]cluster.Node{above})
		synctest.Wait()
		asked := b.count("http://a")
		time.Sleep(time.Minute)
		if b.Unhealthy("s", "http://a") || b.count("http://a") != asked || testutil.CollectAndCount(b.Checks.healthy) != 0 {
			t.Error("a node with parents checks on, or believes old checks")
		}
		above.Ready = false
		b.parents.Update([]cluster.Node{above})
		time.Sleep(time.Minute)
		if !b.Unhealthy("s", "http://a") {
			t.Error("a node without parents does not check")
		}
		_, other := pooled(t, strings.Replace(checked, "10s", "20s", 1), nil)
		b.Sites([]*site.Document{other})
		synctest.Wait()
		if b.Unhealthy("s", "http://a") {
			t.Error("other checks begin where the old ones ended")
		}
		b.Sites(nil)
		synctest.Wait()
		asked = b.count("http://a")
		time.Sleep(time.Minute)
		if b.count("http://a") != asked {
			t.Error("a site that is gone is checked")
		}
	})
}

// TestChecksAsk over real sockets what clients would be given: behind the prefix, with the
// fields and the Host of the site; and keep their connection.
func TestChecksAsk(t *testing.T) {
	type request struct{ target, host, own, from string }
	seen := make(chan request, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- request{r.RequestURI, r.Host, r.Header.Get("X-Own"), r.RemoteAddr}
		_, _ = io.WriteString(w, strings.Repeat("x", 1000))
	}))
	defer server.Close()
	client := NewClient(time.Now, ring.NewLoads(time.Now))
	defer client.Close()
	checks := NewChecks(client.Do, slog.New(slog.DiscardHandler))
	if err := checks.Register(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	p, doc := pooled(t, "  url: "+server.URL+"\n  host: own.example\n  path_prefix: /p\n  headers: {X-Own: '1'}\n  check: {path: '/h?x', every: 100ms, timeout: 100ms}\n", func(c *Config) {
		c.Unhealthy = checks.Unhealthy
	})
	checks.Sites([]*site.Document{doc})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- checks.Run(ctx, p) }()
	one, two := <-seen, <-seen
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if want := (request{"/p/h?x", "own.example", "1", one.from}); one != want || two != want {
		t.Errorf("asked %+v and %+v, want %+v", one, two, want)
	}
}
