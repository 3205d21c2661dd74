package h2

import (
	"io"
	"net"
	"sync"
)

// Buffers of input, in bytes. Most heads are small: an idle connection keeps the small
// one, and takes a large one while much is coming in or a frame needs it.
const (
	smallInput = 2 << 10
	largeInput = 32 << 10 // holds the largest frame that we allow
)

var largeInputs = sync.Pool{New: func() any { return new([largeInput]byte) }}

// phase is where in its input a connection is.
type phase uint8

const (
	atBoundary phase = iota // between two frames
	inFrame                 // within one that has to come to its end soon
	inBody                  // within one that carries a body, which may take its time
)

// input is what has been read from a connection and not been looked at yet.
type input struct {
	conn  net.Conn
	block func() error      // called when nothing is left, before a read that may block
	woken func(error) error // called with an error of reading, which it may forgive

	small []byte
	large *[largeInput]byte // nil: small is in use
	r, w  int               // what is unread in it
	full  bool              // the last read filled it: there is probably more
	phase phase
	reads uint64 // from the connection that brought something
}

func (in *input) buf() []byte {
	if in.large != nil {
		return in.large[:]
	}
	return in.small
}

func (in *input) buffered() int { return in.w - in.r }

// release gives the large buffer back. Nothing may be unread.
func (in *input) release() {
	if in.large != nil {
		largeInputs.Put(in.large)
		in.large = nil
	}
	in.r, in.w = 0, 0
}

// room makes sure that n bytes can lie in the buffer as one piece, of which those that
// are unread are the first.
func (in *input) room(n int) {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.r+n <= len(in.buf()) {
		return
	}
	unread := in.buf()[in.r:in.w]
	if n > len(in.buf()) {
		in.large = largeInputs.Get().(*[largeInput]byte)
	}
	in.w = copy(in.buf(), unread)
	in.r = 0
}

// fill reads once from the connection, until something comes.
func (in *input) fill() error {
	if in.r == in.w {
		in.r, in.w = 0, 0
		if err := in.block(); err != nil {
			return err
		}
		switch {
		case in.full:
			in.room(largeInput)
		case in.phase == atBoundary:
			in.release()
		}
	} else if err := in.block(); err != nil {
		return err
	}
	for {
		n, err := in.conn.Read(in.buf()[in.w:])
		in.w += n
		if n > 0 {
			in.full = in.w == len(in.buf())
			in.reads++
			return in.woken(nil)
		}
		if err == nil {
			continue
		}
		if err = in.woken(err); err != nil {
			return err
		}
		if err = in.block(); err != nil {
			return err
		}
	}
}

// next takes n bytes, at most largeInput, as one piece. They stay until the next call.
func (in *input) next(n int) ([]byte, error) {
	if in.buffered() < n {
		in.room(n)
	}
	for in.buffered() < n {
		if err := in.fill(); err != nil {
			return nil, noEOF(err)
		}
	}
	p := in.buf()[in.r : in.r+n]
	in.r += n
	return p, nil
}

// some takes what there is, at most n bytes and at least one, waiting for it if need be.
func (in *input) some(n int) ([]byte, error) {
	if in.buffered() == 0 {
		if err := in.fill(); err != nil {
			return nil, noEOF(err)
		}
	}
	n = min(n, in.buffered())
	p := in.buf()[in.r : in.r+n]
	in.r += n
	return p, nil
}

// Read is for the Framer, which reads the heads of frames and the rarer ones whole.
func (in *input) Read(p []byte) (int, error) {
	if in.buffered() == 0 {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf()[in.r:in.w])
	in.r += n
	if in.phase == atBoundary {
		in.phase = inFrame
	}
	return n, nil
}

// noEOF: an end that comes too early is an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
