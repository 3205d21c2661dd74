package edge

// Explanation says what this node does with one request, and why. Durations are in
// seconds; what does not apply is left out.
type Explanation struct {
	Node   string `json:"node"`
	Role   string `json:"role"` // the tier: edge or mid
	Method string `json:"method"`
	URL    string `json:"url"` // as the request names it

	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why"` // of the outcome, for people
	// CacheStatus is this node's member of the answer's Cache-Status, as far as it is
	// settled before a parent is asked.
	CacheStatus string `json:"cache_status,omitempty"`
	// Status is that of the answer, where no parent has to be asked for it. A hit has that
	// of what is stored: conditions and ranges may make it a 304, 206 or 416.
	Status      int    `json:"status,omitempty"`
	ProxyStatus string `json:"proxy_status,omitempty"` // error type of a refusal (RFC 9209 §2.3)
	Location    string `json:"location,omitempty"`     // of a redirect

	Site  string   `json:"site,omitempty"`  // "" if none has the host
	Rules []string `json:"rules,omitempty"` // of the site that matched, in order
	// Key is the text of the cache key, in lines; Variant what is added to it for the
	// fields of Vary that what is stored names.
	Key          string   `json:"key,omitempty"`
	Vary         []string `json:"vary,omitempty"`
	Variant      string   `json:"variant,omitempty"`
	OriginTarget string   `json:"origin_target,omitempty"` // path and query under which the origin is asked
	Scopes       []string `json:"scopes,omitempty"`        // what purges that cover the request name

	Clock   ClockNow    `json:"clock"`
	Stored  *StoredNow  `json:"stored,omitempty"`  // what lies under the key, usable or not; nil for nothing
	Parents []ParentNow `json:"parents,omitempty"` // in the order in which they would be asked
	Fetched *FetchedNow `json:"fetched,omitempty"` // what a parent answers, if that was wanted
}

// Outcome is what becomes of a request.
type Outcome string

// The outcomes.
const (
	Refused       Outcome = "refused"         // with a status of our own
	Preflight     Outcome = "preflight"       // a CORS preflight, answered by the site's rules
	Redirected    Outcome = "redirect"        // by the site's rules
	Passed        Outcome = "pass"            // handed to a parent, nothing looked up or stored
	Hit           Outcome = "hit"             // answered from what is stored
	HitAndRefresh Outcome = "hit-and-refresh" // likewise, and validated behind
	Validated     Outcome = "validate"        // a parent is asked whether what is stored still holds
	Forwarded     Outcome = "forward"         // a parent is asked
	NotCached     Outcome = "only-if-cached"  // 504: the client wanted nothing but what is stored
)

// ClockNow is the node's logical time.
type ClockNow struct {
	Log     string `json:"log"`            // id of the command log
	Applied string `json:"applied"`        // its last sequence that is applied, epoch.position
	Floor   string `json:"floor"`          // nothing older is believed
	Mark    string `json:"mark,omitempty"` // the last purge that covers the request, if it is still known
	Soft    string `json:"soft,omitempty"` // the last invalidation, likewise
}

// LifeNow is the life of a response.
type LifeNow struct {
	State                string  `json:"state"` // fresh, stale-while-revalidate, stale-if-error or expired
	Age                  float64 `json:"age_seconds"`
	Lifetime             float64 `json:"lifetime_seconds"`
	LifetimeFrom         string  `json:"lifetime_from"` // what named it: a directive, expires, or of the site: site, status, heuristic, default
	TTL                  float64 `json:"ttl_seconds"`   // negative when stale
	StaleWhileRevalidate float64 `json:"stale_while_revalidate_seconds"`
	StaleIfError         float64 `json:"stale_if_error_seconds"`
	NoStale              bool    `json:"no_stale"` // it may never be used stale
	ETag                 string  `json:"etag,omitempty"`
	LastModified         string  `json:"last_modified,omitempty"` // as in RFC 3339
}

// StoredNow is what lies under a key.
type StoredNow struct {
	Kind   string `json:"kind"` // content, varies, pass, search or sliced
	Status int    `json:"status,omitempty"`
	Bytes  int64  `json:"bytes"`            // of the body, or of those of its slices that are held
	Whole  int64  `json:"whole,omitempty"`  // bytes of the body that is kept in slices,
	Slices int64  `json:"slices,omitempty"` // how many those are,
	Held   string `json:"held,omitempty"`   // and which of them are there at least in part, as in 0-3,7
	LifeNow
	Log    string   `json:"log"`              // under which the origin was asked,
	Born   string   `json:"born"`             // at this sequence
	AsOf   string   `json:"as_of"`            // tested against every purge up to here
	Soft   string   `json:"soft,omitempty"`   // the invalidation that has made it stale,
	Groups []string `json:"groups,omitempty"` // cache groups that it belongs to
	Tags   []string `json:"tags,omitempty"`   // its surrogate keys
	Dead   string   `json:"dead,omitempty"`   // why it may not be used any more: restart, touched, other-log, floor or purged
}

// ParentNow is one possible next hop up.
type ParentNow struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // mid, sibling, origin, or outside: an origin that is not of the cluster
	URL  string `json:"url"`

	Problem string `json:"problem,omitempty"` // why it comes last, or cannot be asked: failed checks, a secret that is missing

	// What keeps requests of the site to it within bounds.
	Breaker   string  `json:"breaker"`                 // closed, open (it is not asked) or half-open (one request finds out)
	Retry     float64 `json:"retry_seconds,omitempty"` // until an open one is half-open
	LastError string  `json:"last_error,omitempty"`    // of a breaker that is not closed
	Open      int     `json:"requests_open"`           // under way, bodies included
	Limit     int     `json:"requests_limit"`          // of those
	Queued    int     `json:"requests_queued"`         // waiting for one of them to end
	P95       float64 `json:"p95_seconds,omitempty"`   // time to the first byte, of all sites; 0 while too little is known
	Slow      bool    `json:"slow,omitempty"`          // it is much slower than the others of its tier, and gets next to nothing
}

// FetchedNow is what a parent answered to one request that was made for the
// explanation. This node stored nothing of it; a mid that handed it on may have, as
// of any request.
type FetchedNow struct {
	Error    string   `json:"error,omitempty"` // nobody answered; then there is no more than this
	Parent   string   `json:"parent,omitempty"`
	Status   int      `json:"status,omitempty"`
	Bytes    int64    `json:"bytes"` // of the body as announced; -1 where it is not
	Took     float64  `json:"took_seconds"`
	Stored   bool     `json:"stored"`                 // whether the answer would be
	Reason   string   `json:"reason,omitempty"`       // why not, in one word
	Why      string   `json:"why,omitempty"`          // for people
	Vary     []string `json:"vary,omitempty"`         // what would tell variants apart
	Withheld []string `json:"withheld,omitempty"`     // fields that would not be stored
	Above    string   `json:"cache_status,omitempty"` // what the tiers above said in Cache-Status
	LifeNow
}
