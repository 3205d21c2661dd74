package listener

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"freshet/edge/listener/h1"
	"freshet/edge/listener/h2"
	"freshet/edge/listener/limits"
	"freshet/edge/listener/proxyhead"
)

// converse learns what a connection is and hands it to the lane of its protocol.
func (s *Server) converse(c *client, k kind) {
	begin := s.metrics.open[protocolNew]
	begin.Inc()
	conn, protocol := s.greet(c, k)
	begin.Dec()
	if conn == nil {
		return
	}
	open := s.metrics.open[protocol]
	open.Inc()
	defer open.Dec()
	if protocol == protocol2 {
		s.two.Serve(conn, h2.ConnInfo{Scheme: c.scheme, Remote: c.remote, Peer: c.peer, Upgraded: &c.upgraded})
	} else {
		s.one.Serve(conn, h1.ConnInfo{Scheme: c.scheme, Remote: c.remote, Peer: c.peer})
	}
}

// greet reads what comes before the first request, in bounded time. It returns nil for
// a connection that ends with it.
func (s *Server) greet(c *client, k kind) (net.Conn, protocol) {
	proxied := k != kindTier && contains(s.cfg.ProxyFrom, c.remote.Addr())
	if !proxied && k == kindPlain {
		return c.conn, protocol1
	}
	_ = c.conn.SetDeadline(time.Now().Add(s.limits.HandshakeTimeout))
	if proxied && !s.proxyHead(c) {
		return nil, 0
	}
	conn, protocol := c.conn, protocol1
	if k != kindPlain {
		config := s.cfg.TLS
		if k == kindTier {
			config = s.cfg.TierTLS
		}
		encrypted, ok := s.handshake(c, config)
		if !ok {
			return nil, 0
		}
		conn = encrypted
		state := encrypted.ConnectionState()
		if k == kindTier {
			if c.peer = s.cfg.PeerOf(&state); c.peer == "" {
				encrypted.Close()
				return nil, 0
			}
			c.admission.Exempt() // it speaks for many clients, and has a connection for each tunnel of theirs
		} else {
			c.scheme = "https"
		}
		switch state.NegotiatedProtocol {
		case "h2":
			protocol = protocol2
		case "", "http/1.1":
		default:
			encrypted.Close() // acme-tls/1: the handshake was all (RFC 8737 §3)
			return nil, 0
		}
	}
	_ = c.conn.SetDeadline(time.Time{})
	return conn, protocol
}

// proxyHead reads what a load balancer says of a connection, and counts it for the
// client that is named. Without a good head the connection is closed: whose it is, is
// not known.
func (s *Server) proxyHead(c *client) bool {
	head, err := proxyhead.Read(c.conn)
	if err != nil {
		if !errors.Is(err, io.EOF) { // a load balancer that looks whether somebody listens
			s.metrics.limited(limits.ProxyHead)
			s.log.Debug("connection without head of the PROXY protocol", "remote", c.remote.String(), "err", err)
		}
		return false
	}
	if head.TLS {
		c.scheme = "https"
	}
	if !head.Source.IsValid() {
		return true
	}
	c.remote = head.Source
	if contains(s.cfg.Trusted, c.remote.Addr()) || c.remote.Addr().IsLoopback() {
		return true
	}
	if why := c.admission.Attribute(c.remote.Addr()); why != limits.None {
		s.metrics.limited(why)
		return false
	}
	return true
}

// handshake encrypts a connection.
func (s *Server) handshake(c *client, config *tls.Config) (*tls.Conn, bool) {
	encrypted := tls.Server(h2.Cork(c.conn), config)
	err := encrypted.Handshake()
	if err == nil {
		state := encrypted.ConnectionState()
		s.metrics.handshake(state.Version, state.DidResume)
		return encrypted, true
	}
	s.metrics.handshakeFailed(err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.metrics.limited(limits.HandshakeTimeout)
	}
	s.log.Debug("no TLS handshake", "remote", c.remote.String(), "err", err)
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && isHTTP(record.RecordHeader) {
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nThis port speaks HTTPS.\n")
		h1.Linger(c.conn)
	}
	return nil, false
}

// isHTTP reports whether what came in place of a TLS record begins a plain request.
func isHTTP(start [5]byte) bool {
	switch string(start[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}
