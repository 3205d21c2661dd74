package cluster

import (
	"context"
	"fmt"
	"strings"
)

// SiteSecrets is where the secrets stand that site documents name: those called
// site/<name>, apart from what nodes keep for themselves.
const SiteSecrets = "site"

// SiteSecretsPrefix is the prefix of the keys under which they stand, sealed.
const SiteSecretsPrefix = secretsPrefix + SiteSecrets

// Secret is one of a list. Err says why it cannot be opened; then it has no value.
type Secret struct {
	Name    string // without what it is listed under
	Value   []byte
	Deleted bool // it was: a record stays
	Err     error
}

// List blocks until what stands under a name has a version other than after, as KV.List
// does, and returns the secrets sorted by name, and that version.
func (s *Secrets) List(ctx context.Context, under string, after uint64) ([]Secret, uint64, error) {
	pairs, err := s.kv.List(ctx, s.under+under, after)
	if err != nil {
		return nil, 0, fmt.Errorf("list secrets under %s: %w", under, err)
	}
	list := make([]Secret, 0, len(pairs.List))
	for _, pair := range pairs.List {
		name := strings.TrimPrefix(pair.Key, s.under)
		secret := Secret{Name: strings.TrimPrefix(name, under+"/")}
		secret.Value, secret.Err = s.open(name, pair.Value)
		secret.Deleted = secret.Err == nil && len(secret.Value) == 0
		list = append(list, secret)
	}
	return list, pairs.Version, nil
}

// Delete removes a secret; that there is none is no error. A record stays, the empty secret,
// by which those who follow a list can tell a deletion from a store that has lost its data.
func (s *Secrets) Delete(ctx context.Context, name string) error {
	if _, err := s.Put(ctx, name, nil, Any); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}
