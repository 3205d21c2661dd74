package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// ErrDrainTimeout is wrapped by the error of a server that had requests under way
// at the end of its drain time. Tasks logs it; it does not fail the process.
var ErrDrainTimeout = errors.New("drain time is over")

// HTTP is a task that serves srv on ln, with TLS if srv.TLSConfig is set, and owns
// both. When its context ends it stops accepting and closes idle connections;
// requests under way are answered with Connection: close (HTTP/2: after a GOAWAY)
// and may take as long as drain. What is still under way then is cut, and the task
// returns ErrDrainTimeout. A connection on which no request has come yet counts as
// idle when it is five seconds old.
//
// Requests do not see the task's context, so that its end cuts none of them.
// Connections that a handler has hijacked are the handler's own matter.
func HTTP(name string, srv *http.Server, ln net.Listener, drain time.Duration) Task {
	return Task{Name: name, Run: func(ctx context.Context) error {
		conns := trackConns(srv)
		served := make(chan error, 1)
		go func() {
			if srv.TLSConfig != nil {
				served <- srv.ServeTLS(ln, "", "")
			} else {
				served <- srv.Serve(ln)
			}
		}()
		select {
		case err := <-served:
			// Nothing accepts any more: those who are connected gain nothing from a drain.
			ln.Close()
			srv.Close()
			return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
		case <-ctx.Done():
		}
		srv.SetKeepAlivesEnabled(false) // before clients can see that nobody is let in any more
		ln.Close()
		<-served // what was accepted is known now
		grace, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		// Shutdown drops requests that arrive from then on. So first those that are read
		// already, or will be from connections that have just been made, are answered.
		conns.settle(grace)
		err := srv.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			srv.Close()
			err = fmt.Errorf("serve on %s: %w: connections were in use after %s", ln.Addr(), ErrDrainTimeout, drain)
		} else {
			err = nil // of closing the listener
		}
		return err
	}}
}

// newConn is how long a connection on which no request has come yet is waited for.
const newConn = 5 * time.Second

// conns are the connections of a server that are not idle, with the time since when they
// wait for their first request; zero once that has begun.
type conns struct {
	mu struct {
		sync.Mutex
		open map[net.Conn]time.Time
	}
}

// trackConns follows the connections of a server that has not been started yet.
func trackConns(srv *http.Server) *conns {
	c := new(conns)
	c.mu.open = make(map[net.Conn]time.Time)
	also := srv.ConnState
	srv.ConnState = func(conn net.Conn, state http.ConnState) {
		c.mu.Lock()
		switch state {
		case http.StateNew:
			c.mu.open[conn] = time.Now()
		case http.StateActive:
			c.mu.open[conn] = time.Time{}
		case http.StateIdle, http.StateClosed, http.StateHijacked: // only one of HTTP/2 stays idle in a drain
			delete(c.mu.open, conn)
		}
		c.mu.Unlock()
		if also != nil {
			also(conn, state)
		}
	}
	return c
}

// settle waits until no request is under way or to be expected, or ctx ends.
func (c *conns) settle(ctx context.Context) {
	const first, most = time.Millisecond, 100 * time.Millisecond
	for wait := first; !c.settled() && ctx.Err() == nil; wait = min(2*wait, most) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (c *conns) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, since := range c.mu.open {
		if since.IsZero() || time.Since(since) < newConn {
			return false
		}
	}
	return true
}
