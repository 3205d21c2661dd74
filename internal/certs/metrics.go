package certs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// register makes the metrics of certificates.
func (m *Manager) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for _, s := range []struct {
		source string
		on     bool
		ends   func() time.Time
	}{
		{"file", m.files != nil, func() time.Time { return m.files.ends() }},
		{"acme", m.acme != nil, func() time.Time { return m.acme.ends() }},
		{"self_signed", m.own != nil, func() time.Time { return m.own.ca.NotAfter }},
	} {
		if !s.on {
			continue
		}
		err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "freshet_edge_certificate_expiry_seconds",
			Help:        "Seconds until the first certificate of a source (file, acme, or the CA of self_signed) ends; below 0 it has ended, 0 while there is none. When it falls below two weeks, renewal is in trouble.",
			ConstLabels: prometheus.Labels{"source": s.source},
		}, func() float64 {
			ends := s.ends()
			if ends.IsZero() {
				return 0
			}
			return ends.Sub(m.cfg.Now()).Seconds()
		}))
		if err != nil {
			return err
		}
	}
	return reg.Register(m.tickets.rotated)
}

func newRotated() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "freshet_edge_ticket_keys_total",
		Help: "Keys of session tickets that this node has taken into use. It rises a few times a day; when it stands still, the cluster cannot be read and old keys stay in use.",
	})
}
