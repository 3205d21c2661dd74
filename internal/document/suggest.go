package document

import "strings"

// suggest is the hint for a word that is not allowed: the nearest of those that are,
// if one is near, else all of them where they are few.
func suggest(word string, allowed []string) string {
	if near := nearest(word, allowed); near != "" {
		return didYouMean(near)
	}
	return known(allowed)
}

// nearest is the word most like the given one, or "" if none is like it.
func nearest(word string, words []string) string {
	best, distance := "", max(1, len(word)/3)+1
	for _, w := range words {
		if d := editDistance(strings.ToLower(word), w); d < distance {
			best, distance = w, d
		}
	}
	return best
}

func didYouMean(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return "did you mean " + strings.Join(quoted, " or ") + "?"
}

// maxKnown is how many words a hint lists.
const maxKnown = 20

func known(words []string) string {
	if len(words) == 0 || len(words) > maxKnown {
		return ""
	}
	return "known here: " + strings.Join(words, ", ")
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
