package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry makes the registry of one node, with what is known of any process
// (the Go runtime, the process) and of this one.
func NewRegistry(role, node, version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "freshet_build_info",
		Help:        "Always 1; the labels say which role, node and version answers. A new version label marks an upgrade.",
		ConstLabels: prometheus.Labels{"role": role, "node": node, "version": version},
	})
	info.Set(1)
	registry.MustRegister(
		info,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return registry
}
