package tiered

import (
	"sync/atomic"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/edge/store/memory"
)

// Stats are counts since Open.
type Stats struct {
	MemoryHits, DiskHits, Misses int64 // of Get
	Promoted                     int64 // responses copied from disk to RAM
	Offered                      int64 // hits in RAM of what its disk lacked, offered to it
	Memory                       memory.Stats
	Disks                        []DiskStats
}

// DiskStats are those of one directory.
type DiskStats struct {
	Dir      string
	Capacity int64
	Served   int64 // responses that Get found there
	disk.Stats
}

// Stats reads the counts.
func (s *Store) Stats() Stats {
	c := &s.counts
	stats := Stats{
		MemoryHits: c.memoryHits.sum(), Misses: c.misses.sum(),
		Promoted: c.promoted.sum(), Offered: c.offered.sum(), Memory: s.memory.Stats(),
	}
	for i := range s.volumes {
		stats.Disks = append(stats.Disks, s.volumes[i].stats())
		stats.DiskHits += stats.Disks[i].Served
	}
	return stats
}

func (v *volume) stats() DiskStats {
	return DiskStats{v.dir, v.onDisk.Capacity(), v.served.Load(), v.onDisk.Stats()}
}

// Up reports whether the i-th disk of Config.Disks is in service.
func (s *Store) Up(i int) bool { return s.volumes[i].onDisk.Stats().Up }

type counts struct {
	memoryHits, misses, promoted, offered counter
}

// counter is spread over cache lines, so that cores which count hits of different keys
// do not wait for each other.
type counter [16]struct {
	n atomic.Int64
	_ [56]byte
}

func (c *counter) add(key response.Key) { c[key.Sum.Lo%uint64(len(c))].n.Add(1) }

func (c *counter) sum() (n int64) {
	for i := range c {
		n += c[i].n.Load()
	}
	return n
}
