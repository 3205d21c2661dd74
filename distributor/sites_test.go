package distributor

import (
	"fmt"
	"strings"
	"testing"

	"freshet/distributor/client"
	"freshet/internal/command"
)

func TestSites(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	c := d.client
	if list, err := c.Sites(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("sites before the first: %v, %v", list, err)
	}
	first := d.apply(t, demoSite)
	if first.Name != "demo" || first.Version != 1 || first.Author != "tester" || first.Message != "first" || first.Text != demoSite || len(first.Hosts) != 2 {
		t.Fatalf("stored %+v", first)
	}
	// Who has applied a site can purge it at once.
	if _, err := c.Purge(t.Context(), client.CommandRequest{URLs: []string{"http://demo.example/"}}); err != nil {
		t.Fatal(err)
	}
	second := "# the second\n" + demoSite + "origin: {url: \"http://192.0.2.1:81\"}\n"
	if s := d.apply(t, second); s.Version != 2 || s.Origin != "http://192.0.2.1:81" {
		t.Fatalf("stored %+v", s)
	}
	for version, text := range map[int]string{0: second, 1: demoSite, 2: second} {
		if s, err := c.Site(t.Context(), "demo", version); err != nil || s.Text != text || s.Origin != strings.Repeat("http://192.0.2.1:81", min(1, strings.Count(text, "origin"))) {
			t.Errorf("version %d: %+v, %v", version, s, err)
		}
	}
	list, err := c.Sites(t.Context())
	if err != nil || len(list) != 1 || list[0].Version != 2 || list[0].Text != "" || len(list[0].Hosts) != 2 {
		t.Errorf("sites %+v, %v", list, err)
	}
	history, err := c.SiteHistory(t.Context(), "demo")
	if err != nil || len(history) != 2 || history[0].Version != 2 || history[1].Author != "tester" {
		t.Errorf("history %+v, %v", history, err)
	}
	if err := c.DeleteSite(t.Context(), "demo", client.AnyVersion); err != nil {
		t.Fatal(err)
	}
	_, err = c.Site(t.Context(), "demo", 0)
	wantError(t, err, 404, "demo")
	_, err = c.Purge(t.Context(), client.CommandRequest{URLs: []string{"http://demo.example/"}})
	wantError(t, err, 404, "no sites yet")
	if history, err := c.SiteHistory(t.Context(), "demo"); err != nil || len(history) != 2 {
		t.Errorf("history of a deleted site: %+v, %v", history, err)
	}
}

// What a site's cache holds under one document may be wrong under the next: a change
// of what responses depend on, and a deletion, purge the site; other changes do not.
func TestAChangeOfTheKeyPurgesTheSite(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	for _, step := range []struct {
		text   string
		purges int
	}{
		{demoSite, 0},
		{demoSite + "cache: {stale_if_error: 2d}\n", 0},
		{demoSite + "cache: {key: {query: {mode: all}}}\n", 1},
		{demoSite + "rules: [{match: {path: {prefix: /x}}, cache: {bypass: true}}]\n", 2},
		{demoSite, 3},
		{demoSite + "origin: {requests: 10}\n", 3},
		{demoSite + "origin: {url: 'http://a'}\n", 4},
		{demoSite + "origin: {servers: [{url: 'http://b', weight: 2}, {url: 'http://a'}], affinity: cookie, check: {path: /h}}\n", 4}, // the same content
		{demoSite + "origin: {url: 'http://b'}\n", 4},
		{demoSite + "origin: {url: 'http://b', path_prefix: /p}\n", 5},
		{demoSite + "origin: {url: 'http://c', path_prefix: /p}\n", 6},
	} {
		d.apply(t, step.text)
		records := w.records(t)
		if len(records) != step.purges {
			t.Fatalf("%d purges after\n%s, want %d", len(records), step.text, step.purges)
		}
		for _, c := range records {
			if len(c.Scopes) != 1 || c.Scopes[0].Kind != command.ScopeSite || c.Scopes[0].Site != "demo" {
				t.Fatalf("scopes %+v", c.Scopes)
			}
		}
	}
	if err := d.client.DeleteSite(t.Context(), "demo", client.AnyVersion); err != nil {
		t.Fatal(err)
	}
	if n := len(w.records(t)); n != 7 {
		t.Errorf("%d purges after the deletion, want 7", n)
	}
}

func TestSitesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	c := d.client
	d.apply(t, demoSite)
	apply := func(text string, expect int) error {
		_, err := c.Apply(t.Context(), client.ApplyRequest{File: "f.yaml", Text: []byte(text), Expect: expect})
		return err
	}
	other := "site: other\nhosts: [other.example, demo.example]\n"
	wantError(t, apply("site: shop\nhosts: []\ncahce: {}\n", client.AnyVersion), 422, "f.yaml:2:", "f.yaml:3:1: cahce", "did you mean")
	wantError(t, apply(other, client.AnyVersion), 409, "demo.example", "demo")
	wantError(t, apply(demoSite, client.Absent), 412)
	wantError(t, apply(demoSite, 7), 412, "7")
	wantError(t, apply("site: new\nhosts: [new.example]\n", 1), 412)
	wantError(t, apply("# "+strings.Repeat("x", maxBody), client.AnyVersion), 413)
	wantError(t, c.DeleteSite(t.Context(), "demo", 7), 412)
	wantError(t, c.DeleteSite(t.Context(), "nosuch", client.AnyVersion), 404)
	_, err := c.Site(t.Context(), "nosuch", 0)
	wantError(t, err, 404, "nosuch")
	_, err = c.Site(t.Context(), "demo", 2)
	wantError(t, err, 404)
	_, err = c.Site(t.Context(), "No Such", 0)
	wantError(t, err, 422)
	_, err = c.SiteHistory(t.Context(), "nosuch")
	wantError(t, err, 404)
	if err := apply(demoSite, 1); err != nil {
		t.Error(err)
	}
	if s, err := c.Site(t.Context(), "demo", 0); err != nil || s.Version != 2 {
		t.Errorf("after all: %+v, %v", s, err)
	}
}

// Two that want one host at the same moment: one gets it.
func TestConcurrentConflict(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	errs := make(chan error, 8)
	for i := range cap(errs) {
		go func() {
			text := fmt.Sprintf("site: s%d\nhosts: [one.example]\n", i)
			_, err := d.client.Apply(t.Context(), client.ApplyRequest{Text: []byte(text), Expect: client.AnyVersion})
			errs <- err
		}()
	}
	stored := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			stored++
		} else {
			wantError(t, err, 409, "one.example")
		}
	}
	if stored != 1 {
		t.Errorf("%d sites have one host", stored)
	}
}
