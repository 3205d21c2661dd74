package site

import (
	"fmt"
	"strings"

	"freshet/internal/cluster"
	"freshet/internal/document"
)

// Parse reads a site document: defaults are filled in, and everything in it is
// valid. The error is document.Errors, with every mistake. file names the text in
// the mistakes. The text is foreign: it draws on no file and no environment.
func Parse(file string, text []byte) (*Document, error) { return ParseAlone(file, text, "") }

// ParseAlone is Parse for a node without a cluster, whose content comes from upstream
// where the document names no origin.
func ParseAlone(file string, text []byte, upstream string) (*Document, error) {
	doc := new(Document)
	report := document.Decode(file, text, doc, document.Options{})
	if len(text) > cluster.MaxText {
		report.Mistake("", "a site document may have %d bytes at most", cluster.MaxText)
	}
	if !report.Has("cache.targets") {
		doc.Cache.Targets = DefaultTargets
	}
	if !doc.Origin.Outside() && !report.Has("origin.servers") {
		doc.Origin.URL = upstream
	}
	if (!doc.Origin.Outside() || doc.Origin.S3 != nil) && !report.Has("cache.key.query") {
		// The cluster's own origin answers by the path alone, and S3 gets no query that is a
		// client's. With the query in the key, what was pushed and purged could live on under
		// another query.
		doc.Cache.Key.Query.Mode = QueryNone
	}
	doc.check(report)
	if err := report.Err(); err != nil {
		return nil, err
	}
	return doc, nil
}

// check reports what the tags cannot say.
func (d *Document) check(report *document.Report) {
	if err := document.CheckName(d.Site); err != nil {
		report.Mistake("site", "%v", err)
	}
	seen := make(map[string]bool, len(d.Hosts))
	for i, host := range d.Hosts {
		at := document.Index("hosts", i)
		if err := checkHost(host); err != nil {
			report.Mistake(at, "%v", err)
		} else if seen[host] {
			report.Mistake(at, "%s is listed twice", host)
		}
		seen[host] = true
	}
	d.Origin.check(report)
	d.checkAffinity(report)
	d.HTTPS.check(report)
	d.Cache.check(report, d.Hosts)
	d.checkRules(report)
}

// checkHost says what is wrong with a host of a site: a name, *.suffix or *.
func checkHost(host string) error {
	if host == "*" {
		return nil
	}
	return document.CheckHost(strings.TrimPrefix(host, "*."))
}

// checkHostHeader says what is wrong with host or host:port.
func checkHostHeader(host string) error {
	if strings.Contains(host, ":") {
		return document.CheckHostPort(host, false)
	}
	return document.CheckHost(host)
}

// parseStored reads a document of the cluster, which must be of the site under whose
// name it stands.
func parseStored(stored cluster.Document) (*Document, error) {
	doc, err := Parse(stored.Name, stored.Text)
	if err != nil {
		return nil, err
	}
	if doc.Site != stored.Name {
		return nil, fmt.Errorf("%s: the text is of site %s", stored.Name, doc.Site)
	}
	return doc, nil
}
