package h2

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

// Errors of answering.
var (
	errAnswered = errors.New("the request was answered already")
	errGone     = errors.New("the client gave the stream up")
	errClosed   = errors.New("the connection is closed")
	errStalled  = errors.New("the client does not take the answer")
)

// stream is one request whose handler is on a goroutine of its own, or will be. It owns
// what its request consists of, so that the reader can go on with the next. Streams are
// used again: nothing that a handler might keep points to one but its Responder.
type stream struct {
	conn   *conn
	id     uint32
	req    exchange.Request
	fields header.Block
	head   bool   // the method is HEAD: there is no body
	expect bool   // 100-continue
	key    string // of WebSocket, made for a stream that is to be one; else empty
	body   *body
	ctx    *streamContext // from the start of its handler on

	answered bool // the handler's own
	timer    *time.Timer
	wake     chan struct{} // something has happened that whoever waits should look at

	// Guarded by conn.mu.
	priority   priority
	window     int64 // what may be sent of the body, in bytes; below 0 after a change of settings
	receive    int64 // what may be received
	came       int64 // content of all frames so far, of the one that is being read too
	unread     int64 // read by the handler and not yet made known to the client
	remoteDone bool  // the request has ended
	status     int   // of the head that was sent last
	sentEnd    bool
	upgraded   bool   // it speaks another protocol
	release    func() // takes it out of the count of those; nil where there is none
	over       bool   // it has ended for the client, though its handler may not have
	running    bool
	waiting    bool  // piece is to be sent
	broken     error // nothing more can be sent
	piece      piece
	turn       uint64    // when a part of it was sent last, in turns
	progress   time.Time // when the client last took or allowed something
}

// piece is what a stream has to send next: the head of an answer, data, a trailer, each
// of which may be missing, in that order.
type piece struct {
	answer  *exchange.Answer
	length  int64 // for the head; -1: not said
	data    []byte
	end     bool // the stream ends after it
	more    bool // the next piece comes at once, probably
	trailer *header.Block
}

var streams = sync.Pool{New: func() any { return new(stream) }}

// free gives the stream back. Nobody may have it any more.
func (st *stream) free() {
	if st.fields.Reset(); st.fields.Size() > 2*largeHead {
		st.fields = header.Block{}
	}
	*st = stream{fields: st.fields}
	streams.Put(st)
}

// nudge wakes whoever waits for the stream.
func (st *stream) nudge() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// pause waits for a nudge, at most d, and reports whether there was one.
func (st *stream) pause(d time.Duration) bool {
	if st.timer == nil {
		st.timer = time.NewTimer(d)
	} else {
		st.timer.Reset(d)
	}
	select {
	case <-st.wake:
		st.timer.Stop()
		return true
	case <-st.timer.C:
		return false
	}
}

// send hands the next piece on and waits until all of it is on its way.
func (st *stream) send(p piece) error {
	c := st.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.broken != nil {
		return st.broken
	}
	st.piece, st.waiting = p, true
	st.progress = time.Now()
	c.mu.ready = append(c.mu.ready, st)
	c.gather() // then it has not to wait for whoever writes
	switch {
	case p.more && !st.waiting:
		c.kickSoon()
	case c.mu.running > 1:
		c.kickAside() // with what the others have
	default:
		c.kick()
	}
	timeout := c.srv.limits.WriteTimeout
	for wait := timeout; st.waiting && st.broken == nil; {
		c.mu.Unlock()
		nudged := st.pause(wait)
		c.mu.Lock()
		if wait = timeout; nudged || !st.waiting || st.broken != nil {
			continue
		}
		// It may only have waited for others, which come before it. It is stuck if nothing
		// moves on its own window or on the connection.
		since := st.progress
		if st.window > 0 && c.mu.progress.After(since) {
			since = c.mu.progress
		}
		if wait = timeout - time.Since(since); wait <= 0 {
			c.srv.limited(limits.WriteTimeout)
			c.abandon(st, http2.ErrCodeCancel, errStalled)
		}
	}
	if st.waiting {
		c.unready(st)
		return st.broken
	}
	return nil
}
