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
	Origin Origin   `yaml:"origin,omitempty" doc:"Where the content comes from, and what may be asked of it; the cluster's own origin if nothing is said."`
	HTTPS  HTTPS    `yaml:"https" doc:"What plain HTTP and HTTPS have to do with each other."`
	Cache  Cache    `yaml:"cache" doc:"How responses are cached."`
	Rules  []Rule   `yaml:"rules,omitempty" doc:"What is different for some requests: every rule that matches counts, in order; of two that say something about one thing the later wins. At most 200."`

	AmbiguousPaths string `yaml:"ambiguous_paths" enum:"refuse,pass" default:"refuse" doc:"What a site with rules that match by path does with a path that an origin may take for another one (encoded letters or slashes, dot segments, empty segments, backslashes) and that may so evade a rule: refuse it with 400, or pass it on and match it as it was sent."`
}

// PassAmbiguous is the AmbiguousPaths that is not the default.
const PassAmbiguous = "pass"

// Schema is the JSON Schema of site documents.
func Schema() ([]byte, error) {
	return document.Schema(Document{}, document.SchemaConfig{
		Title: "Freshet site document",
		ID:    "urn:freshet:schema:site",
	})
}
