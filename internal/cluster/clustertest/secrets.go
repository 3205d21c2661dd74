package clustertest

import (
	"bytes"
	"testing"

	"freshet/internal/cluster"
)

func secrets(t *testing.T, h Harness) {
	parts(t, h, map[string]func(*testing.T, fixture){
		"come back":         secretsComeBack,
		"wrong key":         secretsWrongKey,
		"moved and damaged": secretsDamaged,
		"sizes and names":   secretsSizes,
		"lists":             secretsList,
	})
}

var clusterSecret = []byte("the secret that all nodes share.")

func openSecrets(t *testing.T, kv cluster.KV, key []byte) *cluster.Secrets {
	t.Helper()
	s, err := cluster.NewSecrets(kv, key)
	must(t, err)
	return s
}

func secretsComeBack(t *testing.T, f fixture) {
	ctx := within(t)
	c := f.open(t)
	s := openSecrets(t, c, clusterSecret)
	_, err := s.Get(ctx, "certs/a")
	mustBe(t, err, cluster.ErrNotFound)
	v1, err := s.Put(ctx, "certs/a", []byte("private key"), cluster.Absent)
	must(t, err)
	got, err := openSecrets(t, f.open(t), clusterSecret).Get(ctx, "certs/a")
	must(t, err)
	if got.Key != "certs/a" || string(got.Value) != "private key" || got.Version != v1 {
		t.Errorf("came back as %+v, version %d", got, v1)
	}
	stored, err := c.Get(ctx, "secrets/certs/a")
	must(t, err)
	if bytes.Contains(stored.Value, []byte("private key")) {
		t.Error("it is stored in the clear")
	}
	_, err = s.Put(ctx, "certs/a", []byte("another"), cluster.Absent)
	mustBe(t, err, cluster.ErrConflict)
	v2, err := s.Put(ctx, "certs/a", []byte("private key"), v1)
	must(t, err)
	if v2 == v1 {
		t.Error("a secret that was put again was not encrypted anew")
	}
}

func secretsWrongKey(t *testing.T, f fixture) {
	ctx := within(t)
	c := f.open(t)
	_, err := openSecrets(t, c, clusterSecret).Put(ctx, "a", []byte("x"), cluster.Absent)
	must(t, err)
	_, err = openSecrets(t, c, []byte("another secret of the same length")).Get(ctx, "a")
	mustBe(t, err, cluster.ErrOtherKey)
	if _, err := cluster.NewSecrets(c, clusterSecret[1:]); err == nil {
		t.Error("a short cluster secret is taken")
	}
}

func secretsDamaged(t *testing.T, f fixture) {
	ctx := within(t)
	c := f.open(t)
	s := openSecrets(t, c, clusterSecret)
	_, err := s.Put(ctx, "a", []byte("secret"), cluster.Absent)
	must(t, err)
	stored, err := c.Get(ctx, "secrets/a")
	must(t, err)
	spoilt := map[string][]byte{
		"empty":        {},
		"cut":          stored.Value[:len(stored.Value)-1],
		"head only":    stored.Value[:21],
		"other format": append([]byte{9}, stored.Value[1:]...),
		"changed":      append(bytes.Clone(stored.Value[:len(stored.Value)-1]), stored.Value[len(stored.Value)-1]^1),
	}
	for name, value := range spoilt {
		_, err := c.Put(ctx, "secrets/a", value, cluster.Any)
		must(t, err)
		if _, err := s.Get(ctx, "a"); err == nil {
			t.Errorf("%s: read all the same", name)
		} else {
			mustBe(t, err, cluster.ErrDamaged)
		}
	}
	_, err = c.Put(ctx, "secrets/b", stored.Value, cluster.Absent)
	must(t, err)
	_, err = s.Get(ctx, "b")
	mustBe(t, err, cluster.ErrDamaged)
}

func secretsSizes(t *testing.T, f fixture) {
	ctx := within(t)
	s := openSecrets(t, f.open(t), clusterSecret)
	largest := make([]byte, cluster.MaxSecret)
	_, err := s.Put(ctx, "a", largest, cluster.Absent)
	must(t, err)
	got, err := s.Get(ctx, "a")
	must(t, err)
	if !bytes.Equal(got.Value, largest) {
		t.Error("the largest secret came back changed")
	}
	_, err = s.Put(ctx, "a", append(largest, 0), cluster.Any)
	mustBe(t, err, cluster.ErrTooLarge)
	_, err = s.Put(ctx, "a//b", nil, cluster.Any)
	mustBe(t, err, cluster.ErrInvalid)
}

// secretsList: a list has the secrets under a name and no others, opened, or with the reason
// why not; it is followed like any watch, and of what is deleted a record
// stays.
func secretsList(t *testing.T, f fixture) {
	ctx := within(t)
	c := f.open(t)
	s := openSecrets(t, c, clusterSecret)
	list, before, err := s.List(ctx, "site", 0)
	must(t, err)
	if len(list) != 0 {
		t.Fatalf("%d before the first", len(list))
	}
	for _, name := range []string{"site/b", "site/a", "sitemap", "tickets/a"} {
		_, err := s.Put(ctx, name, []byte("of "+name), cluster.Absent)
		must(t, err)
	}
	_, err = openSecrets(t, c, []byte("another secret of the same length")).Put(ctx, "site/c", []byte("x"), cluster.Absent)
	must(t, err)
	for len(list) < 3 {
		list, before, err = s.List(ctx, "site", before)
		must(t, err)
	}
	if len(list) != 3 || list[0].Name != "a" || string(list[0].Value) != "of site/a" || list[1].Name != "b" || list[1].Err != nil || list[2].Name != "c" || list[2].Value != nil {
		t.Errorf("listed %+v", list)
	}
	mustBe(t, list[2].Err, cluster.ErrOtherKey)
	must(t, s.Delete(ctx, "site/a"))
	must(t, s.Delete(ctx, "site/a"))
	for !list[0].Deleted {
		list, before, err = s.List(ctx, "site", before)
		must(t, err)
	}
	if len(list) != 3 || list[0].Name != "a" || len(list[0].Value) != 0 || list[1].Deleted || list[2].Deleted {
		t.Errorf("after a deletion %+v", list)
	}
}
