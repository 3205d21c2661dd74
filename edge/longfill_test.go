package edge

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/edge/response"
)

// slowly is a client whose connection takes little in advance.
func slowly(t *testing.T) *http.Client {
	var dialer net.Dialer
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		return conn, err
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func longBody(n int) []byte {
	body := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(body)
	return body
}

// One fetch serves a fast client and those who stand still meanwhile, in little RAM: what
// they have missed they get from the store.
func TestClientsOfAllSpeedsShareAFetchOfALongBody(t *testing.T) {
	for _, tc := range []struct {
		name, etag string
		store      int
		size       int
	}{
		{"disk", `"v1"`, 1, 24*mib + 17},
		{"disk, without a validator", "", 1, 24*mib + 17},
		{"RAM", `"v1"`, 0, 12*mib + 17},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := longBody(tc.size)
			o := startSizes(t, body, tc.etag)
			url, e := startOn(t, stores[tc.store].cache(t), o.URL)
			var most atomic.Int64
			watching := make(chan struct{})
			var watch, clients sync.WaitGroup
			watch.Go(func() {
				for {
					select {
					case <-watching:
						return
					case <-time.After(time.Millisecond):
						most.Store(max(most.Load(), e.fills.Held()))
					}
				}
			})
			goOn := make(chan struct{})
			var standing sync.WaitGroup
			for range 3 {
				standing.Add(1)
				clients.Go(func() {
					res, err := slowly(t).Get(url + "/long")
					standing.Done()
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					<-goOn
					if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, body) {
						t.Errorf("a client that stood still has %d bytes of %d, %v", len(got), len(body), err)
					}
				})
			}
			standing.Wait()
			if a := get(t, url+"/long"); a.body != string(body) {
				t.Errorf("the fast client has %d bytes of %d", len(a.body), len(body))
			}
			close(goOn)
			clients.Wait()
			close(watching)
			watch.Wait()
			fills := o.asked.Load()
			if tc.store == 1 && fills != 1 {
				t.Errorf("the origin was asked %d times", fills)
			}
			if limit := fills * 3 * response.SliceSize; most.Load() > limit || most.Load() == 0 {
				t.Errorf("fills held %d bytes, the bound is %d", most.Load(), limit)
			}
			if a := get(t, url+"/long"); a.body != string(body) {
				t.Errorf("afterwards: %d bytes of %d", len(a.body), len(body))
			}
		})
	}
}

// What has come of a long body when its last client goes away is used by the next one.
func TestWhatCameOfALongBodyBeforeItsClientLeftIsNotFetchedAgain(t *testing.T) {
	body := longBody(30*mib + 5)
	o := startSizes(t, body, `"v1"`)
	url, e := startOn(t, stores[1].cache(t), o.URL)
	client := slowly(t)
	res, err := client.Get(url + "/long")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 10*mib)); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	e.fills.Wait()
	for o.sent.Load() == 0 {
		<-time.After(time.Millisecond) // the origin counts at the end of its answer
	}
	first := o.sent.Load()
	if first > 27*mib {
		t.Errorf("the origin sent %d bytes although the client had left", first)
	}
	if a := get(t, url+"/long", "Range: bytes=0-9"); a.status != 206 || a.body != string(body[:10]) || o.asked.Load() != 1 {
		t.Errorf("what had come: status %d, the origin was asked %d times", a.status, o.asked.Load())
	}
	if a := get(t, url+"/long"); a.body != string(body) {
		t.Errorf("the next client has %d bytes of %d", len(a.body), len(body))
	}
	// Megabytes of what the origin sent at first were in its connection when that was closed.
	if again := o.sent.Load() - int64(len(body)); again > first-8*mib {
		t.Errorf("%d bytes were fetched twice", again)
	}
}
