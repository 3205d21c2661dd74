package site

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"freshet/internal/document"
	"freshet/internal/header"
)

// Bounds of an origin section.
const (
	maxServers       = 64
	maxOriginHeaders = 32
	maxCA            = 64 << 10 // bytes of PEM
)

// defaultCheck is Check where the document has none.
var defaultCheck = func() (c Check) { document.SetDefaults(&c); return c }()

// defaultAffinityCookie is the one of the tag.
const defaultAffinityCookie = "freshet-origin"

// check reports what the tags cannot say of an origin.
func (o *Origin) check(report *document.Report) {
	switch {
	case report.Has("origin.url") && report.Has("origin.servers"):
		report.Mistake("origin.servers", "is given beside origin.url: want one of them")
	case !o.Outside() && !report.Has("origin.url") && !report.Has("origin.servers"):
		o.checkOwn(report)
	}
	o.checkServers(report)
	if o.Host != "" {
		if err := checkHostHeader(o.Host); err != nil {
			report.Mistake("origin.host", "%v", err)
		}
	}
	o.checkTLS(report)
	if o.PathPrefix != "" {
		checkOriginPath(report, "origin.path_prefix", o.PathPrefix)
		if strings.HasSuffix(o.PathPrefix, "/") {
			report.MistakeHint("origin.path_prefix", fmt.Sprintf("%q", strings.TrimRight(o.PathPrefix, "/")), "%s must not end in a slash: the request's path begins with one", cut(o.PathPrefix))
		}
	}
	o.checkHeaders(report)
	o.Check.check(report)
	if o.S3 != nil {
		checkSecretName(report, "origin.s3.access_key", o.S3.AccessKey)
		checkSecretName(report, "origin.s3.secret_key", o.S3.SecretKey)
		if o.S3.Region != "" && (len(o.S3.Region) > 63 || strings.Trim(o.S3.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
			report.Mistake("origin.s3.region", "%s is no region: lower-case letters, digits and dashes", cut(o.S3.Region))
		}
	}
	if !isToken(o.AffinityCookie) || len(o.AffinityCookie) > 64 {
		report.Mistake("origin.affinity_cookie", "%s is no name of a cookie", cut(o.AffinityCookie))
	} else if o.Affinity != AffinityCookie && o.AffinityCookie != defaultAffinityCookie {
		report.Mistake("origin.affinity_cookie", "goes with affinity: cookie")
	}
}

// checkOwn reports what means nothing for the cluster's own origin.
func (o *Origin) checkOwn(report *document.Report) {
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"host", o.Host != ""}, {"server_name", o.ServerName != ""}, {"path_prefix", o.PathPrefix != ""},
		{"headers", len(o.Headers) > 0}, {"ca", o.CA != ""}, {"client_cert", o.ClientCert != ""}, {"client_key", o.ClientKey != ""},
		{"s3", o.S3 != nil}, {"check", o.Check != defaultCheck}, {"affinity", o.Affinity != AffinityNone},
	} {
		if f.given {
			report.Mistake("origin."+f.name, "is for an origin outside the cluster: origin.url is missing")
		}
	}
}

// checkAffinity reports keys with the cookie that tells servers apart, and so clients.
func (d *Document) checkAffinity(report *document.Report) {
	if d.Origin.Affinity != AffinityCookie {
		return
	}
	for i, name := range d.Cache.Key.Cookies {
		if name == d.Origin.AffinityCookie {
			report.Mistake(document.Index("cache.key.cookies", i), "%s is the cookie of origin.affinity, which is no part of a key", cut(name))
		}
	}
}

// checkServers checks the URLs.
func (o *Origin) checkServers(report *document.Report) {
	if o.URL != "" {
		if err := checkServerURL(o.URL); err != nil {
			report.Mistake("origin.url", "%v", err)
		}
	}
	if report.Has("origin.servers") && len(o.Servers) == 0 {
		report.Mistake("origin.servers", "is empty: want one server at least, or none of this for the cluster's own origin")
	}
	checkCount(report, "origin.servers", len(o.Servers), maxServers)
	seen := make(map[string]int, len(o.Servers))
	for i, s := range o.Servers[:min(len(o.Servers), maxServers)] {
		at := document.Index("origin.servers", i) + ".url"
		if s.URL == "" {
			continue // said to be missing
		}
		if err := checkServerURL(s.URL); err != nil {
			report.Mistake(at, "%v", err)
		} else if first, twice := seen[s.URL]; twice {
			report.MistakeHint(at, "a larger weight gives a server more", "%s is servers[%d] already", cut(s.URL), first)
		}
		seen[s.URL] = i
	}
	if len(o.Servers) > 0 && !slices.ContainsFunc(o.Servers, func(s Server) bool { return !s.Backup }) {
		report.Mistake("origin.servers", "are backups all: of what?")
	}
}

