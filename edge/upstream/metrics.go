package upstream

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/upstream/guard"
)

// Register declares what the group counts.
func (g *Group) Register(reg prometheus.Registerer) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_edge_fill_bytes",
		Help: "Bytes of RAM that bodies on their way from parents hold, beside what is stored. It is at most 3 MiB for each fetch under way; a rise means more of them, or slower clients.",
	}, func() float64 { return float64(g.Held()) }))
}

// maxLabels bounds the parents that metrics tell apart; further ones are "other".
const maxLabels = 256

// metrics are what a client counts.
type metrics struct {
	retries, retriesRefused, hedges, hedgesWon prometheus.Counter
	refusals                                   *prometheus.CounterVec
	first, queue                               *prometheus.HistogramVec

	mu     sync.Mutex
	labels map[string]struct{}
}

func newClientMetrics() *metrics {
	return &metrics{
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_parent_retries_total",
			Help: "Requests sent to another parent after one that got the request failed to answer it; what could not be connected to does not count. At most a tenth of all requests to parents. A rise means that parents break off.",
		}),
		retriesRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_parent_retries_refused_total",
			Help: "Requests not sent to another parent after a failure, or beside a slow one, because a tenth of all is spent. A rise means that most of what is asked of parents fails.",
		}),
		hedges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_parent_hedges_total",
			Help: "Requests sent to another parent beside a slow one. A rise means that parents have become slow all of a sudden.",
		}),
		hedgesWon: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_parent_hedges_won_total",
			Help: "Hedged requests whose second parent answered first. If few of many hedges are won, they are not worth what they cost.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_edge_parent_refusals_total",
			Help: "Requests that this node did not send to a parent, by the parent and why: queue_full and queue_timeout (all that may be asked at once is under way), breaker (it has failed too often). A rise of the first two means that a limit is too low or the parent too slow.",
		}, []string{"parent", "reason"}),
		first: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "freshet_edge_parent_first_byte_seconds",
			Help:    "Time from a request to a parent to the head of its answer. A rise means that the parent, or who is above it, has become slow.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"parent"}),
		queue: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "freshet_edge_parent_queue_seconds",
			Help:    "Time that requests waited until they might be sent to a parent. A rise means that the limit of what it may be asked at once is reached.",
			Buckets: []float64{0.001, 0.01, 0.05, 0.25, 1, 2.5, 5, 10},
		}, []string{"parent"}),
		labels: make(map[string]struct{}),
	}
}

// label is the parent's name, of the first maxLabels.
func (m *metrics) label(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.labels[name]; !known {
		if len(m.labels) >= maxLabels {
			return "other"
		}
		m.labels[name] = struct{}{}
	}
	return name
}

func (m *metrics) firstByte(p Parent, took time.Duration) {
	m.first.WithLabelValues(m.label(p.Name)).Observe(took.Seconds())
}

func (m *metrics) waited(p Parent, took time.Duration) {
	m.queue.WithLabelValues(m.label(p.Name)).Observe(took.Seconds())
}

func (m *metrics) refused(p Parent, err error) {
	reason := "breaker"
	switch {
	case errors.Is(err, guard.ErrQueueFull):
		reason = "queue_full"
	case errors.Is(err, guard.ErrQueueTimeout):
		reason = "queue_timeout"
	}
	m.refusals.WithLabelValues(m.label(p.Name), reason).Inc()
}

// Register declares what the client counts.
func (c *Client) Register(reg prometheus.Registerer) error {
	m := c.metrics
	for _, collector := range []prometheus.Collector{m.retries, m.retriesRefused, m.hedges, m.hedgesWon, m.refusals, m.first, m.queue, &parentStates{c}} {
		if err := reg.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// parentStates are the gauges of parents.
type parentStates struct{ client *Client }

var (
	openDesc = prometheus.NewDesc("freshet_edge_parent_requests_open",
		"Requests under way to a parent, bodies included.", []string{"parent"}, nil)
	queuedDesc = prometheus.NewDesc("freshet_edge_parent_requests_queued",
		"Requests that wait until they may be sent to a parent. It stays at zero but for moments; a rise means that a limit is reached.", []string{"parent"}, nil)
	brokenDesc = prometheus.NewDesc("freshet_edge_parent_breakers_open",
		"Sites that leave a parent alone because it has failed too often. Above zero means that the parent is in trouble, for those sites.", []string{"parent"}, nil)
	slowDesc = prometheus.NewDesc("freshet_edge_parent_slow",
		"1 for a tier that is much slower than the others of its kind and gets next to nothing to do.", []string{"parent"}, nil)
)

// Describe is of prometheus.Collector.
func (*parentStates) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{openDesc, queuedDesc, brokenDesc, slowDesc} {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (s *parentStates) Collect(to chan<- prometheus.Metric) {
	type sums struct{ open, queued, broken, slow int }
	c, of := s.client, make(map[string]*sums)
	for _, l := range c.guard.All() {
		label := c.metrics.label(l.Node.Name)
		sum := of[label]
		if sum == nil {
			sum = new(sums)
			of[label] = sum
		}
		open, _, queued := l.Counts()
		sum.open, sum.queued = sum.open+open, sum.queued+queued
		if state, _ := l.State(); state != guard.Closed {
			sum.broken++
		}
		if l.Node.Tier && c.guard.Slow(l.Node.Name) {
			sum.slow = 1
		}
	}
	for label, sum := range of {
		to <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(sum.open), label)
		to <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(sum.queued), label)
		to <- prometheus.MustNewConstMetric(brokenDesc, prometheus.GaugeValue, float64(sum.broken), label)
		to <- prometheus.MustNewConstMetric(slowDesc, prometheus.GaugeValue, float64(sum.slow), label)
	}
}

// newHealthy is what active checks have found.
func newHealthy() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "freshet_edge_origin_healthy",
		Help: "Whether a server of an outside origin passes its checks (1) or has failed them and is asked after all others (0), by site and server; of nodes that ask origins, where a site has checks.",
	}, []string{"site", "server"})
}
