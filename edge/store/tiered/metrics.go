package tiered

import "github.com/prometheus/client_golang/prometheus"

// Register declares what the store counts.
func (s *Store) Register(reg prometheus.Registerer) error {
	all := s.memoryMetrics()
	for _, v := range s.volumes {
		all = append(all, v.metrics()...)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) memoryMetrics() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_memory_hits_total",
			Help: "Lookups that found a stored response in RAM. When it falls against freshet_edge_disk_hits_total memory is small for what is asked for.",
		}, func() float64 { return float64(s.counts.memoryHits.sum()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_lookup_misses_total",
			Help: "Lookups that found nothing, in RAM or on disk. One request may look more than once; a rise against the hits means that less of what is asked for is stored.",
		}, func() float64 { return float64(s.counts.misses.sum()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_stored_bytes",
			Help: "Bytes of RAM charged for stored responses. It rises to the configured memory and stays there.",
		}, func() float64 { return float64(s.memory.Stats().Bytes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_memory_capacity_bytes",
			Help: "Bytes of RAM that stored responses may take, as configured. It changes by configuration only.",
		}, func() float64 { return float64(s.memory.Capacity()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_evicted_total",
			Help: "Stored responses dropped from RAM for space. A steep rise means that memory is small for what is asked for.",
		}, func() float64 { return float64(s.memory.Stats().Evicted) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_rejected_total",
			Help: "Responses that were not admitted to RAM because what is there is asked for more often. It rises when memory is full.",
		}, func() float64 { return float64(s.memory.Stats().Rejected) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_dropped_total",
			Help: "Responses lost on their way into RAM because its queue was full. A rise means that the node is overloaded.",
		}, func() float64 { return float64(s.memory.Stats().Dropped) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_promoted_total",
			Help: "Stored responses copied from disk to RAM because they were asked for. A steady steep rise means that memory is small for what is hot.",
		}, func() float64 { return float64(s.counts.promoted.sum()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_offered_total",
			Help: "Stored responses that a disk refused when they were new and was offered again after a hit in RAM. It rises once the disks are full.",
		}, func() float64 { return float64(s.counts.offered.sum()) }),
	}
}

// metrics are those of one directory.
func (v *volume) metrics() []prometheus.Collector {
	dir := prometheus.Labels{"dir": v.dir}
	value := func(of func(DiskStats) int64) func() float64 {
		return func() float64 { return float64(of(v.stats())) }
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_up", ConstLabels: dir,
			Help: "1 while the directory is in service, 0 once an error of its disk has taken it out until the next start. A fall needs an operator: see the log.",
		}, func() float64 {
			if v.stats().Up {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_opening_seconds", ConstLabels: dir,
			Help: "What opening the directory took at the start, until its index was back. It rises with the stored responses, and after a crash.",
		}, func() float64 { return v.stats().OpenedIn.Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_responses", ConstLabels: dir,
			Help: "Stored responses in the directory. It rises until the directory is full; 0 when it is out of service.",
		}, value(func(s DiskStats) int64 { return s.Entries })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_stored_bytes", ConstLabels: dir,
			Help: "Bytes of the directory that hold stored responses. The rest of what is used waits for eviction.",
		}, value(func(s DiskStats) int64 { return s.Bytes })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_used_bytes", ConstLabels: dir,
			Help: "Bytes that all files of the directory take. It rises to the capacity, never above it.",
		}, value(func(s DiskStats) int64 { return s.Used })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_capacity_bytes", ConstLabels: dir,
			Help: "Bytes that the files of the directory may take, as configured. It changes by configuration only.",
		}, value(func(s DiskStats) int64 { return s.Capacity })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_segments", ConstLabels: dir,
			Help: "Segments in the directory, the files that stored responses lie in. It rises until the directory is full.",
		}, value(func(s DiskStats) int64 { return s.Segments })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "freshet_edge_disk_index_bytes", ConstLabels: dir,
			Help: "RAM that the index of the directory takes, in bytes. It rises with the stored responses.",
		}, value(func(s DiskStats) int64 { return s.IndexBytes })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_hits_total", ConstLabels: dir,
			Help: "Lookups that found a stored response in the directory and not in RAM. A rise against freshet_edge_memory_hits_total means that memory is small for what is asked for.",
		}, value(func(s DiskStats) int64 { return s.Served })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_admitted_total", ConstLabels: dir,
			Help: "Stored responses written because they were new, or newer. It rises with misses that can be stored.",
		}, value(func(s DiskStats) int64 { return s.Admitted })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_rejected_total", ConstLabels: dir,
			Help: "Responses that were not written because nobody had asked for them before and the directory is full. It rises with content that is asked for once.",
		}, value(func(s DiskStats) int64 { return s.Rejected })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_refused_total", ConstLabels: dir,
			Help: "Responses that the directory could not take: too large, no room, or older than what is there. A rise with a full directory means that slow readers hold removed segments.",
		}, value(func(s DiskStats) int64 { return s.Refused })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_evicted_total", ConstLabels: dir,
			Help: "Stored responses dropped from the directory for space. A steep rise means that it is small for what is asked for.",
		}, value(func(s DiskStats) int64 { return s.Evicted })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_rewritten_total", ConstLabels: dir,
			Help: "Stored responses kept, because they are hot, when the segment that they lay in was evicted. A rise against admitted wears the disk.",
		}, value(func(s DiskStats) int64 { return s.Rewritten })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_admitted_bytes_total", ConstLabels: dir,
			Help: "Bytes written for stored responses that are new, or newer. Written bytes over these are the write amplification.",
		}, value(func(s DiskStats) int64 { return s.AdmittedBytes })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_rewritten_bytes_total", ConstLabels: dir,
			Help: "Bytes written again for what was hot when its segment was evicted. A rise against the admitted bytes wears the disk.",
		}, value(func(s DiskStats) int64 { return s.RewrittenBytes })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_written_bytes_total", ConstLabels: dir,
			Help: "All bytes written to the directory. Its rise a day is what the disk's endurance has to bear.",
		}, value(func(s DiskStats) int64 { return s.WrittenBytes })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_damaged_total", ConstLabels: dir,
			Help: "Stored responses dropped because they were not on disk as they had been written. A rise means that the disk rots: replace it.",
		}, value(func(s DiskStats) int64 { return s.Damaged })),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "freshet_edge_disk_scrubbed_bytes_total", ConstLabels: dir,
			Help: "Bytes read again in the background to find what has rotted. Its rise over the stored bytes says how often all is read.",
		}, value(func(s DiskStats) int64 { return s.ScrubbedBytes })),
	}
}
