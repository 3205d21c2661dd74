package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"freshet/edge/response"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// cease stores what there is of a whole that nobody wanted the rest of, if more can be
// fetched later.
func (f *fill) cease(r *response.Response) {
	if refetchable(r) {
		f.keep(r)
	}
}

// load gives a slice that has been cut of what is arriving back to a client who is
// slower than others: from the store, or, where that has not kept it, from a parent.
func (f *fill) load(ctx context.Context, r *response.Response, n int64) (response.Body, error) {
	key := response.SliceKey(f.place(r), r.Set, n)
	looked := f.edge.slicing.changes.of(key)
	if held := f.edge.store.Get(key); held != nil && held.Kind == response.Slice && held.Body != nil {
		return held.Body, nil
	}
	if !refetchable(r) {
		return nil, fmt.Errorf("slice %d: %w", n, errIncomplete)
	}
	size := r.Complete
	if size == 0 {
		size = (n + 1) * response.SliceSize // more than there is of the last
	}
	part := *f
	part.base, part.head, part.credit, part.ask = nil, headOf(r, f.place(r)), nil, askForSlice(n, size)
	fence := hop.Fence{Log: r.Log, Born: r.Born}
	spec := part.spec(fence, nil, key, looked)
	for _, text := range []string{part.head.Key.Text, key.Text} { // together with all, else apart: see sliced
		fetch, leader, err := f.edge.fills.Join(ctx, text+part.ask.part()+f.edge.touched(f.scopes), fence, spec)
		if err != nil {
			return nil, fmt.Errorf("slice %d: %w", n, err)
		}
		if fetch == nil {
			return f.load(ctx, r, n)
		}
		body, err := loaded(ctx, &arrival{fetch, leader}, r, n)
		fetch.Leave()
		if leader || !errors.Is(err, errChanged) {
			return body, err
		}
	}
	return nil, fmt.Errorf("slice %d: %w", n, errChanged)
}

// loaded reads slice n of the content r from its fill.
func loaded(ctx context.Context, a *arrival, r *response.Response, n int64) (response.Body, error) {
	if err := a.fill.Wait(ctx); err != nil {
		return nil, fmt.Errorf("slice %d: %w", n, err)
	}
	came := a.fill.Response()
	if came == nil || came.Kind != response.Slice || !httpcache.Combines(&came.Facts, &r.Facts) || !a.leader && !slices.Equal(came.Vary, r.Vary) {
		return nil, fmt.Errorf("slice %d: %w", n, errChanged)
	}
	body, ok := a.fill.Body(ctx)
	if !ok {
		return nil, fmt.Errorf("slice %d: %w", n, errUnsettled)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err == nil && int64(len(data)) != sliceSpan(n, came.Complete).Len() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("slice %d: %w", n, err)
	}
	return response.Memory(data), nil
}
