package upstream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"freshet/edge/response"
)

// Bounds of what a body under way holds in RAM.
const (
	// window is how far the sender of a body that is not kept may run ahead of its slowest
	// reader, in bytes.
	window = 1 << 20
	// passChunk is how much of such a body is let go at a time, in bytes.
	passChunk = window / 4
	// windowSlices is how many slices of a body that is cut lie in RAM, with the one under way.
	windowSlices = 3
	// firstRoom is the room that a body starts with whose length is not known, in bytes.
	firstRoom = 64 << 10
	// smallRest is what may be missing of a body that nobody waits for any more so that the
	// fill goes on for the sake of the store, in bytes.
	smallRest = 4 << 20
)

// Why a fill ends before its body does.
var (
	errAbandoned = errors.New("nobody is left to read the body")
	errUnwanted  = errors.New("nobody is left to want the rest of the body")
	errTooLong   = errors.New("the body is longer than its head says")
	errClosed    = errors.New("the body has been closed")
)

// mode is what becomes of a body under way.
type mode uint8

const (
	keeping mode = iota // all of it stays in RAM, in one chunk
	cutting             // it is kept in slices: a window of them stays in RAM
	passing             // it is not kept: what every reader has had is let go
)

// buffer is a body on its way: one goroutine fills it, any number read it, each at its
// own pace. What it holds is in chunks, consecutive from base on. Bytes once committed
// never change, so that they can be read without the lock.
//
// A short body is kept as one chunk. A longer one is cut: its chunks are slices, handed
// over as they fill up, and the filler keeps the window over the fastest reader; the
// others load what has left the window. One that is not kept waits for the slowest.
type buffer struct {
	length   int64         // expected in all; -1 when not known
	cuttable bool          // a body longer than a slice is to be cut
	persist  bool          // it is fetched for the store, not for a client
	held     *atomic.Int64 // capacity of the chunks of all buffers of a group
	load     func(ctx context.Context, n int64) (response.Body, error)
	beyond   [1]byte // room to find out that a body has ended

	mu struct {
		sync.Mutex
		mode    mode
		chunks  [][]byte
		base    int64
		end     int64 // bytes committed
		hidden  int64 // bytes before end that readers do not see yet
		cut     int64 // slices handed over
		clients int   // who may still want the body, readers or not
		stopped bool  // with cutting: for want of clients
		done    bool
		err     error // with done: why the body broke off; nil for a whole one
		charged int64 // this buffer's part of held
		readers map[*bodyReader]struct{}
		sole    *bodyReader // that of the one client of a body that is not kept, also before he asks for it

		more chan struct{} // closed when readers may go on; nil when none waits
		less chan struct{} // closed when the filler may go on; nil when it does not wait
		need int64         // the offset that some reader has to reach for that
	}
}

// newBuffer makes the buffer of a fill that so many clients wait for. It knows nothing
// of its body before begin.
func newBuffer(held *atomic.Int64, clients int) *buffer {
	b := &buffer{length: -1, persist: clients == 0, held: held}
	b.mu.clients = clients
	b.mu.readers = make(map[*bodyReader]struct{})
	return b
}

// begin says what is about to arrive; load is nil unless the body may be cut.
func (b *buffer) begin(length int64, load func(ctx context.Context, n int64) (response.Body, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.length, b.load, b.cuttable = length, load, load != nil
	if b.cuttable && length > response.SliceSize {
		b.mu.mode = cutting
	}
}

// join counts one more client.
func (b *buffer) join() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.clients++
}

// leave counts one less; a filler that waits has to know. Nobody closes the sole reader
// of a client who leaves without having asked for it.
func (b *buffer) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.clients--
	if b.mu.clients == 0 && b.mu.sole != nil {
		b.end(b.mu.sole)
	}
	wake(&b.mu.less)
}

// end takes a reader away; the caller holds the lock.
func (b *buffer) end(r *bodyReader) {
	r.closed = true
	delete(b.mu.readers, r)
	wake(&b.mu.less)
	wake(&b.mu.more) // itself, if it reads
	b.settle()
}

