package distributor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"freshet/distributor/client"
	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/load"
)

type nodesOutput struct {
	Body client.Nodes
}

type statusOutput struct {
	Body client.Status
}

// listNodes joins membership with what the nodes report.
func (d *Distributor) listNodes(ctx context.Context, _ *struct{}) (*nodesOutput, error) {
	members, err := d.nodes(ctx)
	if err != nil {
		return nil, answer(err)
	}
	return &nodesOutput{Body: client.Nodes{Nodes: nodeList(members, d.progress.reports(), d.loads.All(), d.view.state().Head, time.Now())}}, nil
}

func nodeList(members []cluster.Node, reports map[string]report, loads map[string]load.Known, head bus.Head, now time.Time) []client.Node {
	list := make([]client.Node, len(members))
	for i, m := range members {
		n := client.Node{
			Name: m.Name, Role: string(m.Role), PoP: m.PoP, Region: m.Region, Addrs: []string{},
			Admin: m.Admin, Version: m.Version, Ready: m.Ready, Reason: m.Reason,
		}
		for _, a := range m.Addrs {
			n.Addrs = append(n.Addrs, a.String())
		}
		if r, ok := reports[m.Name]; ok {
			n.Applied, n.Alarm = r.Applied.String(), r.Alarm
			received := r.received.UTC()
			n.Reported = &received
			if r.Log == head.Log {
				// A node may have applied what this distributor has not seen yet.
				lag := uint64(max(head.Last, r.Applied) - r.Applied)
				n.Lag = &lag
			}
		}
		if l, ok := loads[m.Name]; ok {
			n.Load = loadOf(l, now)
			if n.Load.Current {
				n.Note = noteOf(l)
			}
		}
		list[i] = n
	}
	return list
}

func loadOf(l load.Known, now time.Time) *client.Load {
	return &client.Load{
		At: l.Received.UTC(), Current: now.Sub(l.Received) <= load.Unknown,
		Requests: l.Requests, InFlight: l.InFlight, Bytes: l.Bytes, Hits: l.Hits,
		Process: l.Process, Machine: l.Machine, NIC: l.NIC, Utilisation: l.Utilisation, Capacity: l.Capacity,
	}
}

// noteOf is what a node says of what it goes by, "" for nothing.
func noteOf(l load.Known) string {
	var notes []string
	if l.Kept != nil {
		notes = append(notes, "it cannot read the cluster and goes by the last snapshot of "+l.Kept.UTC().Format(time.RFC3339))
	}
	if l.Lost > 0 {
		notes = append(notes, fmt.Sprintf("it keeps %d site documents that the cluster's store has lost", l.Lost))
	}
	return strings.Join(notes, "; ")
}

// getStatus sums up what this distributor knows.
func (d *Distributor) getStatus(ctx context.Context, _ *struct{}) (*statusOutput, error) {
	members, err := d.nodes(ctx)
	in := summary{
		now: time.Now(), view: d.view.state(), members: members, membersErr: err,
		reports: d.progress.reports(), listening: d.progress.since, busErr: d.env.Bus.Connected(),
		loads: d.loads.All(), known: d.env.Kept.Warning(),
	}
	if snap := d.sites.snapshot.Load(); snap != nil {
		in.sites = len(snap.Sites())
	}
	s := in.status()
	if s.Leader.Node != "" {
		s.Leader.API = d.apiOf(ctx, s.Leader.Node)
	}
	return &statusOutput{Body: s}, nil
}

// summary is all that a status is made from.
type summary struct {
	now        time.Time
	view       viewState
	members    []cluster.Node
	membersErr error
	reports    map[string]report
	listening  time.Time // since when reports are heard
	busErr     error
	sites      int
	loads      map[string]load.Known
	known      error // what is wrong with what this distributor knows of the cluster
}

// roles are in the order of a request's way.
var roles = []cluster.Role{cluster.Router, cluster.Edge, cluster.Mid, cluster.Origin, cluster.Distributor}

