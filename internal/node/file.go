// Package node reads node files. A node file says who and where one process is:
// its role, its addresses, how it reaches the cluster and the bus. What is served
// stands in site documents (package site), which live in the cluster.
package node

import (
	"freshet/internal/cluster"
	"freshet/internal/document"
)

// File is a node file. Defaults are filled in and everything is validated by Read;
// Cache, HTTPS, Limits and Router are zero on nodes of other roles. What is left out when a File is
// written (Text) reads back as its default.
type File struct {
	Role          cluster.Role      `yaml:"role,omitempty" required:"true" enum:"edge,mid,origin,router,distributor" doc:"What this node does."`
	Name          string            `yaml:"name,omitempty" required:"true" doc:"Unique in the cluster: lower-case letters, digits and dashes, at most 63."`
	PoP           string            `yaml:"pop,omitempty" default:"default" doc:"The point of presence: nodes that share a place and a failure domain."`
	Region        string            `yaml:"region,omitempty" default:"default" doc:"The region that the PoP belongs to; edges prefer the mids of their own."`
	Listen        []string          `yaml:"listen,omitempty" required:"true" doc:"Addresses (host:port) of the service: HTTP for edge, mid and origin, DNS over UDP and TCP for a router, the management API for a distributor. An empty host means every address of the machine."`
	Advertise     []string          `yaml:"advertise,omitempty" doc:"Addresses (ip:port) under which others reach the service, if they differ from listen. Needed where listen names no single address."`
	Admin         string            `yaml:"admin,omitempty" default:"127.0.0.1:9101" doc:"Address of the admin listener: health, metrics, profiles. Keep it on loopback or a private network: it asks for no token."`
	Data          string            `yaml:"data,omitempty" doc:"Directory for what this node keeps over a restart; an origin needs one, and a distributor that embeds the bus. An edge or mid with disks keeps there what purges have made untrue of them; without it, in a directory marks of the first disk, as a part of its size. A node of a cluster on Consul keeps there what it has last known of it, to start from that while Consul is away; an edge or mid without data, in a directory cluster-last of the first disk, as a part of its size. A relative path is taken from the node file's directory, like that of every file named in it."`
	Drain         document.Duration `yaml:"drain" default:"10s" min:"0s" max:"1h" doc:"How long requests under way may take to finish after SIGTERM."`
	Log           Log               `yaml:"log,omitempty" doc:"What is written to standard error, and of each request."`
	Token         document.Secret   `yaml:"token,omitempty" doc:"The bearer token that the management and push APIs ask for; at least 16 characters."`
	Identity      Identity          `yaml:"identity,omitempty" doc:"Who this node is, by a certificate of the cluster's own CA, which freshet ca makes. With it nodes know each other by certificate alone: on tier, and on the bus."`
	Tier          []string          `yaml:"tier,omitempty" doc:"edge, mid and origin, with identity: addresses (host:port) on which nodes of this cluster are served over TLS, and nobody else. An empty host means every address of the machine."`
	TierAdvertise []string          `yaml:"tier_advertise,omitempty" doc:"Addresses (ip:port) under which other nodes reach tier, if they differ from it. Needed where tier names no single address."`
	Cluster       Cluster           `yaml:"cluster,omitempty" doc:"How the nodes know of each other."`
	Bus           Bus               `yaml:"bus,omitempty" doc:"How the command log and telemetry travel."`

	Cache         Cache    `yaml:"cache,omitempty" doc:"edge and mid: the cache."`
	HTTPS         HTTPS    `yaml:"https,omitempty" doc:"edge and mid: TLS and QUIC, beside plain HTTP on listen."`
	ProxyProtocol []string `yaml:"proxy_protocol,omitempty" doc:"edge and mid: addresses or prefixes (10.0.0.0/8) of load balancers. Each of their connections, on listen and https.listen, must begin with a head of the PROXY protocol, version 1 or 2, whose word for the client's address is taken; nobody else's may."`
	Limits        Limits   `yaml:"limits,omitempty" doc:"edge and mid: what clients are allowed."`
	Router        Router   `yaml:"router,omitempty" doc:"router: the name server."`
}

// AccessStdout is Log.Access for standard output.
const AccessStdout = "-"

// Log is where and how a node logs.
type Log struct {
	Level  string `yaml:"level,omitempty" default:"info" enum:"debug,info,warn,error" doc:"The least severe level written."`
	Format string `yaml:"format,omitempty" default:"text" enum:"text,json" doc:"One line an event, for people or for machines."`
	Access string `yaml:"access,omitempty" doc:"edge and mid: file to which each request adds a line of JSON, or - for standard output; empty: none. It is opened anew when another file, or none, has taken its place."`
}

// Cluster chooses the cluster's store.
type Cluster struct {
	Kind    string          `yaml:"kind,omitempty" default:"local" enum:"consul,local" doc:"consul: a Consul agent; local: within this process only."`
	Address string          `yaml:"address,omitempty" default:"127.0.0.1:8500" doc:"consul: host:port of the agent's HTTP API."`
	Prefix  string          `yaml:"prefix,omitempty" default:"freshet" doc:"consul: what keys and service names start with; clusters that share a Consul differ in it."`
	Token   document.Secret `yaml:"token,omitempty" doc:"consul: the ACL token."`
	TLS     TLS             `yaml:"tls,omitempty" doc:"consul: TLS to the agent; used when ca or cert is set."`
	Secret  document.Secret `yaml:"secret,omitempty" doc:"The secret that all nodes of the cluster share, at least 32 characters: it encrypts secrets in the cluster's store and proves nodes to each other."`
}

