package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/upstream"
)

// TestFailuresAreNamed: what went wrong is said as precisely as it can be told.
func TestFailuresAreNamed(t *testing.T) {
	op := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	sys := func(err error) error { return op("dial", os.NewSyscallError("connect", err)) }
	ask := func(kind, err error) error { return fmt.Errorf("ask o: %w: %w", kind, err) }
	for _, tc := range []struct {
		name   string
		err    error
		status int
		reason string
		kind   failureKind
		after  time.Duration
	}{
		{"refused", ask(upstream.ErrUnreachable, sys(syscall.ECONNREFUSED)), 502, "connection_refused", ofParent, 0},
		{"no route", ask(upstream.ErrUnreachable, sys(syscall.EHOSTUNREACH)), 502, "destination_ip_unroutable", ofParent, 0},
		{"no such name", ask(upstream.ErrUnreachable, op("dial", &net.DNSError{Err: "no such host", IsNotFound: true})), 502, "dns_error", ofParent, 0},
		{"no name in time", ask(upstream.ErrUnreachable, op("dial", &net.DNSError{Err: "timeout", IsTimeout: true})), 504, "dns_timeout", ofParent, 0},
		{"no connection in time", ask(upstream.ErrUnreachable, op("dial", os.ErrDeadlineExceeded)), 504, "connection_timeout", ofParent, 0},
		{"likewise, by our own clock", ask(upstream.ErrUnreachable, upstream.ErrNoConnection), 504, "connection_timeout", ofParent, 0},
		{"certificate", ask(upstream.ErrUnreachable, op("handshake", x509.UnknownAuthorityError{})), 502, "tls_certificate_error", ofParent, 0},
		{"alert", ask(upstream.ErrUnreachable, op("handshake", tls.AlertError(40))), 502, "tls_alert_received", ofParent, 0},
		{"no TLS", ask(upstream.ErrUnreachable, op("handshake", tls.RecordHeaderError{Msg: "first record"})), 502, "tls_protocol_error", ofParent, 0},
		{"handshake", ask(upstream.ErrUnreachable, op("handshake", errors.New("tls: no versions in common"))), 502, "tls_protocol_error", ofParent, 0},
		{"body not taken", ask(upstream.ErrUnreachable, upstream.ErrNotTaken), 504, "connection_write_timeout", ofParent, 0},
		{"no head in time", ask(upstream.ErrUnreachable, upstream.ErrNoHead), 504, "http_response_timeout", ofParent, 0},
		{"stalled", fmt.Errorf("fill: %w", upstream.ErrStalled), 504, "connection_read_timeout", ofParent, 0},
		{"broken off", ask(upstream.ErrUnreachable, io.EOF), 502, "connection_terminated", ofParent, 0},
		{"reset", ask(upstream.ErrUnreachable, op("read", os.NewSyscallError("read", syscall.ECONNRESET))), 502, "connection_terminated", ofParent, 0},
		{"nonsense", ask(upstream.ErrBadAnswer, errors.New("malformed HTTP response")), 502, "http_protocol_error", ofParent, 0},
		{"busy", &upstream.Refused{Reason: upstream.ErrBusy, After: 5 * time.Second, Last: io.EOF}, 503, "connection_limit_reached", ofLimits, 5 * time.Second},
		{"left alone", &upstream.Refused{Reason: upstream.ErrOpen, After: time.Millisecond, Last: sys(syscall.ECONNREFUSED)}, 503, "destination_unavailable", ofLimits, time.Second},
		{"busy for long", &upstream.Refused{Reason: upstream.ErrBusy, After: time.Hour}, 503, "connection_limit_reached", ofLimits, maxRetryAfter},
		{"nobody", upstream.ErrNoParent, 503, "destination_unavailable", ofParent, time.Second},
		{"a tier says so", &upstream.TierError{Status: 504, Reason: "dns_timeout"}, 504, "dns_timeout", ofParent, 0},
		{"a tier is busy", &upstream.TierError{Status: 503, Reason: "connection_limit_reached", After: 2 * time.Second}, 503, "connection_limit_reached", ofLimits, 2 * time.Second},
		{"the client's body", ask(upstream.ErrUnreachable, exchange.ErrBodyTooLarge), 413, "http_request_error", ofClient, 0},
		{"anything else", errors.New("something"), 502, "destination_unavailable", ofParent, 0},
	} {
		f := failureOf(tc.err)
		if f.status != tc.status || f.reason != tc.reason || f.kind != tc.kind || f.after != tc.after || f.text == "" {
			t.Errorf("%s: %d %s, kind %d, again after %s; want %d %s, %d, %s", tc.name, f.status, f.reason, f.kind, f.after, tc.status, tc.reason, tc.kind, tc.after)
		}
	}
}
