package nameserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// readBuffer is what the kernel is asked to keep of queries that wait, in bytes: some
// thousands of them, for bursts.
const readBuffer = 2 << 20

// serveUDP answers on conn until ctx ends.
func (s *Server) serveUDP(ctx context.Context, conn *net.UDPConn) error {
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	_ = conn.SetReadBuffer(readBuffer) // the kernel grants what it may
	if local := conn.LocalAddr().(*net.UDPAddr); local.IP.IsUnspecified() {
		// A reply must come from the address that was asked. Which of the two calls
		// works depends on the socket's family.
		err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
		err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
		if err4 != nil && err6 != nil {
			return fmt.Errorf("learn destination addresses: %w", err4)
		}
	}
	var readers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() { s.readUDP(ctx, conn) })
	}
	readers.Wait()
	return nil
}

// readUDP answers one message after the other until ctx ends.
func (s *Server) readUDP(ctx context.Context, conn *net.UDPConn) {
	buf := make([]byte, maxQuery)
	failing := failing{log: s.log, what: "queries cannot be read"}
	for {
		n, session, err := dns.ReadFromSessionUDP(conn, buf)
		if err != nil && ctx.Err() != nil {
			return
		}
		if failing.pause(ctx, err) {
			continue
		}
		reply := s.respond(buf[:n], clientAddr(session.RemoteAddr()), overUDP)
		if reply == nil {
			continue
		}
		if _, err := dns.WriteToSessionUDP(conn, reply, session); err != nil {
			s.metrics.failed.Inc()
		}
	}
}

// clientAddr is the address of a client.
func clientAddr(addr net.Addr) netip.Addr {
	switch a := addr.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// failing slows a loop down whose socket fails, and says so once. It never gives up:
// what is wrong with a socket that was opened well is passing.
type failing struct {
	log   *slog.Logger
	what  string
	count int // in a row
}

const (
	failurePause = 10 * time.Millisecond
	failureLog   = 100 // failures in a row are worth a line
)

// pause waits a moment if err is one; it tells whether it is.
func (f *failing) pause(ctx context.Context, err error) bool {
	if err == nil {
		f.count = 0
		return false
	}
	if f.count++; f.count == failureLog {
		f.log.Error("socket fails again and again", "what", f.what, "err", err)
	}
	timer := time.NewTimer(failurePause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}