// wake wakes those who wait on a channel of the buffer; the caller holds the lock.
func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// wait gives the channel to wait on; the caller holds the lock.
func wait(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

// commit makes n bytes, written to the start of room's space, part of the body. The
// last bytes of a body that is kept are hidden from its readers until it is finished,
// so that nobody has the whole before it is stored.
func (b *buffer) commit(n int) error {
	if n == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.length >= 0 && b.mu.end+int64(n) > b.length {
		return errTooLong
	}
	last := &b.mu.chunks[len(b.mu.chunks)-1]
	*last = (*last)[:len(*last)+n]
	b.mu.end += int64(n)
	if b.mu.mode == keeping && b.cuttable && b.mu.end > response.SliceSize {
		b.mu.mode = cutting
	}
	if b.mu.mode != passing && b.mu.end == b.length {
		b.mu.hidden += int64(n)
		return nil
	}
	wake(&b.mu.more)
	return nil
}

// uncut is the next slice to hand over, if there is one: a full one, or at the end of
// the body the rest.
func (b *buffer) uncut(ended bool) (n int64, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.mu.cut - b.mu.base/response.SliceSize
	if b.mu.mode != cutting || i >= int64(len(b.mu.chunks)) {
		return 0, nil
	}
	data = b.mu.chunks[i]
	if len(data) < response.SliceSize && !ended || len(data) == 0 {
		return 0, nil
	}
	n = b.mu.cut
	b.mu.cut++
	return n, fit(data)
}

// fit is data in memory of about its size.
func fit(data []byte) []byte {
	if cap(data)-len(data) > len(data)/8 {
		return append(make([]byte, 0, len(data)), data...)
	}
	return data[:len(data):len(data)]
}

// whole is the body of a finished buffer that was kept in one piece.
func (b *buffer) whole() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.chunks) == 0 {
		return []byte{}
	}
	return fit(b.mu.chunks[0])
}

// size is the number of bytes committed so far.
func (b *buffer) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.end
}

// fate is what becomes of the body, as far as is known.
func (b *buffer) fate() mode {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.mode
}

// waits reports whether the filler waits for readers.
func (b *buffer) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.less != nil
}

// release ends keeping.
func (b *buffer) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.mode, b.mu.hidden = passing, 0
	wake(&b.mu.more)
}

// finish ends the body: whole if err is nil, else broken off.
func (b *buffer) finish(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.done, b.mu.err, b.mu.hidden = true, err, 0
	wake(&b.mu.more)
	b.settle()
}

// settle lets go of what nobody will read here any more once the body has ended; the
// caller holds the lock. A body in one piece is from then on its store's to account for.
func (b *buffer) settle() {
	if !b.mu.done || len(b.mu.readers) > 0 {
		return
	}
	if b.mu.mode != keeping {
		b.mu.chunks, b.mu.base = nil, b.mu.end
	}
	b.charge(-b.mu.charged)
}

// charge accounts for n bytes more; the caller holds the lock.
func (b *buffer) charge(n int64) {
	b.mu.charged += n
	b.held.Add(n)
}

// reader reads the body from its start. It is nil when the start has been let go for
// good or the body has broken off; stopped tells a body apart that nobody wanted when
// its fill was last asked.
func (b *buffer) reader(ctx context.Context) (r *bodyReader, stopped bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.stopped:
		return nil, true
	case b.mu.done && b.mu.err != nil, b.mu.mode == passing && b.mu.base > 0:
		return nil, false
	}
	return b.addReader(ctx), false
}

// addReader makes a reader; the caller holds the lock.
func (b *buffer) addReader(ctx context.Context) *bodyReader {
	r := &bodyReader{buffer: b, ctx: ctx}
	b.mu.readers[r] = struct{}{}
	return r
}

// soleReader makes the one reader of a body that is not kept, before it begins; nil if
// nobody is left to want it.
func (b *buffer) soleReader(ctx context.Context) *bodyReader {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.clients == 0 {
		return nil
	}
	b.mu.sole = b.addReader(ctx)
	return b.mu.sole
}
