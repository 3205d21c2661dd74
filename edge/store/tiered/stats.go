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
	disk.Stats
}

// Stats reads the counts.
func (s *Store) Stats() Stats {
	c := &s.counts
	stats := Stats{
		MemoryHits: c.memoryHits.sum(), DiskHits: c.diskHits.sum(), Misses: c.misses.sum(),
		Promoted: c.promoted.sum(), Offered: c.offered.sum(), Memory: s.memory.Stats(),
	}
	for _, v := range s.volumes {
		stats.Disks = append(stats.Disks, DiskStats{v.dir, v.store.Capacity(), v.store.Stats()})
	}
	return stats
}

type counts struct {
	memoryHits, diskHits, misses, promoted, offered counter
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
