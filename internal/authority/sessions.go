package authority

import (
	"crypto/tls"
	"sync"
	"time"
)

// sessions are those by which a client resumes. A session speaks of the certificate that
// the other end had when it began: it is forgotten before that ends, and when it is no
// longer known whom to trust, so that a full handshake takes its place rather than an
// error. It is safe for use from any goroutine.
type sessions struct {
	id *Identity
	mu struct {
		sync.Mutex
		cache tls.ClientSessionCache
		state *state    // when they began
		until time.Time // the first of the certificates ends then; zero while there is none
	}
}

// maxSessions is how many are kept for one node, or one role.
const maxSessions = 8

// seen is told of a certificate that a session may begin with.
func (s *sessions) seen(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	if s.mu.until.IsZero() || until.Before(s.mu.until) {
		s.mu.until = until
	}
}

func (s *sessions) Get(key string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.mu.cache.Get(key)
}

func (s *sessions) Put(key string, session *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	if s.mu.until.IsZero() {
		session = nil // of a handshake before the last refresh
	}
	s.mu.cache.Put(key, session)
}

// refresh forgets all if it is time to. s.mu is held.
func (s *sessions) refresh() {
	now := s.id.state.Load()
	if s.mu.cache == nil || s.mu.state != now || !s.mu.until.IsZero() && !s.id.now().Before(s.mu.until) {
		s.mu.cache, s.mu.state, s.mu.until = tls.NewLRUClientSessionCache(maxSessions), now, time.Time{}
	}
}
