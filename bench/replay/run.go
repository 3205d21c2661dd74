package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"freshet/bench/traces"
	"freshet/edge/response"
	"freshet/edge/store/disk/record"
)

// Bounds that the store must keep.
const (
	mostBehind        = 0.5 // points of request hit ratio behind the best of the others
	mostAmplification = 1.3
)

// trace is a trace in RAM.
type trace struct {
	name      string
	requests  []traces.Request
	costs     []int64 // of each request's object: the size of its record
	objects   int
	footprint int64 // what all records take together
	largest   int64 // object, in bytes
}

// mostRequests bounds the RAM that a trace takes: 32 bytes for each.
const mostRequests = 100_000_000

// load reads a trace, large contents cut into slices.
func load(name string, src traces.Source) (*trace, error) {
	head, err := headCost()
	if err != nil {
		return nil, err
	}
	requests, err := traces.All(traces.Cut(src, response.SliceSize), mostRequests)
	if err != nil {
		return nil, fmt.Errorf("trace %s: %w", name, err)
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("trace %s: no requests", name)
	}
	t := &trace{name: name, requests: requests, costs: make([]int64, len(requests))}
	first := make(map[uint64]int64) // the size of an object is what it was at first
	for i := range requests {
		r := &requests[i]
		size, seen := first[r.ID]
		if !seen {
			size = r.Size
			first[r.ID] = size
			t.footprint += record.Size(head, size)
			t.largest = max(t.largest, size)
		}
		r.Size = size
		t.costs[i] = record.Size(head, size)
	}
	t.objects = len(first)
	return t, nil
}

// ratios are the shares of the requests, and of the bytes, that were hits, in percent.
type ratios struct {
	Requests float64 `json:"requests"`
	Bytes    float64 `json:"bytes"`
}

// counting takes hits.
type counting struct{ hits, hitBytes, bytes int64 }

func (c *counting) add(size int64, hit bool) {
	c.bytes += size
	if hit {
		c.hits++
		c.hitBytes += size
	}
}

func (c *counting) ratios(requests int) ratios {
	return ratios{100 * float64(c.hits) / float64(requests), 100 * float64(c.hitBytes) / float64(max(c.bytes, 1))}
}

// result is one trace at one size.
type result struct {
	Trace     string            `json:"trace"`
	Percent   float64           `json:"percent"` // of the footprint
	Size      int64             `json:"size"`    // RAM and disk together, in bytes
	Memory    int64             `json:"memory"`
	Segment   int64             `json:"segment"`
	Objects   int               `json:"objects"`
	Requests  int               `json:"requests"`
	Footprint int64             `json:"footprint"`
	Rivals    map[string]ratios `json:"rivals"`
	Freshet   ratios            `json:"freshet"`
	// Amplification is what was written to segments in the second half over what was
	// put there; 1 if nothing was put.
	Amplification float64 `json:"write_amplification"`
	// Wear is what was written to segments over what was missed, in bytes, in all.
	Wear    float64  `json:"written_per_missed_byte"`
	Seconds float64  `json:"seconds"`
	Missed  []string `json:"missed_bounds"`
}

// replay runs one trace at one size, in percent of the footprint.
func replay(t *trace, percent float64, memoryShare int64, dir string) (*result, error) {
	size := int64(float64(t.footprint) * percent / 100)
	parts, err := splitOf(size, memoryShare, t.largest)
	if err != nil {
		return nil, fmt.Errorf("trace %s at %g %%: %w", t.name, percent, err)
	}
	r := &result{
		Trace: t.name, Percent: percent, Size: size, Memory: parts.memory, Segment: parts.segment,
		Objects: t.objects, Requests: len(t.requests), Footprint: t.footprint, Rivals: make(map[string]ratios),
	}
	var group errgroup.Group
	group.SetLimit(1) // beside the store
	got := make([]ratios, len(rivals))
	group.Go(func() error {
		for i, rival := range rivals {
			p, err := rival.make(size, t.footprint/int64(t.objects))
			if err != nil {
				return fmt.Errorf("%s: %w", rival.name, err)
			}
			var c counting
			for i, q := range t.requests {
				c.add(q.Size, p.request(q.ID, t.costs[i]))
			}
			p.close()
			got[i] = c.ratios(len(t.requests))
		}
		return nil
	})
	err = r.run(t, parts, dir)
	if e := group.Wait(); err == nil {
		err = e
	}
	for i, rival := range rivals {
		r.Rivals[rival.name] = got[i]
	}
	r.judge()
	return r, err
}

// run replays the trace against our store.
func (r *result) run(t *trace, parts split, parent string) error {
	dir, err := os.MkdirTemp(parent, "freshet-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	e, err := newEdge(dir, parts, t.largest)
	if err != nil {
		return err
	}
	defer e.store.Close()
	var c counting
	var put, written int64
	for i, q := range t.requests {
		if i == len(t.requests)/2 {
			put, written = e.writes()
		}
		c.add(q.Size, e.request(q.ID, q.Size))
	}
	allPut, allWritten := e.writes()
	r.Freshet = c.ratios(len(t.requests))
	r.Amplification = 1
	if allPut > put {
		r.Amplification = float64(allWritten-written) / float64(allPut-put)
	}
	r.Wear = float64(allWritten) / float64(max(c.bytes-c.hitBytes, 1))
	r.Seconds = time.Since(began).Seconds()
	return e.check()
}

// best is the highest request hit ratio of the others.
func (r *result) best() (best float64) {
	for _, o := range r.Rivals {
		best = max(best, o.Requests)
	}
	return best
}

func (r *result) judge() {
	if behind := r.best() - r.Freshet.Requests; behind > mostBehind {
		r.Missed = append(r.Missed, fmt.Sprintf("requests %.2f behind", behind))
	}
	if behind := r.Rivals["lru"].Bytes - r.Freshet.Bytes; behind > 0 {
		r.Missed = append(r.Missed, fmt.Sprintf("bytes %.2f behind LRU", behind))
	}
	if r.Amplification > mostAmplification {
		r.Missed = append(r.Missed, fmt.Sprintf("writes %.3f", r.Amplification))
	}
}
