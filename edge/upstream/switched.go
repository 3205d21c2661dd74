package upstream

import (
	"context"
	"errors"
	"io"
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

// switched is a connection after 101: whoever asked owns it until it is closed, or the
// request's context ends.
type switched struct {
	io.ReadWriteCloser
	stop  func() bool
	done  func()
	close sync.Once
	err   error
}

func newSwitched(ctx context.Context, body io.ReadCloser, done func()) *switched {
	conn, ok := body.(io.ReadWriteCloser)
	if !ok {
		conn = readOnly{body}
	}
	s := &switched{ReadWriteCloser: conn, done: done}
	// The transport has let go of it, and of the context.
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return s
}

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
