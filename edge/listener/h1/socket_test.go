package h1_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/listenertest"
)

// TestAnEndTogetherWithARequestIsNoticed: the poller may tell only once of a request and
// of the end that came together with it, also on a connection that is asked so often that
// it does not look for more after each request.
func TestAnEndTogetherWithARequestIsNoticed(t *testing.T) {
	addr := serve(t, &h1.Server{Handler: prepared(t, 10)}, false)
	var clients sync.WaitGroup
	for range 50 {
		clients.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			one := listenertest.Send(t, addr, strings.Replace(get, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
			length := len(one) - len("Connection: close\r\n")
			buf := make([]byte, length)
			for range 5 {
				_, _ = io.WriteString(c, get)
				if _, err := io.ReadFull(c, buf); err != nil {
					t.Error(err)
					return
				}
			}
			_, _ = io.WriteString(c, get)
			_ = c.(*net.TCPConn).CloseWrite()
			if all, err := io.ReadAll(c); err != nil || len(all) != length {
				t.Errorf("%q, %v", all, err)
			}
		})
	}
	clients.Wait()
}

// TestRequestsInAnyPieces: whatever a client writes at a time, and however many answers
// it waits for meanwhile, each request has its answer.
func TestRequestsInAnyPieces(t *testing.T) {
	const requests = 2000
	s := &h1.Server{Handler: prepared(t, 100)}
	s.Spoil()
	addr := serve(t, s, false)
	var clients sync.WaitGroup
	for seed := range uint64(8) {
		c, in := dial(t, addr)
		clients.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			all := strings.Repeat(browser, requests)
			for len(all) > 0 {
				n := min(1+random.IntN(5000)>>random.IntN(12), len(all))
				if _, err := io.WriteString(c, all[:n]); err != nil {
					t.Error(seed, err)
					return
				}
				all = all[n:]
			}
		})
		clients.Go(func() {
			for i := range requests {
				res, err := http.ReadResponse(in, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
				}
				if err != nil {
					t.Error(seed, i, err)
					return
				}
			}
		})
	}
	clients.Wait()
}

// sendfile has the kernel's copying pass through f during a test.
func sendfile(t *testing.T, f func(out, in int, n int) (int, error)) {
	before := *h1.Sendfile
	t.Cleanup(func() { *h1.Sendfile = before })
	*h1.Sendfile = func(out, in int, off *int64, n int) (int, error) {
		if off != nil {
			t.Error("the file's own offset counts")
		}
		return f(out, in, n)
	}
}

func TestTheKernelCopiesAFileWhoseLengthIsKnown(t *testing.T) {
	const size, off, n = 9 << 20, 1234, 7<<20 + 7
	var copied atomic.Int64
	sendfile(t, func(out, in, n int) (int, error) {
		n, err := syscall.Sendfile(out, in, nil, n)
		copied.Add(int64(max(n, 0)))
		return n, err
	})
	h, content, responded := listenertest.FileHandler(t, size, off, n, n)
	c, in := dial(t, serve(t, &h1.Server{Handler: h}, false))
	for range 2 { // the connection is used again
		_, _ = io.WriteString(c, get)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Equal(body, content[off:off+n]) || res.ContentLength != n {
			t.Fatalf("%d bytes of %d, %v", len(body), res.ContentLength, err)
		}
		if err := <-responded; err != nil || copied.Swap(0) != n {
			t.Errorf("not all was left to the kernel, %v", err)
		}
	}
}

func TestAFileThatTheKernelDoesNotCopy(t *testing.T) {
	const size = 300_000
	for _, failure := range []syscall.Errno{syscall.EINVAL, syscall.EIO} {
		sendfile(t, func(int, int, int) (int, error) { return -1, failure })
		h, content, responded := listenertest.FileHandler(t, size, 0, size, size)
		c, _ := dial(t, serve(t, &h1.Server{Handler: h}, false))
		_, _ = io.WriteString(c, strings.Replace(get, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := bytes.Cut(all, []byte("\r\n\r\n"))
		err = <-responded
		if failure == syscall.EINVAL && (err != nil || !bytes.Equal(body, content)) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		if failure == syscall.EIO && (!errors.Is(err, exchange.ErrAborted) || !errors.Is(err, failure) || len(body) != 0) {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	}
}

// TestAnswersOfEverySize: none is mixed up with its neighbours at the sizes where it is
// copied, gathered, or written beside its head.
func TestAnswersOfEverySize(t *testing.T) {
	sizes := []int{0, 1, 4095, 4096, 4097, 8191, 16383, 16384, 16385, 32 << 10, 65537, 1 << 20}
	bodies := make(map[string][]byte)
	var all strings.Builder
	for i, size := range sizes {
		target := "/" + strings.Repeat("s", i)
		bodies[target] = bytes.Repeat([]byte{byte('a' + i)}, size)
		all.WriteString("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	s := &h1.Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		body := bodies[req.Target]
		if err := to.Respond(&exchange.Answer{Status: 200, Bytes: body, Length: int64(len(body))}); err != nil {
			t.Error(err)
		}
	})}
	s.Spoil()
	for _, secure := range []bool{false, true} {
		c, in := dial(t, serve(t, s, secure))
		if secure {
			c, in = secured(c)
		}
		for range 3 {
			_, _ = io.WriteString(c, all.String())
			for i, size := range sizes {
				res, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				if want := bodies["/"+strings.Repeat("s", i)]; err != nil || !bytes.Equal(body, want) {
					t.Fatalf("%d bytes, want %d, %v", len(body), size, err)
				}
			}
		}
	}
}
