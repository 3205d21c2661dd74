package site

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"freshet/internal/document"
)

// Origin is where a site's content comes from, and what may be asked of it.
type Origin struct {
	URL        string            `yaml:"url,omitempty" doc:"http(s)://host[:port] of an origin outside the cluster, or h2c://host[:port] for HTTP/2 without TLS (gRPC). Neither url nor servers: the cluster's own origin."`
	Servers    []Server          `yaml:"servers,omitempty" doc:"In place of url, several servers that answer alike. At most 64."`
	Host       string            `yaml:"host,omitempty" doc:"Host field for the outside origin; empty passes the client's on."`
	ServerName string            `yaml:"server_name,omitempty" doc:"Name sent in the TLS handshake and expected of the certificate, if it is not the host of the URL."`
	PathPrefix string            `yaml:"path_prefix,omitempty" doc:"What stands before the request's path when the outside origin is asked, such as /bucket; %-encoded where need be, without a slash at its end."`
	Headers    map[string]string `yaml:"headers,omitempty" doc:"Fields sent to the outside origin in place of the client's of the same name. At most 32."`
	CA         string            `yaml:"ca,omitempty" doc:"The authorities to trust for the origin's certificate, as PEM text, in place of the system's."`
	ClientCert string            `yaml:"client_cert,omitempty" doc:"Name of the cluster secret that holds the certificate to show the origin, as PEM text with its chain."`
	ClientKey  string            `yaml:"client_key,omitempty" doc:"Name of the cluster secret that holds the key of client_cert, as PEM text."`
	S3         *S3               `yaml:"s3,omitempty" doc:"Sign what is asked as S3 wants it (AWS Signature Version 4)."`
	Check      Check             `yaml:"check" doc:"Ask each outside server now and then, and prefer those that answer well."`

	Affinity       Affinity `yaml:"affinity" enum:"none,cookie,address" default:"none" doc:"Whether requests of one client whose answers cannot be cached go to one of the servers while it is well: known by a cookie that the edge sets, or by the client's address."`
	AffinityCookie string   `yaml:"affinity_cookie" default:"freshet-origin" doc:"affinity cookie: its name. It is sent neither to the origin nor to anybody else."`

	Requests     int               `yaml:"requests" default:"256" min:"1" max:"65536" doc:"Requests at once at one server, by the whole cluster: each of the nodes that ask it takes its part."`
	Queue        int               `yaml:"queue" default:"1024" min:"1" max:"65536" doc:"Requests that wait at one node for their turn at one server; what is above that is answered with 503."`
	QueueTime    document.Duration `yaml:"queue_time" default:"5s" min:"10ms" max:"5m" doc:"The longest such wait."`
	Connect      document.Duration `yaml:"connect" default:"3s" min:"10ms" max:"5m" doc:"How long a connection may take to be made, TLS included."`
	FirstByte    document.Duration `yaml:"first_byte" default:"30s" min:"10ms" max:"1h" doc:"How long the origin may take from the end of a request to the head of its answer."`
	BetweenBytes document.Duration `yaml:"between_bytes" default:"30s" min:"10ms" max:"1h" doc:"The longest silence within the body of an answer."`
	Hedge        bool              `yaml:"hedge" doc:"Whether another server is asked as well when one is slower than it mostly is; the first answer counts. For GET and HEAD without a body."`
}

// Server is one of several servers of an origin outside of the cluster.
type Server struct {
	URL    string `yaml:"url" required:"true" doc:"http(s)://host[:port] or h2c://host[:port]."`
	Weight int    `yaml:"weight" default:"1" min:"1" max:"1000" doc:"Its share, as compared with that of the others."`
	Backup bool   `yaml:"backup" doc:"Whether it is asked only when all others fail."`
}

// S3 is how requests are signed.
type S3 struct {
	Region    string `yaml:"region" required:"true" doc:"The region that is part of the signature, such as eu-central-1."`
	AccessKey string `yaml:"access_key" required:"true" doc:"Name of the cluster secret that holds the access key's ID."`
	SecretKey string `yaml:"secret_key" required:"true" doc:"Name of the cluster secret that holds the secret access key."`
}

// Check is how servers of an origin are checked.
type Check struct {
	Path    string            `yaml:"path,omitempty" doc:"What is asked with GET, behind path_prefix: /healthz. Empty: servers are not checked."`
	Every   document.Duration `yaml:"every" default:"5s" min:"100ms" max:"1h" doc:"How often each node that asks the origin checks each server."`
	Timeout document.Duration `yaml:"timeout" default:"2s" min:"10ms" max:"1m" doc:"How long the answer may take."`
	Expect  string            `yaml:"expect" default:"200-399" doc:"Statuses that count as good: one, or the first and the last."`
	Fails   int               `yaml:"fails" default:"3" min:"1" max:"100" doc:"Checks that must fail in a row until the server is asked after all others only."`
	Passes  int               `yaml:"passes" default:"2" min:"1" max:"100" doc:"Checks that must pass in a row until it is as good as the others again."`
}

// Statuses are the first and the last that Expect counts as good; false if it says
// something else.
func (c *Check) Statuses() (first, last int, ok bool) {
	from, to, isRange := strings.Cut(c.Expect, "-")
	if !isRange {
		to = from
	}
	first, errFirst := strconv.Atoi(from)
	last, errLast := strconv.Atoi(to)
	return first, last, errFirst == nil && errLast == nil && len(from) == 3 && len(to) == 3 && 100 <= first && first <= last && last <= 599
}

// Affinity is how a client is known that is to come back to one server.
type Affinity string

// The affinities.
const (
	AffinityNone    Affinity = "none"
	AffinityCookie  Affinity = "cookie"
	AffinityAddress Affinity = "address"
)

// Outside reports whether the content comes from outside of the cluster.
func (o *Origin) Outside() bool { return o.URL != "" || len(o.Servers) > 0 }

// Pool is the outside servers: those of servers, or the one of url; nil for the
// cluster's own origin.
func (o *Origin) Pool() []Server {
	if o.URL != "" {
		return []Server{{URL: o.URL, Weight: 1}}
	}
	return o.Servers
}

// SharesServers reports whether two sections have an outside server in common, or both are
// of the cluster's own origin: then what one has given the other one would, too.
func (o *Origin) SharesServers(other *Origin) bool {
	if !o.Outside() && !other.Outside() {
		return true
	}
	return slices.ContainsFunc(o.Pool(), func(s Server) bool {
		return slices.ContainsFunc(other.Pool(), func(t Server) bool { return s.URL == t.URL })
	})
}

// String names the outside servers, for people; "" for the cluster's own origin.
func (o *Origin) String() string {
	if o.URL != "" || len(o.Servers) == 0 {
		return o.URL
	}
	if n := len(o.Servers) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more", o.Servers[0].URL, n)
	}
	return o.Servers[0].URL
}

// Secrets are the names of the cluster secrets that the origin needs.
func (o *Origin) Secrets() []string {
	var names []string
	if o.ClientCert != "" {
		names = append(names, o.ClientCert, o.ClientKey)
	}
	if o.S3 != nil {
		names = append(names, o.S3.AccessKey, o.S3.SecretKey)
	}
	return names
}
