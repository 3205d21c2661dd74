package listenertest

import (
	"net"
	"sync"
	"time"
)

// WriteDeadline is a connection that knows its write deadline.
type WriteDeadline struct {
	net.Conn
	mu    sync.Mutex
	until time.Time
}

// SetWriteDeadline sets it.
func (d *WriteDeadline) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = t
	return d.Conn.SetWriteDeadline(t)
}

// Late is for how long the deadline has passed; 0 if it has not, or there is none.
func (d *WriteDeadline) Late() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until.IsZero() {
		return 0
	}
	return max(0, time.Since(d.until))
}
