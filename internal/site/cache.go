package site

import (
	"time"

	"freshet/internal/document"
)

// Cache is a site's caching policy. What a response says itself counts, unless a
// field here says otherwise.
type Cache struct {
	DefaultLifetime      document.Duration         `yaml:"default_lifetime" default:"0s" min:"0s" max:"365d" doc:"Freshness lifetime of a cacheable response that names none and has no Last-Modified. 0s: it is validated before each use, and not stored if it cannot be."`
	StatusLifetimes      map[int]document.Duration `yaml:"status_lifetimes,omitempty" min:"0s" max:"365d" doc:"Freshness lifetime by status, of a response that names none: {404: 10s}. 0s: it is not fresh for any time."`
	Heuristic            Heuristic                 `yaml:"heuristic" doc:"Freshness from Last-Modified, of a response that names no lifetime (RFC 9111 section 4.2.2)."`
	StaleWhileRevalidate document.Duration         `yaml:"stale_while_revalidate" default:"0s" min:"0s" max:"365d" doc:"How long past its lifetime a response that does not say so itself may be served while it is validated in the background."`
	StaleIfError         document.Duration         `yaml:"stale_if_error" default:"1d" min:"0s" max:"365d" doc:"How long past its lifetime a response that does not say so itself may be served when no parent answers."`
	StoreSetCookie       bool                      `yaml:"store_set_cookie" doc:"Whether a response with Set-Cookie may be stored, and its cookies given to every client."`
	PassCookies          bool                      `yaml:"pass_cookies" doc:"Whether the Cookie field of a request goes to the origin when its answer may be stored. Without it only the cookies of the key do. Safe only where the origin marks what depends on cookies (Vary, private). Requests that bypass the cache keep their cookies in any case."`
	HonourRequest        bool                      `yaml:"honour_request" doc:"Whether a client may demand validation or freshness by its Cache-Control or Pragma; each such request costs the origin one."`
	Targets              []string                  `yaml:"targets" doc:"Fields that speak to this cache before Cache-Control does, first to last (RFC 9213); [CDN-Cache-Control] where nothing is said."`
	PassTargets          bool                      `yaml:"pass_targets" doc:"Whether these fields are sent on to clients."`
	MaxLogLag            document.Duration         `yaml:"max_log_lag" default:"30s" min:"0s" max:"1d" doc:"How long a node may be cut off from the command log, and so from purges, before when_lagging holds for this site; at least 5s. 0s: for ever."`
	WhenLagging          WhenLagging               `yaml:"when_lagging" enum:"serve,revalidate,refuse" default:"serve" doc:"What a node does that is cut off for longer: serve, saying log-lag in Cache-Status; revalidate what is stored before each use, and use it as it is where no parent answers; or refuse, with 503, what could come from the cache."`
	PurgeLease           document.Duration         `yaml:"purge_lease" default:"0s" min:"0s" max:"45s" doc:"How long after it has last known the whole command log a node uses what is stored; then each use is validated, and refused where no parent answers. 'freshet purge' then waits for nodes out of reach until they use nothing covered any more. At least 5s. 0s: there is no lease."`
	Key                  Key                       `yaml:"key" doc:"What tells cached responses apart, and so may reach the origin."`
}

// Heuristic is freshness from Last-Modified.
type Heuristic struct {
	Percent int               `yaml:"percent" default:"10" min:"0" max:"100" doc:"Lifetime as a share of the time since Last-Modified. 0: none."`
	Max     document.Duration `yaml:"max" default:"1d" min:"0s" max:"365d" doc:"The longest such lifetime."`
}

// Key says what makes up the cache key besides the path. What is not in the key
// does not reach the origin, for its answer would be given to others.
type Key struct {
	Query   Query    `yaml:"query" doc:"Which query parameters count: all; none where nothing is said and the content comes from the cluster's own origin or from S3, which answer by the path alone."`
	Headers []string `yaml:"headers,omitempty" doc:"Request fields whose values count, besides what Vary names. At most 16."`
	Cookies []string `yaml:"cookies,omitempty" doc:"Cookies whose values count. At most 16."`
	Device  bool     `yaml:"device" doc:"Whether the device class counts: desktop, mobile or tablet, by User-Agent and Sec-CH-UA-Mobile. The origin gets it as X-Device."`
	Scheme  bool     `yaml:"scheme" doc:"Whether http and https are apart. The origin gets it as X-Forwarded-Proto."`
	Host    *bool    `yaml:"host,omitempty" doc:"true: every host is apart; false: all hosts of the site share their responses; where nothing is said, the hosts listed by name share theirs and those of a wildcard are apart."`
}

// WhenLagging says what a node does that is cut off from the command log.
type WhenLagging string

// The policies.
const (
	LagServe      WhenLagging = "serve"
	LagRevalidate WhenLagging = "revalidate"
	LagRefuse     WhenLagging = "refuse"
)

// leastLag is the shortest max_log_lag and purge_lease: nodes ask for the log's head every
// two seconds.
const leastLag = document.Duration(5 * time.Second)

// QueryMode says which query parameters are part of the key.
type QueryMode string

// The modes.
const (
	QueryAll   QueryMode = "all"
	QueryNone  QueryMode = "none"
	QueryAllow QueryMode = "allow" // those named
	QueryDeny  QueryMode = "deny"  // all but those named
)

// Query says which parameters of a query are part of the key, and reach the origin.
type Query struct {
	Mode  QueryMode `yaml:"mode" enum:"all,none,allow,deny" default:"all" doc:"all, none, allow (those in names) or deny (all but those)."`
	Names []string  `yaml:"names,omitempty" doc:"Names of parameters, as they are sent; * stands for any characters. At most 64."`
	Sort  bool      `yaml:"sort" doc:"Whether parameters in another order are the same. Those of one name keep their order."`
}

// DefaultTargets are Cache.Targets where the document has none.
var DefaultTargets = []string{"CDN-Cache-Control"}
