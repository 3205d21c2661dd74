package listener

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// body is a request's body, of bounded size and with bounded time between its pieces.
type body struct {
	io.Reader
	full *Full
	conn *http.ResponseController
	err  error // that ended it
}

// body bounds the body of a request. Its time begins now: net/http reads what is left of
// a body by itself, before and after it answers.
func (f *Full) body(w http.ResponseWriter, r *http.Request) io.Reader {
	b := &body{Reader: r.Body, full: f, conn: http.NewResponseController(w)}
	if most := f.limits.BodyBytes; most > 0 {
		b.Reader = http.MaxBytesReader(w, r.Body, most)
	}
	b.wait()
	return b
}

// wait begins the time for the next piece.
func (b *body) wait() { _ = b.conn.SetReadDeadline(time.Now().Add(b.full.limits.BodyTimeout)) }

// Read reads what has come, and waits for the next piece as long as that may take.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.wait()
	n, err := b.Reader.Read(p)
	var large *http.MaxBytesError
	var broken net.Error
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		// From now on net/http looks whether the client is still there, however long the
		// answer takes.
		_ = b.conn.SetReadDeadline(time.Time{})
	case errors.As(err, &large):
		b.full.limited(limits.BodyBytes)
		err = fmt.Errorf("%w: more than %d bytes", exchange.ErrBodyTooLarge, large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.full.limited(limits.BodyTimeout)
		err = fmt.Errorf("%w: nothing has come for %s", exchange.ErrBodyStalled, b.full.limits.BodyTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken): // the client has gone
	default:
		err = fmt.Errorf("%w: %w", exchange.ErrBodyMalformed, err)
	}
	b.err = err
	return n, err
}
