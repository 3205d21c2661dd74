package client

import "time"

// ConfirmAll is the word that guards a command on everything.
const ConfirmAll = "everything"

// Bounds of a wait for receipts.
const (
	DefaultWait = 10 * time.Second
	MaxWait     = 5 * time.Minute
)

// CommandRequest asks for one command of the command log. What it covers is all that it
// names together; at least one thing, at most 500.
type CommandRequest struct {
	Kind     string   `json:"kind" enum:"purge,invalidate,refresh,prefetch,ban" doc:"purge: what it covers may not be used again. invalidate: it is stale from now on, and validated before it is used as fresh. refresh: likewise, and who holds it validates it now; urls and keys only. prefetch: it is fetched where it is not held; urls only. ban: a purge, or with soft an invalidate, of what predicates match; match only."`
	URLs     []string `json:"urls,omitempty" maxItems:"500" nullable:"false" doc:"Absolute http or https URLs as clients ask for them; every variant of each."`
	Keys     []string `json:"keys,omitempty" maxItems:"500" nullable:"false" doc:"Cache keys as 'freshet explain --json' tells them: lines, the first of which is the site; every variant of each."`
	Prefixes []string `json:"prefixes,omitempty" maxItems:"500" nullable:"false" doc:"Absolute URLs whose path ends in a slash: everything below it."`
	Tags     []Tag    `json:"tags,omitempty" maxItems:"500" nullable:"false" doc:"Surrogate keys, each of one site."`
	Match    []Match  `json:"match,omitempty" maxItems:"16" nullable:"false" doc:"Predicates of a ban."`
	Sites    []string `json:"sites,omitempty" maxItems:"500" nullable:"false" doc:"Names of sites, each as a whole."`
	All      bool     `json:"all,omitempty" doc:"Everything that the CDN has stored."`
	Confirm  string   `json:"confirm,omitempty" doc:"Must be 'everything' when all is set, or a predicate names neither site nor host."`

	Soft    bool    `json:"soft,omitempty" doc:"Of a ban: what it covers is stale, and not removed."`
	NoStore string  `json:"no_store,omitempty" maxLength:"20" doc:"Of a purge, or a ban that is not soft: for so long nothing that it covers is stored: 30s, 10m, up to 720h."`
	For     *Target `json:"for,omitempty" doc:"Of a prefetch: which nodes are meant; all edges if it is left out."`

	// NoWait makes the answer come when the command stands in the log; else it comes
	// when every live cache node has applied it, or after Timeout (0: DefaultWait).
	NoWait  bool          `json:"-"`
	Timeout time.Duration `json:"-"`
}

// Tag is a surrogate key of a site: from the fields Surrogate-Key, Cache-Tag, xkey and
// Cache-Groups (RFC 9875) of its responses.
type Tag struct {
	Site string `json:"site" doc:"The site's name."`
	Tag  string `json:"tag" maxLength:"1024" doc:"The surrogate key."`
}

// Match is a predicate over stored responses: everything that it names must hold. Globs
// stand for the whole and have * for any run of characters; regular expressions are RE2's,
// and find what they look for anywhere unless they are anchored.
type Match struct {
	Site    string        `json:"site,omitempty" doc:"The site's name; every site, or every one with such a host, if it is left out."`
	Host    string        `json:"host,omitempty" doc:"A glob over the hosts of the site."`
	Path    string        `json:"path,omitempty" maxLength:"1024" doc:"A glob over the path, without the query."`
	PathRE  string        `json:"path_re,omitempty" maxLength:"1024" doc:"A regular expression over the same."`
	Headers []MatchHeader `json:"headers,omitempty" maxItems:"8" nullable:"false" doc:"Held against the header of the stored response."`
}

// MatchHeader holds if any line of the field does; without value and value_re, if there is
// one.
type MatchHeader struct {
	Name    string `json:"name" maxLength:"64" doc:"The field, in any case."`
	Value   string `json:"value,omitempty" maxLength:"1024" doc:"A glob."`
	ValueRE string `json:"value_re,omitempty" maxLength:"1024" doc:"A regular expression."`
}

