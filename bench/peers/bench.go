//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// bench measures rows.
type bench struct {
	dir      string
	progress io.Writer
	seed     uint64
	rounds   int
	length   time.Duration
	cpu      int // of the servers
	peers    []*peer
	bodies   bodies
	loader   *loader
	ktls     bool
	can      abilities         // of freshet
	left     map[string]string // peers and loaders that are left out, and why
	unloaded []proto           // protocols without a loader
	failures []string          // what failed on the way, and was left out
	running  map[string]*server
}

// Run is one run of a row on a server: the raw result.
type Run struct {
	Row         string       `json:"row"`
	Server      string       `json:"server"`
	Round       int          `json:"round"`
	Requests    figure       `json:"requests"` // of 10 MB bodies: bytes that were read over the size
	CPU         figure       `json:"cpu_us_per_request"`
	SystemShare figure       `json:"system_share"` // of that
	Busy        figure       `json:"busy"`         // share of its CPU that the server used
	Rate        figure       `json:"requests_per_second"`
	P50         figure       `json:"p50_us"`
	P99         figure       `json:"p99_us"`
	TLS         string       `json:"tls,omitempty"`
	Failed      int64        `json:"failed"`
	Origin      *originCount `json:"origin,omitempty"` // what reached it meanwhile
	Problem     string       `json:"problem,omitempty"`
}

// estimate is how long rows take, roughly: turns, their warming up, starts of servers.
func (b *bench) estimate(rows []row) time.Duration {
	var sum time.Duration
	for _, r := range rows {
		for range b.takers(r) {
			turn := b.lengthOf(r) + 300*time.Millisecond
			switch {
			case r.kind == cold:
				turn += 2 * time.Second
			case r.proto == h2:
				turn += b.loader.warm + 1500*time.Millisecond
			case r.proto == h3:
				turn += b.loader.warm
			}
			sum += time.Duration(b.rounds)*turn + 1500*time.Millisecond
		}
	}
	return sum + time.Duration(len(b.peers))*2*time.Second
}

// lengthOf is how long a run of a row is: twice as long for large bodies, of which much is
// under way in the end that was sent and is not read.
func (b *bench) lengthOf(r row) time.Duration {
	if r.size.byBytes() {
		return 2 * b.length
	}
	return b.length
}

// place makes the place of a server that is to be started.
func (b *bench) place(name string, o *origin) (place, error) {
	addrs, err := freeAddrs(3)
	if err != nil {
		return place{}, err
	}
	certs := filepath.Join(b.dir, "certs")
	return place{
		Dir: filepath.Join(b.dir, name), Plain: addrs[0], Secure: addrs[1], Admin: addrs[2], Origin: o.addr,
		Files: filepath.Join(b.dir, "files"), CertDir: certs,
		Cert: filepath.Join(certs, "cert.pem"), Key: filepath.Join(certs, "key.pem"), KTLS: b.ktls,
	}, nil
}

// begin starts a peer under a name of its own. Somebody else may take a port between
// its choice and its use, so it is tried again.
func (b *bench) begin(ctx context.Context, p *peer, name string) (s *server, err error) {
	for range 3 {
		if s, err = b.tryBegin(ctx, p, name); err == nil || ctx.Err() != nil {
			return s, err
		}
		_ = os.RemoveAll(filepath.Join(b.dir, name))
	}
	return nil, err
}

func (b *bench) tryBegin(ctx context.Context, p *peer, name string) (*server, error) {
	o, err := startOrigin(b.bodies)
	if err != nil {
		return nil, err
	}
	at, err := b.place(name, o)
	if err == nil && p.program == b.peers[0].program && !b.can.https {
		at.Secure = ""
	}
	var s *server
	if err == nil {
		s, err = start(ctx, p, at, o, b.cpu)
	}
	if err != nil {
		o.stop()
		return nil, err
	}
	return s, nil
}

// get is a server that runs, paused.
func (b *bench) get(ctx context.Context, p *peer) (*server, error) {
	if s := b.running[p.name]; s != nil {
		select {
		case <-s.ended: // it broke down in an earlier row
			s.origin.stop()
		default:
			return s, nil
		}
	}
	fmt.Fprintln(b.progress, "bench: start", p.name)
	s, err := b.begin(ctx, p, p.name)
	if err != nil {
		return nil, err
	}
	b.running[p.name] = s
	return s, s.pause()
}

// close ends all servers.
func (b *bench) close() {
	for _, s := range b.running {
		s.stop()
		s.origin.stop()
	}
	clear(b.running)
}

// run measures rows one after the other and hands each turn to report.
func (b *bench) run(ctx context.Context, rows []row, report func(Run)) error {
	for _, r := range rows {
		turns := b.takers(r)
		if len(turns) == 0 {
			continue
		}
		fmt.Fprintf(b.progress, "bench: row %s\n", r)
		if err := b.row(ctx, r, turns, report); err != nil {
			return err
		}
	}
	return nil
}

