package listener

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"freshet/edge/exchange"
)

// onDisk is a part of a file as the disk store gives it: a stream that hands a writer
// which can read from files the open file.
type onDisk struct {
	file *os.File
	n    int64
}

func (d *onDisk) Read(p []byte) (int, error) {
	return 0, errors.New("the listener has read itself")
}

func (d *onDisk) WriteTo(w io.Writer) (int64, error) {
	limited := &io.LimitedReader{R: d.file, N: d.n}
	n, err := w.(io.ReaderFrom).ReadFrom(limited)
	if err == nil && limited.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

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

// serveFile answers with the length bytes of a file of size bytes from off on, and says
// with what Respond returned.
func serveFile(t *testing.T, size, off, n, length int64) (s *httptest.Server, content []byte, copied *atomic.Int64, responded chan error) {
	content = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	responded = make(chan error, 10)
	s = httptest.NewUnstartedServer(&Full{Now: time.Now, Handler: handler(func(_ *exchange.Request, to exchange.Responder) {
		file, err := os.Open(name)
		if err == nil {
			_, err = file.Seek(off, io.SeekStart)
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		responded <- to.Respond(&exchange.Answer{Status: 200, Stream: &onDisk{file, n}, Length: length})
	})})
	copied = new(atomic.Int64)
	s.Listener = countingListener{s.Listener, copied}
	t.Cleanup(s.Close)
	return s, content, copied, responded
}

func TestTheKernelCopiesAFileWhoseLengthIsKnown(t *testing.T) {
	const size, off, n = 5 << 20, 1234, 3<<20 + 7
	s, content, copied, _ := serveFile(t, size, off, n, n)
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
		if got := copied.Swap(0); got < n-4096 { // the first bytes go with the head
			t.Errorf("%d of %d bytes were left to the kernel", got, n)
		}
	}
}

func TestFilesReachClientsThatTheKernelCannotCopyTo(t *testing.T) {
	const size = 3<<20 + 7
	for _, tc := range []struct {
		name         string
		length       int64
		encrypt, two bool
	}{
		{name: "length not known", length: -1},
		{name: "TLS", length: size, encrypt: true},
		{name: "HTTP/2", length: size, encrypt: true, two: true},
		{name: "HTTP/2, length not known", length: -1, encrypt: true, two: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, content, _, responded := serveFile(t, size, 0, size, tc.length)
			s.EnableHTTP2 = tc.two
			if tc.encrypt {
				s.StartTLS()
			} else {
				s.Start()
			}
			res, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || !bytes.Equal(body, content) || res.ContentLength != tc.length || (res.ProtoMajor == 2) != tc.two {
				t.Errorf("%s, %d bytes of %d, %v", res.Proto, len(body), res.ContentLength, err)
			}
			if err := <-responded; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAFileOfAnotherLengthThanPromisedSpoilsNoOtherAnswer(t *testing.T) {
	for name, length := range map[string]int64{"too short": 2 << 20, "too long": 100_000} {
		t.Run(name, func(t *testing.T) {
			s, content, _, responded := serveFile(t, 1<<20, 0, 1<<21, length)
			s.Start()
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(conn) // the server closes it
			head, body, found := bytes.Cut(all, []byte("\r\n\r\n"))
			if want := content[:min(int64(len(content)), length)]; !found || !bytes.Equal(body, want) {
				t.Errorf("%d bytes of body after %q, %v", len(body), head, err)
			}
			if !bytes.Contains(head, []byte("Content-Length: "+strconv.FormatInt(length, 10))) {
				t.Errorf("head %q", head)
			}
			if err := <-responded; err == nil {
				t.Error("Respond says that all is well")
			}
		})
	}
}

func TestAClientThatGoesAwayEndsTheCopy(t *testing.T) {
	const size = 64 << 20
	s, _, _, responded := serveFile(t, size, 0, size, size)
	s.Start()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-responded; err == nil {
		t.Error("Respond says that all is well")
	}
}

func TestAHeadReadsNoFile(t *testing.T) {
	s, _, copied, responded := serveFile(t, 1000, 0, 1000, 1000)
	s.Start()
	res, err := s.Client().Head(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := <-responded; err != nil || res.ContentLength != 1000 || copied.Load() != 0 {
		t.Errorf("length %d, %d bytes copied, %v", res.ContentLength, copied.Load(), err)
	}
}

// trickle writes a piece, and no more before it is told.
type trickle struct{ more chan struct{} }

func (trickle) Read([]byte) (int, error) { return 0, errors.New("the listener has read itself") }

func (s trickle) WriteTo(w io.Writer) (int64, error) {
	if _, err := io.WriteString(w, "first"); err != nil {
		return 0, err
	}
	<-s.more
	n, err := io.WriteString(w, "second")
	return 5 + int64(n), err
}

func TestAPieceThatAStreamWritesIsSentAtOnce(t *testing.T) {
	more := make(chan struct{})
	s := httptest.NewUnstartedServer(&Full{Now: time.Now, Handler: handler(func(_ *exchange.Request, to exchange.Responder) {
		if err := to.Respond(&exchange.Answer{Status: 200, Stream: trickle{more}, Length: 11}); err != nil {
			t.Error(err)
		}
	})})
	s.Start()
	defer s.Close()
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, p); err != nil || string(p) != "first" {
		t.Errorf("%q, %v", p, err)
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "second" {
		t.Errorf("%q, %v", rest, err)
	}
}

// mixed is a body in several files, with text between them.
type mixed struct {
	name  string
	parts int
}

func (mixed) Read([]byte) (int, error) { return 0, errors.New("the listener has read itself") }

func (m mixed) WriteTo(w io.Writer) (sum int64, err error) {
	for i := range m.parts {
		n, err := fmt.Fprintf(w, "part %d:", i)
		if sum += int64(n); err != nil {
			return sum, err
		}
		file, err := os.Open(m.name)
		if err != nil {
			return sum, err
		}
		copied, err := (&onDisk{file, 300_000}).WriteTo(w)
		file.Close()
		if sum += copied; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func TestPiecesAndFilesKeepTheirOrder(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 30_000)
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i := range 5 {
		want = append(fmt.Appendf(want, "part %d:", i), content...)
	}
	for _, length := range []int64{int64(len(want)), -1} {
		addr := serve(t, func(_ *exchange.Request, to exchange.Responder) {
			if err := to.Respond(&exchange.Answer{Status: 200, Stream: mixed{name, 5}, Length: length}); err != nil {
				t.Error(err)
			}
		})
		res, err := http.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !bytes.Equal(got, want) || res.ContentLength != length {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
}
