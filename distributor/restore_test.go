package distributor

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/cluster/snapshot"
)

// TestRestore: a store that loses its sites is no reason for a distributor to forget them,
// says so, and can be given them back; one that is not wanted is deleted.
func TestRestore(t *testing.T) {
	w := newWorld(t)
	kept, err := snapshot.Open(snapshot.Config{Node: "d1", Dir: t.TempDir(), Secret: clusterSecret}, w.cluster)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	writing.Go(func() { kept.Run(ctx) })
	t.Cleanup(func() { cancel(); writing.Wait() })
	env := w.env("d1")
	env.Kept = kept
	d := w.startIn(env)
	c := d.client
	for _, name := range []string{"one", "two", "three"} {
		text := "site: " + name + "\nhosts: [" + name + ".example]\norigin: {url: 'http://192.0.2.1'}\n"
		if _, err := c.Apply(ctx, client.ApplyRequest{Text: []byte(text), Expect: client.AnyVersion}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetSecret(ctx, "key", []byte("a secret")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the secret is known", func() error {
		list, err := kept.List(ctx, cluster.SiteSecretsPrefix, 0)
		if err == nil && len(list.List) != 1 {
			err = cluster.ErrNotFound
		}
		return err
	})
	for _, key := range []string{cluster.SiteSecretsPrefix + "/key", "sites/current/one", "sites/current/two", "sites/current/three"} {
		if err := w.cluster.Delete(ctx, key, cluster.Any); err != nil {
			t.Fatal(err)
		}
	}
	var status client.Status
	eventually(t, "status tells of the loss", func() (err error) {
		if status, err = c.Status(ctx); err == nil && (len(kept.State().Lost) != 3 || !strings.Contains(strings.Join(status.Alarms, "\n"), "has lost 3 site documents")) {
			err = cluster.ErrNotFound
		}
		return err
	})
	if status.State == client.OK || status.Sites != 3 {
		t.Errorf("status is %q with %d sites, want another with 3", status.State, status.Sites)
	}
	if err := c.DeleteSite(ctx, "three", client.AnyVersion); err != nil {
		t.Errorf("delete a lost site: %v", err)
	}
	got, err := c.RestoreSites(ctx)
	if err != nil || !slices.Equal(got.Sites, []string{"one", "two"}) || !slices.Equal(got.Secrets, []string{"key"}) {
		t.Errorf("restored %+v, %v", got, err)
	}
	eventually(t, "nothing is lost any more", func() error { return kept.Warning() })
	sites, err := c.Sites(ctx)
	if err != nil || len(sites) != 2 || sites[0].Name != "one" || sites[1].Version != 1 {
		t.Errorf("sites are %+v, %v", sites, err)
	}
	if got, err := c.RestoreSites(ctx); err != nil || len(got.Sites)+len(got.Secrets) != 0 {
		t.Errorf("restored again %+v, %v", got, err)
	}
}