// checkServerURL says what is wrong with http(s)://host[:port] or h2c://host[:port].
func checkServerURL(text string) error {
	if rest, ok := strings.CutPrefix(text, "h2c://"); ok {
		return document.CheckBaseURL("http://" + rest)
	}
	return document.CheckBaseURL(text)
}

func (o *Origin) checkTLS(report *document.Report) {
	secure := slices.ContainsFunc(o.Pool(), func(s Server) bool { return strings.HasPrefix(s.URL, "https://") })
	for _, f := range []struct{ name, text string }{{"server_name", o.ServerName}, {"ca", o.CA}, {"client_cert", o.ClientCert}, {"client_key", o.ClientKey}} {
		if f.text != "" && o.Outside() && !secure {
			report.Mistake("origin."+f.name, "is for TLS, but no URL of the origin begins with https://")
		}
	}
	if o.ServerName != "" {
		if err := document.CheckHost(o.ServerName); err != nil {
			report.Mistake("origin.server_name", "%v", err)
		}
	}
	if len(o.CA) > maxCA {
		report.Mistake("origin.ca", "has %d bytes, at most %d are allowed", len(o.CA), maxCA)
	} else if o.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(o.CA)) {
		report.MistakeHint("origin.ca", "ca: | and then the lines of the file, indented", "there is no certificate in it: want PEM text")
	}
	checkSecretName(report, "origin.client_cert", o.ClientCert)
	checkSecretName(report, "origin.client_key", o.ClientKey)
	if o.ClientCert != "" && o.ClientKey == "" {
		report.Mistake("origin.client_key", "is missing: the certificate in client_cert needs it")
	}
	if o.ClientKey != "" && o.ClientCert == "" {
		report.Mistake("origin.client_cert", "is missing: the key in client_key belongs to one")
	}
}

func checkSecretName(report *document.Report, at, name string) {
	if name == "" {
		return
	}
	if err := document.CheckName(name); err != nil {
		// Not repeated: somebody may have put the secret itself here.
		report.MistakeHint(at, "freshet secret set NAME", "want the name of a cluster secret: lower-case letters, digits and dashes")
	}
}

func (o *Origin) checkHeaders(report *document.Report) {
	checkCount(report, "origin.headers", len(o.Headers), maxOriginHeaders)
	var seen []string
	for name, value := range o.Headers {
		at := "origin.headers." + name
		switch err := checkFieldName(name, conditional, framing, passage); {
		case err != nil:
			report.Mistake(at, "%v", err)
		case containsName(seen, name):
			report.Mistake("origin.headers", "%s is listed twice", cut(name))
		case !isValue(value):
			report.Mistake(at, "%s is no value of a field", cut(value))
		case o.S3 != nil && containsName([]string{"Authorization"}, name):
			report.Mistake(at, "the signature of s3 stands in that field")
		case o.S3 != nil && header.HasPrefixName(name, "X-Amz-"):
			report.Mistake(at, "fields X-Amz-* are those of the signature of s3 alone, which has no others signed")
		}
		seen = append(seen, name)
	}
}

// check reports what the tags cannot say of a health check.
func (c *Check) check(report *document.Report) {
	if c.Path == "" {
		if *c != defaultCheck && report.Valid("origin.check.path") {
			report.Mistake("origin.check.path", "is missing: say what to ask the servers for, such as /healthz")
		}
		return
	}
	path, _, _ := strings.Cut(c.Path, "?")
	checkOriginPath(report, "origin.check.path", path)
	if _, _, ok := c.Statuses(); !ok {
		report.Mistake("origin.check.expect", "%s is no range of statuses: write 200-399 or 200", cut(c.Expect))
	}
	if c.Timeout > c.Every {
		report.Mistake("origin.check.timeout", "is longer than origin.check.every, %s: the next check would come before the answer", c.Every)
	}
}

// checkOriginPath reports what cannot stand in a request's target as it is.
func checkOriginPath(report *document.Report, at, path string) {
	switch {
	case !strings.HasPrefix(path, "/"):
		report.MistakeHint(at, fmt.Sprintf("%q", "/"+path), "%s must begin with a slash, as paths do", cut(path))
	case len(path) > MaxPattern:
		report.Mistake(at, "has %d characters, at most %d are allowed", len(path), MaxPattern)
	case strings.ContainsAny(path, " #?\\") || !isASCII(path) || badEscape(path):
		report.Mistake(at, "%s must be as it is sent: a path without query, in which spaces, #, \\ and what is not ASCII are %%-encoded", cut(path))
	case strings.Contains(path, "//"), strings.Contains(path+"/", "/../"), strings.Contains(path+"/", "/./"):
		report.Mistake(at, "%s has empty segments, . or ..", cut(path))
	}
}

// badEscape reports whether a % stands before something else than two hexadecimal digits.
func badEscape(s string) bool {
	const hex = "0123456789abcdefABCDEF"
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || strings.IndexByte(hex, s[i+1]) < 0 || strings.IndexByte(hex, s[i+2]) < 0) {
			return true
		}
	}
	return false
}
