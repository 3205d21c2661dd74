package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is a way to the bus that can be cut.
type wire struct {
	net.Listener
	to string
	mu struct {
		sync.Mutex
		cut   bool
		conns []net.Conn
	}
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: ln, to: to}
	t.Cleanup(w.cut)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.join(c)
		}
	}()
	return w
}

// join carries bytes between a node and the bus, unless that is cut.
func (w *wire) join(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.cut {
		c.Close()
		return
	}
	up, err := net.Dial("tcp", w.to)
	if err != nil {
		c.Close()
		return
	}
	w.mu.conns = append(w.mu.conns, c, up)
	for _, pair := range [][2]net.Conn{{c, up}, {up, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			pair[0].Close()
		}()
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.cut = true
	for _, c := range w.mu.conns {
		c.Close()
	}
	w.mu.conns = nil
}

// rewire has a node reach the bus by a wire.
func (w *twoVersions) rewire(name string) *wire {
	w.t.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `nats://`)
	bus, _, _ := strings.Cut(rest, `"`)
	wire := newWire(w.t, bus)
	w.write(name, strings.Replace(string(text), bus, wire.Addr().String(), 1))
	return wire
}

func (w *twoVersions) policy(cache string) {
	w.t.Helper()
	w.write("site", "site: demo\nhosts: [demo.example]\norigin: {url: \""+w.asks.URL+"\"}\ncache: {"+cache+"}\n")
	w.must("site", "apply", w.path("site"))
}

// TestPurgeLeaseOnProcesses: an edge is cut off from the bus, over NATS, and goes on serving.
// A purge is complete all the same once that edge's lease is over, and from then on the edge
// has nothing old for anybody; without a lease the purge names it.
func TestPurgeLeaseOnProcesses(t *testing.T) {
	t.Parallel()
	w := newTwoVersions(t, "")
	w.run("distributor", "d1", false)
	w.policy("purge_lease: 6s")
	wire := w.rewire("e2")
	for edge := range w.addr {
		w.run("edge", edge, false)
	}
	w.ready(2)
	w.warm()
	w.must("purge", "http://demo.example/tagged") // both hear it
	w.warm()
	old := map[string]string{}
	for _, path := range []string{"/plain", "/tagged"} {
		old[path], _ = w.get("e2", path)
	}
	wire.cut()
	began := time.Now()
	code, out := runFreshet(t, w.env, "purge", "--timeout", "60s", "http://demo.example/plain")
	took := time.Since(began)
	if code != exitOK || !strings.Contains(out, "lapsed") || !strings.Contains(out, "applied by 1 of 2 nodes") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if took < 6*time.Second || took > 40*time.Second {
		t.Errorf("the purge took %s with a lease of 6s", took)
	}
	for path, before := range old { // of /tagged the edge cannot know that it is true, either
		if body, hit := w.get("e2", path); hit || path == "/plain" && body == before {
			t.Errorf("%s: the edge that is cut off serves %s, a hit %t", path, body, hit)
		}
	}
	w.want("e1", "/tagged", true)
	t.Logf("%s: %s", took, out)

	w.policy("purge_lease: 0s")
	code, out = runFreshet(t, w.env, "purge", "--timeout", "10s", "http://demo.example/plain")
	if code != exitPartial || !strings.Contains(out, "e2") {
		t.Errorf("exit code %d without a lease: %s", code, out)
	}
}

// TestTheBusIsKilled: after max_log_lag the edges say so, validate or refuse, as the site
// wants; once the bus is back they serve as before.
func TestTheBusIsKilled(t *testing.T) {
	t.Parallel()
	w := newTwoVersions(t, "")
	d := w.run("distributor", "d1", false)
	policies := []string{"serve", "revalidate", "refuse"}
	for _, policy := range policies {
		w.write("site", fmt.Sprintf("site: %s\nhosts: [%s.example]\norigin: {url: %q}\ncache: {max_log_lag: 5s, when_lagging: %s}\n", policy, policy, w.asks.URL, policy))
		w.must("site", "apply", w.path("site"))
	}
	w.run("edge", "e1", false)
	w.ready(1)
	ask := func(policy string) (status int, says string) {
		return answerOf(t, w.addr["e1"], policy+".example", "/plain")
	}
	says := func(want map[string]string) {
		t.Helper()
		within(t, 60*time.Second, func() error {
			for _, policy := range policies {
				if status, got := ask(policy); !strings.Contains(fmt.Sprintf("%d %s", status, got), want[policy]) {
					return fmt.Errorf("%s: %d %s, want %s", policy, status, got, want[policy])
				}
			}
			return nil
		})
	}
	hits := map[string]string{"serve": "200 freshet-e1; hit", "revalidate": "200 freshet-e1; hit", "refuse": "200 freshet-e1; hit"}
	says(hits)
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.exited
	says(map[string]string{"serve": "detail=log-lag", "revalidate": "200 freshet-e1; fwd=stale; fwd-status=200; stored; detail=log-lag", "refuse": "503 freshet-e1; fwd=bypass; detail=log-lag"})
	w.run("distributor", "d1", false)
	says(hits)
	if _, got := ask("serve"); strings.Contains(got, "lag") {
		t.Errorf("it still says %s", got)
	}
}

// answerOf asks an address for a path of a host, and tells the status and Cache-Status.
func answerOf(t *testing.T, addr, host, path string) (status int, says string) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header.Get("Cache-Status")
}
