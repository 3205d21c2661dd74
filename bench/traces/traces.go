// Package traces is where the requests of a replay come from: seeded generators of
// the workloads that tell cache policies apart, and readers and writers for the two
// text formats in which public traces are published, libCacheSim's and LRB's.
// Nothing here holds a whole trace: a Source gives one request at a time.
package traces

import (
	"errors"
	"io"
)

// Request asks for one object.
type Request struct {
	Time int64  // in the unit of the trace, seconds as a rule; not used by the replay
	ID   uint64 // of the object
	Size int64  // of the object, in bytes
}

// Source gives the requests of a trace in order.
type Source interface {
	// Next is the next request; io.EOF after the last one. Any other error is final.
	Next() (Request, error)
}

// sourceFunc is a Source that is one function.
type sourceFunc func() (Request, error)

func (f sourceFunc) Next() (Request, error) { return f() }

// Limit ends src after n requests.
func Limit(src Source, n int) Source {
	return sourceFunc(func() (Request, error) {
		if n <= 0 {
			return Request{}, io.EOF
		}
		n--
		return src.Next()
	})
}

// Cut turns a request for an object above size into one for each piece of it, as the
// edge keeps large contents: the first has the object's ID, the others IDs made of it.
func Cut(src Source, size int64) Source {
	var whole Request
	var at int64 // of the next piece of whole
	return sourceFunc(func() (Request, error) {
		if at == 0 || at >= whole.Size {
			r, err := src.Next()
			if err != nil {
				return Request{}, err
			}
			whole, at = r, 0
		}
		piece := Request{Time: whole.Time, ID: whole.ID, Size: min(size, whole.Size-at)}
		if at > 0 {
			piece.ID = mix(whole.ID ^ mix(uint64(at/size)))
		}
		at += max(piece.Size, 1)
		return piece, nil
	})
}

// All reads src to its end, at most limit requests: more is an error, so that a
// trace that somebody names cannot take all of the memory.
func All(src Source, limit int) ([]Request, error) {
	var all []Request
	for {
		r, err := src.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(all) == limit {
			return nil, errors.New("the trace has more requests than the limit")
		}
		all = append(all, r)
	}
}

// mix scatters x over all 64 bits (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
