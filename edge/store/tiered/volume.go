package tiered

import (
	"math"
	"sync/atomic"

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
	onDisk
	dir    string
	served atomic.Int64
	seed   uint64
	weight float64
}

func newVolume(dir string, size int64, store onDisk) *volume {
	return &volume{onDisk: store, dir: dir, seed: xxh3.HashString(dir), weight: float64(size)}
}

// home is the disk that a key belongs to: the winner of weighted rendezvous, whose
// shares are as the sizes.
func (s *Store) home(key response.Key) *volume {
	best := s.volumes[0]
	if len(s.volumes) == 1 {
		return best
	}
	most := math.Inf(-1)
	for _, v := range s.volumes {
		// A number in (0, 1) from the upper 53 bits; its logarithm is negative.
		u := (float64(mix(key.Sum.Lo^v.seed)>>11) + 0.5) / (1 << 53)
		if score := -v.weight / math.Log(u); score > most {
			best, most = v, score
		}
	}
	return best
}

// drop is Delete that leaves the disk alone where it has nothing under the key.
func (v *volume) drop(key response.Key) {
	if v.Has(key) {
		v.Delete(key)
	}
}

// mix spreads every bit of x over all bits (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
