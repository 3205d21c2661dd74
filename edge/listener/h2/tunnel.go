package h2

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/net/http2"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// A client that wants to speak WebSocket asks for that with CONNECT and :protocol
// (RFC 8441), and the stream is its connection from then on. To who answers it is the
// request of HTTP/1.1 that means the same: a GET with an offer, whose key we make, as
// over HTTP/2 there is none. To CONNECT any 2xx says that the stream is WebSocket from then
// on (§5): who answers the GET with one, and knows nothing of that, is not passed on, since a
// script that may not read a page would get it as messages.

const webSocket = "websocket"

// offer makes a request of CONNECT one that offers WebSocket. The error is the block's.
func (st *stream) offer() error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	st.key = base64.StdEncoding.EncodeToString(nonce[:])
	st.req.Method, st.req.Upgrade = http.MethodGet, webSocket
	return st.req.Header.Set("Sec-WebSocket-Key", st.key)
}

// accepted is what Sec-WebSocket-Accept says to a key (RFC 6455 §4.2.2).
func accepted(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var (
	errNoUpgrade   = errors.New("the stream cannot be given up")
	errNotAccepted = errors.New("the answer to the key of WebSocket is wrong")
)

// Upgrade answers CONNECT. The answer is 200 in place of 101, without what the stream
// does not need.
func (to *responder) Upgrade(a *exchange.Answer) (exchange.Tunnel, error) {
	st := to.st
	if to.gone || st.answered || st.key == "" || a.Status != http.StatusSwitchingProtocols {
		return nil, errNoUpgrade
	}
	if a.Header == nil || a.Header.Get("Sec-WebSocket-Accept") != accepted(st.key) {
		return nil, errNotAccepted
	}
	answer := &exchange.Answer{Status: http.StatusOK, Header: a.Header.Clone(), Extra: a.Extra}
	answer.Header.Filter(func(name, _ string) bool {
		return !header.EqualName(name, "Sec-WebSocket-Accept") && !header.EqualName(name, "Upgrade")
	})
	c := st.conn
	if admit := c.srv.Admit; admit != nil {
		release, ok := admit(c.info.Remote.Addr())
		if !ok {
			return nil, exchange.ErrNoRoom
		}
		st.release = release
	}
	st.answered = true
	c.mu.Lock()
	st.upgraded = true
	c.tunnel(1)
	c.tunnelsAlone()
	c.mu.Unlock()
	if err := st.send(piece{answer: answer, length: -1}); err != nil {
		return nil, fmt.Errorf("answer CONNECT: %w", err)
	}
	return &tunnel{to: to, conn: c, body: st.body}, nil
}

// tunnel is a stream that speaks another protocol.
type tunnel struct {
	to   *responder
	conn *conn
	body *body
}

// Read reads what the client says.
func (t *tunnel) Read(p []byte) (int, error) { return t.body.Read(p) }

// Write sends p as fast as the client takes it.
func (t *tunnel) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := t.to.st.send(piece{data: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite ends the stream on this side.
func (t *tunnel) CloseWrite() error { return t.to.st.send(piece{end: true}) }

// Close ends it on both, at once unless they have ended in order.
func (t *tunnel) Close() error {
	c := t.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.to.gone {
		return nil
	}
	if st := t.to.st; st.broken == nil && !(st.sentEnd && st.remoteDone) {
		c.abandon(st, http2.ErrCodeCancel, io.ErrClosedPipe)
		c.kickAside()
	}
	return nil
}

// tunnelsAlone notes whether all streams are tunnels; if there is none, nothing changes.
// conn.mu is held.
func (c *conn) tunnelsAlone() {
	alone := c.mu.tunnels == len(c.mu.streams)
	if alone != c.mu.alone && len(c.mu.streams) > 0 {
		if c.mu.alone = alone; c.info.Upgraded != nil {
			c.info.Upgraded.Store(alone)
		}
	}
}

// tunnel counts a stream in (1) or out (-1) that speaks another protocol. conn.mu is held.
func (c *conn) tunnel(change int) {
	c.mu.tunnels += change
	if c.srv.Tunnels != nil {
		c.srv.Tunnels(change)
	}
}
