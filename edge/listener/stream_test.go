package listener

import (
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"freshet/edge/listener/listenertest"
)

// countingListener counts what its connections are given as open files.
type countingListener struct {
	net.Listener
	copied *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c.(*net.TCPConn), l.copied}, nil
}

type countingConn struct {
	*net.TCPConn
	copied *atomic.Int64
}

// ReadFrom hands the kernel what package net would recognise.
func (c countingConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			c.copied.Add(n)
		}
	}
	return n, err
}

func TestTheKernelCopiesAFileWhoseLengthIsKnown(t *testing.T) {
	const size, off, n = 5 << 20, 1234, 3<<20 + 7
	h, content, responded := listenertest.FileHandler(t, size, off, n, n)
	s := httptest.NewUnstartedServer(&Full{Now: time.Now, Handler: h})
	copied := new(atomic.Int64)
	s.Listener = countingListener{s.Listener, copied}
	t.Cleanup(s.Close)
	s.Start()
	for range 2 { // the connection is used again
		res, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(body, content[off:off+n]) || res.ContentLength != n {
			t.Fatalf("%d bytes of %d, %v", len(body), res.ContentLength, err)
		}
		if err := <-responded; err != nil {
			t.Error(err)
		}
		if got := copied.Swap(0); got < n-4096 { // the first bytes go with the head
			t.Errorf("%d of %d bytes were left to the kernel", got, n)
		}
	}
}
