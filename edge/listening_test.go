package edge

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// whereabouts is the log of a node whose file leaves its ports open: it hears where the node
// listens. A port that a test looked for and let go again may be another process's by the
// time the node opens it, which both can then: a node has several sockets on each port.
type whereabouts struct {
	slog.Handler
	mu    sync.Mutex
	plain string
	tls   string
}

// newWhereabouts is a log of a node that has yet to start.
func newWhereabouts() *whereabouts { return &whereabouts{Handler: slog.DiscardHandler} }

func (w *whereabouts) Enabled(context.Context, slog.Level) bool { return true }
func (w *whereabouts) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *whereabouts) WithGroup(string) slog.Handler            { return w }

// Handle is of slog.Handler.
func (w *whereabouts) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "listening" {
		return nil
	}
	addr, to := "", &w.plain
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "addr":
			addr = a.Value.String()
		case "tls":
			to = &w.tls
		}
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	*to = addr
	return nil
}

// wait is where the node listens, for plain HTTP and, if that is wanted, over TLS. done says
// that it has ended.
func (w *whereabouts) wait(t *testing.T, done chan error, withTLS bool) (plain, secure string) {
	t.Helper()
	waitFor(t, func() bool {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("edge: %v", err)
		default:
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		plain, secure = w.plain, w.tls
		return plain != "" && (secure != "" || !withTLS)
	})
	return plain, secure
}
