package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"freshet/internal/cluster"
)

func documents(t *testing.T, h Harness) {
	parts(t, h, map[string]func(*testing.T, fixture){
		"life of a document":  documentLife,
		"watch":               documentWatch,
		"concurrent writers":  documentWriters,
		"bounded history":     documentHistory,
		"prefixes and names":  documentNames,
		"sizes":               documentSizes,
		"any bytes come back": documentBytes,
	})
}

// versions are the version numbers and texts of documents.
func versions(docs []cluster.Document) string {
	var out []string
	for _, d := range docs {
		out = append(out, fmt.Sprintf("%s:%d:%s", d.Name, d.Version, d.Text))
	}
	return strings.Join(out, " ")
}

func documentLife(t *testing.T, f fixture) {
	ctx := within(t)
	docs := cluster.NewDocuments(f.open(t), cluster.SitesPrefix)
	_, err := docs.Get(ctx, "demo")
	mustBe(t, err, cluster.ErrNotFound)
	_, err = docs.History(ctx, "demo")
	mustBe(t, err, cluster.ErrNotFound)
	mustBe(t, docs.Delete(ctx, "demo", cluster.AnyVersion), cluster.ErrNotFound)
	_, err = docs.Put(ctx, "demo", []byte("a"), "ann", "first", 1)
	mustBe(t, err, cluster.ErrConflict)

	one, err := docs.Put(ctx, "demo", []byte("a"), "ann", "first", 0)
	must(t, err)
	if one.Version != 1 || one.At.IsZero() {
		t.Errorf("first version: %+v", one)
	}
	_, err = docs.Put(ctx, "demo", []byte("b"), "bob", "", 0)
	mustBe(t, err, cluster.ErrConflict)
	_, err = docs.Put(ctx, "demo", []byte("b"), "bob", "second", 1)
	must(t, err)
	_, err = docs.Put(ctx, "demo", []byte("c"), "bob", "lost", 1)
	mustBe(t, err, cluster.ErrConflict)
	_, err = docs.Put(ctx, "demo", []byte("c"), "cem", "third", cluster.AnyVersion)
	must(t, err)

	got, err := docs.Get(ctx, "demo")
	must(t, err)
	if got.Version != 3 || string(got.Text) != "c" || got.Author != "cem" || got.Message != "third" {
		t.Errorf("current: %+v", got)
	}
	old, err := docs.GetVersion(ctx, "demo", 1)
	must(t, err)
	if !old.At.Equal(one.At) || string(old.Text) != "a" || old.Author != "ann" {
		t.Errorf("version 1: %+v, was put as %+v", old, one)
	}
	for _, version := range []int{-1, 0, 4} {
		_, err = docs.GetVersion(ctx, "demo", version)
		mustBe(t, err, cluster.ErrNotFound)
	}

	mustBe(t, docs.Delete(ctx, "demo", 2), cluster.ErrConflict)
	must(t, docs.Delete(ctx, "demo", 3))
	_, err = docs.Get(ctx, "demo")
	mustBe(t, err, cluster.ErrNotFound)
	mustBe(t, docs.Delete(ctx, "demo", cluster.AnyVersion), cluster.ErrNotFound)
	history, err := docs.History(ctx, "demo")
	must(t, err)
	if got := versions(history); got != "demo:3:c demo:2:b demo:1:a" {
		t.Errorf("history of the deleted document: %s", got)
	}
	again, err := docs.Put(ctx, "demo", []byte("d"), "ann", "back", 0)
	must(t, err)
	history, err = docs.History(ctx, "demo")
	must(t, err)
	if got := versions(history); again.Version != 5 || got != "demo:5:d demo:3:c demo:2:b demo:1:a" {
		t.Errorf("made again as version %d, history %s", again.Version, got)
	}
}

func documentWatch(t *testing.T, f fixture) {
	ctx := within(t)
	docs := cluster.NewDocuments(f.open(t), cluster.SitesPrefix)
	all, err := docs.All(ctx, 0)
	must(t, err)
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := docs.Put(ctx, "b", []byte("1"), "", "", 0); return err }, "b:1:1"},
		{func() error { _, err := docs.Put(ctx, "a", []byte("1"), "", "", 0); return err }, "a:1:1 b:1:1"},
		{func() error { _, err := docs.Put(ctx, "b", []byte("2"), "", "", 1); return err }, "a:1:1 b:2:2"},
		{func() error { return docs.Delete(ctx, "a", 1) }, "b:2:2"},
	}
	for _, step := range steps {
		woken := make(chan cluster.AllDocuments, 1)
		watch := start(t, func(ctx context.Context) error {
			next, err := docs.All(ctx, all.Version)
			woken <- next
			return err
		})
		must(t, step.do())
		must(t, watch.wait(t))
		all = <-woken
		if got := versions(all.List); got != step.want || len(all.Damaged) != 0 {
			t.Errorf("watch saw %s, want %s", got, step.want)
		}
	}
}