// Target says which nodes are meant: those of which each part that is set is true.
type Target struct {
	Role string `json:"role,omitempty" enum:"edge,mid" doc:"edge or mid; edge if it is left out."`
	PoP  string `json:"pop,omitempty" maxLength:"63" doc:"Where they stand."`
}

// Scope is what one command covers, in part.
type Scope struct {
	Kind  string `json:"kind" doc:"url, key, prefix, tag, site, all or match."`
	Site  string `json:"site,omitempty" doc:"The site's name."`
	Value string `json:"value,omitempty" doc:"url: path and query; key: its text; prefix: a path; tag: the surrogate key."`
	Base  string `json:"base,omitempty" doc:"url of a refresh or prefetch: scheme and host to ask under."`
	Match *Match `json:"match,omitempty" doc:"match: the predicate, without the site."`
}

// Record is a command as it stands in the log.
type Record struct {
	ID       string    `json:"id" doc:"The command's own name, unique."`
	Kind     string    `json:"kind" doc:"What it asks of the nodes."`
	Scopes   []Scope   `json:"scopes" nullable:"false" doc:"What it covers."`
	Soft     bool      `json:"soft,omitempty" doc:"Of a ban: what it covers is stale, and not removed."`
	NoStore  string    `json:"no_store,omitempty" doc:"For so long from at on nothing that it covers is stored."`
	For      *Target   `json:"for,omitempty" doc:"Of a prefetch: which nodes are meant."`
	At       time.Time `json:"at" doc:"When the distributor took it."`
	By       string    `json:"by" doc:"Who asked, in their own words."`
	Log      string    `json:"log" doc:"Id of the command log that it stands in."`
	Sequence string    `json:"sequence" doc:"Its place there: epoch.position."`
	Unknown  string    `json:"unknown,omitempty" doc:"Set for a record that this distributor cannot read, which stands here as the wider purge that nodes of its version make of it: why."`
}

// Receipt is a command that stands in the log, and who has applied it.
type Receipt struct {
	Record
	Waited   bool          `json:"waited" doc:"Whether the answer waited for the nodes; else, when the command was just given, nodes is empty."`
	Complete bool          `json:"complete" doc:"Every node listed has applied it."`
	Nodes    []NodeReceipt `json:"nodes" nullable:"false" doc:"Every edge and mid that the cluster knows, by name, and those that it does not know but that were heard of within a minute."`
}

// Commands is a part of the command log, newest first.
type Commands struct {
	Commands []Record `json:"commands" nullable:"false"`
	Next     string   `json:"next,omitempty" doc:"What 'before' has to be for the commands before these; absent when the log has been looked through to its beginning, or to since. There may be fewer commands than asked for, and still more before them."`
	Kept     string   `json:"kept,omitempty" doc:"The oldest sequence that the log still holds."`
}

// CommandFilter selects commands of the log. The zero value is all of them.
type CommandFilter struct {
	Kind   string    // this kind alone
	Site   string    // those that cover something of the site, or everything
	By     string    // those whose author contains this, in any case
	Since  time.Time // those given then or later
	Before string    // those with a lower sequence
	Limit  int       // at most; 0 is 50
}

// States of a node's receipt.
const (
	Applied = "applied" // durable on that node
	Lapsed  = "lapsed"  // it is out of reach, and by its purge lease has ceased to use what the command covers
	Late    = "late"    // the node is ready, but has not applied it in time
	Unknown = "unknown" // the node is not ready, and has not said that it applied it; it may still be serving
)

// NodeReceipt is what is known of one command on one node.
type NodeReceipt struct {
	Node   string  `json:"node" doc:"The node's name."`
	Role   string  `json:"role" doc:"edge or mid."`
	PoP    string  `json:"pop" doc:"Where it stands."`
	State  string  `json:"state" enum:"applied,lapsed,late,unknown" doc:"applied; lapsed: out of reach, and by the purge lease of its sites using nothing any more that the command covers; late: ready, but not applied in time; unknown: not ready, and not known to have applied it."`
	TookMS float64 `json:"took_ms,omitempty" doc:"Milliseconds from the request to the news that this node has applied it."`
	Reason string  `json:"reason,omitempty" doc:"Why the node is not ready."`
}
