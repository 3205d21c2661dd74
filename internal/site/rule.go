package site

import "freshet/internal/document"

// Bounds of the rules of one site. Policy: far above what anybody writes by hand,
// and a request is matched against all of them within some tens of microseconds.
const (
	MaxRules     = 200
	MaxPattern   = 1024 // bytes of one glob, prefix, regular expression or template
	MaxListed    = 64   // members of one list or mapping in a rule or in the key's query
	MaxKeyFields = 16   // headers, and cookies, of one key
)

// Rule is what a site does with some of its requests: those that Match describes.
type Rule struct {
	Name            string     `yaml:"name,omitempty" doc:"What explanations call it; by default its place, such as rules[0]."`
	Match           Match      `yaml:"match" doc:"Which requests; nothing here means all. All conditions must hold."`
	Cache           CacheRule  `yaml:"cache" doc:"What is different about caching."`
	Rewrite         *Rewrite   `yaml:"rewrite,omitempty" doc:"The path under which the origin is asked. The key, rules and purges keep the client's path."`
	RequestHeaders  HeaderEdit `yaml:"request_headers" doc:"Fields of the request to the origin."`
	ResponseHeaders HeaderEdit `yaml:"response_headers" doc:"Fields of the answer to the client. What is stored, and for how long, does not depend on them."`
	Redirect        *Redirect  `yaml:"redirect,omitempty" doc:"Answer with a redirect; the origin is not asked."`
	CORS            *CORS      `yaml:"cors,omitempty" doc:"Cross-origin sharing: the edge answers preflights and says who may read, in place of the origin."`
	Last            bool       `yaml:"last" doc:"Whether no later rule counts for a request that this one matches."`
}

// Match is the condition of a rule. Every part that is given must hold.
type Match struct {
	Path   PathMatch         `yaml:"path" doc:"The path as the client sent it, without the query. One of prefix, glob and regex."`
	Scheme string            `yaml:"scheme,omitempty" enum:"http,https" doc:"The client used this scheme."`
	Method []string          `yaml:"method,omitempty" doc:"The method is one of these, in upper case."`
	Header map[string]string `yaml:"header,omitempty" doc:"Each of these request fields is there and its value matches: * stands for any characters, and alone for any value. {X-Beta: '*', Accept-Language: 'de*'}"`
}

// PathMatch is the condition on the path: one of its fields is given, or none for
// any path. Characters count as they are sent, %-encodings are not decoded.
type PathMatch struct {
	Prefix string `yaml:"prefix,omitempty" doc:"The path begins so: /img/. $1 in a redirect or rewrite is the rest."`
	Glob   string `yaml:"glob,omitempty" doc:"The whole path; * stands for any characters but the slash, ** for any, ? for one but the slash: /img/*.jpg, **.css. $1, $2, … are what each stood for."`
	Regex  string `yaml:"regex,omitempty" doc:"A regular expression (RE2 syntax) that matches somewhere in the path: ^/v[0-9]+/(.*)$; ^ and $ anchor it. $1, $2, … are its groups."`
}

// CacheRule changes the site's caching policy. What is not given stays as it is.
type CacheRule struct {
	Bypass               *bool              `yaml:"bypass,omitempty" doc:"true: such requests are passed on as they are, cookies included, and their answers not stored. false: takes back what an earlier rule says."`
	DefaultLifetime      *document.Duration `yaml:"default_lifetime,omitempty" min:"0s" max:"365d" doc:"As of the site."`
	ForceLifetime        *document.Duration `yaml:"force_lifetime,omitempty" min:"0s" max:"365d" doc:"Freshness lifetime whatever a response says of its own, but for errors; no-store, private and what else forbids storing are still obeyed."`
	StaleWhileRevalidate *document.Duration `yaml:"stale_while_revalidate,omitempty" min:"0s" max:"365d" doc:"As of the site."`
	StaleIfError         *document.Duration `yaml:"stale_if_error,omitempty" min:"0s" max:"365d" doc:"As of the site."`
	StoreSetCookie       *bool              `yaml:"store_set_cookie,omitempty" doc:"As of the site."`
	PassCookies          *bool              `yaml:"pass_cookies,omitempty" doc:"As of the site."`
	HonourRequest        *bool              `yaml:"honour_request,omitempty" doc:"As of the site."`
	Key                  *Key               `yaml:"key,omitempty" doc:"In place of the site's key. The rule may match by path only, since a purge knows nothing else of a request."`
}

// Rewrite is how the client's path becomes the origin's.
type Rewrite struct {
	Prefix string `yaml:"prefix,omitempty" doc:"Of paths that begin so, to takes the place of this beginning."`
	Regex  string `yaml:"regex,omitempty" doc:"Of paths that match (RE2 syntax), to takes the place of the whole path; $1, $2, … are the groups."`
	To     string `yaml:"to" required:"true" doc:"With prefix, plain text. Else text with $1, $2, … (of regex, or without regex of the rule's own match) and ${path}; $$ is a dollar. It begins with a slash and has no query: that of the request follows."`
}

// HeaderEdit sets and removes fields.
type HeaderEdit struct {
	Set    map[string]string `yaml:"set,omitempty" doc:"Fields and the values they shall have, in place of any other."`
	Remove []string          `yaml:"remove,omitempty" doc:"Fields to leave out."`
}

// Redirect answers a request with another place to ask.
type Redirect struct {
	To     string `yaml:"to" required:"true" doc:"A path or an absolute URL: text with $1, $2, … of the rule's match, ${path}, ${query} (with its ?, or empty) and ${host}; $$ is a dollar."`
	Status int    `yaml:"status" default:"302" doc:"301, 302, 307 or 308."`
}

// CORS is the cross-origin policy of some requests (the Fetch standard).
type CORS struct {
	Origins     []string          `yaml:"origins" required:"true" doc:"Who may read: origins such as https://app.example, with *. for any name below (https://*.example), or * alone for everybody."`
	Methods     []string          `yaml:"methods,omitempty" doc:"Methods allowed beyond GET, HEAD and POST."`
	Headers     []string          `yaml:"headers,omitempty" doc:"Request fields allowed beyond the harmless ones."`
	Expose      []string          `yaml:"expose,omitempty" doc:"Response fields that scripts may read beyond the harmless ones."`
	MaxAge      document.Duration `yaml:"max_age" default:"10m" min:"0s" max:"1d" doc:"How long a browser may remember the answer to a preflight."`
	Credentials bool              `yaml:"credentials" doc:"Whether cookies may be sent along; the origins must then be named."`
}

// Empty reports whether nothing is edited.
func (e *HeaderEdit) Empty() bool { return len(e.Set)+len(e.Remove) == 0 }