// documentWriters has writers replace one document at a time: every version is
// somebody's, and none is lost.
func documentWriters(t *testing.T, f fixture) {
	const writers, each = 4, 5
	ctx := within(t)
	var group sync.WaitGroup
	for i := range writers {
		docs := cluster.NewDocuments(f.open(t), cluster.SitesPrefix)
		group.Go(func() {
			for n := range each {
				if _, err := docs.Put(ctx, "demo", fmt.Appendf(nil, "%d.%d", i, n), "", "", cluster.AnyVersion); err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	history, err := cluster.NewDocuments(f.open(t), cluster.SitesPrefix).History(ctx, "demo")
	must(t, err)
	texts := make(map[string]bool)
	for i, doc := range history {
		texts[string(doc.Text)] = true
		if doc.Version != writers*each-i {
			t.Errorf("version %d at place %d", doc.Version, i)
		}
	}
	if len(texts) != writers*each {
		t.Errorf("%d texts in history, want %d", len(texts), writers*each)
	}
}

func documentHistory(t *testing.T, f fixture) {
	const more = 5
	ctx := within(t)
	c := f.open(t)
	docs := cluster.NewDocuments(c, cluster.SitesPrefix)
	for i := range cluster.MaxHistory + more {
		_, err := docs.Put(ctx, "demo", fmt.Append(nil, i+1), "", "", i)
		must(t, err)
	}
	history, err := docs.History(ctx, "demo")
	must(t, err)
	if len(history) != cluster.MaxHistory || history[len(history)-1].Version != more+1 {
		t.Errorf("%d versions kept, the oldest %d", len(history), history[len(history)-1].Version)
	}
	_, err = docs.GetVersion(ctx, "demo", more)
	mustBe(t, err, cluster.ErrNotFound)
	_, err = docs.GetVersion(ctx, "demo", more+1)
	must(t, err)
	pairs, err := c.List(ctx, cluster.SitesPrefix, 0)
	must(t, err)
	if len(pairs.List) != cluster.MaxHistory {
		t.Errorf("%d keys are stored for %d versions", len(pairs.List), cluster.MaxHistory)
	}
}

func documentNames(t *testing.T, f fixture) {
	ctx := within(t)
	c := f.open(t)
	sites, others := cluster.NewDocuments(c, cluster.SitesPrefix), cluster.NewDocuments(c, "others")
	_, err := sites.Put(ctx, "demo", []byte("site"), "", "", 0)
	must(t, err)
	_, err = others.Put(ctx, "demo", []byte("other"), "", "", 0)
	must(t, err)
	all, err := sites.All(ctx, 0)
	must(t, err)
	if got := versions(all.List); got != "demo:1:site" {
		t.Errorf("sites: %s", got)
	}
	for _, name := range []string{"", "Demo", "a/b", "..", "-a", "a-", "a b", "ü", strings.Repeat("a", 64)} {
		_, err := sites.Put(ctx, name, nil, "", "", cluster.AnyVersion)
		_, err2 := sites.Get(ctx, name)
		_, err3 := sites.GetVersion(ctx, name, 1)
		_, err4 := sites.History(ctx, name)
		err5 := sites.Delete(ctx, name, cluster.AnyVersion)
		for i, err := range []error{err, err2, err3, err4, err5} {
			if !errors.Is(err, cluster.ErrInvalid) {
				t.Errorf("name %q, call %d: error %v, want %v", name, i, err, cluster.ErrInvalid)
			}
		}
	}
}

func documentSizes(t *testing.T, f fixture) {
	ctx := within(t)
	docs := cluster.NewDocuments(f.open(t), cluster.SitesPrefix)
	// The worst that JSON can make of a note.
	note := strings.Repeat("\x01", 1<<10)
	_, err := docs.Put(ctx, "demo", bytes.Repeat([]byte("x"), cluster.MaxText), note, note, 0)
	must(t, err)
	_, err = docs.Put(ctx, "demo", bytes.Repeat([]byte("x"), cluster.MaxText+1), "", "", 1)
	mustBe(t, err, cluster.ErrTooLarge)
	_, err = docs.Put(ctx, "demo", nil, "", note+"x", 1)
	mustBe(t, err, cluster.ErrTooLarge)
}

func documentBytes(t *testing.T, f fixture) {
	ctx := within(t)
	docs := cluster.NewDocuments(f.open(t), cluster.SitesPrefix)
	for i, text := range []string{"", "\x00\xff\xfe", "a: b\r\n", "ü\u2028</script>"} {
		_, err := docs.Put(ctx, "demo", []byte(text), "", "", i)
		must(t, err)
		got, err := docs.Get(ctx, "demo")
		must(t, err)
		if string(got.Text) != text {
			t.Errorf("%q came back as %q", text, got.Text)
		}
	}
}
