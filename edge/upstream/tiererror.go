package upstream

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// TierError is a tier's word that it has no answer, and why: of its own making, not the
// origin's. It is an ErrBusy where those above it have all that they may be asked.
type TierError struct {
	Parent Parent
	Status int           // 502, 503 or 504
	Reason string        // error type of RFC 9209 §2.3
	After  time.Duration // when there is sense in coming again; 0 says nothing
	Said   string        // the Proxy-Status, of it and those above it; "" for one that is too long
}

// maxSaid bounds what of Proxy-Status is handed on.
const maxSaid = 512

// busyReason is how a tier says that its limits are reached.
const busyReason = "connection_limit_reached"

// Error says what the tier says.
func (e *TierError) Error() string {
	return fmt.Sprintf("%s answers %d: %s", e.Parent, e.Status, e.Reason)
}

// Is makes it an ErrBusy, or an ErrUnreachable.
func (e *TierError) Is(target error) bool {
	if e.Reason == busyReason {
		return target == ErrBusy
	}
	return target == ErrUnreachable
}

// elsewhere reports whether another parent may do better: where the tier could not reach
// who is above it. Of who was reached, and answered badly or not at all, or is asked as much
// as it may be, nobody else would get more: it would only be asked once more.
func (e *TierError) elsewhere() bool {
	switch e.Reason {
	case "destination_unavailable", "destination_ip_unroutable", "connection_refused", "connection_timeout",
		"dns_error", "dns_timeout", "tls_protocol_error", "tls_certificate_error", "tls_alert_received":
		return true
	}
	return false
}

// ownError is what a tier says in place of an answer; nil for an answer. It vouches for
// those, and says in Proxy-Status that an error is its own.
func (r *Reply) ownError() *TierError {
	if !r.Parent.OfCluster() || r.Vouched || r.Status < http.StatusBadGateway || r.Status > http.StatusGatewayTimeout {
		return nil
	}
	list := r.Header.Joined("Proxy-Status")
	last := list[strings.LastIndexByte(list, ',')+1:] // its own stands after those above it
	name, params, _ := strings.Cut(last, ";")
	if !strings.HasPrefix(strings.TrimSpace(name), "freshet-") {
		return nil
	}
	for param := range strings.SplitSeq(params, ";") {
		reason, found := strings.CutPrefix(strings.TrimSpace(param), "error=")
		if !found || strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz_") != "" {
			continue
		}
		e := &TierError{Parent: r.Parent, Status: r.Status, Reason: reason}
		if len(list) <= maxSaid {
			e.Said = list
		}
		if n, err := strconv.ParseUint(r.Header.Get("Retry-After"), 10, 16); err == nil {
			e.After = time.Duration(n) * time.Second
		}
		return e
	}
	return nil
}
