package guard

import "time"

// seconds counts those that pass: it goes on from where it was when the time of day is set
// back, so that what it is compared with does not stay new for as long as that.
type seconds struct {
	now    func() time.Time
	seen   time.Time
	passed time.Duration
}

func (s *seconds) init(now func() time.Time) { s.now, s.seen = now, now() }

// count is how many have passed since init. The owner has it locked.
func (s *seconds) count() int64 {
	now := s.now()
	s.passed += max(0, now.Sub(s.seen))
	s.seen = now
	return int64(s.passed / time.Second)
}
