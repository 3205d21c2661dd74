package h3

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/edge/listener/outlet"
	"freshet/internal/header"
)

const (
	quickMost = 16 << 10  // bytes of an answer that is handed to the connection without waiting
	joinMost  = 32 << 10  // bytes of a body that are written together with the head
	pieceMost = 256 << 10 // bytes of a body for which the client has a write timeout
)

var errAnswered = errors.New("the request was answered already")

// Inform sends an interim answer.
func (s *stream) Inform(status int, h *header.Block) {
	if s.quick || s.answered {
		return
	}
	s.out = appendFields(s.out[:0], status, h, nil, -1)
	_ = s.write(s.out) // the final answer meets the same error
}

// proceed tells a client that waits for it to send the body (RFC 9110 §10.1.1), unless it
// is answered already. Who reads the body calls it, beside the handler.
func (s *stream) proceed() {
	s.final.Lock()
	defer s.final.Unlock()
	if !s.answered {
		_ = s.write(appendFields(nil, http.StatusContinue, nil, nil, -1))
	}
}

// Respond sends the answer: the head and what fits in one write, the rest as it comes.
func (s *stream) Respond(a *exchange.Answer) error {
	if s.answered {
		return errAnswered
	}
	length := a.Length
	if a.Bytes != nil && length < 0 {
		length = int64(len(a.Bytes))
	}
	bodyless := s.req.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	say := length
	if a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		say = -1
	}
	if s.quick {
		if !bodyless && (a.Stream != nil && a.Bytes == nil || a.Trailer != nil || len(a.Bytes) > quickMost) {
			return exchange.ErrNotAtOnce
		}
		return s.respondAtOnce(a, bodyless, say)
	}
	s.final.Lock()
	s.answered = true
	s.final.Unlock()
	s.out = appendFields(s.out[:0], a.Status, a.Header, a.Extra, say)
	var err error
	switch {
	case bodyless:
		err = s.write(s.out)
	case a.Bytes != nil:
		err = s.sendBytes(a.Bytes, length)
	case a.Stream != nil:
		if s.body != nil {
			s.body.answered(&s.c.s.limits)
		}
		err = s.sendStream(a.Stream, length)
	case length > 0:
		err = io.ErrUnexpectedEOF
	default:
		err = s.write(s.out)
	}
	if err == nil && !bodyless && a.Trailer != nil {
		if h := a.Trailer(); h != nil && h.Len() > 0 {
			s.out = appendTrailer(s.out[:0], h)
			err = s.write(s.out)
		}
	}
	if err != nil {
		if isTimeout(err) {
			s.c.s.limited(limits.WriteTimeout)
		}
		s.abort(codeInternal)
		return err
	}
	return s.close()
}

// respondAtOnce hands the whole answer to the connection, or nothing.
func (s *stream) respondAtOnce(a *exchange.Answer, bodyless bool, say int64) error {
	s.out = appendFields(s.out[:0], a.Status, a.Header, a.Extra, say)
	if !bodyless {
		if a.Length >= 0 && int64(len(a.Bytes)) != a.Length {
			s.answered = true
			s.abort(codeInternal)
			return io.ErrUnexpectedEOF
		}
		if len(a.Bytes) > 0 {
			s.out = append(appendHead(s.out, frameData, uint64(len(a.Bytes))), a.Bytes...)
		}
	}
	switch err := s.q.TryWriteAll(s.out); {
	case errors.Is(err, quic.ErrWouldBlock):
		return exchange.ErrNotAtOnce
	case err != nil:
		s.answered = true
		s.abort(codeInternal)
		return err
	}
	s.answered = true
	return s.close()
}

// close ends the answer.
func (s *stream) close() error {
	if s.settle != nil {
		s.settle()
	}
	s.closed = true
	return s.q.Close()
}

// write sends bytes; the client has to take them in time.
func (s *stream) write(p []byte) error {
	for len(p) > 0 {
		piece := p[:min(len(p), pieceMost)]
		if err := s.q.SetWriteDeadline(time.Now().Add(s.c.s.limits.WriteTimeout)); err != nil {
			return err
		}
		n, err := s.q.Write(piece)
		if err != nil && !(isTimeout(err) && n > 0) { // what it takes slowly it takes
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *stream) sendBytes(b []byte, length int64) error {
	if int64(len(b)) != length {
		return io.ErrUnexpectedEOF
	}
	if len(b) > 0 {
		s.out = appendHead(s.out, frameData, uint64(len(b)))
	}
	if len(b) <= joinMost {
		s.out = append(s.out, b...)
		b = nil
	}
	if err := s.write(s.out); err != nil {
		return err
	}
	return s.write(b)
}

// sendStream sends a body as it comes: in one DATA frame if its length is known.
func (s *stream) sendStream(body io.Reader, length int64) error {
	if length > 0 {
		s.out = appendHead(s.out, frameData, uint64(length))
	}
	to := &sink{s: s, framed: length < 0}
	if to.framed { // who does not know the length may have to wait for the first piece, too
		if err := to.Flush(); err != nil {
			return err
		}
	}
	if err := outlet.Send(to, body, length); err != nil {
		return err
	}
	return to.Flush()
}

// sink takes a body; s.out is what goes before its next piece.
type sink struct {
	s      *stream
	framed bool // each piece is a DATA frame
}

// Write sends a piece.
func (to *sink) Write(p []byte) (int, error) {
	s := to.s
	if len(p) == 0 {
		return 0, nil
	}
	if to.framed {
		s.out = appendHead(s.out, frameData, uint64(len(p)))
	}
	rest := p
	if len(s.out) > 0 && len(p) <= joinMost {
		s.out, rest = append(s.out, p...), nil
	}
	err := to.Flush()
	if err == nil {
		err = s.write(rest)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush sends what was kept back: the head.
func (to *sink) Flush() error {
	if len(to.s.out) == 0 {
		return nil
	}
	err := to.s.write(to.s.out)
	to.s.out = to.s.out[:0]
	return err
}

// SendFile cannot: every byte is encrypted.
func (*sink) SendFile(*io.LimitedReader) (int64, bool, error) { return 0, false, nil }

// appendFields appends the HEADERS frame of an answer, with its Content-Length unless
// that is below 0.
func appendFields(b []byte, status int, first, second *header.Block, length int64) []byte {
	start := len(b)
	b = append(b, frameHeaders, 0, 0)
	b = appendStatus(appendPrefix(b), status)
	b = appendBlock(b, first)
	b = appendBlock(b, second)
	if length >= 0 {
		var digits [20]byte
		b = appendField(b, "content-length", view(strconv.AppendInt(digits[:0], length, 10)))
	}
	return sealHeaders(b, start)
}

// appendTrailer appends the HEADERS frame that ends a body.
func appendTrailer(b []byte, h *header.Block) []byte {
	start := len(b)
	b = append(b, frameHeaders, 0, 0)
	return sealHeaders(appendBlock(appendPrefix(b), h), start)
}

// sealHeaders writes the length into the frame that begins at start, which has left two
// bytes for it.
func sealHeaders(b []byte, start int) []byte {
	n := len(b) - start - 3
	if n < 1<<14 {
		b[start+1], b[start+2] = 0x40|byte(n>>8), byte(n)
		return b
	}
	b = append(b, 0, 0)
	copy(b[start+5:], b[start+3:start+3+n])
	b[start+1], b[start+2], b[start+3], b[start+4] = 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return b
}
