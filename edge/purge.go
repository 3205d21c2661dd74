package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/edge/exchange"
	"freshet/internal/command"
	"freshet/internal/header"
)

// A node without a cluster has a log of its own, whose commands come by the method PURGE,
// from addresses that its node file allows. They are carried out like those of a cluster's
// log, and answered when they are durable. In a cluster a purge is a matter of all nodes,
// so that the method is refused there; no node ever passes it on.

// methodPurge is as Varnish, nginx and Fastly know it.
const methodPurge = "PURGE"

// softField is what makes a PURGE soft, with any value but 0.
const softField = "Fastly-Soft-Purge"

// purgeRetry is when a PURGE that failed may be tried again.
const purgeRetry = time.Second

// maxPurgeTags is how many surrogate keys one PURGE may name.
const maxPurgeTags = command.MaxScopes

// proxyFields are those of a request that has come through a proxy: the address that it
// has come from is not that of who asks.
var proxyFields = header.NamesOf("Via", "Forwarded", "X-Forwarded-For", "CDN-Loop")

// ownLog is the log of a node without a cluster.
type ownLog struct {
	from  []netip.Prefix // who may add to it
	adds  sync.Mutex     // held while a command is carried out, so that they come in order
	asked *prometheus.CounterVec
}

// allows reports whether an address may purge.
func (l *ownLog) allows(from netip.AddrPort) bool {
	addr := from.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(l.from, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// purged is the answer to a PURGE.
type purged struct {
	Status   string   `json:"status"`
	ID       string   `json:"id"`
	Kind     string   `json:"kind"` // purge or invalidate
	Site     string   `json:"site"`
	Covers   []string `json:"covers"` // "url /a", "prefix /a/", "tag x"
	Sequence string   `json:"sequence"`
}

// purge answers a request by PURGE.
func (w *walk) purge() {
	own := &w.edge.own
	refuse := func(status int, text string) {
		own.asked.WithLabelValues("refused").Inc()
		w.refuse(refusal{status, "http_request_denied"}, text)
	}
	switch {
	case !w.edge.env.File.Alone():
		refuse(http.StatusMethodNotAllowed, "a cluster is purged by its management API: see 'freshet purge --help'")
		return
	case len(own.from) == 0:
		refuse(http.StatusMethodNotAllowed, "PURGE is switched off: cache.purge_from in the node file says who may")
		return
	case !own.allows(w.req.Remote):
		refuse(http.StatusForbidden, "this address may not purge: cache.purge_from in the node file says who may")
		return
	case w.req.Header.HasAny(proxyFields):
		refuse(http.StatusForbidden, "this request came through a proxy, which says nothing of who asks: purge without one")
		return
	}
	c, err := w.purgeCommand()
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	seq, err := w.edge.append(w.ctx, c)
	if err != nil {
		own.asked.WithLabelValues("failed").Inc()
		w.again = purgeRetry
		text := "the purge holds, but is not durable: repeat it: " + err.Error()
		if errors.Is(err, errYielded) {
			text = "this process hands over to another: repeat the purge"
		}
		w.edge.metrics.requests.failed.Inc()
		w.problem(http.StatusServiceUnavailable, "proxy_internal_error", text)
		return
	}
	a := purged{Status: "ok", ID: c.ID, Kind: string(c.Kind), Site: w.site.Name(), Sequence: seq.String()}
	for _, s := range c.Scopes {
		a.Covers = append(a.Covers, string(s.Kind)+" "+s.Value)
	}
	own.asked.WithLabelValues(map[command.Kind]string{command.Purge: "purged", command.Invalidate: "invalidated"}[c.Kind]).Inc()
	w.edge.metrics.requests.pass.Inc()
	w.tell(&a)
}

// tell answers with JSON.
func (w *walk) tell(a *purged) {
	body, err := json.Marshal(a)
	if err != nil {
		w.fail(fmt.Errorf("answer to a purge: %w", err))
		return
	}
	body = append(body, '\n')
	h := new(header.Block)
	_ = h.Add("Content-Type", "application/json")
	_ = h.Add("Cache-Control", "no-store")
	w.respond(&exchange.Answer{Status: http.StatusOK, Header: h, Bytes: body, Length: int64(len(body))})
}

// purgeCommand is what a PURGE asks for: the surrogate keys that it names, else all below
// a path that ends in "/*", else its URL.
func (w *walk) purgeCommand() (command.Command, error) {
	c := command.Command{
		Version: command.Version, ID: command.NewID(), Kind: command.Purge, At: w.edge.now().UTC(),
		By: "PURGE@" + w.req.Remote.Addr().Unmap().String(),
	}
	if w.req.Header.Has(softField) && strings.Trim(w.req.Header.Get(softField), " \t") != "0" {
		c.Kind = command.Invalidate
	}
	target, name := strings.Clone(w.req.Target), w.site.Name()
	if w.req.Header.Has("Surrogate-Key") {
		for value := range w.req.Header.Values("Surrogate-Key") {
			for tag := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ' ' || r == '\t' }) {
				s := command.Scope{Kind: command.ScopeTag, Site: name, Value: strings.Clone(tag)}
				if !slices.Contains(c.Scopes, s) {
					c.Scopes = append(c.Scopes, s)
				}
				if len(c.Scopes) > maxPurgeTags {
					return c, fmt.Errorf("more than %d surrogate keys", maxPurgeTags)
				}
			}
		}
		if len(c.Scopes) == 0 {
			return c, errors.New("Surrogate-Key names no key")
		}
	} else if below, ok := strings.CutSuffix(target, "*"); ok && strings.HasSuffix(below, "/") && !strings.Contains(below, "?") {
		c.Scopes = []command.Scope{{Kind: command.ScopePrefix, Site: name, Value: below}}
	} else {
		c.Scopes = []command.Scope{{Kind: command.ScopeURL, Site: name, Value: target}}
	}
	return c, c.Validate()
}

// append carries out a command of the node's own log, and returns when it is durable and
// no other process serves what is stored here. After
// an error it holds in this process, and may not after a restart.
func (e *Edge) append(ctx context.Context, c command.Command) (command.Seq, error) {
	e.own.adds.Lock()
	seq := e.table.Clock().Seq + 1
	err := e.Apply(seq, c)
	e.own.adds.Unlock()
	if err != nil {
		return seq, fmt.Errorf("carry out a purge: %w", err)
	}
	if err := e.Commit(); err != nil { // those that wait for the disk together share one write
		return seq, err
	}
	// A process that has handed over to this one may still answer clients, as what is
	// stored was before.
	select {
	case <-e.env.Sockets.Alone():
		return seq, nil
	case <-ctx.Done():
		return seq, ctx.Err()
	}
}
