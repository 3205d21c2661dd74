package distributor

import (
	"context"
	"errors"
	"path"
	"time"

	"freshet/distributor/client"
	"freshet/internal/cluster"
)

// restoreTimeout bounds how long putting everything back may take: 10,000 sites at the pace
// of a Consul on slow disks.
const restoreTimeout = 5 * time.Minute

type restoreInput struct {
	By string `header:"Freshet-By" maxLength:"256" doc:"Who asks for it."`
}

type restoreOutput struct {
	Body client.Restored
}

// restoreSites puts back what the cluster's store has lost and this distributor still knows:
// site documents, as they were, and the secrets that they name. What somebody has put there
// meanwhile stays.
func (d *Distributor) restoreSites(ctx context.Context, in *restoreInput) (*restoreOutput, error) {
	if d.writer.Load() == nil {
		return nil, d.standby(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	d.siteTurn.Lock()
	defer d.siteTurn.Unlock()
	out := &restoreOutput{Body: client.Restored{Sites: []string{}, Secrets: []string{}}}
	if d.env.Kept == nil {
		return out, nil
	}
	for _, prefix := range []string{cluster.SitesCurrent, cluster.SiteSecretsPrefix} {
		if _, err := d.env.Kept.List(ctx, prefix, 0); err != nil { // what is lost by now, not when it was last looked
			return nil, answer(err)
		}
	}
	for _, p := range d.env.Kept.LostSecrets() { // first: sites need them
		switch _, err := d.env.Cluster.Put(ctx, p.Key, p.Value, cluster.Absent); {
		case err == nil:
			out.Body.Secrets = append(out.Body.Secrets, path.Base(p.Key))
		case !errors.Is(err, cluster.ErrConflict):
			return nil, answer(err)
		}
	}
	for _, p := range d.env.Kept.Lost() {
		switch doc, deleted, err := d.docs.Restore(ctx, p); {
		case err == nil && !deleted:
			out.Body.Sites = append(out.Body.Sites, doc.Name)
		case err != nil && !errors.Is(err, cluster.ErrConflict):
			return nil, answer(err)
		}
	}
	d.log.Info("what the cluster's store had lost is put back", "sites", len(out.Body.Sites), "secrets", len(out.Body.Secrets), "by", in.By)
	return out, nil
}

// restoreSite puts one site back if it was lost, so that it can be deleted.
func (d *Distributor) restoreSite(ctx context.Context, name string) error {
	for _, p := range d.env.Kept.Lost() {
		if path.Base(p.Key) == name {
			_, _, err := d.docs.Restore(ctx, p)
			return err
		}
	}
	return cluster.ErrNotFound
}

// followSecrets has it known which secrets there are, sealed, should the store lose them.
func (d *Distributor) followSecrets(ctx context.Context) error {
	if d.env.Kept == nil {
		<-ctx.Done()
		return nil
	}
	cluster.Follow(ctx, d.log, "secrets of sites", func(ctx context.Context, after uint64) (uint64, error) {
		list, err := d.env.Kept.List(ctx, cluster.SiteSecretsPrefix, after)
		return list.Version, err
	})
	return nil
}
