package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
)

var errCrash = errors.New("the writer has died")

// dyingKV dies at its nth write: before it is done, or after, when the writer does
// not hear of it any more.
type dyingKV struct {
	cluster.KV
	writes int
	after  bool
}

func (d *dyingKV) write(do func() error) error {
	d.writes--
	switch {
	case d.writes > 0:
		return do()
	case d.writes == 0 && d.after:
		_ = do()
	}
	return errCrash
}

func (d *dyingKV) Put(ctx context.Context, key string, value []byte, expect uint64) (version uint64, err error) {
	err = d.write(func() error {
		version, err = d.KV.Put(ctx, key, value, expect)
		return err
	})
	return version, err
}

func (d *dyingKV) Delete(ctx context.Context, key string, expect uint64) error {
	return d.write(func() error { return d.KV.Delete(ctx, key, expect) })
}

func newLocal(t *testing.T) *local.Cluster {
	t.Helper()
	c, err := local.New(local.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestDocumentsCrash lets a writer die at every one of its writes, with a history
// that is full and with one that is short. Either the version is there or it is
// not, and the next writer goes on as if nothing had been.
func TestDocumentsCrash(t *testing.T) {
	for _, versions := range []int{0, 1, 2, cluster.MaxHistory - 1, cluster.MaxHistory, cluster.MaxHistory + 3} {
		for _, write := range []int{1, 2, 3} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d versions, write %d, after %v", versions, write, after), func(t *testing.T) {
					crash(t, versions, write, after)
				})
			}
		}
	}
}

func crash(t *testing.T, versions, write int, after bool) {
	ctx := t.Context()
	kv := newLocal(t)
	docs := cluster.NewDocuments(kv, "docs")
	put := func(docs *cluster.Documents, version int) error {
		_, err := docs.Put(ctx, "demo", fmt.Append(nil, version), "", "", version-1)
		return err
	}
	for version := 1; version <= versions; version++ {
		if err := put(docs, version); err != nil {
			t.Fatal(err)
		}
	}
	err := put(cluster.NewDocuments(&dyingKV{KV: kv, writes: write, after: after}, "docs"), versions+1)
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatal(err)
	}

	current := 0
	if doc, err := docs.Get(ctx, "demo"); err == nil {
		current = doc.Version
	} else if !errors.Is(err, cluster.ErrNotFound) {
		t.Fatal(err)
	}
	if current != versions+1 && (current != versions || err == nil) {
		t.Fatalf("at version %d, was at %d, the write said %v", current, versions, err)
	}
	for range 2 {
		current++
		if err := put(docs, current); err != nil {
			t.Fatal(err)
		}
	}
	history, err := docs.History(ctx, "demo")
	if err != nil {
		t.Fatal(err)
	}
	for i, doc := range history {
		if doc.Version != current-i || string(doc.Text) != fmt.Sprint(current-i) {
			t.Errorf("place %d of the history: version %d, %q", i, doc.Version, doc.Text)
		}
	}
	if want := min(current, cluster.MaxHistory); len(history) != want {
		t.Errorf("%d versions in the history, want %d", len(history), want)
	}
	pairs, err := kv.List(ctx, "docs", 0)
	if err != nil || len(pairs.List) > cluster.MaxHistory {
		t.Errorf("%d keys are stored, %v", len(pairs.List), err)
	}
}

// TestDamagedDocument: one record that cannot be read does not hide the others.
func TestDamagedDocument(t *testing.T) {
	ctx := t.Context()
	kv := newLocal(t)
	docs := cluster.NewDocuments(kv, "docs")
	if _, err := docs.Put(ctx, "good", []byte("x"), "", "", 0); err != nil {
		t.Fatal(err)
	}
	good, err := kv.Get(ctx, "docs/current/good")
	if err != nil {
		t.Fatal(err)
	}
	// A record of another document is damaged as well.
	for key, value := range map[string][]byte{"docs/current/bad": []byte("{"), "docs/current/moved": good.Value} {
		if _, err := kv.Put(ctx, key, value, cluster.Absent); err != nil {
			t.Fatal(err)
		}
	}
	all, err := docs.All(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(all.List) != 1 || all.List[0].Name != "good" || fmt.Sprint(all.Damaged) != "[bad moved]" {
		t.Errorf("documents %+v", all)
	}
	if _, err := docs.Get(ctx, "bad"); err == nil {
		t.Error("a damaged record is read")
	}
	if _, err := docs.Put(ctx, "bad", nil, "", "", cluster.AnyVersion); err == nil {
		t.Error("a damaged record is written over, its version unknown")
	}
}
