package policy

import (
	"strconv"

	"freshet/edge/exchange"
)

// StrictTransportSecurity is what answers over HTTPS say in that field (RFC 6797 §6.1),
// in place of the origin's word; "" where the site says nothing of it.
func (s *Site) StrictTransportSecurity() string { return s.strict }

// Secure is where a client that asks over plain HTTP is sent instead, if the site wants
// HTTPS: the same host and target on a port, of which 443 is not named. Status is zero
// if the request is to be served as it is.
func (s *Site) Secure(req *exchange.Request, port int) Redirect {
	if !s.doc.HTTPS.Redirect || req.Scheme != "http" {
		return Redirect{}
	}
	to := exchange.Request{Host: req.Host}
	if port != 443 {
		to.Port = strconv.Itoa(port)
	}
	status := 308 // keeps the method; some old clients do not know it
	if req.Method == "GET" || req.Method == "HEAD" {
		status = 301
	}
	return Redirect{Status: status, Location: "https://" + to.Authority() + req.Target}
}
