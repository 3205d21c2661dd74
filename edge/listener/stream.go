package listener

import (
	"io"
	"net/http"

	"freshet/edge/listener/outlet"
)

// stream sends a body of length bytes, -1 when that is not known.
func (to *responder) stream(body io.Reader, length int64) error {
	return outlet.Send(sink{ResponseWriter: to.w, control: http.NewResponseController(to.w)}, body, length)
}

// sink has net/http send the pieces of a body.
type sink struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Flush sends what net/http keeps back.
func (s sink) Flush() error { return s.control.Flush() }

// SendFile leaves a file to the kernel on plain connections of HTTP/1.1.
func (s sink) SendFile(from *io.LimitedReader) (n int64, ok bool, err error) {
	to, ok := s.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return 0, false, nil
	}
	n, err = to.ReadFrom(from)
	return n, true, err
}
