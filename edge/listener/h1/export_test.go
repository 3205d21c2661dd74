package h1

// Spoil has the server overwrite what belonged to a request once it is answered.
func (s *Server) Spoil() { s.scribble = true }

// Works has every connection get a work that nobody had before.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.conns)
}
