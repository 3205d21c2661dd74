package h3

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

const (
	firstInput = 2 << 10                // bytes of a stream's buffer, which most requests fit into
	keptBuffer = 16 << 10               // the largest buffer that is used again
	finWait    = 100 * time.Millisecond // that the end of a request without a body may come after its head
)

// stream is one request. It is used again for others.
type stream struct {
	c *conn
	q *quic.Stream

	in    []byte // in[r:w] was read and is not used yet
	r, w  int
	eof   bool // nothing comes after w
	early bool // it was opened before the handshake was complete (RFC 8470)
	known bool // the head has been read
	gone  bool // its client has given it up, or had us do so, and that was counted

	head  head
	arena arena
	block header.Block
	req   exchange.Request
	body  *body // nil for none

	out      []byte
	quick    bool        // Respond may not block
	answered bool        // the final answer was begun
	closed   bool        // ... and finished
	final    sync.Mutex  // orders answered with proceed
	listed   bool        // in conn.mu.running
	settle   func() bool // keeps the end of the stream from ending the context

	size  atomic.Int64 // of all that comes, -1 while that is not known
	sized func(int64)  // sets it
}

func newStream() *stream {
	s := &stream{in: make([]byte, firstInput)}
	s.sized = s.size.Store
	return s
}

// begin makes it that of a stream that was accepted.
func (s *stream) begin(c *conn, q *quic.Stream, early bool) {
	s.c, s.q, s.early = c, q, early
	s.size.Store(-1)
	s.head.begin()
	s.block.Reset()
}

// put gives it back for others.
func (s *stream) put() {
	pool := &s.c.s.streams
	s.c, s.q, s.body, s.settle = nil, nil, nil, nil
	s.req = exchange.Request{}
	s.r, s.w, s.eof, s.known, s.gone, s.quick, s.answered, s.closed, s.listed = 0, 0, false, false, false, false, false, false, false
	if len(s.in) > keptBuffer {
		s.in = make([]byte, firstInput)
	}
	if cap(s.out) > keptBuffer {
		s.out = nil
	}
	if cap(s.arena) > keptBuffer {
		s.arena = nil
	}
	if s.block.Size() > keptBuffer {
		s.block = header.Block{}
	}
	s.arena, s.out = s.arena[:0], s.out[:0]
	pool.Put(s)
}

// atOnce serves a request on the goroutine that accepts streams if all of it is there and
// its answer is in RAM. False: it has to run on a goroutine of its own.
func (s *stream) atOnce() bool {
	if s.c.s.quick == nil {
		return false
	}
	s.q.SetReceiveFinalSizeCallback(s.sized)
	if n := s.size.Load(); n < 0 || n > int64(len(s.in)) {
		s.q.SetReceiveFinalSizeCallback(nil)
		return false
	}
	// Its end has come, in all likelihood with the rest in one packet. If not, the next
	// requests of this client wait until its packet has been sent again.
	if err := s.readHead(); err != nil {
		s.fail(err)
		return true
	}
	if err := s.passOver(); err != nil {
		s.fail(err)
		return true
	}
	if s.r < s.w || !s.eof || s.req.Method != http.MethodGet && s.req.Method != http.MethodHead || s.refuse() {
		return s.closed
	}
	obey(s.q, s.head.priority)
	s.quick = true
	served := s.try()
	s.quick = false
	return served
}

// try asks the handler for an answer at once.
func (s *stream) try() (served bool) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			served = true
		}
	}()
	return s.c.s.quick.ServeQuick(&s.req, s)
}

// run serves a request, however long that takes.
func (s *stream) run() {
	defer s.finish()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
		}
	}()
	if !s.known {
		if err := s.readHead(); err != nil {
			s.fail(err)
			return
		}
	}
	if s.refuse() {
		return
	}
	if err := s.expectBody(); err != nil {
		s.fail(err)
		return
	}
	s.c.prioritize(s)
	ctx, cancel := context.WithCancel(s.c.q.Context())
	defer cancel()
	s.settle = context.AfterFunc(s.q.Context(), cancel) // it ends when the client wants no answer any more
	defer s.settle()
	s.c.s.Handler.Serve(ctx, &s.req, s)
}

