package distributor

import "github.com/prometheus/client_golang/prometheus"

// metrics are the distributor's own.
type metrics struct {
	commands *prometheus.CounterVec // by kind
	appends  prometheus.Histogram
	waits    prometheus.Histogram
	leader   prometheus.Gauge
	refused  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_distributor_commands_total",
			Help: "Commands appended to the command log, by kind. A rise is work for every node.",
		}, []string{"kind"}),
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "freshet_distributor_append_duration_seconds",
			Help:    "Time until an appended command was durable, with retries. A rise means a slow disk or bus under the log.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}),
		waits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "freshet_distributor_wait_duration_seconds",
			Help:    "Time that callers waited for all live nodes to apply their command. A rise means that nodes are late.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18), // 1 ms to 131 s
		}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_distributor_leader",
			Help: "1 while this distributor leads, else 0. The sum over all of them should be 1.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_distributor_reports_refused_total",
			Help: "Reports of progress that could not be read or were of too many nodes. A rise means a foreign or broken sender on the bus.",
		}),
	}
	for _, c := range []prometheus.Collector{m.commands, m.appends, m.waits, m.leader, m.refused} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
