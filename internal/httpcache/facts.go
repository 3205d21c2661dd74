package httpcache

import "time"

// Facts are what the later decisions need of a stored response, computed once when
// it arrives and stored with it.
type Facts struct {
	Freshness
	ETag         string    // as it stands in the field, W/ and quotes included; "" for none, several or a malformed one (RFC 9110 §8.8.3)
	LastModified time.Time // zero for none or a malformed one
	Date         time.Time // of the message (RFC 9110 §6.6.1), else Received
	// Withheld are the fields that must be removed before the response is stored;
	// the client that it was fetched for gets them.
	Withheld    []string
	NoTransform bool // RFC 9111 §5.2.2.6: no other content coding may be made of it
	Immutable   bool // RFC 8246: it does not change within its lifetime
}

// HasValidator reports whether the response can be validated (RFC 9110 §8.8).
func (f *Facts) HasValidator() bool { return f.ETag != "" || !f.LastModified.IsZero() }

// Shareable reports whether a response may be given, when it arrives, to others
// that were waiting for the same: it has to be usable for them without validation
// (RFC 9111 §4, collapsed requests).
func (f *Facts) Shareable() bool { return f.At(f.Received) <= Revalidate }

// ExpiredAt is f as it is if something else than its age has made it stale at a
// moment (a soft mark): its stale windows count from then on.
func (f Facts) ExpiredAt(at time.Time) Facts {
	f.Lifetime = min(f.Lifetime, max(f.InitialAge, 0)+at.Sub(f.Received)) // negative, where it was received after that
	return f
}
