package distributor

import (
	"cmp"
	"errors"
	"testing"
	"time"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

func TestPurgeWaitsForEveryNode(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	for _, name := range []string{"e1", "e2", "m1"} {
		role := cluster.Edge
		if name == "m1" {
			role = cluster.Mid
		}
		m, _ := w.join(role, name)
		m.follow()
	}
	w.join(cluster.Router, "ns1") // keeps nothing: nobody waits for it
	d.knows(t, "e1", "e2", "m1", "ns1")

	begin := time.Now()
	r, err := d.client.Purge(t.Context(), client.CommandRequest{URLs: []string{"http://demo.example/a?b=1#c", "https://x.demo.example"}, Sites: []string{"demo"}, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if !r.Complete || !r.Waited || len(r.Nodes) != 3 || r.By != "tester" || r.Sequence != "1.1" {
		t.Fatalf("receipt %+v", r)
	}
	for i, want := range []string{"e1", "e2", "m1"} {
		n := r.Nodes[i]
		if n.Node != want || n.State != client.Applied || n.TookMS <= 0 || n.TookMS > float64(took.Milliseconds()+1) {
			t.Errorf("receipt of %s: %+v, whole took %s", want, n, took)
		}
	}
	records := w.records(t)
	if len(records) != 1 || records[0].ID != r.ID || records[0].By != "tester" || records[0].Kind != command.Purge {
		t.Fatalf("records %+v", records)
	}
	want := []command.Scope{
		{Kind: command.ScopeURL, Site: "demo", Value: "/a?b=1"},
		{Kind: command.ScopeURL, Site: "demo", Value: "/"},
		{Kind: command.ScopeSite, Site: "demo"},
	}
	for i, s := range records[0].Scopes {
		if s != want[i] {
			t.Errorf("scope %d is %+v, want %+v", i, s, want[i])
		}
	}
}

func TestPurgeNamesThoseWhoHaveNotApplied(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	good, _ := w.join(cluster.Edge, "good")
	good.follow()
	late, _ := w.join(cluster.Edge, "late")
	other, _ := w.join(cluster.Edge, "otherlog")
	sick, _ := w.join(cluster.Mid, "sick")
	d.knows(t, "good", "late", "otherlog", "sick")
	sick.fall(errors.New("disk is full"))
	eventually(t, "sick is not ready", func() error {
		nodes, err := d.client.Nodes(t.Context())
		if err != nil || nodes[len(nodes)-1].Name != "sick" || nodes[len(nodes)-1].Ready {
			return errors.New("still ready")
		}
		return nil
	})
	head, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late.report(head.Clock(), "")
	other.report(command.Clock{Log: head.Log + 1, Seq: head.Last + 100}, "")

	r, err := d.client.Purge(t.Context(), client.CommandRequest{Sites: []string{"demo"}, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete || !r.Waited {
		t.Errorf("receipt %+v", r)
	}
	want := map[string]string{"good": client.Applied, "late": client.Late, "otherlog": client.Late, "sick": client.Unknown}
	for _, n := range r.Nodes {
		if n.State != want[n.Node] {
			t.Errorf("%s is %s, want %s", n.Node, n.State, want[n.Node])
		}
		if n.Node == "sick" && n.Reason != "not ready: disk is full" {
			t.Errorf("reason of sick: %q", n.Reason)
		}
		delete(want, n.Node)
	}
	if len(want) != 0 {
		t.Errorf("not named: %v", want)
	}
}

// A node that leaves while it is waited for has not applied the command.
func TestPurgeOfANodeThatLeaves(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	_, leave := w.join(cluster.Edge, "e1")
	d.knows(t, "e1")
	got := make(chan client.Receipt, 1)
	go func() {
		r, err := d.client.Purge(t.Context(), client.CommandRequest{Sites: []string{"demo"}, Timeout: 2 * time.Second})
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	eventually(t, "the purge is in the log", func() error {
		if head, err := w.bus.Head(t.Context()); err != nil || head.Last < head.First {
			return errors.New("no record")
		}
		return nil
	})
	eventually(t, "the purge waits", func() error {
		d.progress.mu.Lock()
		defer d.progress.mu.Unlock()
		if len(d.progress.mu.waits) == 0 {
			return errors.New("nobody waits")
		}
		return nil
	})
	leave()
	r := <-got
	if r.Complete || len(r.Nodes) != 1 || r.Nodes[0].State != client.Late || r.Nodes[0].Reason != "it has left the cluster" {
		t.Errorf("receipt %+v", r)
	}
	if n := len(d.progress.mu.waits); n != 0 {
		t.Errorf("%d waits left", n)
	}
}

func TestPurgeWithoutWaiting(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	w.join(cluster.Edge, "e1")
	d.knows(t, "e1")
	r, err := d.client.Purge(t.Context(), client.CommandRequest{All: true, Confirm: client.ConfirmAll, NoWait: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Waited || r.Complete || len(r.Nodes) != 0 || len(r.Scopes) != 1 || r.Scopes[0] != (client.Scope{Kind: "all"}) {
		t.Errorf("receipt %+v", r)
	}
}

func TestCommandsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	long := "http://demo.example/" + string(make([]byte, command.MaxScopeBytes))
	tests := []struct {
		name   string
		req    client.CommandRequest
		status int
		says   []string
	}{
		{"unknown host", client.CommandRequest{URLs: []string{"http://other.example/"}}, 404, []string{"other.example", "demo.example", "body.urls[0]"}},
		{"unknown site", client.CommandRequest{Sites: []string{"shop"}}, 404, []string{`"shop"`, "known sites: demo"}},
		{"nothing", client.CommandRequest{}, 422, []string{"covers nothing"}},
		{"all without the word", client.CommandRequest{All: true, Confirm: "yes"}, 422, []string{`"everything"`}},
		{"no URL", client.CommandRequest{URLs: []string{"/a"}}, 422, []string{"http://"}},
		{"unknown and bad", client.CommandRequest{URLs: []string{"http://other.example/", "ftp://demo.example/"}}, 422, []string{"other.example", "urls[1]"}},
		{"too long", client.CommandRequest{URLs: []string{long}}, 422, []string{"8192"}},
		{"timeout too long", client.CommandRequest{Sites: []string{"demo"}, Timeout: time.Hour}, 422, []string{"5m"}},
		{"too many", client.CommandRequest{Sites: make([]string, 501)}, 422, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := d.client.Purge(t.Context(), test.req)
			wantError(t, err, test.status, test.says...)
		})
	}
	_, err := d.client.Command(t.Context(), client.CommandRequest{Kind: "flush", Sites: []string{"demo"}})
	wantError(t, err, 422, "kind")
	if records := w.records(t); len(records) != 0 {
		t.Errorf("records %+v", records)
	}
}

// TestAuthors: who gives no name stands in the audit trail by address.
func TestAuthors(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	for _, by := range []string{"ann", ""} {
		d.client.By = by
		r, err := d.client.Purge(t.Context(), purgeDemo())
		if want := cmp.Or(by, "unknown@127.0.0.1"); err != nil || r.By != want {
			t.Errorf("by %q: %q, %v", by, r.By, err)
		}
	}
}
