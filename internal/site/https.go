package site

import (
	"strconv"
	"time"

	"freshet/internal/document"
)

// HTTPS is what a site says of plain HTTP and HTTPS.
type HTTPS struct {
	Redirect              bool               `yaml:"redirect" doc:"Whether requests over plain HTTP are answered with a redirect to HTTPS: 301, or 308 where the method is neither GET nor HEAD. Challenges of ACME are not. Behind a load balancer that ends TLS, edges have to be told so by the PROXY protocol (version 2), else they redirect for ever."`
	HSTS                  *document.Duration `yaml:"hsts,omitempty" min:"0s" max:"3650d" doc:"Strict-Transport-Security (RFC 6797) on answers over HTTPS, in place of the origin's own: browsers use nothing but HTTPS for so long. 0s has them forget it."`
	HSTSIncludeSubdomains bool               `yaml:"hsts_include_subdomains" doc:"Whether hsts is for all names below the site's hosts, too."`
	HSTSPreload           bool               `yaml:"hsts_preload" doc:"Whether browsers may build the hosts into their lists: then hsts is at least 365d and includes subdomains. It is hard to take back."`
}

// preloadLeast is the least lifetime that the lists of browsers take.
const preloadLeast = document.Duration(365 * 24 * time.Hour)

// check reports what the tags cannot say.
func (h *HTTPS) check(report *document.Report) {
	if h.HSTS == nil {
		if h.HSTSIncludeSubdomains && report.Valid("https.hsts") {
			report.Mistake("https.hsts_include_subdomains", "goes with hsts: say for how long, such as hsts: 365d")
		}
		if h.HSTSPreload && report.Valid("https.hsts") {
			report.Mistake("https.hsts_preload", "goes with hsts: say for how long, such as hsts: 365d")
		}
		return
	}
	if h.HSTSPreload && (*h.HSTS < preloadLeast || !h.HSTSIncludeSubdomains) {
		report.Mistake("https.hsts_preload", "browsers list only hosts with hsts of at least 365d and hsts_include_subdomains: true")
	}
}

// StrictTransportSecurity is the value of that field; "" for none.
func (h *HTTPS) StrictTransportSecurity() string {
	if h.HSTS == nil {
		return ""
	}
	value := "max-age=" + strconv.FormatInt(int64(time.Duration(*h.HSTS)/time.Second), 10)
	if h.HSTSIncludeSubdomains {
		value += "; includeSubDomains"
	}
	if h.HSTSPreload {
		value += "; preload"
	}
	return value
}
