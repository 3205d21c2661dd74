package distributor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

// put appends a record as another writer would, and returns its sequence.
func (w *world) put(c command.Command) command.Seq {
	w.t.Helper()
	data, err := command.Encode(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.putData(data)
}

func (w *world) putData(data []byte) command.Seq {
	w.t.Helper()
	head, err := w.bus.Head(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	seq, err := w.bus.Append(w.t.Context(), data, head.Last)
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// past is the i-th of some commands of the past, one a minute.
func past(i int) command.Command {
	c := command.Command{
		ID: fmt.Sprintf("c%d", i), Kind: command.Purge, At: time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC), By: "Ann@desk",
		Scopes: []command.Scope{{Kind: command.ScopeURL, Site: "demo", Value: fmt.Sprintf("/%d", i)}},
	}
	if i%3 == 0 {
		c.Kind, c.By = command.Invalidate, "bob@desk"
	}
	if i%7 == 0 {
		c.Scopes[0].Site = "other"
	}
	if i%100 == 0 {
		c.Scopes = []command.Scope{{Kind: command.ScopeAll}}
	}
	return c
}

// TestListOfCommands: lists have what the filters admit, newest first, and all pages
// together have all of it once.
func TestListOfCommands(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	const n = 8*least + 16*least + 77 // two stretches and a part
	for i := range n {
		w.put(past(i))
	}
	for name, test := range map[string]struct {
		filter client.CommandFilter
		admits func(i int) bool
	}{
		"all":    {client.CommandFilter{Limit: maxListed}, func(int) bool { return true }},
		"few":    {client.CommandFilter{Limit: 7, Before: "1.40"}, func(i int) bool { return i < 39 }},
		"kind":   {client.CommandFilter{Kind: "invalidate"}, func(i int) bool { return i%3 == 0 }},
		"author": {client.CommandFilter{By: "BOB"}, func(i int) bool { return i%3 == 0 }},
		"site":   {client.CommandFilter{Site: "other"}, func(i int) bool { return i%7 == 0 || i%100 == 0 }},
		"since":  {client.CommandFilter{Since: past(n - 60).At}, func(i int) bool { return i >= n-60 }},
		"none":   {client.CommandFilter{By: "nobody"}, func(int) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want, got []string
			for i := n - 1; i >= 0; i-- {
				if test.admits(i) {
					want = append(want, past(i).ID)
				}
			}
			filter := test.filter
			for pages := 0; ; pages++ {
				page, err := d.client.Commands(t.Context(), filter)
				if err != nil {
					t.Fatal(err)
				}
				if page.Kept != "1.1" || len(page.Commands) > max(filter.Limit, listed) || pages > n {
					t.Fatalf("page %d: %d commands, kept from %s", pages, len(page.Commands), page.Kept)
				}
				for _, c := range page.Commands {
					got = append(got, c.ID)
				}
				if filter.Before = page.Next; page.Next == "" {
					break
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %d commands, want %d\n%v\n%v", len(got), len(want), got, want)
			}
		})
	}
	_, err := d.client.Commands(t.Context(), client.CommandFilter{Before: "yesterday"})
	wantError(t, err, 422, "yesterday", "1.127")
}

// TestListIsBounded: a look through a long log stops and says where to go on.
func TestListIsBounded(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	for i := range maxLooked + 10 {
		w.put(past(1 + i%2))
	}
	page, err := d.client.Commands(t.Context(), client.CommandFilter{By: "nobody"})
	if err != nil || len(page.Commands) != 0 || page.Next != "1.11" {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = d.client.Commands(t.Context(), client.CommandFilter{By: "nobody", Before: page.Next})
	if err != nil || page.Next != "" {
		t.Fatalf("%+v, %v", page, err)
	}
}

// TestListOfLargeRecords: more of them than are held at one time.
func TestListOfLargeRecords(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	const n = 60
	for i := range n {
		c := past(i)
		for j := range command.MaxRecord/(command.MaxScopeBytes+100) - 1 {
			c.Scopes = append(c.Scopes, command.Scope{Kind: command.ScopeURL, Site: "demo", Value: fmt.Sprintf("/%d/%s", j, strings.Repeat("x", command.MaxScopeBytes-10))})
		}
		w.put(c)
	}
	filter := client.CommandFilter{By: "@desk"}
	var got []string
	for pages := 0; ; pages++ {
		page, err := d.client.Commands(t.Context(), filter)
		if err != nil || pages > n {
			t.Fatal(pages, err)
		}
		for _, c := range page.Commands {
			got = append(got, c.Sequence)
		}
		if filter.Before = page.Next; page.Next == "" {
			break
		}
	}
	for i, seq := range got {
		if want := (command.FirstOf(1) + n - 1 - command.Seq(i)).String(); seq != want {
			t.Fatalf("%d: %s, want %s", i, seq, want)
		}
	}
	if len(got) != n {
		t.Errorf("%d of %d", len(got), n)
	}
	if found, err := d.client.FindCommand(t.Context(), "c0"); err != nil || found.Sequence != "1.1" {
		t.Errorf("%s, %v", found.Sequence, err)
	}
}

func TestListOfAnEmptyLog(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	page, err := d.client.Commands(t.Context(), client.CommandFilter{})
	if err != nil || len(page.Commands) != 0 || page.Next != "" || page.Kept != "" {
		t.Errorf("%+v, %v", page, err)
	}
	_, err = d.client.FindCommand(t.Context(), "1.1")
	wantError(t, err, 404, "it holds none")
}

// TestACommandIsLookedUp: by any distributor, with its receipts as they are now.
func TestACommandIsLookedUp(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	fast, _ := w.join(cluster.Edge, "fast")
	fast.follow()
	slow, _ := w.join(cluster.Edge, "slow")
	d.knows(t, "fast", "slow")
	given, err := d.client.Purge(t.Context(), client.CommandRequest{Sites: []string{"demo"}, NoStore: "90s", Timeout: 200 * time.Millisecond})
	if err != nil || given.Complete || given.NoStore != "1m30s" {
		t.Fatalf("%+v, %v", given, err)
	}
	other := w.start("d2")
	other.knows(t, "fast", "slow")
	for _, where := range []*running{d, other} {
		for _, name := range []string{given.ID, given.Sequence} {
			eventually(t, "it is known who has applied it", func() error {
				found, err := where.client.FindCommand(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				if found.ID != given.ID || found.Sequence != given.Sequence || found.By != "tester" || !found.At.Equal(given.At) || found.NoStore != "1m30s" || found.Complete {
					t.Fatalf("found %+v, given %+v", found, given)
				}
				if len(found.Nodes) != 2 || found.Nodes[0].State != client.Applied || found.Nodes[1].State != client.Late {
					return fmt.Errorf("nodes %+v", found.Nodes) // a distributor that has just begun has heard of nobody
				}
				if took := found.Nodes[0].TookMS; where == d && took != given.Nodes[0].TookMS {
					t.Errorf("took %v, and %v when it was given", took, given.Nodes[0].TookMS)
				}
				return nil
			})
			fast.report(reportOf(t, w), "")
		}
	}
	slow.report(reportOf(t, w), "")
	eventually(t, "the late node has applied it", func() error {
		found, err := d.client.FindCommand(t.Context(), given.ID)
		if err == nil && !found.Complete {
			err = fmt.Errorf("nodes %+v", found.Nodes)
		}
		return err
	})
	_, err = d.client.FindCommand(t.Context(), "1.99")
	wantError(t, err, 404, "1.99", "1.1 to 1.1")
	_, err = d.client.FindCommand(t.Context(), "c7")
	wantError(t, err, 404, "c7")
}

func reportOf(t *testing.T, w *world) command.Clock {
	t.Helper()
	head, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head.Clock()
}

// TestUnknownRecordIsListed: what this distributor cannot read stands in the trail as what
// nodes make of it.
func TestUnknownRecordIsListed(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	seq := w.putData([]byte(`{"v":9,"id":"new","kind":"bless","scopes":[{"kind":"moon","site":"demo"}],"at":"2027-01-01T00:00:00Z","by":"eve"}`))
	page, err := d.client.Commands(t.Context(), client.CommandFilter{Site: "demo"})
	if err != nil || len(page.Commands) != 1 {
		t.Fatalf("%+v, %v", page, err)
	}
	if c := page.Commands[0]; c.ID != "new" || c.By != "eve" || c.Kind != "purge" || c.Scopes[0].Kind != "site" || !strings.Contains(c.Unknown, "version 9") {
		t.Errorf("%+v", c)
	}
	if c, err := d.client.FindCommand(t.Context(), seq.String()); err != nil || c.Unknown == "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestANodeThatTheClusterHasLost: one that still reports and is no member may be serving,
// and is named as unknown until it has applied the command; one that has said that it
// leaves is not.
func TestANodeThatTheClusterHasLost(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	lost := &member{w: w, name: "lost", role: cluster.Edge}
	gone := &member{w: w, name: "gone", role: cluster.Edge}
	for _, m := range []*member{lost, gone} {
		m.report(reportOf(t, w), "")
	}
	gone.leave()
	heard := func() (lost, gone bool) {
		reports := d.progress.reports()
		_, lost = reports["lost"]
		_, gone = reports["gone"]
		return lost, gone
	}
	eventually(t, "the reports are in", func() error {
		if l, g := heard(); !l || g {
			return fmt.Errorf("lost %t, gone %t", l, g)
		}
		return nil
	})
	r, err := d.client.Purge(t.Context(), client.CommandRequest{Sites: []string{"demo"}, Timeout: patience})
	if err != nil || r.Complete || len(r.Nodes) != 1 || r.Nodes[0].Node != "lost" || r.Nodes[0].State != client.Unknown || !strings.Contains(r.Nodes[0].Reason, "may be serving") {
		t.Fatalf("%+v, %v", r, err)
	}
	lost.report(reportOf(t, w), "")
	eventually(t, "the lost node has applied it", func() error {
		found, err := d.client.FindCommand(t.Context(), r.ID)
		if err == nil && !found.Complete {
			err = fmt.Errorf("nodes %+v", found.Nodes)
		}
		return err
	})
}
