package distributor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

type commandInput struct {
	By      string `header:"Freshet-By" maxLength:"256" doc:"Who asks, for the audit trail."`
	Wait    string `query:"wait" enum:"true,false" default:"true" doc:"Answer when every live edge and mid has applied the command, or after the timeout."`
	Timeout string `query:"timeout" default:"10s" maxLength:"20" doc:"How long to wait at most: 500ms, 10s, 2m; up to 5m."`
	Body    client.CommandRequest
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
	scopes, mistakes := scopesOf(snap, in.Body)
	if len(mistakes) > 0 {
		return nil, badScopes(mistakes)
	}
	c := command.Command{
		Version: command.Version, ID: command.NewID(), Kind: command.Kind(in.Body.Kind),
		Scopes: scopes, At: start.UTC(), By: in.By,
	}
	clock, err := w.append(c)
	if errors.Is(err, errDeposed) {
		return nil, d.standby(ctx)
	}
	if err != nil {
		return nil, answer(err)
	}
	d.metrics.commands.WithLabelValues(string(c.Kind)).Inc()
	d.metrics.appends.Observe(time.Since(start).Seconds())
	out := &commandOutput{Body: receipt(c, clock)}
	if in.Wait == "false" {
		return out, nil
	}
	out.Body.Waited = true
	out.Body.Nodes, err = d.await(ctx, clock, start, timeout)
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
	r := client.Receipt{
		ID: c.ID, Kind: string(c.Kind), At: c.At, By: c.By,
		Log: clock.Log.String(), Sequence: clock.Seq.String(), Nodes: []client.NodeReceipt{},
	}
	for _, s := range c.Scopes {
		r.Scopes = append(r.Scopes, client.Scope{Kind: string(s.Kind), Site: s.Site, Value: s.Value})
	}
	return r
}

// await waits until every live cache node has applied what stands at clock, timeout
// has passed since start, or the caller has gone, and says how far each node is.
func (d *Distributor) await(ctx context.Context, clock command.Clock, start time.Time, timeout time.Duration) ([]client.NodeReceipt, error) {
	members, err := d.nodes(ctx)
	if err != nil {
		return nil, err
	}
	live := make(map[string]bool)
	var caches []cluster.Node
	for _, n := range members {
		if caching(n) {
			live[n.Name] = n.Ready
			caches = append(caches, n)
		}
	}
	w, err := d.progress.wait(clock, start, live)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(timeout - time.Since(start))
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	took := d.progress.end(w)
	now, err := d.nodes(ctx)
	if err != nil {
		now = members
	}
	return nodeReceipts(caches, now, took), nil
}

// caching reports whether a node keeps responses.
func caching(n cluster.Node) bool { return n.Role == cluster.Edge || n.Role == cluster.Mid }

// nodeReceipts judges each of the nodes that were there when the command was given;
// now is membership after the wait.
func nodeReceipts(caches, now []cluster.Node, took map[string]time.Duration) []client.NodeReceipt {
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
		case n.Ready:
			r.State = client.Late
		default:
			r.State = client.Unknown
		}
		if !ok {
			reason, member := reasons[n.Name]
			if !member {
				reason = "it has left the cluster"
			}
			r.Reason = reason
		}
		receipts[i] = r
	}
	return receipts
}

func complete(nodes []client.NodeReceipt) bool {
	for _, n := range nodes {
		if n.State != client.Applied {
			return false
		}
	}
	return true
}
