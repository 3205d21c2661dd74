package distributor

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/node"
)

type secretsOutput struct {
	Body client.Secrets
}

type setSecretInput struct {
	Name    string `path:"name" maxLength:"63"`
	By      string `header:"Freshet-By" maxLength:"256" doc:"Who stores it, for the log."`
	RawBody []byte `contentType:"application/octet-stream"`
}

type deleteSecretInput struct {
	Name string `path:"name" maxLength:"63"`
	By   string `header:"Freshet-By" maxLength:"256" doc:"Who deletes it, for the log."`
}

// secrets are those of the cluster, as far as the node file has their key.
func (d *Distributor) secrets() (*cluster.Secrets, error) {
	key := d.env.File.Cluster.Secret.Value()
	if len(key) < node.MinSecret {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("this cluster has no key for secrets: give cluster.secret, of at least %d characters, in the node files", node.MinSecret))
	}
	return cluster.NewSecrets(d.env.Cluster, []byte(key))
}

// listSecrets names the secrets that site documents can name, and no values.
func (d *Distributor) listSecrets(ctx context.Context, _ *struct{}) (*secretsOutput, error) {
	secrets, err := d.secrets()
	if err != nil {
		return nil, err
	}
	list, _, err := secrets.List(ctx, cluster.SiteSecrets, 0)
	if err != nil {
		return nil, answer(err)
	}
	out := &secretsOutput{Body: client.Secrets{Secrets: []client.Secret{}}}
	for _, s := range list {
		if s.Deleted {
			continue
		}
		secret := client.Secret{Name: s.Name}
		if s.Err != nil {
			secret.Problem = s.Err.Error()
		}
		out.Body.Secrets = append(out.Body.Secrets, secret)
	}
	return out, nil
}

// setSecret stores a secret. Those who name it learn it within a moment.
func (d *Distributor) setSecret(ctx context.Context, in *setSecretInput) (*struct{}, error) {
	secrets, err := d.secretsToWrite(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if n := len(in.RawBody); n == 0 || n > client.MaxSecret {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("a secret has 1 to %d bytes, this one %d", client.MaxSecret, n))
	}
	if _, err := secrets.Put(ctx, cluster.SiteSecrets+"/"+in.Name, in.RawBody, cluster.Any); err != nil {
		return nil, answer(err)
	}
	d.log.Info("secret stored", "secret", in.Name, "by", in.By)
	return nil, nil
}

// deleteSecret removes a secret.
func (d *Distributor) deleteSecret(ctx context.Context, in *deleteSecretInput) (*struct{}, error) {
	secrets, err := d.secretsToWrite(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	list, _, err := secrets.List(ctx, cluster.SiteSecrets, 0)
	if err != nil {
		return nil, answer(err)
	}
	for _, s := range list {
		if s.Name == in.Name && !s.Deleted {
			if err := secrets.Delete(ctx, cluster.SiteSecrets+"/"+in.Name); err != nil {
				return nil, answer(err)
			}
			d.log.Info("secret deleted", "secret", in.Name, "by", in.By)
			return nil, nil
		}
	}
	return nil, huma.Error404NotFound("there is no secret " + in.Name)
}

// secretsToWrite are the secrets for a change of one of that name, on the distributor that
// leads.
func (d *Distributor) secretsToWrite(ctx context.Context, name string) (*cluster.Secrets, error) {
	if d.writer.Load() == nil {
		return nil, d.standby(ctx)
	}
	if err := document.CheckName(name); err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	return d.secrets()
}
