package h2

import (
	"crypto/tls"
	"net"
	"sync"
)

// Cork makes of a connection one beneath TLS whose records the lanes have go out together:
// crypto/tls makes a system call of each, of 16 KiB at most. Give the result to
// tls.Server; all else goes through it as it was.
func Cork(nc net.Conn) net.Conn { return &corked{Conn: nc} }

// corkSize holds the records of a full output.
const corkSize = outputSize + outputSlack + 1<<10

var corkBuffers = sync.Pool{New: func() any { return new([corkSize]byte) }}

// corked is a connection that gathers what is written between Cork and Uncork.
type corked struct {
	net.Conn
	mu struct {
		sync.Mutex
		gather bool
		buf    []byte // nil while there is nothing
	}
}

// NetConn is the connection beneath.
func (k *corked) NetConn() net.Conn { return k.Conn }

// Write writes p, or keeps it.
func (k *corked) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.mu.gather {
		return k.Conn.Write(p)
	}
	if len(k.mu.buf)+len(p) > corkSize {
		if err := k.flush(); err != nil {
			return 0, err
		}
		if len(p) > corkSize {
			return k.Conn.Write(p)
		}
	}
	if k.mu.buf == nil {
		k.mu.buf = corkBuffers.Get().(*[corkSize]byte)[:0]
	}
	k.mu.buf = append(k.mu.buf, p...)
	return len(p), nil
}

func (k *corked) flush() error {
	b := k.mu.buf
	if b == nil {
		return nil
	}
	k.mu.buf = nil
	_, err := k.Conn.Write(b)
	corkBuffers.Put((*[corkSize]byte)(b[:corkSize]))
	return err
}

// Cork has what is written wait, up to a bound, for Uncork.
func (k *corked) Cork() {
	k.mu.Lock()
	k.mu.gather = true
	k.mu.Unlock()
}

// Uncork writes it.
func (k *corked) Uncork() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mu.gather = false
	return k.flush()
}

// corkOf finds the corked connection beneath TLS, nil if there is none.
func corkOf(nc net.Conn) *corked {
	if t, ok := nc.(*tls.Conn); ok {
		k, _ := t.NetConn().(*corked)
		return k
	}
	return nil
}
