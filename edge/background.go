package edge

import (
	"context"
	"io"
	"strings"
	"sync"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/command"
	"freshet/internal/header"
	"freshet/internal/httpcache"
)

// Commands that have a node ask: a refresh validates what it holds, a prefetch fetches
// what it does not. Both are done behind, a few at a time, each as a client's GET would
// ask, in the variant that a request without fields of its own selects. They are no part of
// what is acknowledged: what is late, or finds no room, is left out and counted.
const (
	maxJobs    = 10_000
	jobWorkers = 4
	jobTime    = 5 * time.Minute  // of one
	jobAge     = 10 * time.Minute // of a command, beyond which it is not worth the while any more
)

// job is one request of a command.
type job struct {
	refresh bool
	req     *exchange.Request
	key     string // that the request has to have; "" for any
}

func (j *job) kind() string {
	if j.refresh {
		return string(command.Refresh)
	}
	return string(command.Prefetch)
}

// enqueue has what a command asks for done.
func (e *Edge) enqueue(c command.Command) {
	f := e.env.File
	refresh := c.Kind == command.Refresh
	if !refresh && (c.Kind != command.Prefetch || !c.For.Includes(string(f.Role), f.PoP)) || e.now().Sub(c.At) > jobAge {
		return
	}
	for _, s := range c.Scopes {
		j := job{refresh: refresh}
		if j.req = requestOf(s); j.req == nil {
			e.metrics.jobs.WithLabelValues(j.kind(), "skipped").Inc()
			continue
		}
		if s.Kind == command.ScopeKey {
			j.key = s.Value
		}
		select {
		case e.jobs <- j:
		default:
			e.metrics.jobs.WithLabelValues(j.kind(), "dropped").Inc()
		}
	}
}

// requestOf is the request by which a client asks for a URL, or for what a key is of; nil
// where that cannot be told.
func requestOf(s command.Scope) *exchange.Request {
	scheme, authority, ok := strings.Cut(s.Base, "://")
	target, lines := s.Value, ""
	if s.Kind == command.ScopeKey {
		_, text, _ := strings.Cut(s.Value, "\n")
		text, lines, _ = strings.Cut(text, "\n")
		slash := strings.IndexByte(text, '/')
		if ok = slash > 0; !ok {
			return nil
		}
		scheme, authority, target = "https", text[:slash], text[slash:]
	}
	req := &exchange.Request{Method: "GET", Scheme: scheme, Target: target, Header: new(header.Block), Proto: "HTTP/1.1"}
	if ok {
		req.Host, req.Port, ok = exchange.SplitHost(authority)
	}
	for line := range strings.SplitSeq(lines, "\n") {
		switch name, value, _ := strings.Cut(line, " "); name {
		case "+scheme":
			req.Scheme = value
		case "+header":
			if name, value, has := strings.Cut(value, ":"); has {
				ok = ok && req.Header.Add(name, value) == nil
			}
		}
	}
	if !ok {
		return nil
	}
	return req
}

// work does the jobs, until ctx ends.
func (e *Edge) work(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range jobWorkers {
		wg.Go(func() {
			for {
				select {
				case j := <-e.jobs:
					e.metrics.jobs.WithLabelValues(j.kind(), e.do(ctx, j)).Inc()
				case <-ctx.Done():
					return
				}
			}
		})
	}
	<-ctx.Done()
	return nil
}

// do does one job, and says what became of it.
func (e *Edge) do(ctx context.Context, j job) (result string) {
	ctx, cancel := context.WithTimeout(ctx, jobTime)
	defer cancel()
	to := new(discard)
	w := new(walk)
	j.req.Received = e.now()
	w.enlist(e, ctx, j.req, to)
	w.own()
	if _, text := w.admit(); text != "" || w.past() != "" || w.rules.Redirect.Status != 0 || j.key != "" && j.key != w.key.Text {
		return "skipped"
	}
	if j.refresh {
		if !w.validateNow() {
			return "skipped"
		}
	} else {
		w.lookUp()
	}
	if to.status == 0 || to.status >= 500 || to.err != nil {
		return "failed"
	}
	return "done"
}

// validateNow asks whether what is held still holds; false if nothing is held, or nothing
// has made it stale.
func (w *walk) validateNow() bool {
	r, verdict := w.look()
	if r == nil || verdict == httpcache.Use {
		return false
	}
	w.base = r
	for attempt := 1; attempt <= maxAttempts; attempt++ {
		if w.fetch(attempt) || w.recall() {
			return true
		}
	}
	return true
}

// discard is a Responder for nobody: it reads what it gets.
type discard struct {
	status int
	err    error
}

func (*discard) Inform(int, *header.Block) {}

func (d *discard) Respond(a *exchange.Answer) error {
	d.status = a.Status
	if a.Stream != nil {
		_, d.err = io.Copy(io.Discard, a.Stream)
	}
	return d.err
}
