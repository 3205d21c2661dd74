package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// kind is what a listener accepts.
type kind uint8

const (
	kindPlain kind = iota
	kindTLS
	kindTier
	kindQUIC
	kinds
)

// protocol is what a connection speaks, and by which lane.
type protocol uint8

const (
	protocolNew  protocol = iota // not known yet
	protocol1                    // HTTP/1.1
	protocolFull                 // HTTP/1.1, by net/http
	protocol2
	protocol3
	protocolUpgraded // another one than HTTP
	protocols
)

var (
	kindNames     = [kinds]string{"http", "https", "tier", "quic"}
	protocolNames = [protocols]string{"new", "http/1.1", "http/1.1-full", "http/2", "http/3", "upgraded"}
)

// metrics are what the listeners count. All of it is there from the start, so that
// counting allocates nothing.
type metrics struct {
	accepted     [kinds]prometheus.Counter
	open         [protocols]prometheus.Gauge
	requests     requests
	cut          []prometheus.Counter // by limits.Reason
	handshakes   *prometheus.CounterVec
	acceptErrors prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	accepted := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_edge_connections_accepted_total",
		Help: "Connections accepted, by what the listener is for: http, https, tier (other nodes, by certificate) or quic.",
	}, []string{"listener"})
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "freshet_edge_connections",
		Help: "Connections open now, by protocol: new (in a TLS handshake, or before it), http/1.1, http/1.1-full (handed to the full lane, and counted as http/1.1 too), http/2, http/3, upgraded (WebSocket and the like; counted as the HTTP that they began with too). Many that stay new are clients that do not finish a handshake.",
	}, []string{"protocol"})
	cut := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_edge_limited_total",
		Help: "Connections and requests cut or refused because of a limit, by limit. A rise is abuse, or a limit that is too low for honest clients.",
	}, []string{"reason"})
	m := &metrics{
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_tls_handshakes_total",
			Help: "TLS handshakes over TCP, by version and result: full, resumed, failed, or left by the client. A rise of failed points at certificates or old clients; a fall of resumed at session tickets that are not shared.",
		}, []string{"version", "result"}),
		acceptErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_accept_errors_total",
			Help: "Connections that could not be accepted for want of file descriptors or memory. Any is a reason to raise the limit of descriptors, or to lower limits.connections.",
		}),
		cut: make([]prometheus.Counter, len(limits.Reasons())+1),
	}
	for k, name := range kindNames {
		m.accepted[k] = accepted.WithLabelValues(name)
	}
	for p, name := range protocolNames {
		m.open[p] = open.WithLabelValues(name)
	}
	for _, r := range limits.Reasons() {
		m.cut[r] = cut.WithLabelValues(r.String())
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{accepted, open, &m.requests, cut, m.handshakes, m.acceptErrors} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// requests counts requests by protocol; none is of connections that are new.
type requests [protocols]spread

var requestsDesc = prometheus.NewDesc("freshet_edge_protocol_requests_total",
	"Requests, by the protocol that carried them: http/1.1, http/1.1-full (what the fast lane does not read itself), http/2, http/3, and those of them that went over to another protocol (upgraded).",
	[]string{"protocol"}, nil)

// Describe is of prometheus.Collector.
func (*requests) Describe(to chan<- *prometheus.Desc) { to <- requestsDesc }

// Collect is of prometheus.Collector.
func (r *requests) Collect(to chan<- prometheus.Metric) {
	for p := protocolNew + 1; p < protocols; p++ {
		to <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(r[p].sum()), protocolNames[p])
	}
}

// spread is a count that lies in several cache lines, so that cores which serve hits
// seldom wait for one another.
type spread [16]struct {
	n atomic.Uint64
	_ [56]byte
}

func (s *spread) add() { s[rand.Uint32()%uint32(len(s))].n.Add(1) }

func (s *spread) sum() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}

// limited counts what a limit has cut.
func (m *metrics) limited(r limits.Reason) {
	if r != limits.None && int(r) < len(m.cut) {
		m.cut[r].Inc()
	}
}

// tunnels counts connections and streams that begin (1) or end (-1) to speak another
// protocol.
func (m *metrics) tunnels(change int) {
	m.open[protocolUpgraded].Add(float64(change))
	if change > 0 {
		m.requests[protocolUpgraded].add()
	}
}

func (m *metrics) handshake(version uint16, resumed bool) {
	result := "full"
	if resumed {
		result = "resumed"
	}
	name := "other"
	switch version {
	case tls.VersionTLS12:
		name = "1.2"
	case tls.VersionTLS13:
		name = "1.3"
	}
	m.handshakes.WithLabelValues(name, result).Inc()
}

// handshakeFailed counts a handshake that came to nothing; which version it would have
// been is not known.
func (m *metrics) handshakeFailed(err error) {
	result := "failed"
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		result = "left"
	}
	m.handshakes.WithLabelValues("none", result).Inc()
}

// counting is h, with its requests counted.
func (m *metrics) counting(h exchange.Handler, p protocol) exchange.Handler {
	c := counted{h, &m.requests[p]}
	if quick, ok := h.(exchange.Quick); ok {
		return quickCounted{c, quick}
	}
	return c
}

type counted struct {
	handler exchange.Handler
	count   *spread
}

func (c counted) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	c.count.add()
	c.handler.Serve(ctx, req, to)
}

type quickCounted struct {
	counted
	quick exchange.Quick
}

func (c quickCounted) ServeQuick(req *exchange.Request, to exchange.Responder) bool {
	if !c.quick.ServeQuick(req, to) {
		return false // Serve will count it
	}
	c.count.add()
	return true
}
