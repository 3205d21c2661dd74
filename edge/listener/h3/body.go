package h3

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// errEnded is what a body gives that is read after its request was answered.
var errEnded = errors.New("the request has ended")

// body is the body of one request. Somebody may still be reading it when the request has
// been answered, so that it is never used again.
type body struct {
	mu struct {
		sync.Mutex
		s *stream // nil when the request has ended
	}
	q    *quic.Stream
	over atomic.Bool // nothing is waited for any more
	due  struct {    // taken after mu
		sync.Mutex
		patient bool // it may be silent for long
	}
	left  uint64 // of the present DATA frame
	sum   int64  // bytes so far
	last  error  // after which nothing comes
	begun bool
}

func newBody(s *stream) *body {
	b := &body{q: s.q}
	b.mu.s = s
	b.due.patient = exchange.IsGRPC(s.block.Get("Content-Type"))
	return b
}

// end has reads fail from now on, and waits for one that is under way.
func (b *body) end() {
	if !b.mu.TryLock() {
		b.over.Store(true) // for who has not begun to wait
		_ = b.q.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
	b.mu.s = nil
	b.mu.Unlock()
}

// Read reads content, whatever frames it comes in.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.mu.s
	if s == nil {
		return 0, errEnded
	}
	if b.last != nil || len(p) == 0 {
		return 0, b.last
	}
	if !b.begun {
		b.begun = true
		if s.head.expect {
			s.proceed()
		}
	}
	if n, err = b.read(s, p); err != nil {
		b.last = b.failed(s, err)
	}
	return n, b.last
}

// failed is what an error of the stream is for the reader.
func (b *body) failed(s *stream, err error) error {
	switch e, ok := errors.AsType[connError](err); {
	case err == io.EOF:
		return err
	case ok:
		s.c.fail(e)
	case isTimeout(err):
		s.c.s.limited(limits.BodyTimeout)
		return fmt.Errorf("%w: %w", exchange.ErrBodyStalled, err)
	case errors.Is(err, exchange.ErrBodyTooLarge):
		s.c.s.limited(limits.BodyBytes)
	case errors.Is(err, errMalformed):
		s.q.CancelRead(codeMessage)
		s.q.CancelWrite(codeMessage)
		s.givenUp()
	default:
		if e, ok := errors.AsType[*quic.StreamError](err); ok && e.Remote {
			s.eof = true
			s.givenUp()
		}
	}
	return fmt.Errorf("read request body: %w", err)
}

// wait begins the time for the next piece.
func (b *body) wait(l *limits.Config) error {
	b.due.Lock()
	defer b.due.Unlock()
	within := l.BodyTimeout
	if b.due.patient {
		within = l.QuietTimeout
	}
	return b.q.SetReadDeadline(time.Now().Add(within))
}

// answered tells it that an answer has begun that may depend on what is still to come: the
// client may take its time from now on.
func (b *body) answered(l *limits.Config) {
	b.due.Lock()
	b.due.patient = true
	b.due.Unlock()
	_ = b.wait(l)
}

func (b *body) read(s *stream, p []byte) (int, error) {
	if err := b.wait(&s.c.s.limits); err != nil {
		return 0, err
	}
	if b.over.Load() {
		return 0, errEnded
	}
	for b.left == 0 {
		kind, length, n := parseHead(s.in[s.r:s.w])
		if n == 0 {
			if s.eof && s.r == s.w {
				return 0, b.atEnd(s)
			}
			if err := b.more(s); err != nil {
				return 0, err
			}
			continue
		}
		s.r += n
		switch kind {
		case frameData:
			if b.left = length; length == 0 {
				if err := s.c.control(); err != nil {
					return 0, err
				}
			}
		case frameHeaders:
			if err := b.trailer(s, length); err != nil {
				return 0, err
			}
			return 0, b.atEnd(s)
		default:
			if err := b.skip(s, kind, length); err != nil {
				return 0, err
			}
		}
	}
	if uint64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := copy(p, s.in[s.r:s.w]), error(nil)
	if s.r += n; n == 0 {
		if s.eof {
			return 0, connError{codeFrame, "DATA ends with its stream"}
		}
		n, err = s.q.Read(p) // past the buffer
		if err == io.EOF {
			s.eof, err = true, nil
		}
	}
	b.left -= uint64(n)
	b.sum += int64(n)
	if most := s.c.s.limits.BodyBytes; most > 0 && b.sum > most {
		return 0, exchange.ErrBodyTooLarge
	}
	if s.head.length >= 0 && b.sum > s.head.length {
		return 0, fmt.Errorf("%w: more than Content-Length", errMalformed)
	}
	return n, err
}

