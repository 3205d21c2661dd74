package authority

import "github.com/prometheus/client_golang/prometheus"

// Register makes the metric of the certificate's end.
func (i *Identity) Register(reg prometheus.Registerer) error {
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_identity_expiry_seconds",
		Help: "Seconds until the certificate of this node, or the cluster's CA, ends; below 0 no other node takes it. When it falls below a month, issue another one.",
	}, func() float64 { return i.Ends().Sub(i.now()).Seconds() }))
}
