package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"freshet/internal/cluster"
)

func open(t *testing.T, dir string) *Cluster {
	t.Helper()
	c, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func lead(t *testing.T, c *Cluster) (token uint64) {
	t.Helper()
	err := c.Lead(t.Context(), "e", "c1", func(_ context.Context, term cluster.Term) error {
		token = term.Token
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestRestart: pairs and tokens are as they were, and what grows goes on growing.
func TestRestart(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := open(t, dir)
	put := func(key, value string) uint64 {
		t.Helper()
		version, err := c.Put(ctx, key, []byte(value), cluster.Any)
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	put("kept", "1")
	kept := put("kept", "2")
	put("empty", "")
	put("deleted", "1")
	last := put("deleted", "2")
	if err := c.Delete(ctx, "deleted", cluster.Any); err != nil {
		t.Fatal(err)
	}
	before, err := c.List(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	token := lead(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	c = open(t, dir)
	pair, err := c.Get(ctx, "kept")
	if err != nil || string(pair.Value) != "2" || pair.Version != kept {
		t.Errorf("kept: %+v, %v", pair, err)
	}
	after, err := c.List(ctx, "", 0)
	if err != nil || after.Version != before.Version || len(after.List) != 2 {
		t.Errorf("list after the restart %+v, %v, before %+v", after, err, before)
	}
	if next := put("deleted", "3"); next <= last {
		t.Errorf("version %d after %d", next, last)
	}
	if next := lead(t, c); next <= token {
		t.Errorf("token %d after %d", next, token)
	}
	if leader, err := c.Leader(ctx, "e"); err != nil || leader != "" {
		t.Errorf("leader %q, %v", leader, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	taken := t.TempDir()
	open(t, taken)
	noFolder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(noFolder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, fileName), []byte(strings.Repeat("not a database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, dir, want string }{
		{"in use", taken, "in use by another process"},
		{"not a folder", noFolder, "not a directory"},
		{"not a database", foreign, "invalid database"},
		{"short record", spoilt(t, pairsBucket, "k", "1234"), `record of key "k" is damaged`},
		{"short token", spoilt(t, tokensBucket, "e", "1"), `token of election "e" is damaged`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(Config{Dir: test.dir})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.dir) {
				t.Errorf("error %v, want it to name %s and say %q", err, test.dir, test.want)
			}
		})
	}
}

// spoilt is a folder whose file holds one record more.
func spoilt(t *testing.T, bucket []byte, key, value string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	c := open(t, dir)
	err := c.disk.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put([]byte(key), []byte(value)) })
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDiskErrors: what could not be kept has not happened.
func TestDiskErrors(t *testing.T) {
	ctx := t.Context()
	c := open(t, t.TempDir())
	version, err := c.Put(ctx, "k", []byte("1"), cluster.Absent)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.disk.db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "k", []byte("2"), cluster.Any); err == nil {
		t.Error("put without a disk")
	}
	if err := c.Delete(ctx, "k", cluster.Any); err == nil {
		t.Error("delete without a disk")
	}
	err = c.Lead(ctx, "e", "c1", func(context.Context, cluster.Term) error { return errors.New("led") })
	if err == nil || err.Error() == "led" {
		t.Errorf("lead without a disk: %v", err)
	}
	if pair, err := c.Get(ctx, "k"); err != nil || string(pair.Value) != "1" || pair.Version != version {
		t.Errorf("%+v, %v", pair, err)
	}
}
