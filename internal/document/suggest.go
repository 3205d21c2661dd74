package document

import (
	"strings"
)

// suggest is the hint for a word that is not among those known: the nearest, if
// one is near, else all of them where they are few.
func suggest(word string, known []string) string {
	best, distance := "", max(1, len(word)/3)+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), k); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + quote(best) + "?"
	case len(known) > 0 && len(known) <= 20:
		return "known here: " + strings.Join(known, ", ")
	}
	return ""
}

// maxWord bounds the work of editDistance: no known word is near a longer one.
const maxWord = 64

// editDistance is the number of bytes to insert, delete, replace or swap with their
// neighbour that leads from a to b.
func editDistance(a, b string) int {
	if len(a) > maxWord {
		return len(a)
	}
	before, last, this := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			this[j] = min(replace, last[j]+1, this[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		before, last, this = last, this, before
	}
	return last[len(b)]
}
