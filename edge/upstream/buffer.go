package upstream

import (
	"context"
	"errors"
	"io"
	"sync"
)

// window is how far the sender of a body that is not kept may run ahead of its
// slowest reader, in bytes.
const window = 1 << 20

// firstRoom is the room that a body of unknown length starts with, in bytes.
const firstRoom = 64 << 10

// errAbandoned ends a body that nobody reads and nobody keeps.
var errAbandoned = errors.New("nobody is left to read the body")

// buffer is a body on its way: one goroutine fills it, any number read it, each at
// its own pace. While it is kept all of it stays in RAM, up to a limit that the
// filler watches; once it is not, what every reader has had is let go and the
// filler waits for the slowest.
type buffer struct {
	length int64 // expected in all; -1 when not known

	mu struct {
		sync.Mutex
		data    []byte // from base on; bytes below len never change
		base    int64
		hidden  int // bytes at the end of data that readers do not see yet
		kept    bool
		done    bool
		err     error // with done: why the body broke off; nil for a whole one
		wake    chan struct{}
		readers map[*bodyReader]struct{}
	}
}

func newBuffer(length int64) *buffer {
	b := &buffer{length: length}
	b.mu.kept = true
	b.mu.wake = make(chan struct{})
	b.mu.readers = make(map[*bodyReader]struct{})
	return b
}

// signal wakes everybody who waits; the caller holds the lock.
func (b *buffer) signal() {
	close(b.mu.wake)
	b.mu.wake = make(chan struct{})
}

// room returns free space to read into, at least one byte. It blocks while the
// body is not kept and a reader is a window behind; errAbandoned when it is not
// kept and nobody reads, ctx's error when that ends.
func (b *buffer) room(ctx context.Context) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.mu.kept {
		if len(b.mu.readers) == 0 {
			return nil, errAbandoned
		}
		b.trim()
		if len(b.mu.data) < window {
			break
		}
		wake := b.mu.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
		}
		b.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if n := len(b.mu.data); n == cap(b.mu.data) {
		size := max(2*n, firstRoom)
		if rest := b.length - b.mu.base - int64(n); b.length >= 0 && rest > 0 {
			size = n + int(min(rest, int64(size-n)))
		}
		grown := make([]byte, n, size)
		copy(grown, b.mu.data)
		b.mu.data = grown
	}
	return b.mu.data[len(b.mu.data):cap(b.mu.data)], nil
}

// trim lets go of what every reader has had; the caller holds the lock. It does so
// a quarter of the window at a time, because what is left is copied.
func (b *buffer) trim() {
	low := b.mu.base + int64(len(b.mu.data))
	for r := range b.mu.readers {
		low = min(low, r.offset)
	}
	if n := low - b.mu.base; n >= window/4 {
		b.mu.data = append(make([]byte, 0, window+firstRoom), b.mu.data[n:]...)
		b.mu.base = low
	}
}

// commit makes n bytes, written to the start of room's space, part of the body.
// The last bytes of a body that is kept are hidden from its readers until it is
// finished, so that nobody has the whole before it is stored.
func (b *buffer) commit(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.data = b.mu.data[:len(b.mu.data)+n]
	if b.mu.kept && b.mu.base+int64(len(b.mu.data)) == b.length {
		b.mu.hidden += n
		return
	}
	b.signal()
}

// size is the number of bytes committed so far.
func (b *buffer) size() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.base + int64(len(b.mu.data))
}

// kept reports whether all of the body is still held.
func (b *buffer) kept() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.kept
}

// release ends keeping.
func (b *buffer) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.kept, b.mu.hidden = false, 0
	b.signal()
}

// finish ends the body: whole if err is nil, else broken off.
func (b *buffer) finish(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.done, b.mu.err, b.mu.hidden = true, err, 0
	b.signal()
}

// whole is the body of a finished buffer that was kept, in memory of its size.
func (b *buffer) whole() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data := b.mu.data; cap(data)-len(data) > len(data)/8 {
		return append(make([]byte, 0, len(data)), data...)
	}
	return b.mu.data
}

// reader reads the body from its start; false when the start has been let go.
func (b *buffer) reader(ctx context.Context) (*bodyReader, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.base > 0 {
		return nil, false
	}
	r := &bodyReader{buffer: b, ctx: ctx}
	b.mu.readers[r] = struct{}{}
	return r, true
}

// bodyReader is one reader of a buffer. Read blocks until there are bytes, the
// body ends, or ctx does.
type bodyReader struct {
	buffer *buffer
	ctx    context.Context
	offset int64 // guarded by the buffer's lock
}

func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.buffer
	for {
		b.mu.Lock()
		have := b.mu.data[r.offset-b.mu.base : len(b.mu.data)-b.mu.hidden]
		if len(have) > 0 {
			n := copy(p, have)
			r.offset += int64(n)
			if !b.mu.kept {
				b.signal()
			}
			b.mu.Unlock()
			return n, nil
		}
		done, err, wake := b.mu.done, b.mu.err, b.mu.wake
		b.mu.Unlock()
		if done {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		select {
		case <-wake:
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
}

// Close says that the reader wants no more.
func (r *bodyReader) Close() error {
	b := r.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.readers, r)
	b.signal()
	return nil
}

// Skip leaves out the next n bytes, which neither have to be there yet nor are asked
// of anybody for this reader.
func (r *bodyReader) Skip(n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	return err
}
