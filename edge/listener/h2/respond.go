package h2

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

var errLength = errors.New("the answer's body is not as long as it says")

// bodyless reports whether an answer of that status has no body (RFC 9110 §6.4.1).
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// announced is the Content-Length of an answer, -1 for none.
func announced(a *exchange.Answer) int64 {
	if bodyless(a.Status) {
		return -1
	}
	if a.Length < 0 && (a.Bytes != nil || a.Stream == nil) {
		return int64(len(a.Bytes))
	}
	return a.Length
}

// atOnce takes answers on the goroutine that reads the connection: into the output, from
// where they go with those of all the input that has come.
type atOnce struct {
	st       *stream
	answered bool
}

func (to *atOnce) begin(st *stream) { to.st, to.answered = st, false }

// Inform is for those who have the time.
func (to *atOnce) Inform(int, *header.Block) {}

// Respond takes the answer if all of it fits.
func (to *atOnce) Respond(a *exchange.Answer) error {
	if to.answered {
		return errAnswered
	}
	st := to.st
	length, n := announced(a), len(a.Bytes)
	if st.head || bodyless(a.Status) {
		n = 0
	} else if a.Stream != nil && a.Bytes == nil || a.Trailer != nil || length != int64(n) {
		return exchange.ErrNotAtOnce
	}
	c := st.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.fits(n, st.priority.urgency) {
		return exchange.ErrNotAtOnce
	}
	to.answered = true
	if c.mu.dead != nil || c.mu.goAway == 2 && st.id > c.mu.last {
		return errClosed
	}
	b := c.mu.enc.appendHead(c.output(), st.id, n == 0, a, length)
	for data := a.Bytes[:n]; len(data) > 0; {
		k := min(len(data), maxFrame)
		b = c.appendData(b, st.id, data[:k], k == len(data))
		data = data[k:]
	}
	c.mu.out = b
	return nil
}

// fits reports whether the output and the windows have room for a body of n bytes; it
// makes room where it can. conn.mu is held.
func (c *conn) fits(n int, urgency uint8) bool {
	size := n + (n/maxFrame+1)*frameHead
	if len(c.mu.out)+size > outputSize {
		if size > outputSize || c.mu.writing || c.mu.bodies > 0 || len(c.mu.late) > 0 {
			return false
		}
		c.kick()
		if len(c.mu.out)+size > outputSize {
			return false
		}
	}
	if n == 0 {
		return true
	}
	return int64(n) <= min(c.mu.first, c.mu.window) && !(len(c.mu.ready) > 0 && c.urgent(urgency))
}

// responder takes the answer of a handler on a goroutine of its own.
type responder struct {
	st     *stream
	gone   bool // the handler has returned
	failed error
}

// Inform sends an interim answer. HTTP/2 has no 101 (RFC 9113 §8.6).
func (to *responder) Inform(status int, h *header.Block) {
	if to.gone || to.st.answered || status < 102 || status > 199 {
		return
	}
	_ = to.st.send(piece{answer: &exchange.Answer{Status: status, Header: h}, length: -1})
}

// Respond sends the answer.
func (to *responder) Respond(a *exchange.Answer) error {
	if to.gone || to.st.answered {
		return errAnswered
	}
	st := to.st
	st.answered = true
	if st.key != "" && a.Status/100 == 2 {
		a = &exchange.Answer{Status: http.StatusBadGateway} // see offer
	}
	p := piece{answer: a, length: announced(a)}
	switch {
	case st.head || bodyless(a.Status):
		p.end = true
	case a.Bytes != nil || a.Stream == nil:
		if p.length != int64(len(a.Bytes)) {
			return to.abort(errLength)
		}
		p.data, p.end = a.Bytes, true
	case a.Length == 0:
		return to.empty(a, p)
	default:
		return to.stream(a, p)
	}
	return st.send(p)
}

// empty sends an answer whose body has no bytes: as a head that ends the stream, unless
// there is a trailer. gRPC tells the two apart.
func (to *responder) empty(a *exchange.Answer, p piece) error {
	for {
		n, err := a.Stream.Read(make([]byte, 1))
		if n > 0 {
			return to.abort(errLength)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return to.abort(err)
		}
	}
	p.end = true
	if a.Trailer != nil {
		if t := a.Trailer(); t != nil && t.Len() > 0 {
			p.trailer = t
		}
	}
	return to.st.send(p)
}

// stream sends an answer whose body comes as it is read.
func (to *responder) stream(a *exchange.Answer, p piece) error {
	p.more = true
	if to.st.body != nil {
		to.st.body.answered()
	}
	if err := to.st.send(p); err != nil {
		return err
	}
	out := &outlet{st: to.st, left: a.Length}
	defer out.free()
	var err error
	if direct, ok := a.Stream.(io.WriterTo); ok {
		_, err = direct.WriteTo(out)
	} else {
		_, err = out.copy(a.Stream)
	}
	if err == nil && out.left > 0 {
		err = fmt.Errorf("%w: %w", errLength, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = out.err // a WriterTo may have lost it
	}
	if err != nil {
		return to.abort(err)
	}
	end := piece{data: out.held, end: true}
	if a.Trailer != nil {
		if t := a.Trailer(); t != nil && t.Len() > 0 {
			end.trailer = t
		}
	}
	return to.st.send(end)
}

// abort breaks the transfer off, so that nobody takes it for a whole one.
func (to *responder) abort(err error) error {
	c := to.st.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if broken := to.st.broken; broken != nil {
		return broken
	}
	c.abandon(to.st, http2.ErrCodeInternal, exchange.ErrAborted)
	c.kickAside()
	return fmt.Errorf("%w: %w", exchange.ErrAborted, err)
}

// copySize is the piece in which bodies are read, in bytes.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// outlet is what a body writes itself to.
type outlet struct {
	st   *stream
	left int64 // bytes that may still come; below 0 for any number
	err  error

	// The last bytes of a body whose length is known, if they are few: they go with the
	// end of the stream, which nobody may see before the body has ended without an error.
	held   []byte
	buffer *[copySize]byte
}

func (o *outlet) free() {
	if o.buffer != nil {
		copyBuffers.Put(o.buffer)
	}
}

// Write sends a piece.
func (o *outlet) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if o.left >= 0 {
		if int64(len(p)) > o.left {
			o.err = errLength
			return 0, o.err
		}
		o.left -= int64(len(p))
		if o.left == 0 && len(p) <= copySize && o.held == nil {
			if o.buffer == nil {
				o.buffer = copyBuffers.Get().(*[copySize]byte)
			}
			o.held = append(o.buffer[:0], p...)
			return len(p), nil
		}
	}
	if o.err = o.st.send(piece{data: p}); o.err != nil {
		return 0, o.err
	}
	return len(p), nil
}

// ReadFrom sends what from has, open files included: beneath TLS the kernel could copy
// nothing.
func (o *outlet) ReadFrom(from io.Reader) (int64, error) { return o.copy(from) }

// copy sends pieces as they come.
func (o *outlet) copy(from io.Reader) (sent int64, err error) {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := from.Read(buf[:])
		if n > 0 {
			w, err := o.Write(buf[:n])
			sent += int64(w)
			if err != nil {
				return sent, err
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
