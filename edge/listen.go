package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"freshet/edge/listener"
	"freshet/edge/listener/limits"
	"freshet/internal/certs"
	"freshet/internal/cluster"
	"freshet/internal/node"
	"freshet/internal/run"
)

// altSvcAge is how long clients may remember that HTTP/3 is spoken, in seconds.
const altSvcAge = 24 * 60 * 60

// listen opens every address of the node file, or none, and makes the tasks that serve
// them. self is how the others are to see this node.
func (e *Edge) listen() (tasks []run.Task, self cluster.Node, err error) {
	f := e.env.File
	cfg := listener.Config{
		Handler: e, Now: e.now, Log: e.log, Metrics: e.env.Metrics, Drain: time.Duration(f.Drain), Limits: allowed(f),
		Generation: e.env.Sockets.Generation(), Succeeded: e.env.Succeeded,
	}
	defer func() {
		if err != nil {
			closeAll(cfg)
		}
	}()
	if cfg.ProxyFrom, err = node.Prefixes(f.ProxyProtocol); err != nil {
		return nil, self, fmt.Errorf("proxy_protocol: %w", err)
	}
	if cfg.Trusted, err = node.Prefixes(f.Limits.Trusted); err != nil {
		return nil, self, fmt.Errorf("limits.trusted: %w", err)
	}
	if cfg.Plain, self, err = e.env.Listen(); err != nil {
		return nil, self, err
	}
	e.secure.port = 443
	if len(f.HTTPS.Listen) > 0 {
		if err = e.listenSecure(&cfg); err != nil {
			return nil, self, err
		}
		tasks = append(tasks, run.Task{Name: "certificates", Run: e.secure.certs.Run})
	}
	if err = e.listenTier(&cfg, &self); err != nil {
		return nil, self, err
	}
	server, err := listener.New(cfg)
	if err != nil {
		return nil, self, err
	}
	for _, addr := range addrs(cfg.Plain) {
		e.log.Info("listening", "addr", addr)
	}
	for _, addr := range addrs(cfg.Secure) {
		e.log.Info("listening", "addr", addr, "tls", true, "http3", len(cfg.Packet) > 0)
	}
	for _, addr := range addrs(cfg.Tier) {
		e.log.Info("listening", "addr", addr, "tier", true)
	}
	return append(tasks, run.Task{Name: "listeners", Run: func(ctx context.Context) error {
		e.awaitSites(ctx)
		e.accepting.Store(true)
		return server.Run(ctx)
	}}), self, nil
}

// sitesWait is how long clients wait to be accepted until it is known what is served, and
// who is above. Mostly that is read from disk within milliseconds, in which clients would be
// turned away, and what they ask for go past the tiers.
const sitesWait = 2 * time.Second

