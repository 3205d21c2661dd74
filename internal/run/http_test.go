package run_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/run"
)

// pipes is a listener in memory, so that drains can run under virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

// dial is false when nobody accepts.
func (p *pipes) dial() (net.Conn, bool) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, true
	case <-p.closed:
		return nil, false
	}
}

// get sends a request and returns the whole answer with the error of reading it.
func get(conn net.Conn, path string) (*http.Response, string, error) {
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// halves answers in two halves: the second comes after the time that the path says.
func halves(w http.ResponseWriter, r *http.Request) {
	pause, _ := time.ParseDuration(strings.TrimPrefix(r.URL.Path, "/"))
	io.WriteString(w, "begun ")
	if pause > 0 {
		http.NewResponseController(w).Flush()
	}
	select {
	case <-time.After(pause):
		io.WriteString(w, "done")
	case <-r.Context().Done():
	}
}

func TestHTTPDrain(t *testing.T) {
	tests := []struct {
		name string
		path string        // the time that the request under way takes from its start, at -1s
		body string        // what its client gets
		took time.Duration // from the end of the context to the return of the task
		is   error
	}{
		{"request under way finishes", "/8s", "begun done", 7 * time.Second, nil},
		{"request beyond the grace is cut", "/1h", "begun ", 10 * time.Second, run.ErrDrainTimeout},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := newPipes()
				task := run.HTTP("http", &http.Server{Handler: http.HandlerFunc(halves)}, ln, 10*time.Second)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- task.Run(ctx) }()

				idle, _ := ln.dial()
				defer idle.Close()
				if resp, body, err := get(idle, "/0s"); err != nil || body != "begun done" || resp.Close {
					t.Fatalf("before the end: %q, %v", body, err)
				}
				slow, _ := ln.dial()
				defer slow.Close()
				got := make(chan string, 1)
				go func() {
					_, body, _ := get(slow, test.path)
					got <- body
				}()
				time.Sleep(time.Second)
				stop()
				begin := time.Now()
				synctest.Wait()
				if _, ok := ln.dial(); ok {
					t.Error("accepted a connection while draining")
				}
				if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("idle connection: %v, want it closed", err)
				}
				if body := <-got; body != test.body {
					t.Errorf("request under way got %q, want %q", body, test.body)
				}
				err := <-ended
				if !errors.Is(err, test.is) {
					t.Errorf("task = %v, want %v", err, test.is)
				}
				// Shutdown looks at its connections every half second.
				if took := time.Since(begin); took < test.took || took > test.took+time.Second {
					t.Errorf("took %s, want %s", took, test.took)
				}
			})
		})
	}
}

// A request that is answered while the server drains is told to take its next one
// elsewhere.
func TestHTTPConnectionClose(t *testing.T) {
	ln := listen(t)
	arrived, release := make(chan bool), make(chan bool)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-release
	})}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.HTTP("http", srv, ln, time.Minute).Run(ctx) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answered := make(chan *http.Response, 1)
	go func() {
		resp, _, err := get(conn, "/")
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	<-arrived
	stop()
	refused(t, ln.Addr().String())
	release <- true
	if resp := <-answered; resp == nil || !resp.Close {
		t.Error("answer while draining lacks Connection: close")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHTTPTLS(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	defer certs.Close()
	ln := listen(t)
	arrived, release := make(chan bool), make(chan bool)
	srv := &http.Server{
		TLSConfig: &tls.Config{Certificates: certs.TLS.Certificates},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			arrived <- true
			<-release
			io.WriteString(w, r.Proto)
		}),
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.HTTP("https", srv, ln, time.Minute).Run(ctx) }()

	client := certs.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	defer client.CloseIdleConnections()
	body := make(chan string, 1)
	go func() {
		resp, err := client.Get("https://" + ln.Addr().String())
		if err != nil {
			t.Error(err)
			body <- ""
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		body <- string(text)
	}()
	<-arrived
	stop()
	refused(t, ln.Addr().String())
	release <- true
	if got := <-body; got != "HTTP/2.0" {
		t.Errorf("stream under way got %q, want HTTP/2.0", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A connection of HTTP/2 that is idle does not hold up the end.
func TestHTTPIdleHTTP2(t *testing.T) {
	certs := httptest.NewUnstartedServer(nil)
	certs.StartTLS()
	defer certs.Close()
	ln := listen(t)
	var last atomic.Int64
	srv := &http.Server{
		TLSConfig: &tls.Config{Certificates: certs.TLS.Certificates},
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }),
		ConnState: func(_ net.Conn, state http.ConnState) { last.Store(int64(state)) },
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run.HTTP("https", srv, ln, 10*time.Second).Run(ctx) }()
	client := certs.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "HTTP/2.0" {
		t.Errorf("got %q, %v", text, err)
	}
	resp.Body.Close()
	for last.Load() != int64(http.StateIdle) {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHTTPListenerFails(t *testing.T) {
	ln := listen(t)
	ln.Close()
	err := run.HTTP("http", &http.Server{}, ln, time.Minute).Run(t.Context())
	if !errors.Is(err, net.ErrClosed) || !bytes.Contains([]byte(err.Error()), []byte(ln.Addr().String())) {
		t.Errorf("task = %v, want the closed listener with its address", err)
	}
}

func TestHTTPEndedBeforeItBegan(t *testing.T) {
	for range 50 { // Shutdown and Serve race for the listener
		ln := listen(t)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := run.HTTP("http", &http.Server{}, ln, time.Minute).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("listener is open: %v", err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := run.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// refused waits until nobody listens at addr.
func refused(t *testing.T, addr string) {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		if t.Context().Err() != nil {
			t.Fatal("still accepts")
		}
	}
}
