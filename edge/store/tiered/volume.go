package tiered

import (
	"math"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/edge/store/disk"
)

// onDisk is what a directory's store has to offer: *disk.Store, and fakes that fail.
type onDisk interface {
	store.Store
	// Offer is Put that says whether Get finds r now.
	Offer(r *response.Response) (kept bool)
	Stats() disk.Stats
}

// volume is one directory. What belongs to it stays there when it is out of service:
// RAM and the parents serve that share until somebody replaces the disk.
type volume struct {
	store  onDisk
	dir    string
	seed   uint64
	weight float64
}

func newVolume(dir string, size int64, store onDisk) volume {
	return volume{store: store, dir: dir, seed: xxh3.HashString(dir), weight: float64(size)}
}

// home is the disk that a key belongs to: the winner of weighted rendezvous, whose
// shares are as the sizes.
func (s *Store) home(key response.Key) onDisk {
	if len(s.volumes) == 1 {
		return s.volumes[0].store
	}
	best, most := 0, math.Inf(-1)
	for i := range s.volumes {
		v := &s.volumes[i]
		// A number in (0, 1) from the upper 53 bits; its logarithm is negative.
		u := (float64(mix(key.Sum.Lo^v.seed)>>11) + 0.5) / (1 << 53)
		if score := -v.weight / math.Log(u); score > most {
			best, most = i, score
		}
	}
	return s.volumes[best].store
}

// mix spreads every bit of x over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
