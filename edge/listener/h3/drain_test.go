package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/certs"
	"freshet/internal/cluster/local"
)

// TestEarlyData: a client that comes back sends its request with its first packet. GET is
// served, and says that it is early; POST is refused until the handshake is complete.
func TestEarlyData(t *testing.T) {
	early := make(chan bool, 10)
	h := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		early <- req.Early
		hello(nil, req, to)
	})
	// Two nodes that share their ticket keys: the second is the one that is come back to.
	kv, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	dir := t.TempDir()
	var nodes [2]*server
	for i := range nodes {
		m, err := certs.New(certs.Config{
			SelfSigned: true, Dir: dir, Cluster: kv, Secret: []byte("0123456789abcdef0123456789abcdef"), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var ran sync.WaitGroup
		ran.Go(func() { _ = m.Run(ctx) })
		defer ran.Wait()
		defer cancel()
		nodes[i] = startWith(t, &Server{Handler: h}, m)
	}
	config := nodes[0].tls()
	sessions := &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(10), put: make(chan struct{}, 100)}
	config.ClientSessionCache = sessions
	config.ServerName = "a.example"
	tokens := quic.NewLRUTokenStore(1, 1)
	resume := func(at *server) (*quic.Conn, *gated) {
		t.Helper()
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g := &gated{pc, make(chan struct{})}
		tr := &quic.Transport{Conn: g}
		addr, err := net.ResolveUDPAddr("udp", at.addr)
		if err != nil {
			t.Fatal(err)
		}
		if at == nodes[0] {
			close(g.open)
		}
		q, err := tr.DialEarly(t.Context(), addr, config, &quic.Config{TokenStore: tokens})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = q.CloseWithError(0, "")
			_ = tr.Close()
			pc.Close()
		})
		return q, g
	}
	for begun := time.Now(); ; {
		q, _ := resume(nodes[0])
		<-q.HandshakeComplete()
		<-sessions.put
		_ = q.CloseWithError(0, "")
		q, gate := resume(nodes[1])
		c := raw{t, q}
		c.uni([]byte{streamControl, frameSettings, 0})
		posted := c.request(append(post(), frame(frameData, []byte("x"))...), true)
		got := c.request(get("/"), true)
		wasEarly := false
		select {
		case wasEarly = <-early: // before the client can have completed the handshake
		case <-time.After(2 * time.Second): // the early data was rejected
		}
		close(gate.open)
		status, _, err := answer(got)
		if errors.Is(err, quic.Err0RTTRejected) && time.Since(begun) < 20*time.Second {
			continue // the nodes have not come to share their ticket keys yet
		}
		if status != "200" || err != nil || !wasEarly {
			t.Fatalf("early GET: %s %v", status, err)
		}
		refused, _, err := answer(posted)
		if refused != "425" || err != nil {
			t.Fatalf("early POST: %s %v", refused, err)
		}
		if status, _, err := answer(c.request(append(post(), frame(frameData, []byte("x"))...), true)); status != "200" || err != nil || <-early {
			t.Errorf("POST after the handshake: %s %v", status, err)
		}
		break
	}
}

// gated is a socket that gives nothing before it is open: quic-go's client may not open
// streams while it learns that its early data was accepted.
type gated struct {
	net.PacketConn
	open chan struct{}
}

func (g *gated) ReadFrom(p []byte) (int, net.Addr, error) {
	n, addr, err := g.PacketConn.ReadFrom(p)
	<-g.open
	return n, addr, err
}

// sessions tells when one is put.
type sessions struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (s *sessions) Put(key string, cs *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, cs)
	s.put <- struct{}{}
}

// TestDrainFailsNoRequest: clients that ask all the time, and honour GOAWAY by going to
// another server, have every request answered while the first one drains.
func TestDrainFailsNoRequest(t *testing.T) {
	slow, began := make(chan struct{}), make(chan struct{})
	h := handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/slow" {
			close(began)
			<-slow
		}
		hello(ctx, req, to)
	})
	m, err := certs.New(certs.Config{SelfSigned: true, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	old, next := startWith(t, &Server{Handler: h}, m), startWith(t, &Server{Handler: h}, m)
	var mu sync.Mutex
	target := old.addr
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	answered := make(chan int, 10)
	for range 4 {
		tr := &http3.Transport{TLSClientConfig: old.tls()}
		tr.Dial = func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			mu.Lock()
			addr := target
			mu.Unlock()
			return quic.DialAddrEarly(ctx, addr, c, q)
		}
		client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
		all.Go(func() {
			defer tr.Close()
			n := 0
			for ; ctx.Err() == nil; n++ {
				if _, body, err := do(client, "GET", "https://a.example/", nil); err != nil || body != "hello" {
					t.Errorf("request %d: %q, %v", n, body, err)
					break
				}
			}
			answered <- n
		})
	}
	late := make(chan error, 1)
	lateClient := old.client()
	go func() {
		res, err := lateClient.Get("https://a.example/slow")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		late <- err
	}()
	<-began
	old.waitFor("all connections", func(n int) bool { return n >= 5 })
	mu.Lock()
	target = next.addr
	mu.Unlock()
	done := make(chan error, 1)
	go func() {
		grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		done <- old.Shutdown(grace)
	}()
	for !old.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	// Who comes now is told so at once, and does not wait for an answer.
	if _, err := quic.DialAddr(t.Context(), old.addr, old.tls(), nil); err == nil {
		t.Error("a connection was accepted while draining")
	} else if e, ok := errors.AsType[*quic.TransportError](err); !ok || e.ErrorCode != quic.ConnectionRefused {
		t.Errorf("while draining a connection is refused with %v", err)
	}
	old.waitFor("none but the slow one", func(n int) bool { return n <= 1 })
	select {
	case err := <-done:
		t.Errorf("Shutdown has returned while a request was under way: %v", err)
	default:
	}
	close(slow)
	if err := <-late; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	cancel()
	all.Wait()
	for range 4 {
		if n := <-answered; n < 1 {
			t.Error("a client was answered nothing")
		}
	}
}

