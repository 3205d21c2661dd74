package journal

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a journal.
type metrics struct {
	syncs, failures prometheus.Counter
}

// newMetrics registers them, if there is a registry.
func newMetrics(registry prometheus.Registerer, j *Journal) (*metrics, error) {
	m := &metrics{
		syncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_marks_syncs_total",
			Help: "Times that purge marks were made durable. It rises with purges and unsafe requests; several share one.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_edge_marks_failures_total",
			Help: "Writes of purge marks to disk that failed. A rise means a disk that is full or broken; see freshet_edge_marks_up.",
		}),
	}
	if registry == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.syncs, m.failures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_marks_up",
			Help: "1 while purge marks are kept on disk, else 0. At 0 a restart of the node invalidates everything stored, or purges are not acknowledged.",
		}, func() float64 {
			j.mu.Lock()
			defer j.mu.Unlock()
			if j.mu.phase != up && j.mu.phase != full {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_marks_file_bytes",
			Help: "Length of the file that keeps purge marks over a restart. It rises with purges and falls when the file is written anew.",
		}, func() float64 {
			j.mu.Lock()
			defer j.mu.Unlock()
			return float64(j.mu.end)
		}),
	} {
		errs = append(errs, registry.Register(c))
	}
	return m, errors.Join(errs...)
}
