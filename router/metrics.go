package router

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"freshet/internal/site"
	"freshet/router/steer"
)

type metrics struct {
	ready   prometheus.Gauge
	named   prometheus.Gauge
	panic   prometheus.Gauge
	members prometheus.Gauge
	errors  prometheus.Counter
	sites   prometheus.Gauge
	version prometheus.Gauge
	read    prometheus.Gauge
}

// newMetrics makes the metrics; busy counts the ready edges whose load is known, and says
// the highest utilisation among them.
func newMetrics(registry prometheus.Registerer, busy func() (int, float64)) *metrics {
	with := promauto.With(registry)
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_router_load_known_edges",
		Help: "Ready edges that have said on the bus within the last 3 s how busy they are. Fewer than freshet_router_ready_edges means that the bus does not carry all of it.",
	}, func() float64 { known, _ := busy(); return float64(known) })
	with.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_router_load_highest_share",
		Help: "The highest utilisation that a ready edge has told of, in 0 to 1. At 1 an edge can do no more.",
	}, func() float64 { _, highest := busy(); return highest })
	return &metrics{
		ready: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_ready_edges",
			Help: "Edges that are ready, by the latest news of membership. A fall means that edges die or withdraw.",
		}),
		named: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_named_edges",
			Help: "Edges that answers may name: those that are ready, or in a panic those that last were. 0 means that clients are told SERVFAIL.",
		}),
		panic: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_panic",
			Help: "1 while no edge is ready and answers name those that last were, else 0. 1 means that every edge is down or that the news is wrong.",
		}),
		members: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_members_timestamp_seconds",
			Help: "Unix time of the latest change of membership. It grows old when nothing changes, and when freshet_router_members_errors_total rises.",
		}),
		errors: with.NewCounter(prometheus.CounterOpts{
			Name: "freshet_router_members_errors_total",
			Help: "Failed attempts to read membership. A rise means that the cluster is away; answers come from what was known last.",
		}),
		sites: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_sites",
			Help: "Sites whose hosts are answered for. A fall means that sites were deleted.",
		}),
		version: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_sites_version",
			Help: "Version of the site documents in use; routers that differ for long do not hear the cluster alike.",
		}),
		read: with.NewGauge(prometheus.GaugeOpts{
			Name: "freshet_router_sites_timestamp_seconds",
			Help: "Unix time of the latest change of the site documents. It is old when nobody changes sites.",
		}),
	}
}

func (m *metrics) setEdges(s *steer.Snapshot) {
	m.ready.Set(float64(s.Ready()))
	m.named.Set(float64(s.Edges()))
	m.panic.Set(0)
	if s.Panic() {
		m.panic.Set(1)
	}
	m.members.SetToCurrentTime()
}

func (m *metrics) setSites(s *site.Snapshot) {
	m.sites.Set(float64(len(s.Sites())))
	m.version.Set(float64(s.Version()))
	m.read.SetToCurrentTime()
}
