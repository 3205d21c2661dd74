package origin

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of requests that are counted apart.
const (
	kindServe  = "serve"  // a site's content, for edges and mids
	kindPut    = "put"    // push API
	kindDelete = "delete" // push API
	kindRead   = "read"   // push API: GET and HEAD
	kindOther  = "other"  // neither a site nor a method of the push API
)

type metrics struct {
	requests *prometheus.CounterVec
	bytes    prometheus.Counter
	pushes   prometheus.Histogram
}

// newMetrics registers the origin's metrics; totals is asked for the number of
// objects and the sum of their sizes at every scrape.
func newMetrics(reg prometheus.Registerer, totals func() (objects, size int64)) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_origin_requests_total",
			Help: "Requests answered, by kind (serve, put, delete, read, other) and class of the status. A rise of serve means that the tiers below cache less; a rise of 5xx that the store fails.",
		}, []string{"kind", "class"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_origin_pushed_bytes_total",
			Help: "Bytes of objects that were pushed and are durable. A rise means that content is being published.",
		}),
		pushes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "freshet_origin_push_duration_seconds",
			Help:    "Time from the head of a PUT to the durable object, its upload included. A rise means slow clients or a slow disk.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
	}
	objects := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_origin_stored_objects",
		Help: "Objects in the store. A rise means that more paths are published.",
	}, func() float64 { n, _ := totals(); return float64(n) })
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_origin_stored_bytes",
		Help: "Sum of the sizes of all objects; equal content takes space once only. A rise means that the disk fills.",
	}, func() float64 { _, n := totals(); return float64(n) })
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.bytes, m.pushes, objects, size} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) request(kind string, status int) {
	class := "5xx"
	switch status / 100 {
	case 2:
		class = "2xx"
	case 3:
		class = "3xx"
	case 4:
		class = "4xx"
	}
	m.requests.WithLabelValues(kind, class).Inc()
}

func (m *metrics) push(size int64, took time.Duration) {
	m.bytes.Add(float64(size))
	m.pushes.Observe(took.Seconds())
}
