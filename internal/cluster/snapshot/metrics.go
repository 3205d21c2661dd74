package snapshot

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// register makes the metrics of what is known of the cluster.
func (k *Keeper) register(registry prometheus.Registerer) error {
	if registry == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_cluster_kept_timestamp_seconds",
			Help: "Unix time of the news of the cluster that this node goes by while it cannot read the cluster; 0 while it can. Other than 0 means that the cluster's store is away.",
		}, func() float64 {
			if at := k.State().Kept; !at.IsZero() {
				return float64(at.UnixMilli()) / 1000
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_cluster_snapshot_in_use",
			Help: "1 while this node goes by what an earlier process has left on disk, because the cluster could not be read since it started; else 0.",
		}, func() float64 {
			if k.State().Disk {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_cluster_lost_sites",
			Help: "Site documents that this node keeps though the cluster's store has lost them. Other than 0 needs an operator: freshet site restore.",
		}, func() float64 { return float64(len(k.State().Lost)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_cluster_lost_members",
			Help: "Members that this node keeps though the cluster's store has lost them. Other than 0 for more than seconds means that the store has lost its data and nodes do not come back to it.",
		}, func() float64 { return float64(k.State().Missing) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_cluster_snapshot_writes_total",
			Help: "Files with what is known of the cluster that were written to disk. It rises with news, by two a second at most.",
		}, func() float64 { return k.disk.count(func(d *disk) uint64 { return d.mu.writes }) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_cluster_snapshot_write_errors_total",
			Help: "Files with what is known of the cluster that could not be written to disk. A rise means that a restart while the cluster is away finds old news.",
		}, func() float64 { return k.disk.count(func(d *disk) uint64 { return d.mu.failed }) }),
	} {
		errs = append(errs, registry.Register(c))
	}
	return errors.Join(errs...)
}

// count reads a counter; a node without a disk counts nothing.
func (d *disk) count(read func(*disk) uint64) float64 {
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return float64(read(d))
}
