package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/upstream"
)

// failure is what a client is told when no parent has answered.
type failure struct {
	refusal
	text  string
	after time.Duration // when to come again; 0 says nothing
	kind  failureKind
	above string // the Proxy-Status of the tiers above
}

// failureKind says whom a failure concerns.
type failureKind int

const (
	ofClient failureKind = iota // its request, or it has gone
	ofLimits                    // this node spares its parents
	ofParent                    // an operator should know
)

// failureOf tells what has failed, with the error types of RFC 9209 §2.3 and the statuses
// that it recommends.
func failureOf(err error) failure {
	if tier := (*upstream.TierError)(nil); errors.As(err, &tier) {
		f := failure{refusal{tier.Status, tier.Reason}, "the tier above has no answer", min(tier.After, maxRetryAfter), ofParent, tier.Said}
		if errors.Is(err, upstream.ErrBusy) {
			f.kind = ofLimits
		}
		return f
	}
	for _, f := range failures {
		if f.is(err) {
			if refused := (*upstream.Refused)(nil); errors.As(err, &refused) {
				f.after = min(max(refused.After, time.Second), maxRetryAfter)
			}
			return f.failure
		}
	}
	return failure{refusal{http.StatusBadGateway, "destination_unavailable"}, "the origin cannot be reached", 0, ofParent, ""}
}

// maxRetryAfter is the longest that a client is asked to stay away: things change.
const maxRetryAfter = 10 * time.Second

// failures are tried in order.
var failures = []struct {
	is func(error) bool
	failure
}{
	{is(exchange.ErrBodyTooLarge), failure{refusal{http.StatusRequestEntityTooLarge, "http_request_error"}, "the request's body is larger than this node allows", 0, ofClient, ""}},
	{is(exchange.ErrBodyStalled), failure{refusal{http.StatusRequestTimeout, "http_request_error"}, "the request's body stalled", 0, ofClient, ""}},
	{is(exchange.ErrBodyMalformed), failure{refusal{http.StatusBadRequest, "http_request_error"}, "the request's body is malformed", 0, ofClient, ""}},
	{is(exchange.ErrNoRoom), failure{refusal{http.StatusServiceUnavailable, "connection_limit_reached"}, "this client has as many connections as it may", time.Second, ofClient, ""}},
	{is(upstream.ErrRefused), failure{refusal{http.StatusForbidden, "http_request_denied"}, "the origin is not asked such things", 0, ofClient, ""}},

	{is(upstream.ErrUnusable), failure{refusal{http.StatusInternalServerError, "proxy_configuration_error"}, "the origin cannot be asked: a secret is missing or wrong", 0, ofParent, ""}},
	{is(upstream.ErrBusy), failure{refusal{http.StatusServiceUnavailable, "connection_limit_reached"}, "the origin has all the requests that it may get at once", time.Second, ofLimits, ""}},
	{is(upstream.ErrOpen), failure{refusal{http.StatusServiceUnavailable, "destination_unavailable"}, "the origin does not answer, and is left alone for a moment", time.Second, ofLimits, ""}},
	{is(upstream.ErrNoParent), failure{refusal{http.StatusServiceUnavailable, "destination_unavailable"}, "no origin is known", time.Second, ofParent, ""}},

	{isDNS(true), failure{refusal{http.StatusGatewayTimeout, "dns_timeout"}, "the origin's name could not be resolved in time", 0, ofParent, ""}},
	{isDNS(false), failure{refusal{http.StatusBadGateway, "dns_error"}, "the origin's name cannot be resolved", 0, ofParent, ""}},
	{is(syscall.ECONNREFUSED), failure{refusal{http.StatusBadGateway, "connection_refused"}, "the origin refuses the connection", 0, ofParent, ""}},
	{isUnroutable, failure{refusal{http.StatusBadGateway, "destination_ip_unroutable"}, "there is no route to the origin", 0, ofParent, ""}},
	{isCertificate, failure{refusal{http.StatusBadGateway, "tls_certificate_error"}, "the origin's certificate cannot be trusted", 0, ofParent, ""}},
	{as[tls.AlertError](), failure{refusal{http.StatusBadGateway, "tls_alert_received"}, "the origin refuses the TLS handshake", 0, ofParent, ""}},
	{as[tls.RecordHeaderError](), failure{refusal{http.StatusBadGateway, "tls_protocol_error"}, "the origin does not speak TLS", 0, ofParent, ""}},
	{isConnecting, failure{refusal{http.StatusGatewayTimeout, "connection_timeout"}, "no connection to the origin in time", 0, ofParent, ""}},
	{isHandshake, failure{refusal{http.StatusBadGateway, "tls_protocol_error"}, "the TLS handshake with the origin fails", 0, ofParent, ""}},
	{is(upstream.ErrNotTaken), failure{refusal{http.StatusGatewayTimeout, "connection_write_timeout"}, "the origin does not take the request's body", 0, ofParent, ""}},
	{is(upstream.ErrBadAnswer), failure{refusal{http.StatusBadGateway, "http_protocol_error"}, "the origin's answer cannot be used", 0, ofParent, ""}},
	{is(upstream.ErrStalled), failure{refusal{http.StatusGatewayTimeout, "connection_read_timeout"}, "the origin's answer stands still", 0, ofParent, ""}},
	{isTimeout, failure{refusal{http.StatusGatewayTimeout, "http_response_timeout"}, "the origin did not answer in time", 0, ofParent, ""}},
	{isBroken, failure{refusal{http.StatusBadGateway, "connection_terminated"}, "the origin has ended the connection without an answer", 0, ofParent, ""}},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error]() func(error) bool {
	return func(err error) bool {
		var e E
		return errors.As(err, &e)
	}
}

func isDNS(timeout bool) func(error) bool {
	return func(err error) bool {
		var e *net.DNSError
		return errors.As(err, &e) && e.IsTimeout == timeout
	}
}

func isUnroutable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}

func isCertificate(err error) bool {
	return as[*tls.CertificateVerificationError]()(err) || as[x509.HostnameError]()(err) || as[x509.UnknownAuthorityError]()(err) || as[x509.CertificateInvalidError]()(err)
}

// isConnecting reports whether a connection did not come about in time.
func isConnecting(err error) bool {
	var op *net.OpError
	return errors.Is(err, upstream.ErrNoConnection) ||
		errors.As(err, &op) && (op.Op == "dial" || op.Op == "handshake") && (op.Timeout() || errors.Is(err, context.DeadlineExceeded))
}

func isHandshake(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "handshake"
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout()
}

func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// breakerChanged logs that a parent is left alone, or asked again.
func (e *Edge) breakerChanged(c upstream.BreakerChange) {
	switch {
	case c.Open:
		e.log.Warn("parent is left alone after failures", "parent", c.Parent.Name, "site", c.Site, "err", c.Err)
	default:
		e.log.Info("parent answers again", "parent", c.Parent.Name, "site", c.Site)
	}
}