func (s *stream) panicked(v any) {
	if v != http.ErrAbortHandler {
		s.c.s.log.Error("handler panicked", "panic", v, "stack", slog.StringValue(string(debug.Stack())))
	}
}

// finish ends the stream, in whatever state it is, and lets the client open another.
func (s *stream) finish() {
	if s.body != nil {
		s.body.end()
	}
	if !s.closed {
		s.abort(codeInternal)
	}
	if !s.eof {
		s.q.CancelRead(codeNoError) // RFC 9114 §4.1
	}
	s.q.ReleaseStreamCredit()
	c := s.c
	if err, ok := errors.AsType[*quic.StreamError](context.Cause(s.q.Context())); ok && err.Remote {
		s.givenUp()
	}
	if s.listed {
		c.forget(s.q.StreamID())
	}
	s.put()
	c.ended()
}

// givenUp counts, once, that the client gave the request up, or had us do so.
func (s *stream) givenUp() {
	if !s.gone {
		s.gone = true
		s.c.wasReset()
	}
}

// abort breaks the answer off, so that nobody takes it for a whole one.
func (s *stream) abort(code quic.StreamErrorCode) {
	s.q.CancelWrite(code)
	s.closed = true
}

// fail ends a request that is none.
func (s *stream) fail(err error) {
	if e, ok := errors.AsType[connError](err); ok {
		s.c.fail(e)
		s.abort(codeInternal)
		return
	}
	code := quic.StreamErrorCode(codeRequestCancelled)
	switch {
	case errors.Is(err, errMalformed):
		code = codeMessage
		s.givenUp()
	case errors.Is(err, errIncomplete):
		code = codeRequestIncomplete
		s.givenUp()
	case isTimeout(err):
		s.c.s.limited(limits.HeadTimeout)
		s.givenUp()
	default:
		if e, ok := errors.AsType[*quic.StreamError](err); ok && e.Remote {
			s.eof = true
			s.givenUp()
		}
	}
	s.abort(code)
}

// Errors of a request's stream.
var (
	errMalformed  = errors.New("malformed request")
	errIncomplete = errors.New("request ends before its head")
)

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// fill reads more.
func (s *stream) fill() error {
	if s.eof {
		if s.r == s.w {
			return errIncomplete
		}
		return connError{codeFrame, "a frame ends with its stream"}
	}
	if s.w == len(s.in) {
		s.w = copy(s.in, s.in[s.r:s.w])
		s.r = 0
	}
	n, err := s.q.Read(s.in[s.w:])
	s.w += n
	if err == io.EOF {
		s.eof, err = true, nil
	}
	return err
}

// readHead reads up to the end of the request's head and makes the request.
func (s *stream) readHead() error {
	now := s.c.s.now()
	s.req.Received = now
	if err := s.q.SetReadDeadline(time.Now().Add(s.c.s.limits.HeadTimeout)); err != nil {
		return err
	}
	for {
		kind, length, n := parseHead(s.in[s.r:s.w])
		if n == 0 {
			if err := s.fill(); err != nil {
				return err
			}
			continue
		}
		switch kind {
		case frameHeaders:
			return s.readFields(n, length)
		case frameData:
			return connError{codeFrameUnexpected, "DATA before the head of a request"}
		}
		if err := onRequestStream(kind); err != nil {
			return err
		}
		if err := s.c.control(); err != nil {
			return err
		}
		s.r += n
		if err := s.skip(length); err != nil {
			return err
		}
	}
}

