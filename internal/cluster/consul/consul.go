// Package consul is the cluster on a Consul agent. All it stores stands under one
// prefix:
//
//	services  <prefix>             one per node, ID <prefix>:<node>, tag <role>
//	          <prefix>-candidate   one per candidate that reaches for leadership
//	keys      <prefix>/kv/…        what KV stores
//	          <prefix>/elections/… one lock per election
//
// It works with Consul 1.8 and later. The agent it talks to should be the machine's
// own, as is usual with Consul: announced nodes belong to that agent.
package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/time/rate"

	"freshet/internal/cluster"
)

const (
	callTimeout  = 10 * time.Second // of a call that does not wait for news
	closeTimeout = 2 * time.Second  // of withdrawing, and of giving leadership up
	beatInterval = time.Second      // between two signs of life
	beatTimeout  = time.Second      // of one sign of life
	dialTimeout  = 3 * time.Second

	// A watch asks at most this often, whatever wakes it.
	watchRate  = 10 // a second
	watchBurst = 30
)

// Config says how to reach the agent.
type Config struct {
	Address string // host:port of the agent's HTTP API
	Prefix  string // lower-case letters, digits and dashes; clusters on one Consul differ in it
	Token   string // ACL token; "": what CONSUL_HTTP_TOKEN says, or none
	TLS     TLS    // TLS to the agent, used when CA or Cert is set
}

// TLS names the PEM files of a TLS client.
type TLS struct {
	CA         string // authorities to trust; "": the system's
	Cert, Key  string // the client's own; both or none
	ServerName string // expected in the agent's certificate, if it is not the address
}

// Cluster is a cluster.Cluster on a Consul agent.
type Cluster struct {
	client    *api.Client
	transport *http.Transport
	prefix    string
	log       *slog.Logger
	limiter   *rate.Limiter

	life context.Context // ends with Close
	end  context.CancelFunc

	mu struct {
		sync.Mutex
		seen map[string]seen // by watch: the last version that it returned
	}
}

var _ cluster.Cluster = (*Cluster)(nil)

// New makes a cluster without asking the agent anything yet: it may be away when a
// node starts.
func New(cfg Config, log *slog.Logger) (*Cluster, error) {
	if cfg.Address == "" {
		return nil, errors.New("consul: no address")
	}
	if err := cluster.CheckName(cfg.Prefix); err != nil {
		return nil, fmt.Errorf("consul: prefix: %w", err)
	}
	dialer := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: dialTimeout,
	}
	scheme := "http"
	if cfg.TLS.CA != "" || cfg.TLS.Cert != "" {
		scheme = "https"
		conf, err := api.SetupTLSConfig(&api.TLSConfig{
			Address: cfg.TLS.ServerName, CAFile: cfg.TLS.CA, CertFile: cfg.TLS.Cert, KeyFile: cfg.TLS.Key,
		})
		if err != nil {
			return nil, fmt.Errorf("consul: tls: %w", err)
		}
		transport.TLSClientConfig = conf
	}
	client, err := api.NewClient(&api.Config{
		Address: cfg.Address, Scheme: scheme, Token: cfg.Token, HttpClient: &http.Client{Transport: transport},
	})
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	c := &Cluster{
		client: client, transport: transport, prefix: cfg.Prefix, log: log,
		limiter: rate.NewLimiter(watchRate, watchBurst),
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.mu.seen = make(map[string]seen)
	return c, nil
}

// Close ends blocked calls with cluster.ErrClosed and closes connections.
func (c *Cluster) Close() error {
	c.end()
	c.transport.CloseIdleConnections()
	return nil
}

// within bounds a call: by the caller's ctx, by a timeout, and by Close.
func (c *Cluster) within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// afterwards is within for what must still be done once ctx has ended.
func (c *Cluster) afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
}

// why tells whether a call failed because ctx ended or the cluster was closed.
func (c *Cluster) why(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case c.life.Err() != nil:
		return cluster.ErrClosed
	}
	return err
}

// pause waits for about d, from three quarters to five, or until ctx ends or the
// cluster is closed.
func (c *Cluster) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d*3/4 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-c.life.Done():
	}
}
