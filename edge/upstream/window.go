package upstream

import (
	"context"

	"freshet/edge/response"
)

// room returns free space to read into, at least one byte. It blocks while a reader
// has to come closer first: the fastest one of a body that is cut, as long as it has
// clients, the slowest of one that is not kept. It fails with ctx's error when that
// ends, with errAbandoned when nobody reads a body that is not kept, and with
// errUnwanted after a slice when nobody wants a body that is cut.
func (b *buffer) room(ctx context.Context) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		if b.mu.mode == passing && len(b.mu.readers) == 0 {
			return nil, errAbandoned
		}
		if b.mu.end == b.length {
			return b.beyond[:], nil
		}
		if n := len(b.mu.chunks); n > 0 {
			if last := b.mu.chunks[n-1]; len(last) < cap(last) {
				return last[len(last):cap(last)], nil
			}
		}
		ready, err := b.extend()
		if err != nil {
			return nil, err
		}
		if ready {
			continue
		}
		c := wait(&b.mu.less)
		b.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
		}
		b.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// extend makes room where all that there is is full; the caller holds the lock. It is
// not ready while readers have to get to need.
func (b *buffer) extend() (ready bool, err error) {
	switch b.mu.mode {
	case keeping:
		b.grow()
		return true, nil
	case cutting:
		return b.slide()
	default:
		return b.follow(), nil
	}
}

// rest is the room that the rest of the body needs, at most n bytes.
func (b *buffer) rest(n int64) int64 {
	if b.length >= 0 {
		return min(n, b.length-b.mu.end)
	}
	return n
}

// add appends an empty chunk.
func (b *buffer) add(size int64) {
	b.mu.chunks = append(b.mu.chunks, make([]byte, 0, size))
	b.charge(size)
}

// drop lets go of the first chunk.
func (b *buffer) drop() {
	first := b.mu.chunks[0]
	b.charge(-int64(cap(first)))
	b.mu.chunks[0] = nil
	b.mu.chunks = b.mu.chunks[1:]
	b.mu.base += int64(len(first))
}

// grow makes room in a body that is kept: in its one chunk, or where that is a slice
// already in a second one, which is how it turns out whether there is more.
func (b *buffer) grow() {
	if len(b.mu.chunks) == 0 {
		if b.length < 0 || b.length > response.SliceSize {
			b.add(firstRoom)
		} else {
			b.add(b.length)
		}
		return
	}
	was := b.mu.chunks[0]
	size := int64(2 * cap(was))
	if b.cuttable {
		if cap(was) >= response.SliceSize {
			b.add(response.SliceSize)
			return
		}
		size = min(size, response.SliceSize)
	}
	size = int64(len(was)) + b.rest(size-int64(len(was)))
	b.mu.chunks[0] = append(make([]byte, 0, size), was...)
	b.charge(size - int64(cap(was)))
}

// slide makes room for the next slice of a body that is cut, by way of the oldest one.
// All that are full have been handed over.
func (b *buffer) slide() (ready bool, err error) {
	if b.mu.clients == 0 && !b.persist && (b.length < 0 || b.length-b.mu.end > smallRest) {
		b.mu.stopped = true
		return false, errUnwanted
	}
	if len(b.mu.chunks) >= windowSlices {
		if b.mu.need = b.mu.base + response.SliceSize; b.mu.clients > 0 && b.fastest() < b.mu.need {
			return false, nil
		}
		b.drop()
	}
	b.add(b.rest(response.SliceSize))
	return true, nil
}

// follow makes room in a body that is not kept, by way of what every reader has had.
func (b *buffer) follow() (ready bool) {
	slowest := b.slowest()
	for len(b.mu.chunks) > 0 && b.mu.base+int64(len(b.mu.chunks[0])) <= slowest {
		b.drop()
	}
	if b.mu.end-b.mu.base >= window {
		b.mu.need = b.mu.base + int64(len(b.mu.chunks[0]))
		return false
	}
	if b.mu.end == 0 {
		b.add(b.rest(firstRoom)) // most bodies, and those that trickle, need no more
	} else {
		b.add(b.rest(passChunk))
	}
	return true
}

// fastest is the offset of the reader that is furthest; 0 without readers.
func (b *buffer) fastest() (offset int64) {
	for r := range b.mu.readers {
		offset = max(offset, r.offset)
	}
	return offset
}

// slowest is the offset of the reader that is least far; the end without readers.
func (b *buffer) slowest() int64 {
	offset := b.mu.end
	for r := range b.mu.readers {
		offset = min(offset, r.offset)
	}
	return offset
}
