package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// Bounds of connections.
const (
	connectTimeout   = 3 * time.Second
	maxIdlePerParent = 256 // connections of HTTP/1.1 kept for reuse
	idleTimeout      = 60 * time.Second
	keepAlive        = 10 * time.Second // of TCP, and 3 probes 3 s apart
	// An HTTP/2 connection on which nothing comes for a while is asked whether it is alive,
	// and closed when it does not answer: within 4 s between nodes, 6 s elsewhere.
	tierPing    = 2 * time.Second
	outsidePing = 3 * time.Second
	// A site's connections are its own way, and few: when they have not been used for some
	// minutes, or there are very many, they are forgotten.
	transportIdle = 5 * time.Minute
	maxTransports = 1024
	// One connection of HTTP/2 is read by one goroutine and halts for each packet that is
	// lost. Between nodes there are several, once one has so many requests under way.
	tierConns   = 4
	fewRequests = 16
	// dials are the connections that one of these begins at once, and what is known to speak
	// HTTP/2 otherwise: net/http begins one for each request that finds none, and closes all but
	// the first when they are there. A full one does not count.
	dials = 2
)

// protocol is what is spoken.
type protocol int

const (
	overTLS protocol = iota // HTTP/2 or HTTP/1.1, as the two sides agree (ALPN)
	gRPC                    // likewise, without PING: servers of gRPC end connections that ask often
	plain                   // HTTP/1.1
	plain2                  // HTTP/2 by prior knowledge
	only1                   // HTTP/1.1 over TLS: it alone can be given up to other protocols
)

// way is how a parent is reached: parents with the same share connections by their address.
// It is comparable.
type way struct {
	protocol   protocol
	tls        TLS
	role, node string // whose certificate of the cluster's CA is expected; empty outside
	connect    time.Duration
}

// Secure tells the client how to reach nodes of this cluster whose URL is https: tier is
// TLS towards the node of that role and name; towards any of that role where the name is "".
// To be called before the first Do.
func (c *Client) Secure(tier func(role, name string) *tls.Config) { c.transports.tier = tier }

// Over has all requests go by rt in place of connections: for nodes that are put together
// without a network, as tests do. To be called before the first Do.
func (c *Client) Over(rt http.RoundTripper) { c.transports.over = rt }

// wayTo is how a request gets to a parent, and the URL to which it is sent.
func wayTo(p Parent, req *Request) (way, string) {
	w := way{connect: cmp.Or(p.Limits.Connect, connectTimeout)}
	scheme, rest, _ := strings.Cut(p.URL, "://")
	speaksGRPC := isGRPC(req.Header)
	switch {
	case scheme == "h2c":
		w.protocol, scheme = plain2, "http"
	case scheme == "http" && speaksGRPC && p.OfCluster():
		w.protocol = plain2 // which our listeners take on the same port
	case scheme == "http":
		w.protocol = plain
	case req.Upgrade != "":
		w.protocol = only1
	case speaksGRPC && !p.OfCluster():
		w.protocol = gRPC
	}
	if req.Upgrade != "" && w.protocol == plain2 {
		w.protocol = plain
	}
	if scheme == "https" {
		w.role, w.node = p.node()
		if w.role == "" && p.Server != nil {
			w.tls = p.Server.TLS
		}
	}
	return w, scheme + "://" + rest
}

// node is the role and name of a parent that is a node of this cluster. Of one that a node
// file lists by its URL nobody has said the name.
func (p Parent) node() (role, name string) {
	if name = p.Name; strings.ContainsAny(name, ".:") {
		name = ""
	}
	switch {
	case p.Server != nil:
		return "", ""
	case p.Kind == Mid:
		return "mid", name
	case p.Kind == Sibling:
		return "edge", name
	case p.Kind == Origin:
		return "origin", name
	}
	return "", ""
}

func isGRPC(h *header.Block) bool {
	return h != nil && exchange.IsGRPC(h.Get("Content-Type"))
}

// transports are the connections to all parents, by the ways to them.
type transports struct {
	now   func() time.Time
	tier  func(role, name string) *tls.Config // nil: nodes have no certificates
	only1 bool                                // tests: HTTP/1.1 in place of both over TLS
	over  http.RoundTripper                   // in place of connections, see Over
	mu    struct {
		sync.Mutex
		open  map[way]*transport
		swept time.Time
	}
}

// transport is one way's connections.
type transport struct {
	lanes []lane
	used  atomic.Int64
}

// lane is some of the connections, with the requests under way there.
type lane struct {
	*http.Transport
	open atomic.Int64
}

// begin is where to send a request; end is to be called when it is over.
func (t *transport) begin() (rt http.RoundTripper, end func()) {
	least := &t.lanes[0]
	for i := range t.lanes {
		l := &t.lanes[i]
		open := l.open.Load()
		if open < fewRequests {
			least = l
			break
		}
		if open < least.open.Load() {
			least = l
		}
	}
	least.open.Add(1)
	return least.Transport, sync.OnceFunc(func() { least.open.Add(-1) })
}

// begin is where to send a request that goes a way; end is to be called when it is over.
func (t *transports) begin(w way) (rt http.RoundTripper, end func(), err error) {
	if t.over != nil {
		return t.over, func() {}, nil
	}
	tr, err := t.get(w)
	if err != nil {
		return nil, nil, err
	}
	rt, end = tr.begin()
	return rt, end, nil
}

// idle closes the connections that are not in use.
func (t *transport) idle() {
	for i := range t.lanes {
		t.lanes[i].CloseIdleConnections()
	}
}

