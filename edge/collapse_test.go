package edge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// crowdOf is how many clients there may be, of those wanted: each has a connection with two
// ends in this process.
func crowdOf(t *testing.T, wanted int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if room := (int(limit.Cur) - 1000) / 2; wanted > room {
		t.Logf("%d clients in place of %d: %d files may be open", room, wanted, limit.Cur)
		return room
	}
	return wanted
}

// TestACrowdOverTwoEdgesAndAMid: thousands of clients, each with a connection of its own or a
// stream of HTTP/2, want one cold key at once. The origin is asked once, the mid once by each
// edge, and everybody has the first bytes before the origin has sent the last.
func TestACrowdOverTwoEdgesAndAMid(t *testing.T) {
	x, mid, e1, e2 := startTree(t)
	crowd := crowdOf(t, share(300, 5000))
	release, all := make(chan struct{}), make(chan struct{})
	x.origin.set(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", "10")
		<-all // wait at the origin, until all have come
		fmt.Fprint(w, "first")
		w.(http.Flusher).Flush()
		<-release
		fmt.Fprint(w, "-last")
	})
	var begun, answered sync.WaitGroup
	var early atomic.Int64
	begun.Add(crowd)
	plain := func(i int) *http.Client { // one address may not have all connections
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i%100), 1)}, Timeout: patience}
		return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}}
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	streams := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	t.Cleanup(streams.CloseIdleConnections)
	since := time.Now()
	for i := range crowd {
		answered.Go(func() {
			client, url := streams, []*tier{e1, e2}[i%2].url
			if i%10 < 8 {
				client = plain(i)
			}
			req, err := http.NewRequest("GET", url+"/crowd", nil)
			if err != nil {
				t.Error(err)
				begun.Done()
				return
			}
			req.Host = "www.test"
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				begun.Done()
				return
			}
			defer res.Body.Close()
			head := make([]byte, 5)
			if _, err = io.ReadFull(res.Body, head); err == nil {
				early.Add(1)
			}
			begun.Done()
			rest, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 200 || string(head)+string(rest) != "first-last" {
				t.Errorf("%d %q%q, %v", res.StatusCode, head, rest, err)
			}
		})
	}
	waitFor(t, func() bool { return e1.counts().InFlight+e2.counts().InFlight == int64(crowd) })
	t.Logf("all are waiting after %s", time.Since(since).Round(time.Millisecond))
	close(all)
	begun.Wait()
	t.Logf("%d of %d clients had the first bytes before the last were sent, %s after the first has asked", early.Load(), crowd, time.Since(since).Round(time.Millisecond))
	close(release)
	answered.Wait()
	if n := early.Load(); n != int64(crowd) {
		t.Errorf("%d of %d clients had the first bytes early", n, crowd)
	}
	wantAsked(t, x.origin, 1)
	if n := mid.counts().Requests; n != 2 {
		t.Errorf("the mid was asked %d times, want once by each edge", n)
	}
}

// TestUncacheableFreesACrowd: once it is known that an answer is for one alone the others go
// at once, side by side, and who comes later does not wait at all: the key is remembered.
func TestUncacheableFreesACrowd(t *testing.T) {
	t.Parallel()
	const crowd = 50
	var waiting atomic.Int64
	together, release := make(chan struct{}), make(chan struct{})
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private")
		switch n := waiting.Add(1); {
		case n == 1:
			<-release // the first answers late
		case n == crowd:
			close(together)
		default:
			<-together // all others are here at once
		}
		fmt.Fprint(w, r.Header.Get("Cookie"))
	})
	url, e := startLone(t, o.URL)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(i int) {
		req, err := http.NewRequest("GET", url+"/a", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Cookie", fmt.Sprint("id=", i))
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != req.Header.Get("Cookie") {
			t.Errorf("client %d got %q, %v", i, body, err)
		}
	}
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() { ask(i) })
	}
	waitFor(t, func() bool { return e.counts().InFlight == crowd && waiting.Load() > 0 })
	if n := waiting.Load(); n != 1 {
		t.Errorf("%d requests at the origin before anything is known", n)
	}
	close(release)
	all.Wait()
	a := get(t, url+"/a", "Cookie: id=late")
	if a.body != "id=late" || strings.Contains(a.header.Get("Cache-Status"), "collapsed") {
		t.Errorf("later: %q, %s", a.body, a.header.Get("Cache-Status"))
	}
	if n := o.asked.Load(); n != crowd+1 {
		t.Errorf("%d requests at the origin for %d clients", n, crowd+1)
	}
}