// TestHandOverLetsInWhatHasArrived: while a successor shares the port, what still comes here
// is served and told to go elsewhere, and nobody is refused.
func TestHandOverLetsInWhatHasArrived(t *testing.T) {
	s := start(t, &Server{Handler: hello})
	s.dial() // it serves by now
	s.HandOver()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(t.Context()) }()
	c := s.dial()
	if status, _, err := answer(c.request(get("/"), true)); status != "200" || err != nil {
		t.Errorf("after HandOver: %s %v", status, err)
	}
	if code := c.closedBy(); code != codeNoError {
		t.Errorf("closed with %#x", code)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownCutsWhatOutlastsIt(t *testing.T) {
	began := make(chan struct{})
	s := start(t, &Server{Handler: handler(func(ctx context.Context, _ *exchange.Request, to exchange.Responder) {
		close(began)
		<-ctx.Done()
		_ = to.Respond(&exchange.Answer{Status: 204})
	})})
	c := s.dial()
	q := c.request(get("/"), true)
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, _, err := answer(q); err == nil {
		t.Error("the request was answered")
	}
	if _, err := quic.DialAddr(t.Context(), s.addr, s.tls(), &quic.Config{HandshakeIdleTimeout: 100 * time.Millisecond}); err == nil {
		t.Error("a server that was shut down accepts")
	}
}

func TestRequestsAfterTheLastGoAwayAreRejected(t *testing.T) {
	s := start(t, &Server{Handler: hello})
	c := s.dial()
	if status, _, err := answer(c.request(get("/"), true)); status != "200" || err != nil {
		t.Fatal(status, err)
	}
	s.Drain()
	s.Drain() // changes nothing
	for {
		status, _, err := answer(c.request(get("/"), true))
		if status == "200" && err == nil {
			continue
		}
		if e, ok := errors.AsType[*quic.StreamError](err); !ok || e.ErrorCode != codeRequestRejected {
			t.Errorf("after the last GOAWAY: %s %v", status, err)
		}
		break
	}
	if code := c.closedBy(); code != codeNoError {
		t.Errorf("closed with %#x", code)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	for name, l := range map[string]limits.Config{
		"idle": {IdleTimeout: 200 * time.Millisecond}, "old": {ConnTimeout: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, &Server{Limits: l, Handler: hello})
			q, err := quic.DialAddr(t.Context(), s.addr, s.tls(), &quic.Config{KeepAlivePeriod: 20 * time.Millisecond}) // PINGs are no requests
			if err != nil {
				t.Fatal(err)
			}
			c := raw{t, q}
			if status, _, err := answer(c.request(get("/"), true)); status != "200" || err != nil {
				t.Error(status, err)
			}
			if code := c.closedBy(); code != codeNoError {
				t.Errorf("closed with %#x", code)
			}
			if s.limitedBy(limits.ConnTimeout) != (name == "old") {
				t.Error("the limit is not counted as it should be")
			}
		})
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	var opened, closed sync.WaitGroup
	opened.Add(2)
	closed.Add(2)
	var exempt atomic.Bool
	l := limits.Config{ConnsPerAddr: 1}
	s := start(t, &Server{
		Limits: l, Conns: limits.NewConns(l.WithDefaults()), Handler: hello, Opened: opened.Done, Closed: closed.Done,
		Exempt: func(a netip.Addr) bool { return exempt.Load() && a.IsLoopback() },
	})
	c := s.dial()
	if _, err := quic.DialAddr(t.Context(), s.addr, s.tls(), nil); err == nil {
		t.Error("a second connection of one address was accepted")
	}
	if !s.limitedBy(limits.ConnsPerAddr) {
		t.Error("the limit is not counted")
	}
	_ = c.CloseWithError(0, "")
	for s.Conns.Open() > 0 {
		time.Sleep(time.Millisecond)
	}
	exempt.Store(true)
	d := s.dial()
	opened.Wait()
	_ = d.CloseWithError(0, "")
	closed.Wait()
}

func TestManyArrivalsHaveToProveTheirAddresses(t *testing.T) {
	var a arrivals
	proven := 0
	for range freeArrivals + 50 {
		if a.many() {
			proven++
		}
	}
	if proven < 40 || proven > 50 { // a second may begin in between
		t.Errorf("%d of 50 too many have to prove their address", proven)
	}
	s := start(t, &Server{Handler: hello})
	for range freeArrivals {
		s.recent.many()
	}
	if status, _, err := answer(s.dial().request(get("/"), true)); status != "200" || err != nil {
		t.Errorf("by way of Retry: %s %v", status, err)
	}
}