// row measures one row. A server that fails is left out of the row, and the others go on;
// freshet is what all are compared with.
func (b *bench) row(ctx context.Context, r row, turns []*peer, report func(Run)) error {
	failed := func(p *peer, err error) {
		b.failures = append(b.failures, fmt.Sprintf("%s: %s: %v", r, p.name, err))
		fmt.Fprintln(b.progress, "bench: left out:", b.failures[len(b.failures)-1])
		turns = slices.DeleteFunc(turns, func(q *peer) bool { return q == p })
	}
	if r.kind != cold {
		for _, p := range slices.Clone(turns) {
			s, err := b.get(ctx, p)
			if err == nil {
				err = b.prepare(ctx, s, r)
			}
			if err != nil {
				failed(p, err)
			}
		}
	}
	for round := range b.rounds {
		now := slices.Clone(turns)
		for _, i := range order(b.seed, r, round, len(now)) {
			p := now[i]
			run, err := b.turn(ctx, p, r, round)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed(p, err)
				continue
			}
			run.Row, run.Server, run.Round = r.String(), p.name, round+1
			if run.Problem != "" {
				fmt.Fprintf(b.progress, "bench: %s: %s: round %d: %s\n", r, p.name, round+1, run.Problem)
			}
			report(run)
		}
	}
	return ctx.Err()
}

// order is whose turn it is in a round: other in every round, the same for one seed.
func order(seed uint64, r row, round, n int) []int {
	var mixed [32]byte
	copy(mixed[:], fmt.Sprintf("%d %d %s", seed, round, r))
	return rand.New(rand.NewChaCha8(mixed)).Perm(n)
}

// prepare fills a server's cache, checks its answers and runs the load once without
// counting, so that memory and tables have the size that they stay at.
func (b *bench) prepare(ctx context.Context, s *server, r row) (err error) {
	if err := s.resume(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.pause()) }()
	if err := warmUp(ctx, s, r, b.bodies, b.loader.h3load); err != nil {
		return fmt.Errorf("%w%s", err, s.tail())
	}
	_, err = b.loader.run(ctx, s, r, time.Second)
	return err
}

// turn measures a row on one server.
func (b *bench) turn(ctx context.Context, p *peer, r row, round int) (Run, error) {
	if r.kind == cold {
		return b.coldTurn(ctx, p, r, round)
	}
	s := b.running[p.name]
	if err := s.resume(); err != nil {
		return Run{}, err
	}
	s.origin.reset(0)
	m, err := b.loader.run(ctx, s, r, b.lengthOf(r))
	if err := errors.Join(err, s.pause()); err != nil {
		return Run{}, err
	}
	run := makeRun(m, r.size)
	if p.logs {
		if err := s.checkLog(run.Requests); err != nil {
			run.Problem = err.Error()
		}
	}
	if count := s.origin.count(); count.Requests > 0 {
		run.Origin = &count
		run.Problem = fmt.Sprintf("%d requests reached the origin: these are not all hits; %s", count.Requests, run.Problem)
	}
	return run, nil
}

// makeRun makes the figures of one run.
func makeRun(m measured, s size) Run {
	requests := float64(m.requests)
	if s.byBytes() {
		requests = m.bytes / float64(s.bytes)
	}
	run := Run{
		Requests: figure(requests), SystemShare: figure(m.systemShare), Busy: figure(m.cpu.Seconds() / m.wall.Seconds()),
		Rate: figure(requests / m.seconds), P50: figure(m.p50), P99: figure(m.p99), TLS: m.tls, Failed: m.failed,
	}
	if m.requests == 0 { // none that a time could be said of
		run.P50, run.P99 = figure(math.NaN()), figure(math.NaN())
	}
	switch {
	case requests == 0:
		run.Problem = "no request was complete"
	case m.failed > 0:
		run.Problem = fmt.Sprintf("%d requests failed: %s", m.failed, m.why)
	}
	run.CPU = figure(math.NaN())
	if requests > 0 {
		run.CPU = figure(float64(m.cpu.Microseconds()) / requests)
	}
	return run
}

// coldDelay is how far away the origin of cold rows is: far enough that requests for one
// URL meet.
const coldDelay = 20 * time.Millisecond

// coldTurn starts a peer anew, with nothing in its cache, and loads it at once.
func (b *bench) coldTurn(ctx context.Context, p *peer, r row, round int) (Run, error) {
	s, err := b.begin(ctx, p, fmt.Sprintf("%s-cold-%d", p.name, round))
	if err != nil {
		return Run{}, err
	}
	defer func() {
		s.stop()
		s.origin.stop()
		_ = os.RemoveAll(s.place.Dir)
	}()
	script := filepath.Join(b.dir, "cold.lua")
	err = writeConfig(script, "cold.lua", struct {
		Seed   uint64
		URLs   int
		Prefix string
	}{b.seed + uint64(round), r.urls, r.path()})
	if err != nil {
		return Run{}, err
	}
	s.origin.reset(coldDelay)
	m, err := b.loader.wrk(ctx, s, r, b.lengthOf(r), script)
	if err != nil {
		return Run{}, err
	}
	run := makeRun(m, r.size)
	count := s.origin.count()
	run.Origin = &count
	return run, nil
}

// names are those of peers.
func names(peers []*peer) []string {
	list := make([]string, len(peers))
	for i, p := range peers {
		list[i] = p.name
	}
	return list
}

// choosePeers are those that are named, freshet first and always.
func choosePeers(all []*peer, wanted []string) ([]*peer, error) {
	for _, name := range wanted {
		if !slices.Contains(names(all), name) {
			return nil, fmt.Errorf("there is no peer %q; there are %v", name, names(all))
		}
	}
	var chosen []*peer
	for _, p := range all {
		if len(wanted) == 0 || p.name == all[0].name || slices.Contains(wanted, p.name) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}