// Identity names the files of a node's certificate: all of them, or none.
type Identity struct {
	CA   string `yaml:"ca,omitempty" doc:"PEM file with the certificate of the cluster's CA; with several while one CA follows another."`
	Cert string `yaml:"cert,omitempty" doc:"PEM file with the certificate of this node, which names its role and its name."`
	Key  string `yaml:"key,omitempty" doc:"PEM file with the key of the certificate."`
	// SecretToo is for a cluster that is getting identities.
	SecretToo bool `yaml:"secret_too,omitempty" doc:"Also know nodes that have no identity yet, and be known by them, by cluster.secret: only while the nodes of a running cluster get identities one after the other."`
}

// TLS names the files of a TLS client.
type TLS struct {
	CA         string `yaml:"ca,omitempty" doc:"PEM file with the authorities to trust."`
	Cert       string `yaml:"cert,omitempty" doc:"PEM file with the client's certificate."`
	Key        string `yaml:"key,omitempty" doc:"PEM file with the client's key."`
	ServerName string `yaml:"server_name,omitempty" doc:"The name expected in the server's certificate, if it is not the address."`
}

// Bus chooses the bus. A distributor embeds it unless Address is set; every other
// role needs Address.
type Bus struct {
	Address  string            `yaml:"address,omitempty" doc:"nats://host:port of the bus, several separated by commas; empty on a distributor that embeds it."`
	Listen   string            `yaml:"listen,omitempty" default:"127.0.0.1:7071" doc:"distributor: where the embedded bus listens for the other roles."`
	Keep     document.Duration `yaml:"keep,omitempty" default:"30d" min:"1h" max:"3650d" doc:"distributor: how long the command log keeps commands, which is the audit trail. A node that was away for longer begins with an empty cache. With an address it holds for logs that are made from now on."`
	User     string            `yaml:"user,omitempty" default:"freshet" doc:"The user name on the bus."`
	Password document.Secret   `yaml:"password,omitempty" doc:"The password on the bus; at least 16 characters where the bus is embedded. With identity the embedded bus knows nodes by their certificates, and needs none."`
	TLS      TLS               `yaml:"tls,omitempty" doc:"TLS to the bus, used when ca or cert is set, in place of identity."`
}

// Cache is an edge's or a mid's cache.
type Cache struct {
	Memory   document.Size `yaml:"memory,omitempty" default:"256MiB" min:"1MiB" doc:"RAM for stored responses. Leave about half of the machine's free: the process needs some for itself, and the kernel's page cache serves what is hot of the disks."`
	Disk     []Disk        `yaml:"disk,omitempty" doc:"Directories for stored responses, best one on each disk; what they hold survives a restart. Without any, RAM holds all."`
	Scrub    document.Size `yaml:"scrub" default:"4MiB" min:"0" doc:"Bytes of each disk directory read again in a second, to find what has rotted; 0: none."`
	Upstream string        `yaml:"upstream,omitempty" doc:"http(s)://host[:port]: serve every host from this origin, with no cluster and no sites. What freshet edge --upstream sets."`
	Tier     int           `yaml:"tier,omitempty" min:"1" max:"16" doc:"mid: how far up, 1 if nothing is said. The parents of edges are the mids of the lowest tier that has any, those of a mid the mids of the next tier above its own that has any, and above the last the origin."`
	Parents  []string      `yaml:"parents,omitempty" doc:"http(s)://host[:port] of the nodes to ask in place of the cluster's mids, at most 64."`
	Siblings bool          `yaml:"siblings,omitempty" doc:"edge: ask the one edge of the PoP that is a key's home before the parents, so that the PoP asks them once for it."`
	Purge    Addresses     `yaml:"purge_from,omitempty" doc:"With upstream: addresses or prefixes (10.0.0.0/8) from which the method PURGE is taken, as the connection has them or its head of the PROXY protocol; the machine's own (127.0.0.0/8 and ::1) where nothing is said, and none for an empty list."`
	Site     string        `yaml:"site,omitempty" doc:"With upstream: file with a site document that says how to cache; without it every host is cached as its responses say."`
}

// Addresses are addresses and prefixes. A list that is there and empty is not the same as
// none.
type Addresses []string

// IsZero reports whether there is no list.
func (a Addresses) IsZero() bool { return a == nil }

// Disk is a directory of a cache.
type Disk struct {
	Dir  string        `yaml:"dir,omitempty" required:"true" doc:"The directory, for this node alone; made if it is missing. A relative path is taken from the node file's directory."`
	Size document.Size `yaml:"size,omitempty" required:"true" min:"64MiB" doc:"What the files in it take at most, all of them counted. Without data, purge marks (marks/) may take a 32nd of the first one, at most 96 MiB."`
}

// Router is a router's name server.
type Router struct {
	Zones   []Zone            `yaml:"zones,omitempty" doc:"Zones that sites' hosts lie in. A host outside all of them is answered as a zone of its own."`
	TTL     document.Duration `yaml:"ttl" default:"5s" min:"0s" max:"1h" doc:"Time to live of steered answers."`
	Answers int               `yaml:"answers,omitempty" default:"2" min:"1" max:"8" doc:"Addresses in one answer."`
}

// Zone is a DNS zone that the router is authoritative for.
type Zone struct {
	Name        string       `yaml:"name,omitempty" required:"true" doc:"The apex: freshet.example."`
	Nameservers []Nameserver `yaml:"nameservers,omitempty" required:"true" doc:"The zone's name servers."`
	Hostmaster  string       `yaml:"hostmaster,omitempty" doc:"Mail address of who is responsible; hostmaster@apex if empty."`
}

// Nameserver is one NS record, with its addresses if it lies in the zone.
type Nameserver struct {
	Name  string   `yaml:"name,omitempty" required:"true" doc:"Fully qualified name."`
	Addrs []string `yaml:"addrs,omitempty" doc:"IP addresses; needed when the name lies in the zone."`
}
