package upstream

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"

	"freshet/edge/response"
)

// copySize is the piece in which a reader writes what it finds in RAM, in bytes. It is
// small, and the reader's own: what a slow writer holds on to is not the fill's memory.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// bodyReader is one reader of a buffer: an io.WriterTo that gives each piece to the
// writer as soon as it is there, and slices that it has to load the way their bodies
// write themselves. Reads block until there are bytes, the body ends, or ctx does. A
// body that has broken off ends with an error.
type bodyReader struct {
	buffer *buffer
	ctx    context.Context
	offset int64 // guarded by the buffer's lock
	closed bool  // likewise

	// The slice that is read because the window has left it behind; nil for none.
	loaded io.ReadCloser
	left   int64 // bytes of it
}

// Read reads from the window, else from a slice that it loads.
func (r *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.loaded == nil {
		n, behind, err := r.next(p)
		if !behind {
			return n, err
		}
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.readLoaded(p)
	if n > 0 || err == nil {
		return n, nil
	}
	// The store may have found out only now that it is damaged.
	if err := r.open(); err != nil {
		return 0, err
	}
	if n, err = r.readLoaded(p); n > 0 {
		return n, nil
	}
	return 0, err
}

// readLoaded reads from the loaded slice; an error comes without bytes.
func (r *bodyReader) readLoaded(p []byte) (int, error) {
	n, err := r.loaded.Read(p[:min(int64(len(p)), r.left)])
	r.past(int64(n))
	if n == 0 && err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, fmt.Errorf("read a slice back: %w", err)
	}
	return n, nil
}

// past counts bytes of the loaded slice as read, and closes it after the last.
func (r *bodyReader) past(n int64) {
	if r.left -= n; r.left == 0 {
		r.unload()
	}
	r.buffer.mu.Lock()
	defer r.buffer.mu.Unlock()
	r.advance(n)
}

// advance moves the reader; the caller holds the buffer's lock.
func (r *bodyReader) advance(n int64) {
	r.offset += n
	if r.offset >= r.buffer.mu.need {
		wake(&r.buffer.mu.less)
	}
}

// next reads what the window has at the reader's offset, and waits for it if it has
// not come yet; behind tells that it has gone.
func (r *bodyReader) next(p []byte) (n int, behind bool, err error) {
	b := r.buffer
	b.mu.Lock()
	for {
		if r.closed {
			b.mu.Unlock()
			return 0, false, cmp.Or(context.Cause(r.ctx), errClosed)
		}
		if r.offset < b.mu.base {
			b.mu.Unlock()
			return 0, true, nil
		}
		if r.offset < b.mu.end-b.mu.hidden {
			break
		}
		if b.mu.done {
			err = b.mu.err
			if err == nil {
				err = io.EOF
			}
			if r.offset > b.mu.end && err == io.EOF {
				err = io.ErrUnexpectedEOF // of what was left out
			}
			b.mu.Unlock()
			return 0, false, err
		}
		c := wait(&b.mu.more)
		b.mu.Unlock()
		select {
		case <-c:
		case <-r.ctx.Done():
			return 0, false, context.Cause(r.ctx)
		}
		b.mu.Lock()
	}
	have := r.found()
	have = have[:min(len(have), len(p))]
	r.advance(int64(len(have)))
	b.mu.Unlock()
	return copy(p, have), false, nil
}

// found is what there is of one chunk at the reader's offset, at least one byte; the
// caller holds the buffer's lock.
func (r *bodyReader) found() []byte {
	b := r.buffer
	at := r.offset - b.mu.base
	visible := b.mu.end - b.mu.hidden - b.mu.base
	for _, chunk := range b.mu.chunks {
		if n := int64(len(chunk)); at >= n {
			at, visible = at-n, visible-n
			continue
		}
		return chunk[at:min(int64(len(chunk)), visible)]
	}
	return nil
}

// open loads the slice at the reader's offset. A body that the store has let go of
// meanwhile is asked for once more.
func (r *bodyReader) open() error {
	r.unload()
	b := r.buffer
	b.mu.Lock()
	offset, size := r.offset, int64(response.SliceSize)
	n := offset / response.SliceSize
	if b.mu.done {
		size = min(size, b.mu.end-n*response.SliceSize)
	}
	b.mu.Unlock()
	if b.load == nil {
		return errClosed
	}
	for try := 1; ; try++ {
		body, err := b.load(r.ctx, n)
		if err == nil && body.Len() != size {
			err = fmt.Errorf("it has %d bytes instead of %d", body.Len(), size)
		}
		if err != nil {
			return fmt.Errorf("load slice %d: %w", n, err)
		}
		within := offset % response.SliceSize
		r.loaded, err = body.Open(within, size-within)
		if err == nil {
			r.left = size - within
			return nil
		}
		r.loaded = nil
		if try == 2 {
			return fmt.Errorf("open slice %d: %w", n, err)
		}
	}
}

// unload closes the loaded slice.
func (r *bodyReader) unload() {
	if r.loaded != nil {
		r.loaded.Close()
		r.loaded, r.left = nil, 0
	}
}

// WriteTo writes the rest of the body.
func (r *bodyReader) WriteTo(w io.Writer) (written int64, err error) {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for {
		var n int64
		if direct, ok := r.loaded.(io.WriterTo); ok {
			n, err = r.writeLoaded(w, direct)
		} else {
			var got int
			if got, err = r.piece(buf[:]); got > 0 {
				n, err = writeAll(w, buf[:got])
			}
		}
		written += n
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
	}
}

// piece is Read, but for what a slice can write better itself: that it loads only.
func (r *bodyReader) piece(p []byte) (int, error) {
	if r.loaded == nil {
		n, behind, err := r.next(p)
		if !behind {
			return n, err
		}
		if err := r.open(); err != nil {
			return 0, err
		}
		if _, ok := r.loaded.(io.WriterTo); ok {
			return 0, nil
		}
	}
	return r.Read(p)
}

// writeLoaded lets the loaded slice write itself.
func (r *bodyReader) writeLoaded(w io.Writer, direct io.WriterTo) (int64, error) {
	want := r.left
	n, err := direct.WriteTo(w)
	if err == nil && n != want {
		err = io.ErrUnexpectedEOF
	}
	r.past(min(n, want))
	if err != nil {
		return n, fmt.Errorf("write a slice: %w", err)
	}
	return n, nil
}

// writeAll writes p, of which a writer may not leave anything out in silence.
func writeAll(w io.Writer, p []byte) (int64, error) {
	n, err := w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return int64(n), err
}

// Skip leaves out the next n bytes, which neither have to be there yet nor are asked
// of anybody for this reader.
func (r *bodyReader) Skip(n int64) error {
	if n < 0 {
		return fmt.Errorf("skip %d bytes", n)
	}
	if n > 0 {
		r.unload()
	}
	r.buffer.mu.Lock()
	defer r.buffer.mu.Unlock()
	r.advance(n)
	return nil
}

// Close says that the reader wants no more.
func (r *bodyReader) Close() error {
	r.unload()
	b := r.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(r)
	return nil
}
