package consul_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"freshet/internal/cluster"
	"freshet/internal/cluster/clustertest"
	"freshet/internal/cluster/consul"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func node(name string) cluster.Node { return cluster.Node{Name: name, Role: cluster.Edge} }

func healthy() error { return nil }

// awaitNode watches until a node is there as cond wants it; errors of the cluster in
// the meantime are as expected.
func awaitNode(t *testing.T, c cluster.Cluster, what, name string, cond func(cluster.Node) bool) {
	t.Helper()
	ctx := within(t)
	var nodes cluster.Nodes
	for {
		next, err := c.Nodes(ctx, nodes.Version)
		if ctx.Err() != nil {
			t.Fatalf("waiting until %s: %v; last seen: %+v", what, err, nodes.List)
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if nodes = next; slices.ContainsFunc(nodes.List, func(n cluster.Node) bool { return n.Name == name && cond(n) }) {
			return
		}
	}
}

func ready(n cluster.Node) bool { return n.Ready }

// term is one time of leadership as a test sees it.
type term struct {
	cluster.Term
	ctx context.Context
}

// untilEnd is a lead that holds on, and says so.
func untilEnd(terms chan<- term) func(context.Context, cluster.Term) error {
	return func(ctx context.Context, next cluster.Term) error {
		select {
		case terms <- term{next, ctx}:
		case <-ctx.Done():
		}
		<-ctx.Done()
		return nil
	}
}

func await(t *testing.T, terms <-chan term) term {
	t.Helper()
	select {
	case next := <-terms:
		return next
	case <-time.After(patience):
		t.Fatal("nobody leads")
		return term{}
	}
}

// TestAgentInTrouble takes one agent through a freeze, kill -9 and the loss of all
// that it knew, under a node, a leader and a watch that nobody tells of it.
func TestAgentInTrouble(t *testing.T) {
	t.Parallel()
	agent := clustertest.NewAgent(t)
	c := open(t, consul.Config{Address: agent.Address(), Prefix: "freshet"})
	start(t, func(ctx context.Context) error { return c.Announce(ctx, node("e1"), healthy) })
	terms := make(chan term)
	start(t, func(ctx context.Context) error {
		return c.Lead(ctx, "e", "c1", untilEnd(terms))
	})
	awaitNode(t, c, "e1 is ready", "e1", ready)
	first := await(t, terms)

	agent.Pause()
	frozen := time.Now()
	<-first.ctx.Done()
	if took := time.Since(frozen); took > 4*time.Second {
		t.Errorf("it led on for %v without an agent", took)
	}
	// An ordinary call does not hang either.
	short, cancel := context.WithTimeout(within(t), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Get(short, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get from a frozen agent: %v", err)
	}
	agent.Resume()
	second := await(t, terms)
	awaitNode(t, c, "e1 is ready after the freeze", "e1", ready)

	agent.Kill()
	<-second.ctx.Done()
	agent.Start()
	third := await(t, terms)
	awaitNode(t, c, "e1 is ready after kill -9", "e1", ready)
	if first.Token >= second.Token || second.Token >= third.Token {
		t.Errorf("tokens %d, %d, %d do not grow", first.Token, second.Token, third.Token)
	}

	for _, key := range []string{"s/a", "s/b", "s/c"} {
		if _, err := c.Put(within(t), key, []byte("1"), cluster.Any); err != nil {
			t.Fatal(err)
		}
	}
	before, err := c.List(within(t), "s", 0)
	if err != nil {
		t.Fatal(err)
	}
	watch := start(t, func(ctx context.Context) error {
		for version := before.Version; ; {
			after, err := c.List(ctx, "s", version)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				time.Sleep(50 * time.Millisecond)
			case len(after.List) == 0:
				return nil
			default:
				version = after.Version
			}
		}
	})
	agent.Kill()
	agent.Wipe()
	agent.Start()
	if err := watch.wait(t); err != nil {
		t.Errorf("the watch did not see that all is gone: %v", err)
	}
	await(t, terms)
	awaitNode(t, c, "e1 has registered itself anew", "e1", ready)
}

// TestOneAgent holds what needs a real agent but no trouble with it.
func TestOneAgent(t *testing.T) {
	t.Parallel()
	agent := clustertest.NewAgent(t)
	tests := map[string]func(*testing.T, *clustertest.Agent, *consul.Cluster){
		"token grows after the lock was deleted": tokenAfterDelete,
		"a deleted lock ends the term":           deletedLock,
		"deregistered by hand":                   deregisteredByHand,
		"maintenance mode":                       maintenance,
		"foreign services":                       foreignServices,
		"a catalog that is behind":               catalogBehind,
		"a changed reason is seen":               changedReason,
		"nothing is left behind":                 nothingLeft,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := strings.ReplaceAll(strings.ToLower(name), " ", "-")
			test(t, agent, open(t, consul.Config{Address: agent.Address(), Prefix: prefix}))
		})
	}
}

