package listenertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"freshet/edge/exchange"
)

// OnDisk is a part of a file as the disk store gives it: a stream that hands a writer
// which can read from files the open file.
type OnDisk struct {
	File *os.File
	N    int64
}

// Read is for listeners that do not know better.
func (d *OnDisk) Read([]byte) (int, error) {
	return 0, errors.New("the listener has read itself")
}

// WriteTo hands over the file.
func (d *OnDisk) WriteTo(w io.Writer) (int64, error) {
	limited := &io.LimitedReader{R: d.File, N: d.N}
	n, err := w.(io.ReaderFrom).ReadFrom(limited)
	if err == nil && limited.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// FileHandler answers with n bytes, said to be length, of a file of size bytes from off on, and says
// with what Respond returned.
func FileHandler(t *testing.T, size, off, n, length int64) (h exchange.Handler, content []byte, responded chan error) {
	content = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	responded = make(chan error, 10)
	return handler(func(_ *exchange.Request, to exchange.Responder) {
		file, err := os.Open(name)
		if err == nil {
			_, err = file.Seek(off, io.SeekStart)
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		responded <- to.Respond(&exchange.Answer{Status: 200, Stream: &OnDisk{file, n}, Length: length})
	}), content, responded
}

func files(t *testing.T, lane Lane) {
	const size, off = 5 << 20, 1234
	const n = 3<<20 + 7
	for _, tc := range []struct {
		name   string
		length int64
		secure bool
	}{
		{name: "plain", length: n},
		{name: "length not known", length: -1},
		{name: "TLS", length: n, secure: true},
		{name: "TLS, length not known", length: -1, secure: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, content, responded := FileHandler(t, size, off, n, tc.length)
			addr := lane(t, h, tc.secure)
			c := client(t)
			for range 2 { // the connection is used again
				res, err := c.Get(url(addr, tc.secure))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || !bytes.Equal(body, content[off:off+n]) || res.ContentLength != tc.length {
					t.Errorf("%d bytes of %d, %v", len(body), res.ContentLength, err)
				}
				if err := <-responded; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func wrongLengths(t *testing.T, lane Lane) {
	for name, length := range map[string]int64{"too short": 2 << 20, "too long": 100_000} {
		t.Run(name, func(t *testing.T) {
			h, content, responded := FileHandler(t, 1<<20, 0, 1<<21, length)
			all := []byte(Send(t, lane(t, h, false), "GET / HTTP/1.1\r\nHost: a\r\n\r\n")) // the server closes it
			head, body, found := bytes.Cut(all, []byte("\r\n\r\n"))
			if want := content[:min(int64(len(content)), length)]; !found || !bytes.Equal(body, want) {
				t.Errorf("%d bytes of body after %q", len(body), head)
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

func goneClient(t *testing.T, lane Lane) {
	const size = 64 << 20
	h, _, responded := FileHandler(t, size, 0, size, size)
	conn, err := net.Dial("tcp", lane(t, h, false))
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

func headOfFile(t *testing.T, lane Lane) {
	h, _, responded := FileHandler(t, 1000, 0, 1000, 1000)
	res, err := client(t).Head(url(lane(t, h, false), false))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := <-responded; err != nil || res.ContentLength != 1000 {
		t.Errorf("length %d, %v", res.ContentLength, err)
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

func atOnce(t *testing.T, lane Lane) {
	for _, length := range []int64{11, -1} {
		more := make(chan struct{})
		addr := plain(t, lane, func(_ *exchange.Request, to exchange.Responder) {
			if err := to.Respond(&exchange.Answer{Status: 200, Stream: trickle{more}, Length: length}); err != nil {
				t.Error(err)
			}
		})
		res, err := client(t).Get(url(addr, false))
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 5)
		if _, err := io.ReadFull(res.Body, p); err != nil || string(p) != "first" {
			t.Errorf("%q, %v", p, err)
		}
		close(more)
		if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "second" {
			t.Errorf("%q, %v", rest, err)
		}
		res.Body.Close()
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
		copied, err := (&OnDisk{file, 300_000}).WriteTo(w)
		file.Close()
		if sum += copied; err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func order(t *testing.T, lane Lane) {
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
		addr := plain(t, lane, func(_ *exchange.Request, to exchange.Responder) {
			if err := to.Respond(&exchange.Answer{Status: 200, Stream: mixed{name, 5}, Length: length}); err != nil {
				t.Error(err)
			}
		})
		res, err := client(t).Get(url(addr, false))
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
