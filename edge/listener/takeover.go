package listener

import (
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/listener/h1"
	"freshet/edge/listener/h2"
	"freshet/edge/listener/limits"
)

// preface begins a connection of HTTP/2 (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// quietTime is how long a connection must have been idle to be closed in a drain.
const quietTime = 2 * time.Second

// takeOver serves a connection that begins with what the fast lane of HTTP/1.1 does not
// read itself: HTTP/2 by prior knowledge, else anything for net/http. It blocks until
// the connection has ended.
func (s *Server) takeOver(conn net.Conn) {
	c := s.clientOf(conn)
	if c == nil {
		conn.Close() // cannot be: the lane has it from this server
		return
	}
	start, err := s.peek(conn)
	if err != nil {
		conn.Close()
		return
	}
	below := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok && !isTLS(conn) {
		below = wrapped.NetConn()
	}
	if string(start) == preface && !isTLS(below) { // within TLS it is chosen by ALPN (RFC 9113 §3.3)
		s.metrics.open[protocol1].Dec()
		s.metrics.open[protocol2].Inc()
		defer s.metrics.open[protocol1].Inc()
		defer s.metrics.open[protocol2].Dec()
		s.two.Serve(conn, h2.ConnInfo{Scheme: c.scheme, Remote: c.remote, Peer: c.peer, Upgraded: &c.upgraded, Unread: start})
		return
	}
	s.metrics.open[protocolFull].Inc()
	defer s.metrics.open[protocolFull].Dec()
	full := &fullConn{Conn: conn, below: below, server: s, client: c, unread: start, closed: make(chan struct{})}
	s.mu.Lock()
	s.mu.full[full] = struct{}{}
	s.mu.Unlock()
	if s.queue.put(full) {
		<-full.closed
	}
	conn.Close()
	s.mu.Lock()
	delete(s.mu.full, full)
	s.mu.Unlock()
}

func isTLS(c net.Conn) bool {
	_, ok := c.(*tls.Conn)
	return ok
}

// clientOf finds what is known of a connection by the socket below it.
func (s *Server) clientOf(conn net.Conn) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn != nil {
		if c := s.mu.open[conn]; c != nil {
			return c
		}
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = wrapped.NetConn()
	}
	return nil
}

// peek reads the preface of HTTP/2, or as much as comes up to where it differs.
func (s *Server) peek(conn net.Conn) (start []byte, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(s.limits.HeadTimeout))
	defer conn.SetReadDeadline(time.Time{})
	buf := make([]byte, len(preface))
	n := 0
	for n < len(buf) && string(buf[:n]) == preface[:n] {
		m, err := conn.Read(buf[n:])
		n += m
		if err != nil && m == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				s.metrics.limited(limits.HeadTimeout)
			}
			return nil, err
		}
	}
	return buf[:n], nil
}

// queue is a net.Listener of the connections that are handed over.
type queue struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newQueue() *queue {
	q := &queue{conns: make(chan net.Conn), closed: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.closed) })
	return q
}

func (q *queue) put(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.closed:
		return false
	}
}

// Accept waits for a connection.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (q *queue) Close() error { q.close(); return nil }

// Addr is no address of the network.
func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "handed over", Net: "unix"} }

// fullConn is a connection of net/http: it keeps the times between pieces of a body in
// either direction, and lets the kernel copy files to the socket.
type fullConn struct {
	net.Conn // as it was handed over
	below    net.Conn
	server   *Server
	client   *client
	unread   []byte
	inBody   atomic.Bool // a handler runs: what is read is its body
	linger   atomic.Bool // the client may still be sending when it is closed, and has an answer to read
	state    atomic.Int32
	once     sync.Once
	closed   chan struct{}
}

// States of a connection between two requests.
const (
	underWay    int32 = iota
	idleNow           // it has just become idle
	idleWaiting       // its deadline is that of an idle connection
)

// NetConn is the connection below.
func (c *fullConn) NetConn() net.Conn { return c.below }

// changed is told by net/http what the connection is doing.
func (c *fullConn) changed(state http.ConnState) {
	if state == http.StateIdle {
		c.state.Store(idleNow)
		c.inBody.Store(false)
	}
}

