package edge

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a client has received is what its host has acknowledged: what still lies in the
// socket's buffer, megabytes on a fast network, may never be fetched by anybody.
const (
	drainPoll  = time.Millisecond
	drainLimit = time.Second // that a transfer waits before it asks for more on no credit,
	starving   = 128 << 10   // when the client has less than this many bytes to receive
	settlePoll = 20 * time.Millisecond
	settleTime = 3 * time.Second // that an account is followed after the answer's end
)

// account counts what a client that asked for ranges has received of one answer, for
// the credit of the content. A nil account counts nothing.
type account struct {
	credit  *credit
	slicing *slicing
	conn    *conn // nil where it is not known
	given   int64 // bytes handed to the connection
	earned  int64 // those of them that the credit knows of
}

// handed counts n bytes that the connection has taken.
func (a *account) handed(n int64) {
	if a != nil {
		a.given += n
		a.slicing.served.Add(float64(n))
	}
}

// settle tells the credit what has been received by now.
func (a *account) settle() (waiting bool) {
	received := a.given
	if a.conn != nil {
		unsent, ok := a.conn.unsent()
		if !ok {
			return false
		}
		received -= unsent
	}
	if received > a.earned {
		a.credit.earn(received - a.earned)
		a.earned = received
	}
	return a.earned < a.given
}

// allows takes n bytes of the credit if it has them, or will have when the client has
// received what is on its way. It waits for that as long as the client is busy with it.
func (a *account) allows(ctx context.Context, n int64) bool {
	waiting, poll := a.settle(), drainPoll
	for deadline := time.Now().Add(drainLimit); !a.credit.reserve(n); waiting = a.settle() {
		if !waiting || a.given-a.earned < starving && time.Now().After(deadline) {
			return false
		}
		select {
		case <-time.After(poll):
			poll = min(2*poll, settlePoll)
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// finish closes the account. What the client of a whole answer has not acknowledged yet
// is waited for behind its back.
func (a *account) finish(whole bool) {
	if a == nil || a.conn == nil && !whole {
		return
	}
	if !a.settle() || !whole {
		return
	}
	a.slicing.settling.Go(func() {
		tick := time.NewTicker(settlePoll)
		defer tick.Stop()
		for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); {
			select {
			case <-tick.C:
			case <-a.slicing.done:
				return
			}
			if !a.settle() {
				return
			}
		}
	})
}

// account opens the account of a request for ranges.
func (w *walk) account() *account {
	return &account{credit: w.credit(), slicing: &w.edge.slicing, conn: connOf(w.req.Conn)}
}

// credit is that of the content that the request is for.
func (w *walk) credit() *credit { return w.edge.slicing.credits.of(w.key) }

// conn is the connection of a client.
type conn struct{ raw syscall.RawConn }

// connOf finds the socket below a connection; nil where there is none.
func connOf(c net.Conn) *conn {
	for c != nil {
		if raw, ok := c.(syscall.Conn); ok {
			rc, err := raw.SyscallConn()
			if err != nil {
				return nil
			}
			return &conn{rc}
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = inner.NetConn()
	}
	return nil
}

// unsent is how many bytes the client's host has not acknowledged; not ok once the
// connection is gone.
func (c *conn) unsent() (bytes int64, ok bool) {
	err := c.raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		bytes, ok = int64(n), err == nil
	})
	return bytes, ok && err == nil
}
