package consul_test

import (
	"net"
	"sync"
	"testing"
)

// line is a network connection that can be cut: what is sent after that arrives
// nowhere, while both ends believe that they are connected.
type line struct {
	listener net.Listener
	target   string
	tasks    sync.WaitGroup

	mu struct {
		sync.Mutex
		silent bool
		closed bool
		conns  []net.Conn
	}
}

func newLine(t *testing.T, target string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{listener: listener, target: target}
	l.tasks.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

func (l *line) address() string { return l.listener.Addr().String() }

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.silent = true
}

func (l *line) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.silent
}

func (l *line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !l.keep(near, far) {
			return
		}
		l.tasks.Go(func() { l.carry(near, far) })
		l.tasks.Go(func() { l.carry(far, near) })
	}
}

// keep remembers connections for close; false if that was before.
func (l *line) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.conns = append(l.mu.conns, conns...)
	if l.mu.closed {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	return !l.mu.closed
}

// carry copies one direction; what comes once the line is cut is swallowed.
func (l *line) carry(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if l.isCut() {
			if err != nil {
				return
			}
			continue
		}
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

func (l *line) close() {
	l.mu.Lock()
	l.mu.closed = true
	conns := l.mu.conns
	l.mu.Unlock()
	_ = l.listener.Close()
	for _, conn := range conns {
		_ = conn.Close()
	}
	l.tasks.Wait()
}
