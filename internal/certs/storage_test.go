package certs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/cluster/clustertest"
	"freshet/internal/cluster/consul"
	"freshet/internal/cluster/local"
)

func storageOn(t *testing.T, kv cluster.KV) *storage {
	t.Helper()
	secrets, err := cluster.NewSecrets(kv, clusterSecret)
	if err != nil {
		t.Fatal(err)
	}
	return newStorage(kv, secrets, new(logged).logger())
}

func TestStorageKeepsFilesInDirectories(t *testing.T) {
	kv, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	keepsFiles(t, kv)
}

func TestStorageOnConsul(t *testing.T) {
	kv, err := consul.New(consul.Config{Address: clustertest.StartConsul(t), Prefix: "certs"}, new(logged).logger())
	if err != nil {
		t.Fatal(err)
	}
	defer kv.Close()
	keepsFiles(t, kv)
}

func keepsFiles(t *testing.T, kv cluster.KV) {
	s, ctx := storageOn(t, kv), t.Context()
	files := map[string]string{
		"certificates/ca.example-dir/a.example/a.example.crt": "certificate",
		"certificates/ca.example-dir/a.example/a.example.key": "secret key",
		"certificates/ca.example-dir/b.example/b.example.crt": "another",
		"acme/ca.example/users/me@a.example/me key.json":      "account",
		"odd/ü %2F/..": "dots",
	}
	for key, value := range files {
		if err := s.Store(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range files {
		got, err := s.Load(ctx, key)
		info, statErr := s.Stat(ctx, key)
		if err != nil || statErr != nil || string(got) != value || !info.IsTerminal || info.Size != int64(len(value)) || time.Since(info.Modified) > time.Minute {
			t.Errorf("%s: %q, %+v, %v, %v", key, got, info, err, statErr)
		}
	}
	all, err := kv.List(ctx, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range all.List {
		if bytes.Contains(pair.Value, []byte("secret")) {
			t.Errorf("%s is not encrypted", pair.Key)
		}
	}
	for _, tc := range []struct {
		path      string
		recursive bool
		want      []string
	}{
		{"certificates/ca.example-dir", false, []string{"certificates/ca.example-dir/a.example", "certificates/ca.example-dir/b.example"}},
		{"certificates/ca.example-dir/b.example", true, []string{"certificates/ca.example-dir/b.example/b.example.crt"}},
		{"", false, []string{"acme", "certificates", "odd"}},
		{"odd", true, []string{"odd/ü %2F/.."}},
	} {
		got, err := s.List(ctx, tc.path, tc.recursive)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("list %q: %q, %v, want %q", tc.path, got, err, tc.want)
		}
	}
	if !s.Exists(ctx, "certificates") || s.Exists(ctx, "certificate") {
		t.Error("directories exist as parts of names, or not at all")
	}
	for range 2 {
		if err := s.Delete(ctx, "certificates/ca.example-dir/a.example"); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Load(ctx, "certificates/ca.example-dir/a.example/a.example.key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deleted key: %v", err)
	}
	if _, err := s.List(ctx, "certificates/ca.example-dir/a.example", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deleted directory: %v", err)
	}
	if !s.Exists(ctx, "certificates/ca.example-dir/b.example/b.example.crt") {
		t.Error("a neighbour was deleted")
	}
	for range 2 {
		if err := s.Lock(ctx, "issue_cert_*.example"); err != nil {
			t.Fatal(err)
		}
		if err := s.Unlock(ctx, "issue_cert_*.example"); err != nil {
			t.Fatal(err)
		}
	}
}

// One holder at a time, who stays it for as long as it lives; a holder that has gone is
// followed when its lease is over.
func TestLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv, err := local.New(local.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer kv.Close()
		one, two := storageOn(t, kv), storageOn(t, kv)
		if err := one.Lock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*lockLease)
		if err := two.Lock(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a lock that is held and refreshed was had by another: %v", err)
		}
		cancel()
		waited := make(chan time.Duration)
		begun := time.Now()
		go func() {
			if err := two.Lock(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			waited <- time.Since(begun)
		}()
		time.Sleep(time.Minute)
		if err := one.Unlock(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if got := <-waited; got < time.Minute || got > time.Minute+2*lockPoll {
			t.Errorf("the next holder came after %s", got)
		}

		// The second holder dies: nothing refreshes its lock.
		two.mu.held["a"].stop()
		begun = time.Now()
		if err := one.Lock(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if got := time.Since(begun); got < lockLease || got > lockLease+3*lockPoll {
			t.Errorf("a dead holder's lock was had after %s", got)
		}
		if err := two.Unlock(t.Context(), "a"); err != nil {
			t.Errorf("unlock what was lost: %v", err)
		}
		if _, err := kv.Get(t.Context(), locksPrefix+"a"); err != nil {
			t.Errorf("another's lock was removed: %v", err)
		}
		if err := one.Unlock(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if err := one.Unlock(t.Context(), "a"); err == nil {
			t.Error("what is not locked can be unlocked")
		}

		var all sync.WaitGroup
		holders := 0
		for _, s := range []*storage{one, two, storageOn(t, kv)} {
			all.Go(func() {
				for range 5 {
					if err := s.Lock(t.Context(), "b"); err != nil {
						t.Error(err)
						return
					}
					if holders++; holders != 1 { // the race detector sees it too
						t.Error("two hold one lock")
					}
					time.Sleep(time.Second)
					holders--
					if err := s.Unlock(t.Context(), "b"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}
