package accesslog

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ lines, dropped prometheus.Counter }

func (m *metrics) register(reg prometheus.Registerer) error {
	m.lines = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_edge_accesslog_lines_total",
		Help: "Lines written to the access log. It rises with the requests; where it does not, the log is not written.",
	})
	m.dropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_edge_accesslog_dropped_total",
		Help: "Requests that are missing in the access log because it could not be written, or not fast enough. A rise means that its disk is full, slow or broken.",
	})
	if err := reg.Register(m.lines); err != nil {
		return err
	}
	return reg.Register(m.dropped)
}
