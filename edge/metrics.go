package edge

import (
	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/invalidate"
	"freshet/edge/upstream"
	"freshet/internal/httpcache"
)

// metrics are what an edge or a mid counts.
type metrics struct {
	requests struct {
		hit, stale, miss, pass, refused, failed prometheus.Counter
	}
	refreshes, collapsed, aborted prometheus.Counter
	upstream                      *prometheus.CounterVec
	unstored                      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, table *invalidate.Table) (*metrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "freshet_edge_requests_total",
		Help: "Requests answered, by how: hit, stale (served past its lifetime), miss (fetched), pass (not for caching), refused (unknown host, loop, method) or failed (no parent answered). A rise of failed means that parents or the origin are in trouble.",
	}, []string{"outcome"})
	m := &metrics{
		refreshes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_refreshes_total",
			Help: "Fetches begun in the background for what was served within stale-while-revalidate.",
		}),
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
	}
	r := &m.requests
	r.hit, r.stale, r.miss = requests.WithLabelValues("hit"), requests.WithLabelValues("stale"), requests.WithLabelValues("miss")
	r.pass, r.refused, r.failed = requests.WithLabelValues("pass"), requests.WithLabelValues("refused"), requests.WithLabelValues("failed")
	for _, c := range []prometheus.Collector{
		requests, m.refreshes, m.collapsed, m.aborted, m.upstream, m.unstored,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_marks",
			Help: "Purge marks held in RAM. It rises with purges and is bounded.",
		}, func() float64 { return float64(table.Marks()) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
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
