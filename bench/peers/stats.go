package main

import (
	"encoding/json"
	"math"
	"slices"
)

// figure is a number that may be missing: NaN, which is null in JSON.
type figure float64

// MarshalJSON writes null for NaN, which JSON has no number for.
func (f figure) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// spread is a median with the least and the greatest of the values it is of.
type spread struct {
	Median figure `json:"median"`
	Min    figure `json:"min"`
	Max    figure `json:"max"`
}

// spreadOf is the spread of those values that are not missing; missing itself of none.
func spreadOf(values []figure) spread {
	values = slices.DeleteFunc(slices.Clone(values), func(f figure) bool { return math.IsNaN(float64(f)) })
	if len(values) == 0 {
		none := figure(math.NaN())
		return spread{none, none, none}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// percentile is the nearest rank among sorted values; NaN of none.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}