// skip reads what nobody wants.
func (s *stream) skip(n uint64) error {
	for {
		have := min(n, uint64(s.w-s.r))
		s.r += int(have)
		if n -= have; n == 0 {
			return nil
		}
		if s.eof {
			return connError{codeFrame, "a frame ends with its stream"}
		}
		s.r, s.w = 0, 0
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// readFields reads the HEADERS frame that begins at r with n bytes of type and length.
func (s *stream) readFields(n int, length uint64) error {
	most := &s.c.s.limits
	if length > uint64(most.HeaderBytes+4*most.HeaderFields) {
		s.head.excess, s.known = limits.HeaderBytes, true
		return nil
	}
	whole := n + int(length)
	if len(s.in)-s.r < whole {
		in := s.in
		if whole > len(s.in) {
			in = make([]byte, whole+firstInput)
		}
		s.w = copy(in, s.in[s.r:s.w])
		s.in, s.r = in, 0
	}
	for s.w-s.r < whole {
		if err := s.fill(); err != nil {
			return err
		}
	}
	fields := section{rest: s.in[s.r+n : s.r+whole], arena: &s.arena}
	s.r += whole
	if !s.eof && s.r == s.w && s.w < len(s.in) && s.size.Load() >= 0 { // the end alone has come in a frame of its own
		if err := s.fill(); err != nil {
			return err
		}
	}
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
		s.head.add(&s.block, name, value, most)
	}
	s.head.finish(&s.block, s.eof && s.r == s.w)
	s.known = true
	if s.head.malformed != "" {
		s.c.s.log.Debug("malformed request", "why", s.head.malformed)
		return errMalformed
	}
	h := &s.head
	authority := h.authority
	if !h.hasAuthority {
		authority = h.host
	}
	s.req.Method, s.req.Scheme, s.req.Target, s.req.Header = h.method, "https", h.path, &s.block
	s.req.Proto, s.req.Remote, s.req.Early = "HTTP/3.0", s.c.remote, s.early
	var ok bool
	if s.req.Host, s.req.Port, ok = exchange.SplitHost(authority); !ok {
		s.req.Host = ""
	}
	return nil
}

// refuse answers what is not for the handler, and reports whether it has.
func (s *stream) refuse() bool {
	h := &s.head
	most := s.c.s.limits.BodyBytes
	switch {
	case h.excess != limits.None:
		s.c.s.limited(h.excess)
		s.say(http.StatusRequestHeaderFieldsTooLarge, "the head of the request is larger than this node allows")
	case h.method == http.MethodConnect:
		s.say(http.StatusMethodNotAllowed, "this node is no proxy for connections") // as in the other lanes
	case !exchange.ValidMethod(h.method):
		s.say(http.StatusBadRequest, "the method is malformed")
	case !exchange.ValidTarget(h.path):
		s.say(http.StatusBadRequest, "the request target is no absolute path")
	case s.req.Host == "":
		s.say(http.StatusBadRequest, "the host is malformed or missing")
	case s.early && h.method != http.MethodGet && h.method != http.MethodHead && h.method != http.MethodOptions:
		s.say(http.StatusTooEarly, "this may be a replay: send it again after the handshake") // RFC 8470 §5.2
	case most > 0 && h.length > most:
		s.c.s.limited(limits.BodyBytes)
		s.say(http.StatusRequestEntityTooLarge, "the body is larger than this node allows")
	default:
		return false
	}
	return true
}

// say answers with a line of text.
func (s *stream) say(status int, text string) {
	var h header.Block
	_ = h.Add("content-type", "text/plain; charset=utf-8") // it fits
	body := []byte(text + "\n")
	_ = s.Respond(&exchange.Answer{Status: status, Header: &h, Bytes: body, Length: int64(len(body))})
}

// passOver drops frames that are not known and have come whole: they are no body.
func (s *stream) passOver() error {
	for s.r < s.w {
		kind, length, n := parseHead(s.in[s.r:s.w])
		if n == 0 || kind == frameData || kind == frameHeaders || length > uint64(s.w-s.r-n) {
			return nil
		}
		if err := onRequestStream(kind); err != nil {
			return err
		}
		if err := s.c.control(); err != nil {
			return err
		}
		s.r += n + int(length)
	}
	return nil
}

// expectBody finds out whether a body follows.
func (s *stream) expectBody() error {
	if err := s.passOver(); err != nil {
		return err
	}
	if s.r == s.w && !s.eof && s.head.length < 0 && (s.req.Method == http.MethodGet || s.req.Method == http.MethodHead) {
		// The end often comes in a packet of its own; whether a request for content has a
		// body decides how it is answered.
		_ = s.q.SetReadDeadline(time.Now().Add(finWait))
		var b [1]byte
		if _, err := s.q.Peek(b[:]); err == io.EOF {
			_, err = s.q.Read(b[:]) // for the stream to know that this was seen
			s.eof = err == io.EOF
		} else if err != nil && !isTimeout(err) {
			return err
		}
	}
	if s.eof && s.r == s.w || s.head.length == 0 {
		return nil
	}
	s.body = newBody(s)
	s.req.Body, s.req.Length = s.body, s.head.length
	return nil
}
