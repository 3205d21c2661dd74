package node

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/telemetry"
)

// Env is what a role stands on: its node file and the things that cmd has opened
// for it. Every role is made from one (edge.New, origin.New, …); the role closes
// none of them.
type Env struct {
	File    *File
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Health  *telemetry.Health
	Cluster cluster.Cluster
	Bus     bus.Bus
	Version string // of the binary
}
