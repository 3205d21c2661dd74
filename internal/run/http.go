package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
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
		grace, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		err := srv.Shutdown(grace)
		ln.Close() // Serve closes it, unless Shutdown came first
		if errors.Is(err, context.DeadlineExceeded) {
			srv.Close()
			err = fmt.Errorf("serve on %s: %w: connections were in use after %s", ln.Addr(), ErrDrainTimeout, drain)
		} else {
			err = nil // of closing the listener
		}
		<-served
		return err
	}}
}
