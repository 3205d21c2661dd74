package h1

import (
	"io"
	"net"
	"time"
)

const (
	// lingerTime is how long a client that was told that its connection ends may take to
	// close it, and lingerBytes what it may send meanwhile. Closed at once with bytes unread, the
	// kernel would reset the connection, and the last answer with it (RFC 9112 §9.6).
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// finish ends the connection, or passes it on.
func (c *conn) finish() {
	if c.fate == passed {
		c.passOn()
		return
	}
	c.put()
	if c.fate == closing {
		Linger(c.net)
	}
	_ = c.net.Close()
	c.server.forget(c)
}

// Linger lets a client read the last that it is sent before its connection is closed.
func Linger(c net.Conn) { LingerFor(c, lingerBytes) }

// LingerFor is Linger for a client that may send so many bytes meanwhile.
func LingerFor(c net.Conn, bytes int) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	p := make([]byte, min(bytes/lingerBytes+1, 32)*512)
	for left := bytes; left > 0; {
		n, err := c.Read(p)
		if err != nil {
			return
		}
		left -= n
	}
}

// passOn gives the full lane the connection, with what was read of it.
func (c *conn) passOn() {
	s := c.server
	if s.Full == nil {
		c.get()
		c.say(501)
		c.put()
		Linger(c.net)
		_ = c.net.Close()
		s.forget(c)
		return
	}
	rest := append([]byte(nil), c.w.in[c.w.start:c.w.end]...)
	c.put()
	s.forget(c)
	_ = c.net.SetDeadline(time.Time{})
	s.Full(&unreadConn{Conn: c.net, rest: rest})
}

// unreadConn is a connection some of whose bytes were read and are to be read again.
type unreadConn struct {
	net.Conn
	rest []byte
}

// Read gives those bytes first.
func (c *unreadConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		c.rest = nil
	}
	return n, nil
}

// Unread is how many bytes that were read from a connection are to be read again, if it is
// one that Full was given.
func Unread(c net.Conn) int {
	if u, ok := c.(*unreadConn); ok {
		return len(u.rest)
	}
	return 0
}

// NetConn is the connection itself.
func (c *unreadConn) NetConn() net.Conn { return c.Conn }

// ReadFrom has the kernel copy from files, as the connection itself would.
func (c *unreadConn) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite ends the sending half.
func (c *unreadConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
