package edge

import (
	"fmt"
	"io"

	"freshet/edge/response"
	"freshet/internal/httpcache"
)

// slicedReader reads a span of a content in slices, one after the other: a slice is
// looked for, or fetched, when the one before it has been read.
type slicedReader struct {
	of   *sliced
	left httpcache.Span
	src  *source // nil between two
	last int64   // bytes of the last Read, which its caller has passed on by the next
}

// next makes sure that there is a source.
func (r *slicedReader) next() error {
	if r.left.Len() <= 0 {
		return io.EOF
	}
	if r.src != nil {
		return nil
	}
	src, err := r.of.at(r.left.Start, r.left.End)
	if err != nil {
		return fmt.Errorf("slice %d: %w", r.left.Start/response.SliceSize, err)
	}
	r.src = src
	if stop := r.left.Start + src.left; src.arrives() && stop%response.SliceSize == 0 {
		r.of.lookAhead(stop/response.SliceSize, r.left.End)
	}
	return nil
}

// passed counts n bytes of the source as read, and closes it after the last.
func (r *slicedReader) passed(n int64) {
	r.left.Start += n
	if r.src.left -= n; r.src.left == 0 {
		r.src.Close()
		r.src = nil
	}
}

// Read reads from one slice.
func (r *slicedReader) Read(p []byte) (int, error) {
	r.of.account.handed(r.last)
	r.last = 0
	if err := r.next(); err != nil {
		return 0, err
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.src.left)])
	r.passed(int64(n))
	switch {
	case r.src == nil:
		err = nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	r.last = int64(n)
	return n, err
}

// WriteTo writes the rest, slice by slice, the way the slices' bodies write themselves.
func (r *slicedReader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		switch err := r.next(); err {
		case nil:
		case io.EOF:
			return written, nil
		default:
			return written, err
		}
		n, err := r.src.writeTo(w)
		r.passed(n)
		r.of.account.handed(n)
		written += n
		if err != nil {
			return written, err
		}
	}
}

// writeTo writes what is left of a source.
func (s *source) writeTo(w io.Writer) (int64, error) {
	from, ok := s.ReadCloser.(io.WriterTo)
	if f, isFill := s.ReadCloser.(fillReader); isFill {
		from, ok = f.ReadCloser.(io.WriterTo)
	}
	if !ok || !s.exact {
		n, err := io.CopyN(w, s.ReadCloser, s.left)
		return n, noEOF(err)
	}
	left := s.left
	n, err := from.WriteTo(w)
	if err == nil && n != left {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close lets go of what is being read.
func (r *slicedReader) Close() error {
	r.last = 0
	r.of.lookAway()
	if r.src == nil {
		return nil
	}
	src := r.src
	r.src, r.left = nil, httpcache.Span{}
	return src.Close()
}