// get is the connections of a way.
func (t *transports) get(w way) (*transport, error) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.mu.swept) >= time.Minute {
		t.sweep(now)
	}
	tr := t.mu.open[w]
	if tr == nil {
		var err error
		if tr, err = t.make(w); err != nil {
			return nil, err
		}
		if t.mu.open == nil {
			t.mu.open = make(map[way]*transport)
		}
		if len(t.mu.open) >= maxTransports {
			t.evict()
		}
		t.mu.open[w] = tr
	}
	tr.used.Store(now.UnixNano())
	return tr, nil
}

// sweep forgets what has not been used for long. Requests that still go on keep theirs.
// t.mu is held.
func (t *transports) sweep(now time.Time) {
	t.mu.swept = now
	for w, tr := range t.mu.open {
		if now.Sub(time.Unix(0, tr.used.Load())) >= transportIdle {
			delete(t.mu.open, w)
			tr.idle()
		}
	}
}

// evict forgets what was used least recently. t.mu is held.
func (t *transports) evict() {
	var oldest way
	var least *transport
	for w, tr := range t.mu.open {
		if least == nil || tr.used.Load() < least.used.Load() {
			oldest, least = w, tr
		}
	}
	delete(t.mu.open, oldest)
	least.idle()
}

// close closes all connections that are not in use.
func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tr := range t.mu.open {
		tr.idle()
	}
	t.mu.open = nil
}

// make makes the connections of a way, as many transports as it takes.
func (t *transports) make(w way) (*transport, error) {
	var config *tls.Config
	if w.protocol != plain && w.protocol != plain2 {
		var err error
		if config, err = t.config(w); err != nil {
			return nil, err
		}
	}
	n := 1
	if w.role != "" && w.protocol != only1 {
		n = tierConns
	}
	tr := &transport{lanes: make([]lane, n)}
	for i := range tr.lanes {
		tr.lanes[i].Transport = newTransport(w, config)
	}
	return tr, nil
}

// config is TLS as a way has it.
func (t *transports) config(w way) (*tls.Config, error) {
	var config *tls.Config
	if w.role != "" && t.tier != nil {
		config = t.tier(w.role, w.node)
	} else {
		config = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: w.tls.ServerName, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
		if w.tls.CA != "" {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM([]byte(w.tls.CA)) {
				return nil, errors.New("there is no certificate in the authorities to trust")
			}
		}
		if w.tls.Cert != "" {
			cert, err := tls.X509KeyPair([]byte(w.tls.Cert), []byte(w.tls.Key))
			if err != nil {
				return nil, fmt.Errorf("client certificate: %w", err)
			}
			config.Certificates = []tls.Certificate{cert}
		}
	}
	config.NextProtos = []string{"h2", "http/1.1"}
	if w.protocol == only1 || t.only1 {
		config.NextProtos = []string{"http/1.1"}
	}
	return config, nil
}

// newTransport makes connections of one kind.
func newTransport(w way, config *tls.Config) *http.Transport {
	dialer := &net.Dialer{
		Timeout:         w.connect,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: 3 * time.Second, Count: 3},
	}
	tr := &http.Transport{
		DialContext:            dialer.DialContext,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdlePerParent,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: header.MaxBytes,
		Protocols:              new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			// The windows are net/http's: 4 MiB of one answer may be on its way, and of all on a
			// connection 1 GiB, so that one which nobody reads holds up no other.
			SendPingTimeout: outsidePing, PingTimeout: outsidePing,
		},
	}
	switch w.protocol {
	case plain, only1:
		tr.Protocols.SetHTTP1(true)
	case plain2:
		tr.Protocols.SetUnencryptedHTTP2(true)
	default:
		tr.Protocols.SetHTTP1(true)
		tr.Protocols.SetHTTP2(true)
	}
	switch {
	case w.role != "":
		tr.HTTP2.SendPingTimeout, tr.HTTP2.PingTimeout = tierPing, tierPing
	case w.protocol == gRPC:
		tr.HTTP2.SendPingTimeout = 0
	}
	if w.protocol == plain2 || w.role != "" && w.protocol != only1 {
		tr.MaxConnsPerHost = dials
	}
	if config != nil {
		tr.TLSClientConfig = config.Clone() // whose NextProtos net/http looks at, and changes
		tr.DialTLSContext = dialTLS(dialer, config)
	}
	return tr
}

// streamError is that of HTTP/2 within net/http, which gives itself to a type of this form.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream error %d", e.Code) }

// isLost reports whether a request over HTTP/2 has come to its end without an answer, as
// when a connection is lost. Net/http has no names for these errors.
func isLost(err error) bool {
	var stream streamError
	if errors.As(err, &stream) {
		switch stream.Code { // RFC 9113 §7
		case 0x0, 0x2, 0x7, 0x8, 0xb: // NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM
			return stream.Cause != nil && stream.Cause.Error() == "received from peer"
		}
		return false
	}
	text := err.Error()
	for _, lost := range []string{
		"http2: client conn", "GOAWAY", // and what befell it
	} {
		if strings.Contains(text, lost) {
			return true
		}
	}
	return false
}

// dialTLS connects and shakes hands, both within the dialer's time.
func dialTLS(dialer *net.Dialer, config *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialer.Timeout)
		defer cancel()
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		own := config
		if own.ServerName == "" {
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				conn.Close()
				return nil, err
			}
			own = own.Clone()
			own.ServerName = host
		}
		secure := tls.Client(conn, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &net.OpError{Op: "handshake", Net: network, Addr: conn.RemoteAddr(), Err: err}
		}
		return secure, nil
	}
}
