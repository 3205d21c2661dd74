// Package site holds site documents: what a CDN of Freshet serves. A document
// names a site's hosts, where its content comes from and how it may be cached;
// documents live in the cluster, and every role compiles its own part of them. A
// Snapshot is all documents at one moment, immutable, found by host.
package site

import "freshet/internal/document"

// Document is one site. It is immutable once parsed.
type Document struct {
	Site   string   `yaml:"site" required:"true" doc:"The site's name: lower-case letters, digits and dashes, at most 63."`
	Hosts  []string `yaml:"hosts" required:"true" doc:"Host names that clients use, all for the same content: names, *.suffix for any name below it, or * for any host."`
	Origin Origin   `yaml:"origin,omitempty" doc:"Where the content comes from; the cluster's own origin if nothing is said."`
	Cache  Cache    `yaml:"cache" doc:"How responses are cached where they do not say so themselves."`
}

// Origin is where a site's content comes from.
type Origin struct {
	URL  string `yaml:"url,omitempty" doc:"http(s)://host[:port] of an origin outside the cluster; empty for the cluster's own."`
	Host string `yaml:"host,omitempty" doc:"Host header for the outside origin; empty passes the client's on."`
}

// Cache is a site's caching policy.
type Cache struct {
	DefaultLifetime      document.Duration `yaml:"default_lifetime" default:"0s" min:"0s" max:"365d" doc:"Freshness lifetime of a cacheable response that names none. 0s: such a response is not stored."`
	StaleWhileRevalidate document.Duration `yaml:"stale_while_revalidate" default:"0s" min:"0s" max:"365d" doc:"How long past its lifetime a response that does not say so itself may be served while it is validated in the background."`
	StaleIfError         document.Duration `yaml:"stale_if_error" default:"1d" min:"0s" max:"365d" doc:"How long past its lifetime a response that does not say so itself may be served when no parent answers."`
}

// Schema is the JSON Schema of site documents.
func Schema() ([]byte, error) {
	return document.Schema(Document{}, document.SchemaConfig{
		Title: "Freshet site document",
		ID:    "urn:freshet:schema:site",
	})
}
