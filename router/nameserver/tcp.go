package nameserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// Bounds of what clients may cost.
const (
	maxConnections = 1024             // open over TCP, on all addresses together
	maxQuery       = 4096             // bytes of a query; ordinary ones have less than 300
	idleTimeout    = 10 * time.Second // between queries of a connection (RFC 7766 §6.2.3)
	readTimeout    = 5 * time.Second  // from a query's length to its end
	writeTimeout   = 5 * time.Second  // of a reply
)

// serveTCP answers on ln until ctx ends, and waits for its connections.
func (s *Server) serveTCP(ctx context.Context, ln *net.TCPListener) error {
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	failing := failing{log: s.log, what: "connections cannot be accepted"}
	for {
		conn, err := ln.Accept()
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if failing.pause(ctx, err) { // as a rule the process has no file descriptors left
			continue
		}
		select {
		case s.slots <- struct{}{}:
			conns.Go(func() {
				s.metrics.connections.Inc()
				s.serveConn(ctx, conn)
				_ = conn.Close()
				s.metrics.connections.Dec()
				<-s.slots
			})
		default:
			s.metrics.refused.Inc()
			_ = conn.Close()
		}
	}
}

// serveConn answers the queries of one connection in their order, until the client
// leaves, is too slow, or breaks the framing, or ctx ends.
func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	client := clientAddr(conn.RemoteAddr())
	in := bufio.NewReader(conn)
	buf := make([]byte, maxQuery)
	var length [2]byte
	for {
		if !read(ctx, conn, in, length[:], idleTimeout) {
			return
		}
		n := int(binary.BigEndian.Uint16(length[:]))
		if n > maxQuery || !read(ctx, conn, in, buf[:n], readTimeout) {
			return
		}
		reply := s.respond(buf[:n], client, overTCP)
		if reply == nil {
			return
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply))), reply...)
		if _, err := conn.Write(framed); err != nil {
			s.metrics.failed.Inc()
			return
		}
	}
}

// read fills b within the timeout; false if it cannot.
func read(ctx context.Context, conn net.Conn, in io.Reader, b []byte, timeout time.Duration) bool {
	_ = conn.SetReadDeadline(time.Now().Add(timeout))
	// When ctx ended before, its end may have set the deadline first, for nothing.
	if ctx.Err() != nil {
		return false
	}
	_, err := io.ReadFull(in, b)
	return err == nil
}
