package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// adjust makes of a request what goes by a way.
func (w way) adjust(hr *http.Request, req *Request) {
	switch {
	case req.Upgrade != "":
		hr.Header.Set("Connection", "Upgrade")
		hr.Header.Set("Upgrade", req.Upgrade)
	case isGRPC(req.Header) && w.protocol != plain && w.protocol != only1:
		// Hop by hop, and servers of gRPC insist on it.
		hr.Header.Set("Te", "trailers")
	}
	if w.protocol == plain2 || w.role != "" {
		hr.Close = false // a stream ends by itself, and nodes read every body to its end
	}
}

// transportBuffer is what the transports read ahead at most, in bytes: their ReadBufferSize.
const transportBuffer = 16 << 10

// switched is a connection after 101: whoever asked owns it until it is closed, or the
// request's context ends.
type switched struct {
	io.ReadWriteCloser
	socket  *net.TCPConn // below; nil for TLS
	drained bool         // nothing that the transport has read is left
	stop    func() bool
	done    func()
	close   sync.Once
	err     error
}

func newSwitched(ctx context.Context, body io.ReadCloser, below net.Conn, done func()) *switched {
	conn, ok := body.(io.ReadWriteCloser)
	if !ok {
		conn = readOnly{body}
	}
	s := &switched{ReadWriteCloser: conn, done: done}
	s.socket, _ = below.(*net.TCPConn)
	// The transport has let go of it, and of the context.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return s
}

// Read reads what the parent says: first what the transport has read with the head, all of
// it if there is room.
func (s *switched) Read(p []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(p)
	s.drained = s.drained || len(p) >= transportBuffer
	return n, err
}

// ReadSocket is the socket that the rest can be read from; nil before a Read with much room,
// and for TLS.
func (s *switched) ReadSocket() *net.TCPConn {
	if !s.drained {
		return nil
	}
	return s.socket
}

// WriteSocket is the socket that the parent reads from; nil for TLS.
func (s *switched) WriteSocket() *net.TCPConn { return s.socket }

var errNoHalfClose = errors.New("one direction of the connection cannot be closed alone")

// CloseWrite says to the other end that nothing more will come.
func (s *switched) CloseWrite() error {
	if half, ok := s.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errNoHalfClose
}

// Close may be called again.
func (s *switched) Close() error {
	s.close.Do(func() {
		s.stop()
		s.err = s.ReadWriteCloser.Close()
		s.done()
	})
	return s.err
}

// readOnly stands for a connection that cannot be written to.
type readOnly struct{ io.ReadCloser }

// Write is of io.Writer.
func (readOnly) Write([]byte) (int, error) {
	return 0, errors.New("the connection is for reading alone")
}
