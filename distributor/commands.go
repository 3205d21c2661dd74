package distributor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

type commandInput struct {
	By      string `header:"Freshet-By" maxLength:"256" doc:"Who asks, for the audit trail; without it that has the address of the caller."`
	Wait    string `query:"wait" enum:"true,false" default:"true" doc:"Answer when every live edge and mid has applied the command, or after the timeout."`
	Timeout string `query:"timeout" default:"10s" maxLength:"20" doc:"How long to wait at most: 500ms, 10s, 2m; up to 5m."`
	Body    client.CommandRequest

	from string // address of the caller
}

// Resolve takes what no field of the request says.
func (in *commandInput) Resolve(ctx huma.Context) []error {
	in.from = ctx.RemoteAddr()
	return nil
}

// author is who asks, in their own words, else where from.
func (in *commandInput) author() string {
	if in.By != "" {
		return in.By
	}
	host, _, err := net.SplitHostPort(in.from)
	if err != nil {
		return "unknown"
	}
	return "unknown@" + host
}

type commandOutput struct {
	Body client.Receipt
}

// giveCommand appends a command, and waits for the nodes if it was asked to.
func (d *Distributor) giveCommand(ctx context.Context, in *commandInput) (*commandOutput, error) {
	start := time.Now()
	w := d.writer.Load()
	if w == nil {
		return nil, d.standby(ctx)
	}
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil || timeout <= 0 || timeout > client.MaxWait {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("timeout is %q: it should be a duration such as 10s, up to %s", in.Timeout, client.MaxWait))
	}
	snap := d.sites.snapshot.Load()
	if snap == nil {
		return nil, huma.Error503ServiceUnavailable("the sites are not known yet; try again in a few seconds")
	}
	c, mistakes := commandOf(snap, in.Body)
	if len(mistakes) > 0 {
		return nil, badScopes(mistakes)
	}
	c.ID, c.At, c.By = command.NewID(), start.UTC(), in.author()
	clock, err := w.append(c)
	if errors.Is(err, errDeposed) {
		return nil, d.standby(ctx)
	}
	if err != nil {
		return nil, answer(err)
	}
	d.metrics.commands.WithLabelValues(string(c.Kind)).Inc()
	d.metrics.appends.Observe(time.Since(start).Seconds())
	d.recent.note(c.ID, given{clock: clock})
	out := &commandOutput{Body: receipt(c, clock)}
	if in.Wait == "false" {
		return out, nil
	}
	out.Body.Waited = true
	took, nodes, err := d.await(ctx, c, clock, start, timeout)
	d.recent.note(c.ID, given{clock, took})
	out.Body.Nodes = nodes
	if err != nil {
		return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("command %s stands in the log at %s, but its receipts are not known: %s", c.ID, clock.Seq, err))
	}
	out.Body.Complete = complete(out.Body.Nodes)
	d.metrics.waits.Observe(time.Since(start).Seconds())
	return out, nil
}

// badScopes is the answer to a request that covers what it cannot.
func badScopes(mistakes []mistake) error {
	details := make([]error, len(mistakes))
	unknown := true
	for i, m := range mistakes {
		details[i] = &huma.ErrorDetail{Location: m.location, Message: m.err.Error()}
		unknown = unknown && errors.Is(m.err, errUnknown)
	}
	if unknown {
		return huma.Error404NotFound("there is no such site", details...)
	}
	return huma.Error422UnprocessableEntity("the command is not valid", details...)
}

func receipt(c command.Command, clock command.Clock) client.Receipt {
	return client.Receipt{Record: recordOf(c, clock), Nodes: []client.NodeReceipt{}}
}

// recordOf is a command as the API tells it.
func recordOf(c command.Command, clock command.Clock) client.Record {
	r := client.Record{
		ID: c.ID, Kind: string(c.Kind), Scopes: make([]client.Scope, len(c.Scopes)), Soft: c.Soft, At: c.At, By: c.By,
		Log: clock.Log.String(), Sequence: clock.Seq.String(),
	}
	if c.NoStore > 0 {
		r.NoStore = c.NoStore.Duration().String()
	}
	if c.For != (command.Target{}) {
		r.For = &client.Target{Role: c.For.Role, PoP: c.For.PoP}
	}
	for i, s := range c.Scopes {
		r.Scopes[i] = client.Scope{Kind: string(s.Kind), Site: s.Site, Value: s.Value, Base: s.Base}
		if s.Match != nil {
			m := &client.Match{Host: s.Match.Host, Path: s.Match.Path, PathRE: s.Match.PathRE}
			for _, h := range s.Match.Headers {
				m.Headers = append(m.Headers, client.MatchHeader{Name: h.Name, Value: h.Value, ValueRE: h.ValueRE})
			}
			r.Scopes[i].Match = m
		}
	}
	return r
}

