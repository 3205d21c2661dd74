package h1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/edge/listener/h1"
	"freshet/edge/listener/h2"
	"freshet/edge/listener/listenertest"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverVariable); kind != "" {
		beServer(kind)
		return
	}
	goleak.VerifyTestMain(m)
}

// handler is an exchange.Handler made of a function.
type handler func(ctx context.Context, req *exchange.Request, to exchange.Responder)

func (h handler) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	h(ctx, req, to)
}

// conns is a listener whose connections are put into it.
type conns struct {
	net.Listener
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func newConns(like net.Listener) *conns {
	return &conns{Listener: like, accept: make(chan net.Conn), done: make(chan struct{})}
}

func (l *conns) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *conns) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// full gives s the full lane, in which connections end with the test.
func full(t testing.TB, s *h1.Server, like net.Listener) {
	l := newConns(like)
	slow := &http.Server{Handler: &listener.Full{Handler: s.Handler, Now: time.Now, Limits: s.Limits}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = slow.Serve(l)
	}()
	t.Cleanup(func() {
		slow.Close()
		<-ended
	})
	s.Full = func(c net.Conn) {
		select {
		case l.accept <- c:
		case <-l.done:
			c.Close()
		}
	}
}

// serve starts a server, and stops it with the test.
func serve(t testing.TB, s *h1.Server, secure bool) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.Full == nil {
		full(t, s, l)
	}
	scheme := "http"
	var config *tls.Config
	if secure {
		scheme, config = "https", certificate()
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				info := h1.ConnInfo{Scheme: scheme, Remote: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
				if secure {
					c = tls.Server(h2.Cork(c), config)
				}
				s.Serve(c, info)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx) // cuts
		running.Wait()
	})
	return l.Addr().String()
}

// certificate is that of the test servers of net/http.
var certificate = sync.OnceValue(func() *tls.Config {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates}
})

func TestTheFastLaneConforms(t *testing.T) {
	listenertest.Run(t, func(t *testing.T, h exchange.Handler, secure bool) string {
		s := &h1.Server{Handler: h}
		s.Spoil()
		return serve(t, s, secure)
	})
}

// secured is a client's side of TLS.
func secured(c net.Conn) (net.Conn, *bufio.Reader) {
	c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	return c, bufio.NewReader(c)
}