// lead leads once and returns the token.
func lead(t *testing.T, c cluster.Cluster) (token uint64) {
	t.Helper()
	err := c.Lead(within(t), "e", "c1", func(_ context.Context, next cluster.Term) error {
		token = next.Token
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func tokenAfterDelete(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	first := lead(t, c)
	if _, err := agent.Client().KV().DeleteTree("token-grows-after-the-lock-was-deleted/", nil); err != nil {
		t.Fatal(err)
	}
	if second := lead(t, c); second <= first {
		t.Errorf("token %d after %d", second, first)
	}
}

func deletedLock(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	terms := make(chan term)
	start(t, func(ctx context.Context) error {
		return c.Lead(ctx, "e", "c1", untilEnd(terms))
	})
	first := await(t, terms)
	if _, err := agent.Client().KV().Delete("a-deleted-lock-ends-the-term/elections/e", nil); err != nil {
		t.Fatal(err)
	}
	second := await(t, terms)
	if first.ctx.Err() == nil || second.Token <= first.Token {
		t.Errorf("token %d after %d, the first term: %v", second.Token, first.Token, first.ctx.Err())
	}
}

func deregisteredByHand(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	start(t, func(ctx context.Context) error { return c.Announce(ctx, node("e1"), healthy) })
	awaitNode(t, c, "e1 is ready", "e1", ready)
	if err := agent.Client().Agent().ServiceDeregister("deregistered-by-hand:e1"); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, c, "e1 is ready again", "e1", ready)
}

func maintenance(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	start(t, func(ctx context.Context) error { return c.Announce(ctx, node("e1"), healthy) })
	awaitNode(t, c, "e1 is ready", "e1", ready)
	if err := agent.Client().Agent().EnableServiceMaintenance("maintenance-mode:e1", "new disk"); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, c, "e1 is in maintenance", "e1", func(n cluster.Node) bool {
		return !n.Ready && strings.Contains(n.Reason, "new disk")
	})
	if err := agent.Client().Agent().DisableServiceMaintenance("maintenance-mode:e1"); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, c, "e1 is out of maintenance", "e1", ready)
}

func changedReason(t *testing.T, _ *clustertest.Agent, c *consul.Cluster) {
	reasons := make(chan string, 1)
	reasons <- "replaying"
	start(t, func(ctx context.Context) error {
		return c.Announce(ctx, node("e1"), func() error {
			reason := <-reasons
			reasons <- reason
			return errors.New(reason)
		})
	})
	awaitNode(t, c, "e1 replays", "e1", func(n cluster.Node) bool { return n.Reason == "replaying" })
	<-reasons
	reasons <- "disk: full"
	awaitNode(t, c, "e1 has another reason", "e1", func(n cluster.Node) bool { return !n.Ready && n.Reason == "disk: full" })
}

// catalogBehind: the catalog has an older state than the agent, which believes that
// both agree and would look again after a minute at the earliest.
func catalogBehind(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	const id = "a-catalog-that-is-behind:e1"
	start(t, func(ctx context.Context) error { return c.Announce(ctx, node("e1"), healthy) })
	for range 2 {
		awaitNode(t, c, "e1 is ready", "e1", ready)
		checks, _, err := agent.Client().Health().Checks("a-catalog-that-is-behind", nil)
		if err != nil || len(checks) != 1 {
			t.Fatalf("checks %+v, %v", checks, err)
		}
		// The api package's own call has fields that an older Consul refuses.
		_, err = agent.Client().Raw().Write("/v1/catalog/register", map[string]any{
			"Node": checks[0].Node, "SkipNodeUpdate": true,
			"Check": map[string]string{
				"Node": checks[0].Node, "CheckID": id, "Name": checks[0].Name, "Status": api.HealthCritical,
				"Output": "replaying", "ServiceID": id, "ServiceName": checks[0].ServiceName,
			},
		}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	awaitNode(t, c, "e1 is ready in spite of it", "e1", ready)

	if _, err := agent.Client().Catalog().Deregister(&api.CatalogDeregistration{Node: "freshet-test", ServiceID: id}, nil); err != nil {
		t.Fatal(err)
	}
	awaitNode(t, c, "e1 is back", "e1", ready)
}

func nothingLeft(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	announced := start(t, func(ctx context.Context) error { return c.Announce(ctx, node("e1"), healthy) })
	awaitNode(t, c, "e1 is ready", "e1", ready)
	lead(t, c)
	if err := announced.stop(t); err != nil {
		t.Error(err)
	}
	services, err := agent.Client().Agent().Services()
	if err != nil {
		t.Fatal(err)
	}
	for id := range services {
		if strings.HasPrefix(id, "nothing-is-left-behind") {
			t.Errorf("service %s is left", id)
		}
	}
	sessions, _, err := agent.Client().Session().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range sessions {
		if strings.HasPrefix(session.Name, "nothing-is-left-behind") {
			t.Errorf("session %s is left", session.Name)
		}
	}
}

func foreignServices(t *testing.T, agent *clustertest.Agent, c *consul.Cluster) {
	for _, id := range []string{"foreign-services", "web", "foreign-services:", "foreign-services:no-role"} {
		if err := agent.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{ID: id, Name: "foreign-services"}); err != nil {
			t.Fatal(err)
		}
	}
	start(t, func(ctx context.Context) error { return c.Announce(ctx, node("e1"), healthy) })
	awaitNode(t, c, "e1 is ready", "e1", ready)
	nodes, err := c.Nodes(within(t), 0)
	if err != nil || len(nodes.List) != 1 {
		t.Errorf("nodes %+v, %v", nodes.List, err)
	}
}