// await waits until every live cache node has applied the command at clock, or has ceased
// to use what it covers, timeout has passed since start, or the caller has gone, and says
// how far each node is.
func (d *Distributor) await(ctx context.Context, c command.Command, clock command.Clock, start time.Time, timeout time.Duration) (map[string]time.Duration, []client.NodeReceipt, error) {
	appended := d.progress.now()
	members, err := d.nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	reports := d.progress.reports()
	caches, ends := d.cachesOf(members, reports), d.lapses(c, appended, reports)
	live := make(map[string]bool)
	for _, n := range caches {
		_, lapses := ends[n.Name]
		live[n.Name] = n.Ready || lapses
	}
	w, err := d.progress.wait(clock, start, live)
	if err != nil {
		return nil, nil, err
	}
	timer := time.NewTimer(timeout - time.Since(start))
	defer timer.Stop()
	lapse := time.NewTimer(client.MaxWait)
	defer lapse.Stop()
	if last := lastEnd(ends); !last.IsZero() {
		lapse.Reset(last.Sub(appended))
	}
	select {
	case <-w.done:
	case <-lapse.C:
		if d.progress.waitsFor(w, ends) {
			select {
			case <-w.done:
			case <-timer.C:
			case <-ctx.Done():
			}
		}
	case <-timer.C:
	case <-ctx.Done():
	}
	took := d.progress.end(w)
	now, err := d.nodes(ctx)
	if err != nil {
		now = members
	}
	return took, nodeReceipts(caches, now, took, lapsedBy(d.progress.now(), ends)), nil
}

// lapsedBy are the nodes of which the time has come.
func lapsedBy(now time.Time, ends map[string]time.Time) map[string]bool {
	lapsed := make(map[string]bool)
	for name, end := range ends {
		lapsed[name] = !now.Before(end)
	}
	return lapsed
}

// caching reports whether a node keeps responses.
func caching(n cluster.Node) bool { return n.Role == cluster.Edge || n.Role == cluster.Mid }

func sortByName(nodes []cluster.Node) {
	slices.SortFunc(nodes, func(a, b cluster.Node) int { return cmp.Compare(a.Name, b.Name) })
}

// nodeReceipts judges each of the nodes that were there when the command was given;
// now is membership after the wait, took how long those took that have applied it, lapsed
// who uses nothing any more that it covers.
func nodeReceipts(caches, now []cluster.Node, took map[string]time.Duration, lapsed map[string]bool) []client.NodeReceipt {
	reasons := make(map[string]string, len(now))
	for _, n := range now {
		reasons[n.Name] = ""
		if !n.Ready {
			reasons[n.Name] = "not ready: " + n.Reason
		}
	}
	receipts := make([]client.NodeReceipt, len(caches))
	for i, n := range caches {
		r := client.NodeReceipt{Node: n.Name, Role: string(n.Role), PoP: n.PoP}
		after, ok := took[n.Name]
		switch {
		case ok:
			r.State, r.TookMS = client.Applied, float64(after.Microseconds())/1000
		case lapsed[n.Name]:
			r.State = client.Lapsed
		case n.Ready:
			r.State = client.Late
		default:
			r.State = client.Unknown
		}
		if !ok {
			reason, member := reasons[n.Name]
			switch {
			case lapsed[n.Name]:
				reason = "it has not heard of it, and its purge lease is over"
			case !member:
				reason = cmp.Or(n.Reason, "it has left the cluster")
			}
			r.Reason = reason
		}
		receipts[i] = r
	}
	return receipts
}

func complete(nodes []client.NodeReceipt) bool {
	for _, n := range nodes {
		if n.State != client.Applied && n.State != client.Lapsed {
			return false
		}
	}
	return true
}