// status judges. It is down when no client is served or no command can be given, and
// degraded when an operator should look.
func (s summary) status() client.Status {
	out := client.Status{
		State: client.OK, Alarms: []string{}, Roles: []client.Count{},
		Leader: client.Leader{Node: s.view.Leader}, Sites: s.sites,
	}
	if h := s.view.Head; h.Log != 0 {
		out.Log = client.Log{ID: h.Log.String(), Epoch: h.Last.Epoch(), First: h.First.String(), Last: h.Last.String()}
	}
	counts := make(map[cluster.Role]client.Count)
	for _, m := range s.members {
		c := counts[m.Role]
		c.Total++
		if m.Ready {
			c.Ready++
		}
		counts[m.Role] = c
	}
	for _, role := range roles {
		if c, ok := counts[role]; ok {
			c.Role = string(role)
			out.Roles = append(out.Roles, c)
		}
	}
	fatal := s.fatal(counts[cluster.Edge])
	out.Alarms = append(fatal, s.alarms()...)
	switch {
	case len(fatal) > 0:
		out.State = client.Down
	case len(out.Alarms) > 0:
		out.State = client.Degraded
	}
	return out
}

// fatal lists what makes the whole down.
func (s summary) fatal(edges client.Count) []string {
	out := []string{}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if edges.Total > 0 && edges.Ready == 0 {
		add("no edge is ready: clients are not served")
	}
	switch {
	case s.view.LeadErr != nil:
		add("who leads the distributors is not known: %v", s.view.LeadErr)
	case s.view.Leader == "":
		add("no distributor leads: no command can be given")
	}
	switch {
	case s.busErr != nil:
		add("the bus cannot be reached: %v", s.busErr)
	case s.view.LogErr != nil:
		add("the command log cannot be read: %v", s.view.LogErr)
	case s.view.WriteErr != nil:
		add("the command log cannot be written: %v", s.view.WriteErr)
	}
	return out
}

// alarms lists what an operator should look at.
func (s summary) alarms() []string {
	out := []string{}
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s.membersErr != nil {
		add("the cluster's members cannot be read: %v", s.membersErr)
	}
	if r := s.view.Replaced; r != nil && s.now.Sub(r.At) < alarmFor {
		why := ""
		if r.Why != "" {
			why = " (" + r.Why + ")"
		}
		add("the command log was replaced at %s: %s took the place of %s, and everything stored before is dead%s", r.At.Format(time.RFC3339), r.New, r.Old, why)
	}
	if s.known != nil {
		for _, line := range strings.Split(s.known.Error(), "\n") {
			add("this distributor: %s", line)
		}
	}
	for _, m := range s.members {
		if err := s.judge(m); err != nil {
			add("%s %s: %v", m.Role, m.Name, err)
		}
		if l, ok := s.loads[m.Name]; ok && s.now.Sub(l.Received) <= load.Unknown {
			if note := noteOf(l); note != "" {
				add("%s %s: %s", m.Role, m.Name, note)
			}
		}
	}
	return out
}

// judge is what is wrong with one node, as far as one thing is.
func (s summary) judge(m cluster.Node) error {
	if !m.Ready {
		return fmt.Errorf("not ready: %s", m.Reason)
	}
	r, ok := s.reports[m.Name]
	switch {
	case ok && r.Alarm != "":
		return errors.New(r.Alarm)
	case !caching(m):
		return nil
	case !ok && s.now.Sub(s.listening) > silence:
		return errors.New("it has not reported what it has applied")
	case ok && s.now.Sub(r.received) > silence:
		return fmt.Errorf("it has not reported what it has applied for %s", s.now.Sub(r.received).Round(time.Second))
	case ok && s.view.behind(clockOf(r)):
		return fmt.Errorf("it is behind the command log: it has applied %s of log %s", r.Applied, r.Log)
	}
	return nil
}
