package distributor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"freshet/distributor/client"
	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

// Bounds of looking back in the log, which is the audit trail.
const (
	listed    = 50      // commands in a list, unless more are asked for
	maxListed = 500     // at most
	maxBytes  = 8 << 20 // of records in a list, and of those held while it is made, about
	least     = 16      // records that are read at a time, backwards; as many as fit maxBytes
	most      = 4096
	maxLooked = 20_000          // records looked at for one list
	maxRecent = 10_000          // commands of which it is remembered where they stand
	unsure    = time.Minute     // by which the clocks of distributors may differ
	readFor   = 5 * time.Second // one stretch
)

// errEnough ends a look back.
var errEnough = errors.New("enough")

type listInput struct {
	Kind   string    `query:"kind" enum:"purge,invalidate,refresh,prefetch,ban" doc:"This kind alone."`
	Site   string    `query:"site" maxLength:"63" doc:"Commands that cover something of this site, or everything."`
	By     string    `query:"by" maxLength:"256" doc:"Commands whose author contains this, in any case."`
	Since  time.Time `query:"since" doc:"Commands given then or later."`
	Before string    `query:"before" maxLength:"40" doc:"Commands with a lower sequence: 'next' of the list before."`
	Limit  int       `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many at most."`
}

type listOutput struct {
	Body client.Commands
}

// record is one record of the log as it is read back.
type record struct {
	bus.Entry
	command command.Command
	err     error // wraps command.ErrUnknown; command is what nodes make of it then
}

// listCommands reads the log backwards.
func (d *Distributor) listCommands(ctx context.Context, in *listInput) (*listOutput, error) {
	head, err := d.env.Bus.Head(ctx)
	if err != nil {
		return nil, answer(err)
	}
	before := head.Last + 1
	if in.Before != "" {
		seq, err := command.ParseSeq(in.Before)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("before: " + err.Error())
		}
		before = min(before, seq)
	}
	out := &listOutput{Body: client.Commands{Commands: []client.Record{}}}
	if head.First <= head.Last {
		out.Body.Kept = head.First.String()
	}
	limit, looked, bytes := cmp.Or(in.Limit, listed), 0, 0
	end, err := d.back(ctx, head, before, func(r record) error {
		if looked++; looked > maxLooked || len(out.Body.Commands) == limit || bytes > maxBytes {
			return errEnough
		}
		switch {
		case !in.Since.IsZero() && r.At.Before(in.Since.Add(-unsure)):
			return errBeginning
		case in.admits(&r.command):
			bytes += len(r.Data)
			out.Body.Commands = append(out.Body.Commands, r.tell(head.Log))
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		out.Body.Next = (end + 1).String()
	case err != nil && !errors.Is(err, errBeginning):
		return nil, answer(err)
	}
	return out, nil
}

// errBeginning ends a look back where nothing is left to find.
var errBeginning = errors.New("nothing before this")

// admits reports whether a list has a command.
func (in *listInput) admits(c *command.Command) bool {
	switch {
	case in.Kind != "" && string(c.Kind) != in.Kind:
		return false
	case !strings.Contains(strings.ToLower(c.By), strings.ToLower(in.By)):
		return false
	case c.At.Before(in.Since):
		return false
	case in.Site == "":
		return true
	}
	for _, s := range c.Scopes {
		if s.Site == in.Site || s.Site == "" {
			return true
		}
	}
	return false
}

// tell is the record as the API tells it.
func (r *record) tell(log command.LogID) client.Record {
	told := recordOf(r.command, command.Clock{Log: log, Seq: r.Seq})
	if r.err != nil {
		told.Unknown = r.err.Error()
	}
	return told
}

// back calls fn for each record below before, newest first, until it returns an error or
// the log has no more. It returns the sequence of the last call with that error.
func (d *Distributor) back(ctx context.Context, head bus.Head, before command.Seq, fn func(record) error) (command.Seq, error) {
	for stretch := command.Seq(8 * least); before > head.First; {
		from := head.First
		if before-from > stretch {
			from = before - stretch
		}
		entries, whole, err := d.read(ctx, head.Log, from, before)
		if err != nil {
			return before, err
		}
		for i := len(entries) - 1; i >= 0; i-- {
			r := record{Entry: entries[i]}
			if r.command, r.err = command.Decode(r.Data); r.err != nil && r.command.At.Unix() == 0 {
				r.command.At = r.At.UTC()
			}
			if err := fn(r); err != nil {
				return r.Seq, err
			}
		}
		before, stretch = from, min(2*stretch, most)
		if !whole {
			before, stretch = entries[0].Seq, max(stretch/8, least)
		}
	}
	return before, nil
}

// read reads the records from one sequence to below another, as far as the log, whose last
// is not below them, still has them. Of more than maxBytes it returns the last ones, at
// least one, and says that this is not the whole.
func (d *Distributor) read(ctx context.Context, log command.LogID, from, below command.Seq) (entries []bus.Entry, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	reader, err := d.env.Bus.Read(ctx, log, from)
	if err != nil {
		return nil, false, err
	}
	defer reader.Close()
	whole, bytes := true, 0
	for next := from; next < below; {
		e, err := reader.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return entries, whole, d.forgotten(log, next, below)
		}
		if err != nil {
			return nil, false, err
		}
		if next = e.Seq + 1; e.Seq >= below {
			break
		}
		entries, bytes = append(entries, e), bytes+len(e.Data)
		for bytes > maxBytes && len(entries) > 1 {
			bytes -= len(entries[0].Data)
			entries[0].Data = nil // what lies behind entries is kept for long
			entries, whole = entries[1:], false
		}
	}
	return entries, whole, nil
}

