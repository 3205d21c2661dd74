package h2

import (
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// A request that is answered before all of it has come is still sent by its client, until
// that has seen the answer. What comes is dropped for a while: clients, curl among them,
// that are told to stop (RFC 9113 §8.1) in the middle of sending take that for an error
// and throw the answer away. A client that would not stop by itself, as the answer is no
// refusal, is told so at once unless it may send all that is left: curl 7.88 spins for ever
// when it has read the end of the answer and hears so only then.
const (
	lateBytes = 1 << 20         // of one request
	lateTime  = 5 * time.Second // after the answer
)

// late is a request that was answered early.
type late struct {
	id    uint32
	left  int64 // bytes that its client may still send
	until time.Time
}

// answeredEarly begins to drop the rest of a request. What may be sent of it already is
// receive, what is to come rest, -1 if that is not known. conn.mu is held.
func (c *conn) answeredEarly(id uint32, status int, receive, rest int64) {
	if status < http.StatusMultipleChoices && (rest < 0 || rest > receive) {
		c.resetNow(id, http2.ErrCodeNo)
		return
	}
	if len(c.mu.late) >= c.srv.limits.Streams {
		c.stopLate(0)
	}
	c.mu.out = appendWindowUpdate(c.output(), id, uint32(lateBytes-receive))
	c.mu.late = append(c.mu.late, late{id, lateBytes, time.Now().Add(lateTime)})
	if c.mu.lateTimer == nil {
		c.mu.lateTimer = time.AfterFunc(lateTime, c.lateOver)
	}
}

// lateOver stops the clients that have not stopped by themselves.
func (c *conn) lateOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.lateTimer = nil
	if c.mu.dead != nil {
		return
	}
	for now := time.Now(); len(c.mu.late) > 0; {
		if wait := c.mu.late[0].until.Sub(now); wait > 0 {
			c.mu.lateTimer = time.AfterFunc(wait, c.lateOver)
			break
		}
		c.stopLate(0)
	}
	if len(c.mu.out) > 0 {
		c.kickAside()
	}
}

// stopLate has a client stop. conn.mu is held.
func (c *conn) stopLate(i int) {
	c.resetNow(c.mu.late[i].id, http2.ErrCodeNo)
	c.mu.late = slices.Delete(c.mu.late, i, i+1)
}

// dropLate takes n bytes, and the end, of a request that was answered early, and reports
// whether it is one. conn.mu is held.
func (c *conn) dropLate(id uint32, n int64, end bool) bool {
	i := slices.IndexFunc(c.mu.late, func(l late) bool { return l.id == id })
	if i < 0 {
		return false
	}
	c.mu.late[i].left -= n
	switch {
	case end:
		c.mu.late = slices.Delete(c.mu.late, i, i+1)
	case c.mu.late[i].left <= 0:
		c.stopLate(i)
	}
	return true
}
