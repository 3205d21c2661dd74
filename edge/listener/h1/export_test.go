package h1

import "freshet/internal/header"

// Spoil has the server overwrite what belonged to a request once it is answered.
func (s *Server) Spoil() { s.scribble = true }

// Conns is how many connections are open.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.conns)
}

// Read has the recogniser read the request at the beginning of b.
func Read(b []byte) (r Recognised, size int, ok bool) {
	var h head
	size, v := h.read(b, header.MaxBytes, header.MaxFields)
	if v != accepted {
		return r, 0, false
	}
	r = Recognised{Method: "GET", Host: h.host, Port: h.port, Target: h.target, Last: h.last, Header: &h.fields}
	if h.head {
		r.Method = "HEAD"
	}
	return r, size, true
}

// Incomplete reports whether the recogniser wants to see more than b.
func Incomplete(b []byte) bool {
	var h head
	_, v := h.read(b, header.MaxBytes, header.MaxFields)
	return v == incomplete
}

// Recognised is a request that the recogniser accepts.
type Recognised struct {
	Method, Host, Port, Target string
	Last                       bool
	Header                     *header.Block
}

// Sendfile is what has the kernel copy.
var Sendfile = &sendfile
