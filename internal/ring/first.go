package ring

import "github.com/zeebo/xxh3"

// First is the index of the home, the first of Order; -1 if there are no nodes.
func First(key string, nodes []string) int {
	seed := xxh3.HashString(key)
	first, best := -1, uint64(0)
	for i, name := range nodes {
		if score := xxh3.HashStringSeed(name, seed); first < 0 || score > best {
			first, best = i, score
		}
	}
	return first
}
