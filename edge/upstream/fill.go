package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freshet/edge/response"
	"freshet/internal/hop"
	"freshet/internal/httpcache"
)

// MaxFills bounds the fills under way for one key; those that can join none of
// them wait until one ends. A fill that waits for its clients does not count: they
// may be as slow as they like, and must not keep others from the content.
const MaxFills = 4

// lookAgain is how often those who wait look whether they have to.
const lookAgain = 100 * time.Millisecond

// Fill is one fetch from a parent, shared by everybody who waits for the same key.
// It goes on when clients go away, as long as its response is to be kept; but a long
// body is not fetched to its end for nobody.
type Fill struct {
	fence hop.Fence
	body  *buffer
	head  chan struct{} // closed when the fields below are set
	ended chan struct{} // closed when nothing of the fill runs any more

	// Set before head is closed, never changed after that.
	err      error
	reply    *Reply
	response *response.Response // without body; nil when the reply is not to be kept
	first    *bodyReader        // of an answer that is not kept
}

// Wait blocks until the head of the answer is there. It returns the fill's error,
// or ctx's when that ends first.
func (f *Fill) Wait(ctx context.Context) error {
	select {
	case <-f.head:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reply is the head of the answer, after Wait returned nil.
func (f *Fill) Reply() *Reply { return f.reply }

// Leave says that one who joined the fill, or began it, has no more use for it: when all
// have left, a fill whose body is cut stops at the end of a slice unless little is missing.
// It must be called once for every Join and Alone, after the last use of the fill.
func (f *Fill) Leave() { f.body.leave() }

// Response is what is going to be stored, as yet without its body, after Wait
// returned nil; nil when the answer is for the one alone who started the fill.
func (f *Fill) Response() *response.Response { return f.response }

// Body reads the body from its start, after Wait returned nil. A fill whose answer
// is to be kept has a reader for everybody, until its start cannot be had any more: the
// body turned out larger than what is kept, or broke off, or nobody wanted the rest;
// then ok is false, and there is no use in asking again. Any other fill has one reader,
// for the one who started it. The caller closes it before it leaves; reads end with ctx.
//
// The reader is an io.WriterTo, and has Skip(n int64) error, which leaves out the next n
// bytes without carrying them.
func (f *Fill) Body(ctx context.Context) (body io.ReadCloser, ok bool) {
	if f.response == nil {
		return f.first, f.first != nil
	}
	r, stopped := f.body.reader(ctx)
	if stopped {
		select { // what there is of it is about to be stored
		case <-f.ended:
		case <-ctx.Done():
		}
	}
	return r, r != nil
}

// Whole is the response with its body, or the head of one that is kept in slices, where
// it was there with the head (something stored that was freshened), after Wait returned
// nil; else nil.
func (f *Fill) Whole() *response.Response {
	if f.response != nil && (f.response.Body != nil || f.response.Kind == response.Sliced) {
		return f.response
	}
	return nil
}

// Spec says how to fill one key.
type Spec struct {
	// Fetch asks the parents; the context outlives any client.
	Fetch func(ctx context.Context) (*Reply, error)
	// Admit makes what is to be stored of an answer, or nil if it is not to be: without
	// body, or whole where the answer only freshens what is stored.
	Admit func(*Reply) *response.Response
	// Keep stores the whole response: with its Body, or once Cut has all of it, without
	// one and of kind Sliced with Complete, the length that it turned out to have. The fill
	// ends after Keep returns, so that whoever comes later finds it stored. It is not called
	// when the parent broke off.
	Keep func(*response.Response)
	// Cut, if not nil, stores slice n of the Content that Admit made, not Transient, whose
	// body turns out longer than response.SliceSize: as it arrives, in order, from slice 0
	// on, from the filling goroutine. r is what Admit made, as it was. data belongs to Cut
	// and to the fill's readers: nobody changes it. While Cut blocks nothing more is asked
	// of the parent. With a nil Cut such a body stays in RAM until it is kept as a whole.
	Cut func(r *response.Response, n int64, data []byte)
	// Load gives slice n back, which Cut has had, to a reader too slow to have found it in
	// RAM. It is called from the reader's goroutine, with the reader's context, also after
	// the fill has ended; twice for one slice if the first body could not be read. An error
	// breaks that reader's transfer off. Not nil if Cut is not.
	Load func(ctx context.Context, r *response.Response, n int64) (response.Body, error)
	// Cease, if not nil, is told in place of Keep that nobody is left to want a body that is
	// cut: Cut has had some slices of it, the rest does not come. r is what Keep would get.
	// It is not called when the length is not known.
	Cease func(r *response.Response)
	// MaxBody is the largest content kept, in bytes, be it whole or cut.
	MaxBody int64
	// Settled, if not nil, reports that a fill has ended and stored something since the
	// request looked, so that it should look again. It is called under the group's lock
	// and must not block.
	Settled func() bool
}

func (s *Spec) settled() bool { return s.Settled != nil && s.Settled() }

// Group collapses fetches: at most one fill for a key and fence at a time.
type Group struct {
	ctx context.Context
	wg  sync.WaitGroup

	held atomic.Int64
	mu   struct {
		sync.Mutex
		fills map[string][]*Fill
	}
}

// NewGroup makes a group whose fills end with ctx at the latest.
func NewGroup(ctx context.Context) *Group {
	g := &Group{ctx: ctx}
	g.mu.fills = make(map[string][]*Fill)
	return g
}

// Held is the RAM that the bodies under way hold, in bytes.
func (g *Group) Held() int64 { return g.held.Load() }

// Wait blocks until no fill runs. No new one may be started meanwhile.
func (g *Group) Wait() { g.wg.Wait() }

// Join joins the fill of key that satisfies fence, or starts one as spec says;
// then leader is true. It blocks while the key has as many fills as it may and
// none of them will do, until ctx ends. The fill is nil when spec's Settled says that
// there is no need for one any more.
func (g *Group) Join(ctx context.Context, key string, fence hop.Fence, spec Spec) (f *Fill, leader bool, err error) {
	for {
		g.mu.Lock()
		fills := g.mu.fills[key]
		for _, f := range fills {
			if f.fence.Covers(fence) {
				f.body.join()
				g.mu.Unlock()
				return f, false, nil
			}
		}
		if spec.settled() {
			g.mu.Unlock()
			return nil, false, nil
		}
		if len(fills) == MaxFills {
			if i := slices.IndexFunc(fills, func(f *Fill) bool { return f.body.waits() }); i >= 0 {
				g.mu.fills[key] = slices.Delete(slices.Clone(fills), i, i+1)
				fills = g.mu.fills[key]
			}
		}
		if len(fills) < MaxFills {
			f := g.add(key, fence, 1)
			g.mu.Unlock()
			g.start(g.ctx, ctx, f, spec, func() { g.leave(key, f) })
			return f, true, nil
		}
		oldest := fills[0]
		g.mu.Unlock()
		select {
		case <-oldest.ended:
		case <-time.After(lookAgain): // one may wait for its clients by now
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// Refresh starts a fill that no client waits for, unless one that satisfies fence
// is under way or the key has as many as it may. It does not block.
func (g *Group) Refresh(key string, fence hop.Fence, spec Spec) (started bool) {
	g.mu.Lock()
	fills := g.mu.fills[key]
	for _, f := range fills {
		if f.fence.Covers(fence) {
			g.mu.Unlock()
			return false
		}
	}
	if len(fills) >= MaxFills || spec.settled() {
		g.mu.Unlock()
		return false
	}
	f := g.add(key, fence, 0)
	g.mu.Unlock()
	g.start(g.ctx, nil, f, spec, func() { g.leave(key, f) })
	return true
}

// Refreshing reports whether a fill of key is under way that has Refresh begin none.
func (g *Group) Refreshing(key string, fence hop.Fence) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.mu.fills[key], func(f *Fill) bool { return f.fence.Covers(fence) })
}

// Alone starts a fill that nobody else joins and that ends with ctx.
func (g *Group) Alone(ctx context.Context, fence hop.Fence, spec Spec) *Fill {
	f := g.newFill(fence, 1)
	g.start(ctx, ctx, f, spec, func() {})
	return f
}

func (g *Group) newFill(fence hop.Fence, clients int) *Fill {
	return &Fill{fence: fence, body: newBuffer(&g.held, clients), head: make(chan struct{}), ended: make(chan struct{})}
}

// add makes a joinable fill; the caller holds the lock.
func (g *Group) add(key string, fence hop.Fence, clients int) *Fill {
	f := g.newFill(fence, clients)
	// A new slice: leave and Join may hold the old one.
	g.mu.fills[key] = append(slices.Clip(g.mu.fills[key]), f)
	return f
}

// leave makes a fill unjoinable. It may be called more than once.
func (g *Group) leave(key string, f *Fill) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(g.mu.fills[key]), func(other *Fill) bool { return other == f })
	if len(rest) == 0 {
		delete(g.mu.fills, key)
	} else {
		g.mu.fills[key] = rest
	}
}

// start runs a fill under ctx, and the group's; client is the context of the one
// who started it, nil for none.
func (g *Group) start(ctx, client context.Context, f *Fill, spec Spec, leave func()) {
	g.wg.Go(func() {
		defer close(f.ended)
		defer leave()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stop := context.AfterFunc(g.ctx, cancel)
		defer stop()
		f.run(ctx, cancel, client, spec, leave)
	})
}

// run fetches under ctx, which cancel ends, tells those who wait, and carries the body over. A panic in what
// the spec brings becomes the fill's error: it strands nobody.
func (f *Fill) run(ctx context.Context, cancel context.CancelFunc, client context.Context, spec Spec, leave func()) {
	told := false
	tell := func(err error) {
		if !told {
			told, f.err = true, err
			close(f.head)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("fill panicked: %v\n%s", p, debug.Stack())
			leave()
			tell(err)
			f.body.finish(err)
		}
	}()
	reply, err := spec.Fetch(ctx)
	if err != nil {
		leave() // before those who wait are told: who comes now tries anew
		tell(err)
		return
	}
	defer reply.Body.Close()
	f.reply, f.response = reply, spec.Admit(reply)
	f.body.begin(reply.Length, f.loader(&spec))
	limit := spec.MaxBody
	if f.response != nil && f.response.Transient && spec.Cut != nil {
		limit = min(limit, response.SliceSize) // it is shared from RAM alone
	}
	if whole := f.Whole(); whole != nil {
		spec.Keep(whole)
		tell(nil)
		return
	}
	if f.response == nil || reply.Length > limit {
		leave()
		f.response = nil
		if client != nil {
			f.first = f.body.soleReader(client)
		}
		if first := f.first; first != nil {
			stop := context.AfterFunc(client, func() {
				first.Close()
				cancel() // the parent may have nothing to send for long
			})
			defer stop()
		}
		f.body.release()
	}
	if f.response != nil && f.response.At(reply.Received) != httpcache.Fresh {
		leave() // those who wait may have it; who comes later than the head may not
	}
	if reply.Length != 0 {
		tell(nil)
	}
	err = f.carry(ctx, reply.Body, &spec, limit, leave)
	if err != nil {
		leave() // before the readers know: who comes after the break tries anew
	}
	f.keep(&spec, err)
	leave() // before anybody has the whole: who asks after that is answered from the store
	f.body.finish(err)
	tell(nil) // with an empty body, whoever has the head has the whole: it is stored first
}

// loader is how the readers get slices back; nil when the body must not be cut.
func (f *Fill) loader(spec *Spec) func(context.Context, int64) (response.Body, error) {
	if r := f.response; spec.Cut != nil && r != nil && r.Kind == response.Content && !r.Transient {
		load := spec.Load
		return func(ctx context.Context, n int64) (response.Body, error) { return load(ctx, r, n) }
	}
	return nil
}

// carry moves the body into the buffer until its end, and slices out of it.
func (f *Fill) carry(ctx context.Context, from io.Reader, spec *Spec, limit int64, leave func()) error {
	b := f.body
	for {
		space, err := b.room(ctx)
		if err != nil {
			return err
		}
		n, err := from.Read(space)
		if err := b.commit(n); err != nil {
			return err
		}
		if b.fate() != passing && b.size() > limit {
			leave()
			b.release()
		}
		f.cut(spec, false)
		if err == io.EOF {
			if b.fate() != passing && b.length >= 0 && b.size() < b.length {
				return io.ErrUnexpectedEOF
			}
			f.cut(spec, true)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// cut hands slices over that are complete.
func (f *Fill) cut(spec *Spec, ended bool) {
	for {
		n, data := f.body.uncut(ended)
		if data == nil {
			return
		}
		spec.Cut(f.response, n, data)
	}
}

// keep stores what has come of a body; err is why it has ended early.
func (f *Fill) keep(spec *Spec, err error) {
	if f.response == nil {
		return
	}
	fate := f.body.fate()
	switch {
	case err == nil && fate == keeping:
		spec.Keep(f.response.WithBody(response.Memory(f.body.whole())))
	case err == nil && fate == cutting:
		spec.Keep(f.sliced(f.body.size()))
	case errors.Is(err, errUnwanted) && f.body.length >= 0 && spec.Cease != nil:
		spec.Cease(f.sliced(f.body.length))
	}
}

// sliced is the head of a body that was cut.
func (f *Fill) sliced(total int64) *response.Response {
	r := f.response.WithBody(nil)
	r.Kind, r.Complete = response.Sliced, total
	return r
}
