package edge

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/invalidate"
	"freshet/edge/upstream"
	"freshet/internal/httpcache"
)

// metrics are what an edge or a mid counts.
type metrics struct {
	requests                      requests
	refreshes, collapsed, aborted prometheus.Counter
	barred                        prometheus.Counter
	jobs                          *prometheus.CounterVec
	upstream                      *prometheus.CounterVec
	unstored                      *prometheus.CounterVec
	spared                        *prometheus.CounterVec
	tunnels                       tunnels
}

func newMetrics(reg prometheus.Registerer, table *invalidate.Table) (*metrics, error) {
	m := &metrics{
		tunnels: newTunnels(),
		refreshes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_refreshes_total",
			Help: "Fetches begun in the background for what was served within stale-while-revalidate.",
		}),
		barred: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_barred_total",
			Help: "Responses, and parts and notes of them, that were not stored because a purge or ban said that nothing it covers is, for a while. A rise means such a command on content that is asked for.",
		}),
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_jobs_total",
			Help: "URLs and keys of refresh and prefetch commands, by what became of them: done, failed (no usable answer), skipped (not held, or not to be asked for so) or dropped (no room in the queue). A rise of dropped means more commands than this node can carry out.",
		}, []string{"kind", "result"}),
		collapsed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_collapsed_total",
			Help: "Requests answered by a fetch that another request had begun. A rise means that many clients want the same cold content.",
		}),
		aborted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_aborted_total",
			Help: "Transfers to clients that broke off, because the client went away or the parent did. A rise without one of clients leaving points at a parent.",
		}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_upstream_requests_total",
			Help: "Requests sent to parents, by the kind of parent and whether it gave a usable answer. A rise of error means that parents are in trouble.",
		}, []string{"parent", "result"}),
		unstored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_unstored_total",
			Help: "Answers that were not stored, by reason. A rise means that content is not cacheable as its origin sends it.",
		}, []string{"reason"}),
		spared: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_spared_requests_total",
			Help: "Requests answered without asking parents, as none had an answer for the key a moment ago: with what is stale, or the error. A rise means that parents or the origin are in trouble.",
		}, []string{"answer"}),
	}
	for _, answer := range []string{"stale", "error"} {
		m.spared.WithLabelValues(answer)
	}
	for _, c := range []prometheus.Collector{
		&m.requests, m.refreshes, m.collapsed, m.aborted, m.barred, m.jobs, m.upstream, m.unstored, m.spared, m.tunnels.ends, m.tunnels.bytes, m.tunnels.spliced,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_marks",
			Help: "Purge marks held in RAM. It rises with purges and is bounded.",
		}, func() float64 { return float64(table.Marks()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_bans",
			Help: "Bans held, which every response is tested against once. It rises with bans and is bounded: beyond that the oldest becomes a mark on its site.",
		}, func() float64 { return float64(table.Bans()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_barred_scopes",
			Help: "Scopes of which nothing is stored for a while, by commands. It falls when their time ends.",
		}, func() float64 { return float64(table.Windows()) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// requests counts requests by how they were answered.
type requests struct {
	hit, stale, miss, pass, refused, failed spread
}

var requestsDesc = prometheus.NewDesc("freshet_edge_requests_total",
	"Requests answered, by how: hit, stale (served past its lifetime), miss (fetched), pass (not for caching), refused (unknown host, loop, method) or failed (no parent answered). A rise of failed means that parents or the origin are in trouble.",
	[]string{"outcome"}, nil)

// Describe is of prometheus.Collector.
func (*requests) Describe(to chan<- *prometheus.Desc) { to <- requestsDesc }

// Collect is of prometheus.Collector.
func (r *requests) Collect(to chan<- prometheus.Metric) {
	for _, c := range []struct {
		outcome string
		count   *spread
	}{{"hit", &r.hit}, {"stale", &r.stale}, {"miss", &r.miss}, {"pass", &r.pass}, {"refused", &r.refused}, {"failed", &r.failed}} {
		to <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(c.count.sum()), c.outcome)
	}
}

// spread is a count that lies in many cache lines, so that cores which serve hits seldom
// wait for one another.
type spread [16]struct {
	n atomic.Uint64
	_ [56]byte
}

// Inc adds one.
func (s *spread) Inc() { s[rand.Uint32()%uint32(len(s))].n.Add(1) }

func (s *spread) sum() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}

// asked counts one request to a parent.
func (m *metrics) asked(p upstream.Parent, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.upstream.WithLabelValues(p.Kind.String(), result).Inc()
}

// notStored counts an answer that was not stored.
func (m *metrics) notStored(why httpcache.NoStore) { m.unstored.WithLabelValues(string(why)).Inc() }

// register makes the metrics of slices and ranges.
func (s *slicing) register(reg prometheus.Registerer) error {
	s.slices = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_edge_slices_fetched_total",
		Help: "Slices of large contents that were completed by requests for ranges to a parent. A rise means that large contents are cold, or that their slices are evicted.",
	})
	bytes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_edge_range_bytes_total",
		Help: "Bytes of ranges: received of parents (from), sent to clients (to). From rises at most twice as fast as to, but for parents that ignore ranges.",
	}, []string{"direction"})
	s.fetched, s.served = bytes.WithLabelValues("from"), bytes.WithLabelValues("to")
	if err := reg.Register(s.slices); err != nil {
		return err
	}
	return reg.Register(bytes)
}

// register makes the metrics of the method PURGE.
func (l *ownLog) register(reg prometheus.Registerer) error {
	l.asked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_edge_purge_requests_total",
		Help: "Requests by the method PURGE, by what became of them: purged, invalidated (soft), refused (method switched off, address not allowed, or not understood) or failed (not durable). A rise of failed points at the disk with the purge marks.",
	}, []string{"result"})
	for _, result := range []string{"purged", "invalidated", "refused", "failed"} {
		l.asked.WithLabelValues(result)
	}
	return reg.Register(l.asked)
}

// tunnels is what is counted of connections that speak another protocol.
type tunnels struct {
	ends    *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	spliced prometheus.Counter
}

func newTunnels() tunnels {
	return tunnels{
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_tunnels_total",
			Help: "Connections to which the origin has given another protocol (WebSocket, say) that have ended, by how: closed by both sides, broken, or silent for too long. A rise of broken means that origins, parents or this node are restarted.",
		}, []string{"end"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_tunnel_bytes_total",
			Help: "Bytes carried by such connections that have ended, by direction: up (from clients) or down.",
		}, []string{"direction"}),
		spliced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_tunnel_spliced_bytes_total",
			Help: "Those of the bytes in freshet_edge_tunnel_bytes_total that the kernel has carried from socket to socket, as it does where there is much to carry and no TLS.",
		}),
	}
}

func (c *tunnels) ended(t *tunnel, end tunnelEnd) {
	c.ends.WithLabelValues(string(end)).Inc()
	c.bytes.WithLabelValues("up").Add(float64(t.up.bytes.Load()))
	c.bytes.WithLabelValues("down").Add(float64(t.down.bytes.Load()))
	c.spliced.Add(float64(t.up.spliced + t.down.spliced))
}
