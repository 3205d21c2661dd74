package listener

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"freshet/edge/listener/limits"
)

// Pauses of an accept loop whose process has no descriptors or memory left.
const (
	firstPause = 5 * time.Millisecond
	maxPause   = time.Second
)

// busy is what a plain connection is told that is not admitted. It is closed without
// its request being read, so the answer may be lost; there is nothing to gain by more.
const busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"

// accept accepts connections of one listener until it is closed, or past its deadline
// when the server drains. It owns the listener. What a crowded machine answers is
// waited out; any other error ends it.
func (s *Server) accept(ln net.Listener, k kind) error {
	defer ln.Close()
	pause := firstPause
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			if pause > firstPause {
				s.log.Info("accepting again", "addr", ln.Addr().String())
				pause = firstPause
			}
			s.metrics.accepted[k].Inc()
			s.admit(conn, k)
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded) && s.draining():
			return nil
		case errors.Is(err, syscall.ECONNABORTED): // the client has gone away in the queue
		case crowded(err):
			if pause == firstPause {
				s.log.Error("cannot accept connections", "addr", ln.Addr().String(), "err", err)
			}
			s.metrics.acceptErrors.Inc()
			if s.draining() {
				return nil
			}
			time.Sleep(pause)
			pause = min(2*pause, maxPause)
		default:
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
	}
}

// crowded reports errors that go away when others release what they have.
func crowded(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// admit counts a connection and has it served, or turns it away.
func (s *Server) admit(conn net.Conn, k kind) {
	remote := addrPort(conn.RemoteAddr())
	var counts netip.Addr
	if !s.exempt(remote.Addr()) {
		counts = remote.Addr()
	}
	admission, why := s.conns.Admit(counts)
	if why != limits.None {
		s.metrics.limited(why)
		s.turnAway(conn, k)
		return
	}
	c := &client{conn: conn, scheme: "http", remote: remote, accepted: time.Now(), admission: admission}
	s.mu.Lock()
	s.mu.open[conn] = c
	s.mu.Unlock()
	s.serving.Go(func() { s.serve(c, k) })
}

// admitTunnel counts a stream of HTTP/2 that is to speak another protocol: on our side it is
// a connection like any other, and one of HTTP/2 could have a hundred of them.
func (s *Server) admitTunnel(remote netip.Addr) (release func(), admitted bool) {
	var counts netip.Addr
	if !s.exempt(remote) {
		counts = remote
	}
	admission, why := s.conns.Admit(counts)
	if why != limits.None {
		s.metrics.limited(why)
		return nil, false
	}
	return admission.Release, true
}

// turnAway closes a connection that is not admitted. Its buffer is empty, so that
// writing does not block.
func (s *Server) turnAway(conn net.Conn, k kind) {
	if k == kindPlain {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte(busy))
	}
	conn.Close()
}

// exempt reports whether connections of an address are counted in total alone.
func (s *Server) exempt(addr netip.Addr) bool {
	return addr.IsLoopback() || contains(s.cfg.Trusted, addr) || contains(s.cfg.ProxyFrom, addr)
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addrPort is an address of TCP, IPv4 never as IPv6.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// serve runs a connection until it ends. What panics in it ends it alone.
func (s *Server) serve(c *client, k kind) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("connection panicked", "panic", v, "stack", slog.StringValue(string(debug.Stack())))
		}
		c.conn.Close()
		s.mu.Lock()
		delete(s.mu.open, c.conn)
		s.mu.Unlock()
		c.admission.Release()
	}()
	s.converse(c, k)
}
