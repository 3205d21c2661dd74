package h2

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler is an exchange.Handler made of a function.
type handler func(ctx context.Context, req *exchange.Request, to exchange.Responder)

func (h handler) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	h(ctx, req, to)
}

// quick is an exchange.Quick that has one answer at hand for paths that begin with /hit,
// and asks the handler for the rest.
type quick struct {
	handler
	answer exchange.Answer
}

func (q *quick) ServeQuick(req *exchange.Request, to exchange.Responder) bool {
	if !strings.HasPrefix(req.Target, "/hit") {
		return false
	}
	return to.Respond(&q.answer) != exchange.ErrNotAtOnce
}

func block(fields ...string) *header.Block {
	h := new(header.Block)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if err := h.Add(name, value); err != nil {
			panic(err)
		}
	}
	return h
}

// spoil overwrites the strings of a header block: whoever has kept one sees it.
func spoil(h *header.Block) {
	wire := h.Wire()
	for i := range wire {
		wire[i] = '!'
	}
}

var uncorked bool // set by measurements: records go out one by one

// listen serves s on a port of its own, with TLS if there is a configuration.
func listen(t testing.TB, s *Server, config *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			info := ConnInfo{Scheme: "http", Remote: nc.RemoteAddr().(*net.TCPAddr).AddrPort()}
			if config != nil {
				if !uncorked {
					nc = Cork(nc)
				}
				nc = tls.Server(nc, config)
				info.Scheme = "https"
			}
			go s.Serve(nc, info)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return ln.Addr().String()
}

// certificate is a configuration of TLS for 127.0.0.1, and one for clients that trust it.
func certificate(t testing.TB) (server, client *tls.Config) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.NextProtos = []string{"h2"}
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}}, client
}

// client is net/http's, over HTTP/2 without TLS.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

var (
	anywhere = netip.MustParseAddrPort("192.0.2.1:1")
	quiet    = slog.New(slog.DiscardHandler)
)
