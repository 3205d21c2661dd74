package upstream

import "github.com/prometheus/client_golang/prometheus"

// Register declares what the group counts.
func (g *Group) Register(reg prometheus.Registerer) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_edge_fill_bytes",
		Help: "Bytes of RAM that bodies on their way from parents hold, beside what is stored. It is at most 3 MiB for each fetch under way; a rise means more of them, or slower clients.",
	}, func() float64 { return float64(g.Held()) }))
}
