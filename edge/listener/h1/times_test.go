package h1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/limits"
	"freshet/edge/listener/listenertest"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// reasons collects what a server says that it cut off.
type reasons struct {
	sync.Mutex
	all []limits.Reason
}

func (r *reasons) add(why limits.Reason) {
	r.Lock()
	defer r.Unlock()
	r.all = append(r.all, why)
}

func (r *reasons) are(want ...limits.Reason) bool {
	r.Lock()
	defer r.Unlock()
	return slices.Equal(r.all, want)
}

// piped serves one connection without a descriptor, in a bubble of synctest.
func piped(s *h1.Server) (client net.Conn, ended chan struct{}) {
	client, server := net.Pipe()
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		s.Serve(server, h1.ConnInfo{Scheme: "http"})
	}()
	return client, ended
}

// answered reads one answer, and is false when none comes.
func answered(t *testing.T, in *bufio.Reader, status int) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != status {
		t.Fatalf("status %d, want %d, %v", res.StatusCode, status, err)
	}
	return res
}

func TestTimesOfAConnection(t *testing.T) {
	empty := prepared(t, 10)
	for name, tc := range map[string]struct {
		client func(t *testing.T, s *h1.Server, c net.Conn, in *bufio.Reader)
		lives  time.Duration // the connection, from the end of client
		why    []limits.Reason
	}{
		"nothing comes": {
			func(*testing.T, *h1.Server, net.Conn, *bufio.Reader) {}, limits.DefaultHeadTimeout + time.Millisecond, []limits.Reason{limits.HeadTimeout},
		},
		"a head drips": {
			func(t *testing.T, _ *h1.Server, c net.Conn, in *bufio.Reader) {
				time.Sleep(5 * time.Second)
				go func() {
					for _, b := range []byte(get) {
						if _, err := c.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
					t.Error("the whole head was read")
				}()
				began := time.Now()
				if answered(t, in, 408); time.Since(began) != limits.DefaultHeadTimeout {
					t.Errorf("answered after %v", time.Since(began))
				}
			}, 0, []limits.Reason{limits.HeadTimeout},
		},
		"a head after an answer drips": {
			func(t *testing.T, _ *h1.Server, c net.Conn, in *bufio.Reader) {
				_, _ = io.WriteString(c, get)
				answered(t, in, 200)
				time.Sleep(70 * time.Second)
				_, _ = io.WriteString(c, "GET")
				began := time.Now()
				if answered(t, in, 408); time.Since(began) != limits.DefaultHeadTimeout {
					t.Errorf("answered after %v", time.Since(began))
				}
			}, 0, []limits.Reason{limits.HeadTimeout},
		},
		"idle": {
			func(t *testing.T, _ *h1.Server, c net.Conn, in *bufio.Reader) {
				for range 20 { // many times as long as it may be idle
					_, _ = io.WriteString(c, get)
					answered(t, in, 200)
					time.Sleep(limits.DefaultIdleTimeout - time.Second)
				}
				_, _ = io.WriteString(c, get)
				answered(t, in, 200)
			}, limits.DefaultIdleTimeout + time.Millisecond, nil,
		},
		"idle while it drains": {
			func(t *testing.T, s *h1.Server, c net.Conn, in *bufio.Reader) {
				_, _ = io.WriteString(c, get)
				answered(t, in, 200)
				time.Sleep(time.Minute)
				s.Drain()
			}, 2*time.Second + time.Millisecond, nil,
		},
		"asked while it drains": {
			func(t *testing.T, s *h1.Server, c net.Conn, in *bufio.Reader) {
				_, _ = io.WriteString(c, get)
				if res := answered(t, in, 200); res.Close {
					t.Error("the first answer is the last")
				}
				s.Drain()
				time.Sleep(1900 * time.Millisecond)
				_, _ = io.WriteString(c, get)
				if res := answered(t, in, 200); !res.Close {
					t.Error("an answer while it drains is not the last")
				}
			}, 0, nil,
		},
		"asking while it drains": {
			func(t *testing.T, s *h1.Server, c net.Conn, in *bufio.Reader) {
				_, _ = io.WriteString(c, get[:5])
				s.Drain()
				time.Sleep(9 * time.Second)
				_, _ = io.WriteString(c, get[5:])
				if res := answered(t, in, 200); !res.Close {
					t.Error("an answer while it drains is not the last")
				}
			}, 0, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var why reasons
				s := &h1.Server{Handler: empty, Limited: why.add}
				c, ended := piped(s)
				defer c.Close()
				tc.client(t, s, c, bufio.NewReader(c))
				began := time.Now()
				if <-ended; time.Since(began) != tc.lives {
					t.Errorf("it lives for %v, want %v", time.Since(began), tc.lives)
				}
				if !why.are(tc.why...) {
					t.Errorf("cut off for %v, want %v", why.all, tc.why)
				}
				time.Sleep(2 * time.Second) // the client notices
			})
		})
	}
}

func TestAConnectionEndsAtItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why reasons
		s := &h1.Server{Handler: prepared(t, 10), Limits: limits.Config{ConnTimeout: time.Minute}, Limited: why.add}
		c, ended := piped(s)
		defer c.Close()
		in := bufio.NewReader(c)
		for range 6 {
			_, _ = io.WriteString(c, get)
			if answered(t, in, 200).Close {
				t.Fatal("ended too early")
			}
			time.Sleep(9 * time.Second)
		}
		_, _ = io.WriteString(c, get[:5]) // at 54 s
		time.Sleep(7 * time.Second)
		_, _ = io.WriteString(c, get[5:])
		if !answered(t, in, 200).Close {
			t.Error("an answer after its time is not the last")
		}
		if !why.are(limits.ConnTimeout) {
			t.Errorf("cut off for %v", why.all)
		}
		<-ended
	})
}

func TestAReaderThatTakesNothingIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		responded := make(chan error, 1)
		var why reasons
		s := &h1.Server{Limited: why.add, Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
			responded <- to.Respond(&exchange.Answer{Status: 200, Stream: strings.NewReader(strings.Repeat("x", 1<<20)), Length: 1 << 20})
		})}
		c, ended := piped(s)
		defer c.Close()
		_, _ = io.WriteString(c, get)
		buf := make([]byte, 8<<10)
		for range 100 { // slow, but it takes something
			if _, err := io.ReadFull(c, buf); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		began := time.Now()
		<-ended
		if err := <-responded; !errors.Is(err, exchange.ErrAborted) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took < limits.DefaultWriteTimeout/2 || took > 2*limits.DefaultWriteTimeout || !why.are(limits.WriteTimeout) {
			t.Errorf("cut after %v, for %v", took, why.all)
		}
	})
}

// dial connects to a server.
func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// TestTimesOfASocket: what TestTimesOfAConnection shows to the nanosecond holds of sockets, whose
// deadlines are the kernel's and the poller's, as well.
func TestTimesOfASocket(t *testing.T) {
	short := limits.Config{HeadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond, WriteTimeout: 300 * time.Millisecond}
	body := strings.Repeat("x", 16<<20)
	h := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		a := &exchange.Answer{Status: 200, Bytes: []byte("x"), Length: 1}
		if req.Target == "/large" {
			a.Bytes, a.Length = []byte(body), int64(len(body))
		}
		_ = to.Respond(a)
	})
	for name, tc := range map[string]struct {
		client func(t *testing.T, c net.Conn, in *bufio.Reader)
		why    []limits.Reason
	}{
		"nothing comes": {func(t *testing.T, _ net.Conn, in *bufio.Reader) {
			if all, err := io.ReadAll(in); err != nil || len(all) > 0 {
				t.Errorf("%q, %v", all, err)
			}
		}, []limits.Reason{limits.HeadTimeout}},
		"a head drips": {func(t *testing.T, c net.Conn, in *bufio.Reader) {
			go func() {
				for piece := range strings.SplitSeq("GET /"+strings.Repeat("x", 1000), "") {
					if _, err := io.WriteString(c, piece); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			answered(t, in, 408)
		}, []limits.Reason{limits.HeadTimeout}},
		"idle": {func(t *testing.T, c net.Conn, in *bufio.Reader) {
			for range 10 {
				_, _ = io.WriteString(c, get)
				answered(t, in, 200)
				time.Sleep(100 * time.Millisecond)
			}
		}, nil},
		"takes nothing": {func(t *testing.T, c net.Conn, in *bufio.Reader) {
			_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
			_, _ = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
			_, _ = in.ReadByte()
		}, []limits.Reason{limits.WriteTimeout}},
		"takes it slowly": {func(t *testing.T, c net.Conn, in *bufio.Reader) {
			_, _ = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
			buf := make([]byte, 1<<20)
			for range 12 {
				if _, err := io.ReadFull(in, buf); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
			_, _ = io.CopyN(io.Discard, in, 5<<20)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var why reasons
			s := &h1.Server{Handler: h, Limits: short, Limited: why.add}
			c, in := dial(t, serve(t, s, false))
			tc.client(t, c, in)
			for s.Conns() > 0 {
				time.Sleep(time.Millisecond)
			}
			if !why.are(tc.why...) {
				t.Errorf("cut off for %v, want %v", why.all, tc.why)
			}
		})
	}
}

// TestAnIdleConnectionMayBeWritten: TLS writes while it reads, when a client asks for other
// keys (RFC 8446 §4.6.3), and cannot be used any more if a deadline has passed by then.
func TestAnIdleConnectionMayBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		d := &listenertest.WriteDeadline{Conn: server}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			(&h1.Server{Handler: prepared(t, 10)}).Serve(d, h1.ConnInfo{Scheme: "https"})
		}()
		in := bufio.NewReader(client)
		for i := range 60 {
			_, _ = io.WriteString(client, get)
			answered(t, in, 200)
			for range 1 + 5*i%74 {
				time.Sleep(time.Second)
				if late := d.Late(); late > 0 {
					t.Errorf("idle for the time %d, with a write deadline that passed %v ago", i, late)
				}
			}
		}
		client.Close()
		<-ended
	})
}
