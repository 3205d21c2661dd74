package follower

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/command"
)

// metrics of a node's view of the command log.
type metrics struct {
	applied  prometheus.Counter
	unknown  prometheus.Counter
	restarts *prometheus.CounterVec
	forks    prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, f *Follower) (*metrics, error) {
	m := &metrics{
		applied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_log_applied_commands_total",
			Help: "Commands of the log that this node has applied. A rise is normal; none while others rise means that the node is cut off.",
		}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_log_unknown_commands_total",
			Help: "Records of the log that this version does not know, applied as a purge of all that they may cover. A rise means that a newer version writes the log: upgrade this node.",
		}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_log_restarts_total",
			Help: "Times that this node gave up everything stored because the log could not simply be followed. A rise means a cold cache; replaced means that the log itself was lost.",
		}, []string{"reason"}),
		forks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freshet_log_forks_total",
			Help: "Times that this node found the log shorter than what it had applied, or with other commands. A rise means that the bus was put back to an older copy; the leader begins a new log then.",
		}),
	}
	for _, why := range []command.RestartReason{command.RestartFresh, command.RestartGap, command.RestartReplaced} {
		m.restarts.WithLabelValues(string(why))
	}
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_log_lag_commands",
		Help: "Commands between what this node has applied and the log's head as it last saw it. A lasting rise means that purges reach this node late.",
	}, func() float64 { return float64(f.Behind()) })
	connected := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_log_connected",
		Help: "1 while this node can reach the command log, else 0. At 0 purges do not reach it.",
	}, func() float64 {
		if f.Connected() != nil {
			return 0
		}
		return 1
	})
	silent := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_log_silence_seconds",
		Help: "For how long this node has not known all that stands in the command log; -1 before it first did. Some seconds are normal; beyond a site's max_log_lag or purge_lease its policy holds.",
	}, func() float64 {
		if d := f.Silent(time.Now()); d != never {
			return d.Seconds()
		}
		return -1
	})
	var errs []error
	for _, c := range []prometheus.Collector{m.applied, m.unknown, m.restarts, m.forks, lag, connected, silent} {
		errs = append(errs, registry.Register(c))
	}
	return m, errors.Join(errs...)
}
