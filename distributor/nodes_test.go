package distributor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"freshet/distributor/client"
	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

func TestNodes(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	if _, err := d.client.Purge(t.Context(), purgeDemo()); err != nil {
		t.Fatal(err)
	}
	head, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	near, _ := w.join(cluster.Edge, "near")
	far, _ := w.join(cluster.Mid, "far")
	w.join(cluster.Edge, "mute")
	d.knows(t, "near", "far", "mute", "d1")
	near.report(command.Clock{Log: head.Log, Seq: head.Last - 1}, "")
	far.report(command.Clock{Log: head.Log + 1, Seq: head.Last}, "the log was replaced")
	eventually(t, "reports have come", func() error {
		if n := len(d.progress.reports()); n != 2 {
			return fmt.Errorf("%d reports", n)
		}
		return nil
	})
	list, err := d.client.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]client.Node{}
	for _, n := range list {
		byName[n.Name] = n
	}
	if n := byName["near"]; n.Applied != "1.0" || n.Lag == nil || *n.Lag != 1 || n.Alarm != "" || n.Reported == nil || !n.Ready || n.Addrs[0] != "127.0.0.1:8080" {
		t.Errorf("near %+v", n)
	}
	if n := byName["far"]; n.Lag != nil || n.Alarm != "the log was replaced" {
		t.Errorf("far %+v", n)
	}
	if n := byName["mute"]; n.Applied != "" || n.Lag != nil || n.Reported != nil {
		t.Errorf("mute %+v", n)
	}
	if n := byName["d1"]; n.Role != "distributor" || n.Addrs[0] != d.Addrs()[0].String() {
		t.Errorf("d1 %+v", n)
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	tr := newTracker(time.Now)
	good := `{"node":"e1","role":"edge","log":1,"applied":5}`
	tests := []struct {
		name, subject, data string
		ok                  bool
	}{
		{"good", "progress.e1", good, true},
		{"another's", "progress.e2", good, false},
		{"no JSON", "progress.e1", "{", false},
		{"no node", "progress.", `{}`, false},
	}
	for _, test := range tests {
		if err := tr.receive(test.subject, []byte(test.data)); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	long := fmt.Sprintf(`{"node":"e1","alarm":%q}`, strings.Repeat("ä", 4000))
	if err := tr.receive("progress.e1", []byte(long)); err != nil || len(tr.reports()["e1"].Alarm) > 500 {
		t.Errorf("a long alarm: %v", err)
	}
}

func TestReportsAreBounded(t *testing.T) {
	now := time.Unix(1, 0)
	tr := newTracker(func() time.Time { return now })
	send := func(name string) error {
		return tr.receive("progress."+name, []byte(fmt.Sprintf(`{"node":%q}`, name)))
	}
	for i := range maxReports {
		if err := send(fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := send("more"); err == nil || send("n0") != nil {
		t.Errorf("one too many: %v", err)
	}
	now = now.Add(forget + time.Second)
	if err := send("more"); err != nil || len(tr.reports()) != maxReports {
		t.Errorf("after a silent one was forgotten: %v", err)
	}
}

func FuzzProgress(f *testing.F) {
	f.Add("progress.e1", []byte(`{"node":"e1","role":"edge","log":1,"applied":5,"at":"2026-01-01T00:00:00Z","alarm":"a"}`))
	f.Add("progress.e1", []byte(`{"node":1}`))
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		tr := newTracker(time.Now)
		w, err := tr.wait(command.Clock{Log: 1, Seq: 2}, time.Now(), map[string]bool{"e1": true, "e2": false})
		if err != nil {
			t.Fatal(err)
		}
		_ = tr.receive(subject, data)
		for name := range tr.reports() {
			if subject != bus.SubjectProgress+"."+name {
				t.Fatalf("report of %q came on %q", name, subject)
			}
		}
		tr.end(w)
	})
}

func TestStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	head := bus.Head{Log: 7, First: command.FirstOf(2), Last: command.FirstOf(2) + 9}
	healthy := func() summary {
		return summary{
			now: now, listening: now.Add(-time.Minute), sites: 3,
			view: viewState{Head: head, Settled: head, Leader: "d1"},
			members: []cluster.Node{
				{Name: "d1", Role: cluster.Distributor, Ready: true},
				{Name: "e1", Role: cluster.Edge, Ready: true},
				{Name: "e2", Role: cluster.Edge, Ready: true},
				{Name: "ns1", Role: cluster.Router, Ready: true},
			},
			reports: map[string]report{
				"e1": {Progress: command.Progress{Node: "e1", Log: 7, Applied: head.Last}, received: now},
				"e2": {Progress: command.Progress{Node: "e2", Log: 7, Applied: head.Last + 1}, received: now},
			},
		}
	}
	tests := []struct {
		name   string
		change func(*summary)
		state  string
		says   string // the one alarm
	}{
		{"all is well", func(*summary) {}, client.OK, ""},
		{"behind, but not for long", func(s *summary) { s.view.Settled.Last -= 5; s.age("e1", -3, 0) }, client.OK, ""},
		{"behind", func(s *summary) { s.age("e1", -1, 0) }, client.Degraded, "edge e1: it is behind the command log: it has applied 2.9"},
		{"another log", func(s *summary) {
			s.reports["e1"] = report{Progress: command.Progress{Log: 8, Applied: head.Last}, received: now}
		}, client.Degraded, "0000000000000008"},
		{"silent", func(s *summary) { s.age("e1", 0, 8*time.Second) }, client.Degraded, "for 8s"},
		{"never heard of", func(s *summary) { delete(s.reports, "e1") }, client.Degraded, "e1: it has not reported"},
		{"just started", func(s *summary) { delete(s.reports, "e1"); s.listening = now }, client.OK, ""},
		{"a router keeps nothing", func(s *summary) { s.view.Head.Last++ }, client.OK, ""},
		{"alarm of a node", func(s *summary) {
			s.reports["ns1"] = report{Progress: command.Progress{Alarm: "look here"}, received: now}
		}, client.Degraded, "router ns1: look here"},
		{"a node is not ready", func(s *summary) { s.members[1].Ready = false; s.members[1].Reason = "disk" }, client.Degraded, "edge e1: not ready: disk"},
		{"replaced log", func(s *summary) { s.view.Replaced = &replacement{6, 7, now.Add(-time.Minute), ""} }, client.Degraded, "0000000000000007 took the place of 0000000000000006"},
		{"replaced log long ago", func(s *summary) { s.view.Replaced = &replacement{6, 7, now.Add(-25 * time.Hour), ""} }, client.OK, ""},
		{"members unknown", func(s *summary) { s.membersErr = errors.New("no route") }, client.Degraded, "no route"},
		{"no leader", func(s *summary) { s.view.Leader = "" }, client.Down, "no distributor leads"},
		{"leader unknown", func(s *summary) { s.view.LeadErr = errors.New("no route") }, client.Down, "no route"},
		{"bus away", func(s *summary) { s.busErr = errors.New("no route") }, client.Down, "the bus cannot be reached: no route"},
		{"no log", func(s *summary) { s.view.LogErr = bus.ErrNoLog }, client.Down, "no command log"},
		{"log cannot be written", func(s *summary) { s.view.WriteErr = errRewound }, client.Down, "went back"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := healthy()
			test.change(&s)
			got := s.status()
			if got.State != test.state {
				t.Errorf("state %s, want %s", got.State, test.state)
			}
			if test.says == "" && len(got.Alarms) != 0 || test.says != "" && (len(got.Alarms) != 1 || !strings.Contains(got.Alarms[0], test.says)) {
				t.Errorf("alarms %q, want one that says %q", got.Alarms, test.says)
			}
			if got.Sites != 3 || got.Log.ID != "0000000000000007" || got.Log.Epoch != 2 || len(got.Roles) != 3 || got.Roles[1].Total != 2 {
				t.Errorf("status %+v", got)
			}
		})
	}
	s := healthy()
	s.members[1].Ready, s.members[2].Ready = false, false
	if got := s.status(); got.State != client.Down || len(got.Alarms) != 3 {
		t.Errorf("no edge is ready: %+v", got)
	}
}

// age sets a node's report back: by commands, and in time.
func (s *summary) age(name string, commands int, d time.Duration) {
	r := s.reports[name]
	r.Applied = command.Seq(int64(r.Applied) + int64(commands))
	r.received = r.received.Add(-d)
	s.reports[name] = r
}

func TestStatusOverTheAPI(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	e, _ := w.join(cluster.Edge, "e1")
	e.follow()
	d.knows(t, "e1", "d1")
	eventually(t, "status is ok", func() error {
		s, err := d.client.Status(t.Context())
		if err != nil || s.State != client.OK || s.Sites != 1 || s.Leader.API != d.client.URL() || s.Log.Epoch != 1 {
			return fmt.Errorf("%+v, %v", s, err)
		}
		return nil
	})
	w.bus.Disconnect(true)
	eventually(t, "status is down", func() error {
		s, err := d.client.Status(t.Context())
		if err != nil || s.State != client.Down {
			return fmt.Errorf("%+v, %v", s, err)
		}
		return nil
	})
	if d.env.Health.Err() == nil {
		t.Error("ready without a bus")
	}
	w.bus.Disconnect(false)
	eventually(t, "it comes back", func() error { _, err := d.client.Purge(t.Context(), purgeDemo()); return err })
}
