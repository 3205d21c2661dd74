package client

import "time"

// Site is one version of one site document.
type Site struct {
	Name    string    `json:"name" doc:"The site's name."`
	Version int       `json:"version" doc:"Counts from 1."`
	Hosts   []string  `json:"hosts,omitempty" nullable:"false" doc:"Host names that clients use."`
	Origin  string    `json:"origin,omitempty" doc:"URL of an origin outside the cluster; empty for the cluster's own."`
	Author  string    `json:"author" doc:"Who stored this version, in their own words."`
	Message string    `json:"message,omitempty" doc:"Why."`
	At      time.Time `json:"at" doc:"When."`
	Text    string    `json:"text,omitempty" doc:"The document as it was written; left out of lists."`
}

// Sites is a list of site documents: of all sites, by name, or of the versions of
// one, newest first.
type Sites struct {
	Sites []Site `json:"sites" nullable:"false"`
}

// Expectations of Apply and DeleteSite beside a version that was read.
const (
	AnyVersion = -1 // whatever is there
	Absent     = 0  // there must be no such site
)

// ApplyRequest stores a site document.
type ApplyRequest struct {
	File    string // what mistakes are said to be in; "" for the document itself
	Text    []byte
	Message string // why; may be empty
	Expect  int    // the version that it replaces, AnyVersion or Absent
}

// Node is a member of the cluster and how far it has followed the command log.
type Node struct {
	Name     string     `json:"name"`
	Role     string     `json:"role"`
	PoP      string     `json:"pop"`
	Region   string     `json:"region"`
	Addrs    []string   `json:"addrs" nullable:"false" doc:"ip:port of its service, most preferred first."`
	Admin    string     `json:"admin" doc:"host:port of its admin listener."`
	Version  string     `json:"version" doc:"Of its binary."`
	Ready    bool       `json:"ready" doc:"Passing its health check."`
	Reason   string     `json:"reason,omitempty" doc:"Why it is not ready."`
	Applied  string     `json:"applied,omitempty" doc:"The sequence (epoch.position) that it has applied, if it ever said so."`
	Lag      *uint64    `json:"lag,omitempty" doc:"Commands of the log that it has not applied yet; absent when it has not reported or follows another log."`
	Alarm    string     `json:"alarm,omitempty" doc:"What an operator should look at."`
	Reported *time.Time `json:"reported,omitempty" doc:"When its last report of progress came in."`
	Load     *Load      `json:"load,omitempty" doc:"The last that it has said of its load, if it ever did; only edges and mids do."`
	Note     string     `json:"note,omitempty" doc:"What it says of itself besides, such as that it goes by the last snapshot of the cluster."`
}

// Restored is what was put back into a cluster's store that had lost it.
type Restored struct {
	Sites   []string `json:"sites" nullable:"false" doc:"Names of sites."`
	Secrets []string `json:"secrets" nullable:"false" doc:"Names of secrets."`
}

// Load is how busy a node was over the second before it said so. A share is in 0..1, or -1
// where it is not known.
type Load struct {
	At          time.Time `json:"at" doc:"When the report came in, by the clock of who answers."`
	Current     bool      `json:"current" doc:"Not older than 3 s; else it says nothing of now."`
	Requests    float64   `json:"requests" doc:"Answered, each second."`
	InFlight    int64     `json:"in_flight" doc:"Requests that are being answered."`
	Bytes       float64   `json:"bytes" doc:"Of bodies sent, each second."`
	Hits        float64   `json:"hits" doc:"Share of requests answered from the cache."`
	Process     float64   `json:"process" doc:"Share of the CPUs that its process may use."`
	Machine     float64   `json:"machine" doc:"Share of the CPUs of its machine in use."`
	NIC         float64   `json:"nic" doc:"Share of the speed of its fullest network interface."`
	Utilisation float64   `json:"utilisation" doc:"The highest of the shares that are known."`
	Capacity    float64   `json:"capacity" doc:"Estimate of the requests a second that it could answer of what it gets; 0 while it is too idle to tell."`
}

// Nodes is membership, sorted by name.
type Nodes struct {
	Nodes []Node `json:"nodes" nullable:"false"`
}

// States of the whole.
const (
	OK       = "ok"
	Degraded = "degraded" // it works, and an operator should look
	Down     = "down"     // clients are not served, or no command can be given
)

// Status sums the cluster up.
type Status struct {
	State  string   `json:"state" enum:"ok,degraded,down" doc:"ok; degraded: it works, and an operator should look; down: clients are not served, or no command can be given."`
	Alarms []string `json:"alarms" nullable:"false" doc:"What an operator should look at; empty when the state is ok."`
	Leader Leader   `json:"leader"`
	Log    Log      `json:"log"`
	Roles  []Count  `json:"roles" nullable:"false" doc:"Nodes by role."`
	Sites  int      `json:"sites" doc:"Number of sites."`
}

// Leader is the distributor that leads.
type Leader struct {
	Node string `json:"node" doc:"Its name; empty when nobody leads."`
	API  string `json:"api" doc:"URL of its management API; empty when unknown."`
}

// Log is the command log's state.
type Log struct {
	ID    string `json:"id" doc:"16 hexadecimal digits; empty when there is no log."`
	Epoch uint32 `json:"epoch" doc:"How many logs there have been, the first is 1."`
	First string `json:"first" doc:"The oldest sequence still held."`
	Last  string `json:"last" doc:"The newest sequence."`
}

// Count is how many nodes of a role there are.
type Count struct {
	Role  string `json:"role"`
	Ready int    `json:"ready"`
	Total int    `json:"total"`
}
