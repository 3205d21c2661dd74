// Package cluster is the contract for what the roles know about each other:
// membership with health, a leader, and a small key-value store on which site
// documents (Documents) and secrets (Secrets) stand. Consul implements it for a
// cluster of machines (package consul); package local does so within one process.
// Package clustertest holds the suite that both pass.
//
// Every watch has the same shape: a call that names the version that the caller
// has seen and blocks until there is another one.
package cluster

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// Errors that a Cluster returns, possibly wrapped.
var (
	ErrNotFound = errors.New("not found")          // there is no such key
	ErrConflict = errors.New("changed by another") // compare-and-set lost
	ErrTooLarge = errors.New("value is too large") // above MaxValue, or MaxText for a document
	ErrInvalid  = errors.New("invalid name")       // a key, document, secret, election or node that cannot be called that
	ErrClosed   = errors.New("cluster is closed")  // Close was called
)

// MaxValue is the size in bytes that any implementation stores under one key.
// Consul's own limit is 512 KiB for a transaction as a whole, in which the value
// stands in base64, beside its key.
const MaxValue = 380 << 10

// Role is what a node does.
type Role string

// The roles.
const (
	Edge        Role = "edge"
	Mid         Role = "mid"
	Origin      Role = "origin"
	Router      Role = "router"
	Distributor Role = "distributor"
)

// Node is one member as the others see it.
type Node struct {
	Name   string           `json:"name"` // unique in the cluster
	Role   Role             `json:"role"`
	PoP    string           `json:"pop"`
	Region string           `json:"region"`
	Tier   int              `json:"tier,omitempty"` // of a mid: 1 is the lowest, which edges ask; 0 of every other role
	Addrs  []netip.AddrPort `json:"addrs"`          // where its service is reached, most preferred first
	Admin  string           `json:"admin"`          // host:port of its admin listener
	// TierAddrs are where other nodes reach it by TLS with certificates of the cluster's CA on
	// both sides; empty for a node that does not listen for that.
	TierAddrs []netip.AddrPort `json:"tier_addrs,omitempty"`
	Version   string           `json:"version"` // of the binary
	Ready     bool             `json:"ready"`   // passing its health check
	Reason    string           `json:"reason"`  // why it is not ready; may be empty
}

// Nodes is membership at one moment, sorted by name. Members that are known but
// not ready are in it.
type Nodes struct {
	Version uint64 // differs whenever List does; only equality means anything
	List    []Node
}

// Members is membership with health.
type Members interface {
	// Announce makes node known for as long as it runs and keeps it ready while
	// health returns nil (asked about once a second); the error's text becomes the
	// Reason. A node that dies without a word is not ready after at most HealthTTL
	// and a second. When ctx ends Announce withdraws the node, which the others then
	// no longer see, and returns nil. Trouble with the cluster is retried, not returned.
	Announce(ctx context.Context, node Node, health func() error) error

	// Nodes blocks until membership has a version other than after (0: returns at
	// once) and returns it. On an error the caller keeps what it has.
	Nodes(ctx context.Context, after uint64) (Nodes, error)
}

// HealthTTL is how long a silent node still counts as ready.
const HealthTTL = 3 * time.Second

// Pair is one key with its value.
type Pair struct {
	Key     string
	Value   []byte
	Version uint64 // grows with every change of the key; never 0
}

// Pairs is what stands under a prefix, sorted by key.
type Pairs struct {
	Version uint64 // differs whenever List does; only equality means anything
	List    []Pair
}

// Expectations of Put and Delete beside a version that was read.
const (
	Absent uint64 = 0         // the key must not exist
	Any    uint64 = 1<<64 - 1 // whatever is there
)

// KV is a small store with compare-and-set. Keys are slash-separated; CheckKey says
// what a key may be, and a method that is given another returns ErrInvalid.
type KV interface {
	// Get reads one key, linearizably. ErrNotFound.
	Get(ctx context.Context, key string) (Pair, error)
	// List blocks until what stands under prefix has a version other than after (0:
	// returns at once, linearizably). Under "a/b" (or "a/b/", which is the same) stand
	// the keys that begin with "a/b/", under "" all. Nothing there is an empty list, no
	// error.
	List(ctx context.Context, prefix string, after uint64) (Pairs, error)
	// Put writes if the key's version is expect, and returns the new version. Writing
	// the value that is there already changes nothing and returns its version.
	// ErrConflict, ErrTooLarge; after any other error the write may or may not have
	// happened.
	Put(ctx context.Context, key string, value []byte, expect uint64) (uint64, error)
	// Delete removes if the key's version is expect. ErrConflict; deleting what is
	// not there with Any is no error.
	Delete(ctx context.Context, key string, expect uint64) error
}

// Term is one time of leadership.
type Term struct {
	// Token grows with each term of the same name, whoever leads. A writer that a
	// later term has deposed is refused by whoever compares tokens.
	Token uint64
}

// Elections choose one leader per name.
type Elections interface {
	// Lead waits to become the leader of name, then runs lead under a context that
	// ends when leadership is lost (by the own lease deadline, even when the cluster
	// is silent) or ctx ends. It gives leadership up when lead returns, and returns
	// lead's error; lost leadership is not an error: it then waits to lead again.
	// It returns nil when ctx ends, after lead has returned.
	Lead(ctx context.Context, name, holder string, lead func(context.Context, Term) error) error
	// Leader names the holder that leads just now, "" for none.
	Leader(ctx context.Context, name string) (string, error)
}

// Cluster is all of it.
type Cluster interface {
	Members
	KV
	Elections
	// Close ends blocked calls and releases connections. Announce and Lead must have
	// returned before.
	Close() error
}
