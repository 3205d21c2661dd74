package traces

import (
	"math"
	"math/rand/v2"
)

// ranks draws ranks 0..n-1, rank r with a probability proportional to (r+1)^-alpha.
// The Zipf of math/rand wants an exponent above 1; the popularity of web objects lies
// below it as a rule. Vose's alias method: two draws and one look-up for each rank.
type ranks struct {
	rng   *rand.Rand
	share []float64 // of slot i that belongs to i itself
	other []uint32  // who has the rest
}

func newRanks(rng *rand.Rand, alpha float64, n int) *ranks {
	z := &ranks{rng: rng, share: make([]float64, n), other: make([]uint32, n)}
	sum := 0.0
	for i := range z.share {
		z.share[i] = math.Pow(float64(i+1), -alpha)
		sum += z.share[i]
	}
	var small, large []uint32
	for i := range z.share {
		z.share[i] *= float64(n) / sum
		if z.share[i] < 1 {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		z.other[s] = l
		z.share[l] -= 1 - z.share[s]
		if z.share[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) { // what rounding left over
		z.share[i] = 1
	}
	return z
}

func (z *ranks) next() int {
	i := z.rng.IntN(len(z.share))
	if z.rng.Float64() < z.share[i] {
		return i
	}
	return int(z.other[i])
}

// sizes is the log-normal distribution of object sizes: half of the objects lie below
// median, sigma is the spread of the logarithm.
type sizes struct {
	median, sigma float64
	least, most   int64
}

// of is the size of an object: always the same for one ID and seed.
func (s sizes) of(id, seed uint64) int64 {
	h := mix(id ^ mix(seed))
	// Box and Muller's transform of two uniform numbers, from two hashes.
	u := (float64(h>>11) + 1) / (1 << 53)
	v := float64(mix(h)>>11) / (1 << 53)
	normal := math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
	return min(max(int64(s.median*math.Exp(s.sigma*normal)), s.least), s.most)
}