// forgotten is nil if the log has forgotten the records from one to below another, so that
// there is nothing to wait for.
func (d *Distributor) forgotten(log command.LogID, from, below command.Seq) error {
	ctx, cancel := context.WithTimeout(context.Background(), readFor)
	defer cancel()
	head, err := d.env.Bus.Head(ctx)
	if err == nil && (head.Log != log || head.First < below) {
		err = fmt.Errorf("read command log %s from %s: %w", log, from, context.DeadlineExceeded)
	}
	return err
}

type findInput struct {
	ID string `path:"id" maxLength:"64" doc:"The command's id, or its sequence."`
}

// findCommand looks one command up, and says who has applied it by now.
func (d *Distributor) findCommand(ctx context.Context, in *findInput) (*commandOutput, error) {
	head, err := d.env.Bus.Head(ctx)
	if err != nil {
		return nil, answer(err)
	}
	r, err := d.find(ctx, head, in.ID)
	if err != nil {
		return nil, answer(err)
	}
	clock := command.Clock{Log: head.Log, Seq: r.Seq}
	members, err := d.nodes(ctx)
	if err != nil {
		return nil, answer(err)
	}
	reports := d.progress.reports()
	caches := d.cachesOf(members, reports)
	took := make(map[string]time.Duration)
	known := d.recent.took(r.command.ID)
	for _, n := range caches {
		if report, ok := reports[n.Name]; ok && !clockOf(report).Before(clock) && report.holds(&r) {
			took[n.Name] = known[n.Name]
		}
	}
	out := &commandOutput{Body: client.Receipt{Record: r.tell(head.Log), Nodes: nodeReceipts(caches, members, took, nil)}}
	out.Body.Complete = complete(out.Body.Nodes)
	return out, nil
}

// holds reports whether what the node has applied may be this record, or come after it.
func (r *report) holds(it *record) bool {
	return r.Forked == 0 && (r.Applied != it.Seq || r.Link == (command.Link{}) || r.Link == it.Prev.Next(it.Seq, it.Data))
}

// find finds a record by its id or its sequence.
func (d *Distributor) find(ctx context.Context, head bus.Head, id string) (found record, err error) {
	seq, err := command.ParseSeq(id)
	if clock := d.recent.clock(id); err != nil && clock.Log == head.Log {
		seq = clock.Seq
	}
	below := head.Last + 1
	if seq != 0 {
		below = min(seq+1, below)
	}
	_, err = d.back(ctx, head, below, func(r record) error {
		switch {
		case r.Seq == seq, seq == 0 && r.command.ID == id:
			found = r
			return errEnough
		case seq != 0:
			return errBeginning
		}
		return nil
	})
	switch {
	case errors.Is(err, errEnough):
		return found, nil
	case err != nil && !errors.Is(err, errBeginning):
		return found, err
	}
	kept := "it holds none"
	if head.First <= head.Last {
		kept = fmt.Sprintf("it holds %s to %s", head.First, head.Last)
	}
	return found, huma.Error404NotFound(fmt.Sprintf("the command log has no command %.64s; %s", id, kept))
}

// cachesOf are the members that keep responses, and the nodes that the cluster does not
// know but that have lately said that they do: they may still be serving.
func (d *Distributor) cachesOf(members []cluster.Node, reports map[string]report) []cluster.Node {
	var caches []cluster.Node
	known := make(map[string]bool, len(members))
	for _, n := range members {
		known[n.Name] = true
		if caching(n) {
			caches = append(caches, n)
		}
	}
	for name, r := range reports {
		n := cluster.Node{Name: name, Role: cluster.Role(r.Role)}
		ago := d.progress.now().Sub(r.received)
		if known[name] || !caching(n) || ago > lostFor {
			continue
		}
		n.Reason = fmt.Sprintf("the cluster does not know it; it was heard of %s ago and may be serving", ago.Round(time.Second))
		caches = append(caches, n)
	}
	sortByName(caches)
	return caches
}

// recent is where the commands stand that were given here last, and how long nodes took.
type recent struct {
	mu struct {
		sync.Mutex
		given map[string]given
		order []string // ids, the oldest at next once there are maxRecent
		next  int
	}
}

type given struct {
	clock command.Clock
	took  map[string]time.Duration
}

// note remembers a command.
func (r *recent) note(id string, g given) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.given == nil {
		r.mu.given = make(map[string]given)
	}
	if _, ok := r.mu.given[id]; !ok {
		if len(r.mu.order) < maxRecent {
			r.mu.order = append(r.mu.order, id)
		} else {
			delete(r.mu.given, r.mu.order[r.mu.next])
			r.mu.order[r.mu.next] = id
			r.mu.next = (r.mu.next + 1) % maxRecent
		}
	}
	r.mu.given[id] = g
}

func (r *recent) clock(id string) command.Clock {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.given[id].clock
}

func (r *recent) took(id string) map[string]time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.given[id].took
}