func (e *Edge) awaitSites(ctx context.Context) {
	late := time.NewTimer(sitesWait)
	defer late.Stop()
	known := []<-chan struct{}{e.sited, e.parents.Met()}
	if e.env.File.Alone() {
		known = known[:1]
	}
	for _, news := range known {
		select {
		case <-news:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// listenSecure opens the addresses of https, and what is needed to speak TLS there.
func (e *Edge) listenSecure(cfg *listener.Config) error {
	h := &e.env.File.HTTPS
	for _, addr := range h.Listen {
		opened, err := e.env.ListenOn(addr)
		if err != nil {
			return fmt.Errorf("https: %w", err)
		}
		cfg.Secure = append(cfg.Secure, opened...)
		if h.HTTP3 != nil && !*h.HTTP3 {
			continue
		}
		pc, err := e.env.Sockets.ListenPacket("udp", opened[0].Addr().String()) // the same port, also where addr leaves it open
		if err != nil {
			return fmt.Errorf("https, HTTP/3: %w", err)
		}
		cfg.Packet = append(cfg.Packet, pc)
		if cfg.Generation > 0 {
			if err := run.SteerQUIC(pc, cfg.Generation); err != nil {
				e.log.Warn("connections over HTTP/3 may break at the hand-over", "err", err)
			}
		}
	}
	if e.secure.port = h.PublicPort; e.secure.port == 0 {
		e.secure.port = portOf(cfg.Secure[0])
	}
	if len(cfg.Packet) > 0 {
		e.secure.altSvc = fmt.Sprintf(`h3=":%d"; ma=%d`, e.secure.port, altSvcAge)
	}
	var err error
	if e.secure.certs, err = certs.New(e.certificates(cfg)); err != nil {
		return fmt.Errorf("https: %w", err)
	}
	cfg.TLS = e.secure.certs.TLS()
	if h.SelfSigned {
		e.log.Info("certificates are signed by this node itself", "ca", e.secure.certs.CAFile())
	}
	return nil
}

// certificates is what the node file says of them.
func (e *Edge) certificates(cfg *listener.Config) certs.Config {
	f := e.env.File
	c := certs.Config{
		SelfSigned: f.HTTPS.SelfSigned, Dir: f.HTTPS.Dir, Now: e.now, PoP: f.PoP, Log: e.log, Metrics: e.env.Metrics,
		Hosts: func(host string) bool { return e.sites.Load().byHost(host) != nil },
	}
	if c.Dir == "" && f.Data != "" {
		c.Dir = filepath.Join(f.Data, "certs")
	}
	if f.HTTPS.MinVersion == "1.3" {
		c.Min = tls.VersionTLS13
	}
	for _, pair := range f.HTTPS.Certificates {
		c.Files = append(c.Files, certs.Pair{Cert: pair.Cert, Key: pair.Key})
	}
	if a := f.HTTPS.ACME; a != nil {
		c.ACME = &certs.ACME{
			Email: a.Email, Directory: a.Directory, CA: a.CA, HTTPPort: portOf(cfg.Plain[0]), TLSPort: portOf(cfg.Secure[0]),
		}
	}
	for _, ln := range cfg.Secure {
		if addr := ln.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap(); !addr.IsUnspecified() {
			c.Addrs = append(c.Addrs, addr)
		}
	}
	if secret := f.Cluster.Secret.Value(); !f.Alone() && len(secret) >= node.MinSecret {
		c.Cluster, c.Secret = e.env.Cluster, []byte(secret)
	}
	return c
}

// addrs are the addresses of listeners; several in a row may share one.
func addrs(listeners []net.Listener) []string {
	var list []string
	for _, ln := range listeners {
		list = append(list, ln.Addr().String())
	}
	return slices.Compact(list)
}

func portOf(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

// closeAll closes what was opened for a server that was not made.
func closeAll(cfg listener.Config) {
	for _, ln := range slices.Concat(cfg.Plain, cfg.Secure, cfg.Tier) {
		ln.Close()
	}
	for _, pc := range cfg.Packet {
		pc.Close()
	}
}

// allowed is what the node file allows clients. Those of a mid are edges.
func allowed(f *node.File) limits.Config {
	l := &f.Limits
	c := limits.Config{
		HeaderBytes: int(l.HeaderBytes), HeaderFields: l.HeaderFields, BodyBytes: int64(l.BodyBytes),
		HeadTimeout: time.Duration(l.HeadTimeout), IdleTimeout: time.Duration(l.IdleTimeout), BodyTimeout: time.Duration(l.BodyTimeout),
		QuietTimeout: time.Duration(l.QuietTimeout),
		WriteTimeout: time.Duration(l.WriteTimeout), HandshakeTimeout: time.Duration(l.HandshakeTimeout), ConnTimeout: time.Duration(l.ConnTimeout),
		Conns: l.Conns, Streams: l.Streams, Resets: l.Resets, Controls: l.Controls,
	}
	switch {
	case l.ConnsPerAddr == nil && f.Role == cluster.Mid, l.ConnsPerAddr != nil && *l.ConnsPerAddr == 0:
		c.ConnsPerAddr = limits.Off
	case l.ConnsPerAddr != nil:
		c.ConnsPerAddr = *l.ConnsPerAddr
	}
	return c
}