// last reports whether the next answer is to be the last.
func (c *fullConn) last() bool {
	age := c.server.limits.ConnTimeout
	if age > 0 && time.Since(c.client.accepted) > age {
		c.server.metrics.limited(limits.ConnTimeout)
		return true
	}
	return c.server.draining()
}

func (c *fullConn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		if c.unread = c.unread[n:]; len(c.unread) == 0 {
			c.unread = nil
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && c.state.Load() == underWay && !c.inBody.Load() {
		c.server.metrics.limited(limits.HeadTimeout)
	}
	return n, err
}

// SetReadDeadline sets the deadline of Read; that of an idle connection is near when
// the server drains. Once a connection is idle, net/http sets that for its idle time, and
// then for the head of the next request, which has begun.
func (c *fullConn) SetReadDeadline(t time.Time) error {
	if !c.state.CompareAndSwap(idleNow, idleWaiting) {
		c.state.CompareAndSwap(idleWaiting, underWay)
	} else if c.server.draining() {
		if near := time.Now().Add(quietTime); t.After(near) {
			t = near
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// drainFull has net/http's connections end: those that are idle when they have been
// quiet for a while, the others with their next answer.
func (s *Server) drainFull() {
	s.mu.Lock()
	full := slices.Collect(maps.Keys(s.mu.full))
	s.mu.Unlock()
	for _, c := range full {
		if c.state.Load() != underWay {
			_ = c.Conn.SetReadDeadline(time.Now().Add(quietTime))
		}
	}
}

// recordSize is the largest piece that TLS encrypts at once, in bytes.
const recordSize = 16 << 10

// Write writes p as fast as the client takes it: a piece has the time between pieces,
// all of it as long as that goes on.
func (c *fullConn) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:]
		if isTLS(c.below) && len(piece) > recordSize { // a record that was begun must be finished in time
			piece = piece[:recordSize]
		}
		_ = c.Conn.SetWriteDeadline(time.Now().Add(c.server.limits.WriteTimeout))
		m, err := c.Conn.Write(piece)
		n += m
		if n == len(p) || err != nil && !c.goesOn(int64(m), err) {
			return n, err
		}
	}
}

// goesOn reports whether writing may go on after an error: a deadline that has passed
// while the client took something.
func (c *fullConn) goesOn(n int64, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if n > 0 && !isTLS(c.below) {
		return true
	}
	c.server.metrics.limited(limits.WriteTimeout)
	return false
}

// filePiece is what the kernel copies under one deadline, in bytes.
const filePiece = 1 << 20

// ReadFrom lets the kernel copy a file where it can.
func (c *fullConn) ReadFrom(r io.Reader) (n int64, err error) {
	to, ok := c.below.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	whole, ok := r.(*io.LimitedReader)
	if !ok {
		whole = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	for whole.N > 0 { // two LimitedReaders in a row would hide the file
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, filePiece)}
		asked := piece.N
		_ = c.Conn.SetWriteDeadline(time.Now().Add(c.server.limits.WriteTimeout))
		m, err := to.ReadFrom(piece)
		n, whole.N = n+m, whole.N-m
		switch {
		case err != nil && !c.goesOn(m, err):
			return n, err
		case err == nil && m < asked:
			return n, nil
		}
	}
	return n, nil
}

// CloseWrite tells the client that nothing more comes, so that net/http can wait for
// what it still sends.
func (c *fullConn) CloseWrite() error {
	if half, ok := c.below.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// reset ends the connection in a way that no client takes for an ordered end, also
// within TLS.
func (c *fullConn) reset() {
	if socket, ok := c.client.conn.(*net.TCPConn); ok {
		_ = socket.SetLinger(0)
	}
	_ = c.client.conn.Close()
}

// uploadRest is what a client may still send, in bytes, that was answered in the middle of
// an upload: it notices when it looks.
const uploadRest = 16 << 20

// Close closes the connection.
func (c *fullConn) Close() error {
	if c.linger.Swap(false) {
		h1.LingerFor(c, uploadRest)
	}
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}
