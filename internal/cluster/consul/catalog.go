package consul

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"
)

// When the catalog is held against what the agent was told.
const (
	confirmEvery = 3 * time.Second
	confirmAfter = 2 * time.Second // a change: the agent needs a moment to pass it on
)

// confirm sees to it that the others learn what the agent was told. The agent passes
// on each change once; where that goes wrong, or falls into its own comparison with
// the catalog while a service is being registered, it tries again after 15 s to two
// minutes, and the node would be ready for itself alone. So the node looks, and
// writes what the agent would have written. Without Consul's servers nothing can be
// known or mended: the next look comes soon.
func (a *announcement) confirm(ctx context.Context) {
	now := time.Now()
	if now.Sub(a.reasonAt) < confirmAfter || now.Sub(a.looked) < confirmEvery {
		return
	}
	a.looked = now
	ctx, cancel := a.cluster.within(ctx, beatTimeout)
	defer cancel()
	checks, err := a.catalogued(ctx)
	if err != nil {
		return
	}
	for _, check := range checks {
		if check.Status == a.status {
			a.machine = check.Node
			return
		}
	}
	if len(checks) != 1 {
		// Not there at all, or on two machines: only the agent knows which is its own.
		a.machine, a.registered = "", false
		return
	}
	err = a.cluster.catalogue(ctx, checks[0], a.status, a.reason)
	a.cluster.log.WarnContext(ctx, "consul's agent had not passed the node's health on",
		"told", a.status, "found", checks[0].Status, "mended", err == nil)
}

// catalogue writes a check past the agent. The body stands here in full, because
// the api package's has fields that an older Consul refuses.
func (c *Cluster) catalogue(ctx context.Context, check *api.HealthCheck, status, output string) error {
	_, err := c.client.Raw().Write("/v1/catalog/register", map[string]any{
		"Node": check.Node, "SkipNodeUpdate": true,
		"Check": map[string]string{
			"Node": check.Node, "CheckID": check.CheckID, "Name": check.Name, "Status": status, "Output": output,
			"ServiceID": check.ServiceID, "ServiceName": check.ServiceName, "Type": check.Type,
		},
	}, nil, (&api.WriteOptions{}).WithContext(ctx))
	return err
}

// catalogued is the node's check as Consul's servers have it: on the machine where
// it was last, else on any.
func (a *announcement) catalogued(ctx context.Context) (api.HealthChecks, error) {
	q := (&api.QueryOptions{AllowStale: true, Filter: "CheckID == `" + a.id + "`"}).WithContext(ctx)
	health := a.cluster.client.Health()
	if a.machine != "" {
		if checks, _, err := health.Node(a.machine, q); err != nil || len(checks) > 0 {
			return checks, err
		}
	}
	checks, _, err := health.Checks(a.cluster.prefix, q)
	return checks, err
}
