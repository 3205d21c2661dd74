package main

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestACrowdOnOneColdKey: clients of two edges ask for the same cold content at once. The
// origin is asked once, and everybody gets the bytes as they come.
func TestACrowdOnOneColdKey(t *testing.T) {
	crowd := int(treeRate(5000, 300))
	tr := newTree(t, treePlan{edges: 2, mids: 1})
	tr.origin.body, tr.origin.work = 200, time.Duration(treeRate(4, 0.5)*float64(time.Second)) // so that all are there
	tr.origin.set(originTrickles)
	tr.origin.reset()
	l := &treeLoad{t: t, addrs: tr.addrs(), host: treeHost, path: func(int) string { return "/l/crowd" }}
	answers := make([]sample, crowd)
	var clients sync.WaitGroup
	begun := time.Now()
	for i := range crowd {
		clients.Go(func() {
			// Addresses of many clients: one may not have all connections.
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i%100), 1)}, Timeout: 30 * time.Second}
			client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, Timeout: time.Minute}
			answers[i] = l.ask(client, i%2, i)
		})
	}
	clients.Wait()
	t.Logf("%d clients in %s: %s", crowd, time.Since(begun).Round(time.Millisecond), figures(answers))
	complain(t, "a crowd", answers)
	streamed := 0
	for _, s := range answers {
		if s.cut() {
			t.Errorf("cut off: %v", s.err)
		}
		if s.took-s.first > 500*time.Millisecond {
			streamed++
		}
	}
	t.Logf("%d of them had the head half a second before the end", streamed)
	if n := tr.origin.requests("/l/crowd"); n != 1 {
		t.Errorf("the origin was asked %d times by a crowd of %d, want once", n, crowd)
	}
	mid := 0
	within(t, 5*time.Second, func() error { // its access log is written four times a second
		mid = tr.midRequests(begun, time.Now().Add(time.Second))["/l/crowd"]["mid-1"]
		if mid < 2 {
			return fmt.Errorf("the mid was asked %d times by two edges", mid)
		}
		return nil
	})
	if mid != 2 {
		t.Errorf("the mid was asked %d times by two edges, want once by each", mid)
	}
	if streamed == 0 {
		t.Error("nobody got bytes before the end")
	}
}
