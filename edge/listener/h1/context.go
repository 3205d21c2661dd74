package h1

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reqContext is the context of a request. Most requests are answered before anybody asks
// whether their client is still there, and the next of the connection has the same one;
// the first call of Done makes it a real context, for that request alone, and has the
// client watched. Whoever keeps it longer than Serve must have called Done.
type reqContext struct {
	conn *conn
	real atomic.Pointer[realContext]
	mu   sync.Mutex // guards over, and the making of real
	over bool
}

type realContext struct {
	context.Context
	cancel context.CancelFunc
	timer  *time.Timer // of the watch, guarded by reqContext.mu; nil when nothing is watched
	wait   time.Duration
}

// The client is looked for after firstLook, and then ever less often.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = 2 * time.Second
)

// Deadline is none.
func (*reqContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the client has gone or the request is answered.
func (x *reqContext) Done() <-chan struct{} { return x.arm().Done() }

// Err says whether Done is closed. It does not have the client watched.
func (x *reqContext) Err() error {
	if r := x.real.Load(); r != nil {
		return r.Err()
	}
	return nil
}

// Value is that of the real context: package context finds by it that no goroutine is
// needed for children, who all have called Done.
func (x *reqContext) Value(key any) any {
	if r := x.real.Load(); r != nil {
		return r.Value(key)
	}
	return nil
}

func (x *reqContext) armed() bool { return x.real.Load() != nil }

func (x *reqContext) arm() *realContext {
	if r := x.real.Load(); r != nil {
		return r
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.real.Load(); r != nil {
		return r
	}
	r := &realContext{wait: firstLook}
	r.Context, r.cancel = context.WithCancel(context.Background())
	if x.over {
		r.cancel()
	} else {
		x.conn.w.to.hurry()
		if socket := descriptor(x.conn.net); socket != nil {
			r.timer = time.AfterFunc(r.wait, func() { x.watch(r, socket) })
		}
	}
	x.real.Store(r)
	return r
}

// watch looks whether the client has gone, and when to look again.
func (x *reqContext) watch(r *realContext, socket syscall.RawConn) {
	left := hasLeft(socket)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.over:
	case left:
		r.cancel()
	default:
		r.wait = min(2*r.wait, lastLook)
		r.timer.Reset(r.wait)
	}
}

// begin is for the next request of the connection, and false when that needs another
// context because somebody may hold on to this one.
func (x *reqContext) begin() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.real.Load() != nil {
		return false
	}
	x.over = false
	return true
}

// end ends the context of a request that is answered, and reports whether the next one
// needs another.
func (x *reqContext) end() (used bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	r := x.real.Load()
	if r == nil {
		return false
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	r.cancel()
	return true
}

// descriptor is the socket below a connection, nil when there is none to be found.
func descriptor(c net.Conn) syscall.RawConn {
	for {
		if s, ok := c.(syscall.Conn); ok {
			raw, err := s.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		}
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = below.NetConn()
	}
}

// hasLeft reports whether the client has closed its end, whatever is still unread of it.
// As in net/http, one that has closed only its sending half counts as gone: most that
// do so have gone altogether.
func hasLeft(socket syscall.RawConn) (left bool) {
	err := socket.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		left = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
	})
	return left || err != nil
}
