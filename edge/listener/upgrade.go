package listener

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
	"freshet/internal/header"
)

// Requests that offer to go over to another protocol (RFC 9110 §7.8) come to the full lane,
// as the fast one recognises none. Policy: it is for a GET of HTTP/1.1 without a body alone;
// any other offer is passed over, which is always allowed.

// offered is what of an offer may be accepted. Other versions of HTTP are a matter of this
// hop: an origin that was asked for h2c would take what follows for requests that nobody
// between has seen.
func offered(h *header.Block) string {
	if !hasOption(h, "upgrade") {
		return ""
	}
	var list []string
	for value := range h.Values("Upgrade") {
		for protocol := range strings.SplitSeq(value, ",") {
			protocol = strings.Trim(protocol, " \t")
			name, _, _ := strings.Cut(protocol, "/")
			switch strings.ToLower(name) {
			case "", "h2c", "h2", "h3", "http", "https", "tls", "ssl":
			default:
				list = append(list, protocol)
			}
		}
	}
	return strings.Join(list, ", ")
}

// hasOption reports whether a connection option stands in a header (RFC 9110 §7.6.1).
func hasOption(h *header.Block, option string) bool {
	for value := range h.Values("Connection") {
		for o := range strings.SplitSeq(value, ",") {
			if header.EqualName(strings.Trim(o, " \t"), option) {
				return true
			}
		}
	}
	return false
}

var errNoUpgrade = errors.New("the connection cannot be given up")

// Upgrade sends 101 and gives the connection up. What the client has sent after its
// request is the tunnel's, and was nobody's before.
func (to *responder) Upgrade(a *exchange.Answer) (exchange.Tunnel, error) {
	if to.answered || to.conn == nil || to.old || a.Status != http.StatusSwitchingProtocols {
		return nil, errNoUpgrade
	}
	hijacked, buffered, err := http.NewResponseController(to.w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	to.answered = true
	to.tunnel = &tunnel{conn: to.conn}
	if buffered.Reader.Buffered() > 0 {
		to.tunnel.ahead = buffered.Reader
	}
	to.conn.client.upgraded.Store(true)
	to.conn.server.metrics.tunnels(1)
	out := append([]byte("HTTP/1.1 "), strconv.Itoa(a.Status)+" Switching Protocols\r\nConnection: Upgrade\r\n"...)
	for _, block := range []*header.Block{a.Header, a.Extra} {
		if block != nil {
			out = append(out, block.Wire()...)
		}
	}
	if _, err := hijacked.Write(append(out, "\r\n"...)); err != nil {
		return nil, fmt.Errorf("switch protocols: %w", err)
	}
	return to.tunnel, nil
}

// tunnel is a connection of the full lane after 101.
type tunnel struct {
	conn  *fullConn
	ahead *bufio.Reader // of bytes that came with the request; nil once they are read
	once  sync.Once
}

// Write writes as fast as the client takes it.
func (t *tunnel) Write(p []byte) (int, error) { return t.conn.Write(p) }

// ReadSocket is the socket that the rest of what the client says can be read from; nil while
// some of that has been read already, and for TLS.
func (t *tunnel) ReadSocket() *net.TCPConn {
	if t.ahead != nil || len(t.conn.unread) > 0 || h1.Unread(t.conn.Conn) > 0 {
		return nil
	}
	return t.WriteSocket()
}

// WriteSocket is the socket that the client reads from; nil for TLS.
func (t *tunnel) WriteSocket() *net.TCPConn {
	socket, _ := t.conn.below.(*net.TCPConn)
	return socket
}

// CloseWrite tells the client that nothing more comes.
func (t *tunnel) CloseWrite() error { return t.conn.CloseWrite() }

// Read reads what the client sends.
func (t *tunnel) Read(p []byte) (int, error) {
	if t.ahead == nil {
		return t.conn.Read(p)
	}
	n, err := t.ahead.Read(p[:min(len(p), t.ahead.Buffered())])
	if t.ahead.Buffered() == 0 {
		t.ahead = nil
	}
	return n, err
}

// Close closes the connection. Only the first call does something.
func (t *tunnel) Close() (err error) {
	t.once.Do(func() {
		err = t.conn.Close()
		t.conn.server.metrics.tunnels(-1)
	})
	return err
}
