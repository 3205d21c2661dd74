package document

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Report is what Decode found: the mistakes, and where in the text each path
// stands, so that those who know more about the document can add theirs. It is for
// one goroutine.
type Report struct {
	file     string
	places   map[string]place
	mistaken map[string]bool
	mistakes Errors
	left     int // mistakes above MaxMistakes
}

// place is a line and a column, from 1; the zero place is the whole document.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

func newReport(file string) *Report {
	return &Report{file: file, places: make(map[string]place), mistaken: make(map[string]bool)}
}

// Has reports whether the document gives path a value, right or wrong.
func (r *Report) Has(path string) bool {
	_, ok := r.places[path]
	return ok
}

// Valid reports whether nothing was found wrong with path itself so far.
func (r *Report) Valid(path string) bool { return !r.mistaken[path] }

// Mistake adds one at path ("" for the whole document), whose place is that of the
// path or of the nearest part of the document around it. A path that has a mistake
// already gets no second one: the first is the cause.
func (r *Report) Mistake(path, format string, args ...any) {
	r.MistakeHint(path, "", format, args...)
}

// MistakeHint is Mistake with a hint, such as "did you mean …".
func (r *Report) MistakeHint(path, hint, format string, args ...any) {
	if r.mistaken[path] {
		return
	}
	r.add(r.find(path), path, hint, format, args...)
}

// Err is nil, or Errors with every mistake in the order of their places.
func (r *Report) Err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	es := slices.Clone(r.mistakes)
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if r.left > 0 {
		es = append(es, Error{File: r.file, Message: fmt.Sprintf("and %d more", r.left)})
	}
	return es
}

// add records a mistake at a place that is known.
func (r *Report) add(at place, path, hint, format string, args ...any) {
	r.mistaken[path] = true
	if len(r.mistakes) == MaxMistakes {
		r.left++
		return
	}
	r.mistakes = append(r.mistakes, Error{
		File: r.file, Line: at.line, Column: at.column, Path: oneLine(path),
		Message: oneLine(fmt.Sprintf(format, args...)), Hint: oneLine(hint),
	})
}

// maxLine is how many bytes of a path, a message or a hint are kept.
const maxLine = 500

// oneLine makes foreign text fit for a terminal and a log: cut, and without anything
// that does not print.
func oneLine(s string) string {
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if unprintable(c) {
			b.WriteString(strings.Trim(strconv.QuoteRune(c), "'"))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

func unprintable(c rune) bool { return !strconv.IsPrint(c) }

// find is the place of path, or of the innermost part of the document around it.
func (r *Report) find(path string) place {
	for {
		if at, ok := r.places[path]; ok {
			return at
		}
		if path == "" {
			return place{}
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

// Index is the path of the i-th item of the list at path.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