// more reads the head of a frame. What the request's strings lie in stays as it is.
func (b *body) more(s *stream) error {
	if s.w+maxFrameHead > len(s.in) {
		in := make([]byte, firstInput)
		s.w = copy(in, s.in[s.r:s.w])
		s.in, s.r = in, 0
	}
	if s.eof {
		return connError{codeFrame, "a frame ends with its stream"}
	}
	n, err := s.q.Read(s.in[s.w : s.w+1]) // no more: content goes past the buffer
	s.w += n
	if err == io.EOF {
		s.eof, err = true, nil
	}
	return err
}

// atEnd is io.EOF if all has come that was announced.
func (b *body) atEnd(s *stream) error {
	if s.head.length >= 0 && b.sum != s.head.length {
		return fmt.Errorf("%w: less than Content-Length", errMalformed)
	}
	return io.EOF
}

// skip passes over a frame that is not known.
func (b *body) skip(s *stream, kind, length uint64) error {
	if err := onRequestStream(kind); err != nil {
		return err
	}
	if err := s.c.control(); err != nil {
		return err
	}
	var scrap [512]byte
	for length > 0 {
		n := copy(scrap[:min(length, uint64(len(scrap)))], s.in[s.r:s.w])
		if s.r += n; n == 0 {
			if s.eof {
				return connError{codeFrame, "a frame ends with its stream"}
			}
			var err error
			n, err = s.q.Read(scrap[:min(length, uint64(len(scrap)))])
			if err == io.EOF {
				s.eof, err = true, nil
			}
			if err != nil {
				return err
			}
		}
		length -= uint64(n)
	}
	return nil
}

// trailer reads the fields that end a body, and what may follow them. They are checked
// and dropped: nobody asks for trailers of requests.
func (b *body) trailer(s *stream, length uint64) error {
	most := &s.c.s.limits
	if length > uint64(most.HeaderBytes+4*most.HeaderFields) {
		s.c.s.limited(limits.HeaderBytes)
		return fmt.Errorf("%w: a large trailer", errMalformed)
	}
	text := make([]byte, length)
	n := copy(text, s.in[s.r:s.w])
	s.r += n
	for n < len(text) {
		if s.eof {
			return connError{codeFrame, "HEADERS end with their stream"}
		}
		m, err := s.q.Read(text[n:])
		n += m
		if err == io.EOF {
			s.eof, err = true, nil
		}
		if err != nil {
			return err
		}
	}
	var a arena
	var dropped header.Block
	h := head{trailer: true, length: -1}
	fields := section{rest: text, arena: &a}
	if err := fields.prefix(); err != nil {
		return connError{codeQPACKDecompression, err.Error()}
	}
	for {
		name, value, ok, err := fields.next()
		if err != nil {
			return connError{codeQPACKDecompression, err.Error()}
		}
		if !ok {
			break
		}
		h.add(&dropped, name, value, most)
	}
	if h.malformed != "" || h.excess != limits.None {
		return fmt.Errorf("%w: a bad trailer", errMalformed)
	}
	return b.afterTrailer(s)
}

// afterTrailer waits for the end, before which only frames that nobody knows may stand.
func (b *body) afterTrailer(s *stream) error {
	for {
		kind, length, n := parseHead(s.in[s.r:s.w])
		switch {
		case n == 0 && s.eof && s.r == s.w:
			return nil
		case n == 0:
			if err := b.more(s); err != nil {
				return err
			}
			continue
		case kind == frameData || kind == frameHeaders:
			return connError{codeFrameUnexpected, "content after a trailer"}
		}
		s.r += n
		if err := b.skip(s, kind, length); err != nil {
			return err
		}
	}
}
