package node

import (
	"net"
	"strconv"

	"freshet/internal/document"
)

// https reports what the sections of the listeners lack, or have too much.
func (c checker) https() {
	if !c.caches() {
		for _, section := range []string{"https", "proxy_protocol", "limits"} {
			if c.report.Has(section) {
				c.report.Mistake(section, "is for the roles edge and mid; this is the role %s", c.Role)
			}
		}
		return
	}
	c.prefixes("proxy_protocol", c.ProxyProtocol)
	c.prefixes("limits.trusted", c.Limits.Trusted)
	h := &c.HTTPS
	some := len(h.Certificates) > 0 || h.ACME != nil || h.SelfSigned
	if len(h.Listen) == 0 && some && c.report.Valid("https.listen") {
		c.report.Mistake("https.listen", "is missing: say where HTTPS is spoken, such as [':443']")
	}
	if len(h.Listen) > 0 && !some && c.report.Valid("https.certificates") && c.report.Valid("https.acme") {
		c.report.Mistake("https", "there is no certificate: name files under certificates, or order them with acme, or sign them with self_signed: true")
	}
	if h.ACME != nil {
		if h.ACME.Directory != "" {
			c.acmeDirectory(h.ACME.Directory)
		}
		if h.ACME.Email != "" && !isMail(h.ACME.Email) {
			c.report.Mistake("https.acme.email", "%q is no mail address", h.ACME.Email)
		}
		if !h.ACME.Agree {
			c.report.Mistake("https.acme.agree", "must be true: certificates are ordered only from an authority whose terms of service you agree to")
		}
		if c.Alone() && c.Cache.Site == "" {
			c.report.Mistake("https.acme", "needs to know the hosts: name a site document with hosts under cache.site")
		}
	}
	if h.Dir == "" && c.Data == "" && (h.SelfSigned || h.ACME != nil && (c.Alone() || len(c.Cluster.Secret.Value()) < MinSecret)) {
		c.report.Mistake("https.dir", "is missing: a directory for what is to be kept of certificates; or name one under data")
	}
}

func (c checker) prefixes(path string, list []string) {
	for i, text := range list {
		_, err := parsePrefix(text)
		c.found(document.Index(path, i), err)
	}
}

// acmeDirectory checks an ACME directory, which has a path where base URLs have none.
func (c checker) acmeDirectory(text string) {
	if !isHTTPS(text) {
		c.report.Mistake("https.acme.directory", "%q is no URL of a directory: write https://host/path", text)
	}
}

// Port is the port under which clients reach HTTPS: public_port, else that of the first
// address; 0 where there is none.
func (h *HTTPS) Port() int {
	if h.PublicPort != 0 || len(h.Listen) == 0 {
		return h.PublicPort
	}
	_, text, err := net.SplitHostPort(h.Listen[0])
	if err != nil {
		return 0
	}
	port, _ := strconv.Atoi(text)
	return port
}
