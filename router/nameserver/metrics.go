package nameserver

import (
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why a message got no reply.
const (
	dropShort    = "short"
	dropResponse = "response"
	dropPanic    = "panic"
)

// types are the query types that are counted by name.
var types = map[uint16]string{
	dns.TypeNone: "none", dns.TypeA: "A", dns.TypeAAAA: "AAAA", dns.TypeHTTPS: "HTTPS", dns.TypeSVCB: "SVCB",
	dns.TypeNS: "NS", dns.TypeSOA: "SOA", dns.TypeCNAME: "CNAME", dns.TypeTXT: "TXT", dns.TypeCAA: "CAA",
	dns.TypeMX: "MX", dns.TypeDS: "DS", dns.TypeDNSKEY: "DNSKEY", dns.TypeANY: "ANY",
}

type metrics struct {
	queries     *prometheus.CounterVec
	dropped     *prometheus.CounterVec
	failed      prometheus.Counter
	connections prometheus.Gauge
	refused     prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) *metrics {
	with := promauto.With(registry)
	return &metrics{
		queries: with.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_router_dns_queries_total",
			Help: "DNS queries replied to, by transport, query type and response code. SERVFAIL means that no edge is known; a rise of NXDOMAIN or REFUSED often is an attack or a zone delegated by mistake.",
		}, []string{"transport", "type", "rcode"}),
		dropped: with.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_router_dns_dropped_messages_total",
			Help: "DNS messages left without a reply, by reason: too short, a response, or one that the server stumbled over (panic: report it).",
		}, []string{"reason"}),
		failed: with.NewCounter(prometheus.CounterOpts{
			Name: "freshet_router_dns_failed_replies_total",
			Help: "DNS replies that could not be sent. A rise means a full send buffer, an unreachable client or one that does not read.",
		}),
		connections: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_dns_tcp_connections",
			Help: "Open TCP connections of DNS clients. Near the limit of 1024 new ones are refused.",
		}),
		refused: with.NewCounter(prometheus.CounterOpts{
			Name: "freshet_router_dns_tcp_refused_connections_total",
			Help: "TCP connections of DNS clients closed at once because there were too many. A rise means a flood over TCP.",
		}),
	}
}

// count counts a reply.
func (m *metrics) count(via transport, qtype uint16, rcode int) {
	name, ok := types[qtype]
	if !ok {
		name = "other"
	}
	code := dns.RcodeToString[rcode]
	if rcode == dns.RcodeBadVers { // shares its number with BADSIG
		code = "BADVERS"
	}
	m.queries.WithLabelValues(string(via), name, code).Inc()
}
