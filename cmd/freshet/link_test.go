package main

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// linkState is what a slowLink does with what it is to carry.
type linkState int

const (
	linkWell linkState = iota
	linkSlow           // what goes to clients comes a few bytes at a time
	linkHeld           // connections stay and are taken, and nothing passes
	linkCut            // connections end, and new ones do at once
)

// slowLink is a proxy of TCP before an address.
type slowLink struct {
	ln   net.Listener
	to   string
	done sync.WaitGroup
	ctx  context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	state   linkState
	changed chan struct{} // closed when the state is another
	conns   map[net.Conn]bool
}

func newSlowLink(t *testing.T, addr, to string) *slowLink {
	t.Helper()
	l := &slowLink{to: to, changed: make(chan struct{}), conns: make(map[net.Conn]bool)}
	l.ctx, l.end = context.WithCancel(context.Background())
	var err error
	if l.ln, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	l.done.Go(func() {
		for {
			conn, err := l.ln.Accept()
			if err != nil {
				return
			}
			l.done.Go(func() { l.carry(conn) })
		}
	})
	t.Cleanup(func() {
		l.end()
		_ = l.ln.Close()
		l.put(linkCut)
		l.done.Wait()
	})
	return l
}

// set makes the link slow, or well again.
func (l *slowLink) set(slow bool) {
	if slow {
		l.put(linkSlow)
	} else {
		l.put(linkWell)
	}
}

func (l *slowLink) put(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
	close(l.changed)
	l.changed = make(chan struct{})
	if state == linkCut {
		for conn := range l.conns {
			_ = conn.Close()
		}
	}
}

func (l *slowLink) isSlow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == linkSlow
}

// pass waits while nothing passes, and says whether anything ever will.
func (l *slowLink) pass() bool {
	for {
		l.mu.Lock()
		state, changed := l.state, l.changed
		l.mu.Unlock()
		switch state {
		case linkCut:
			return false
		case linkHeld:
			select {
			case <-changed:
			case <-l.ctx.Done():
				return false
			}
		default:
			return l.ctx.Err() == nil
		}
	}
}

// keep has a connection closed by the next cut, or now if that has been already.
func (l *slowLink) keep(conn net.Conn) (forget func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = true
	if l.state == linkCut {
		_ = conn.Close()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, conn)
		_ = conn.Close()
	}
}

func (l *slowLink) carry(client net.Conn) {
	defer l.keep(client)()
	if !l.pass() {
		return
	}
	server, err := net.DialTimeout("tcp", l.to, 3*time.Second)
	if err != nil {
		return
	}
	defer l.keep(server)()
	l.done.Go(func() {
		l.pump(server, client, false)
		_ = server.Close()
	})
	l.pump(client, server, true)
}

// pump carries bytes until one side ends.
func (l *slowLink) pump(to io.Writer, from io.Reader, slows bool) {
	buf := make([]byte, 32<<10)
	for {
		room := buf
		if slows && l.isSlow() {
			room = buf[:20]
		}
		n, err := from.Read(room)
		if !l.pass() {
			return
		}
		if _, werr := to.Write(room[:n]); err != nil || werr != nil {
			return
		}
		if len(room) < len(buf) {
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}
