package distributor

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/distributor/client"
	"freshet/internal/bus"
	"freshet/internal/cluster"
	"freshet/internal/command"
)

func purgeDemo() client.CommandRequest {
	return client.CommandRequest{Sites: []string{"demo"}, NoWait: true}
}

// epochRecord reads what the cluster knows of its logs; it waits for the first.
func (w *world) epochRecord(t *testing.T) (rec epochRecord) {
	t.Helper()
	eventually(t, "the epoch record is written", func() error {
		pair, err := w.cluster.Get(t.Context(), epochKey)
		if err != nil {
			return err
		}
		return json.Unmarshal(pair.Value, &rec)
	})
	return rec
}

// waitLeader waits until d sees who leads, and can write if it is itself.
func (r *running) waitLeader(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" leads", func() error {
		s, err := r.client.Status(t.Context())
		if err != nil {
			return err
		}
		if s.Leader.Node != name || s.Leader.API == "" {
			return fmt.Errorf("leader is %+v", s.Leader)
		}
		return nil
	})
}

func TestStandbyTakesOver(t *testing.T) {
	w := newWorld(t)
	d1 := w.start("d1")
	d1.apply(t, demoSite)
	d2 := w.start("d2")
	d2.waitLeader(t, "d1")
	for range 3 {
		if _, err := d1.client.Purge(t.Context(), purgeDemo()); err != nil {
			t.Fatal(err)
		}
	}
	before, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	_, err = d2.client.Purge(t.Context(), purgeDemo())
	wantError(t, err, 503, "d1 leads", d1.client.URL())
	_, err = d2.client.Apply(t.Context(), client.ApplyRequest{Text: []byte(demoSite), Expect: client.AnyVersion})
	wantError(t, err, 503, d1.client.URL())
	wantError(t, d2.client.DeleteSite(t.Context(), "demo", client.AnyVersion), 503, d1.client.URL())
	eventually(t, "the standby reads the sites", func() error {
		if sites, err := d2.client.Sites(t.Context()); err != nil || len(sites) != 1 {
			return fmt.Errorf("sites %v, %v", sites, err)
		}
		return nil
	})

	d1.stop()
	eventually(t, "d2 writes", func() error {
		_, err := d2.client.Purge(t.Context(), purgeDemo())
		return err
	})
	after, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Log != before.Log || after.Last != before.Last+1 || after.Last.Epoch() != 1 {
		t.Errorf("log went from %+v to %+v", before, after)
	}
	if n := len(w.records(t)); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
	d2.waitLeader(t, "d2")
}

// Many callers at once, and a change of leader among them: every purge that was
// acknowledged is in the log once, in one order.
func TestNoCommandIsLost(t *testing.T) {
	w := newWorld(t)
	d1, d2 := w.start("d1"), w.start("d2")
	d1.apply(t, demoSite)
	d2.waitLeader(t, "d1")
	eventually(t, "d2 knows the site", func() error {
		if s := d2.sites.snapshot.Load(); s == nil || s.ByName("demo") == nil {
			return errors.New("not yet")
		}
		return nil
	})
	var mu sync.Mutex
	acked := map[string]bool{}
	var wg sync.WaitGroup
	half := make(chan struct{})
	closeHalf := sync.OnceFunc(func() { close(half) })
	for range 4 {
		wg.Go(func() {
			for n := 0; n < 25; {
				for _, d := range []*running{d1, d2} {
					r, err := d.client.Purge(t.Context(), purgeDemo())
					if err != nil {
						continue
					}
					n++
					mu.Lock()
					acked[r.ID] = true
					if len(acked) == 50 {
						closeHalf()
					}
					mu.Unlock()
				}
			}
		})
	}
	<-half
	d1.stop()
	wg.Wait()
	seen := map[string]int{}
	for _, c := range w.records(t) {
		seen[c.ID]++
	}
	for id := range acked {
		if seen[id] != 1 {
			t.Errorf("command %s stands in the log %d times", id, seen[id])
		}
	}
	if len(acked) < 100 {
		t.Errorf("%d commands acknowledged", len(acked))
	}
}

func TestLostLogBeginsANewEpoch(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	var last command.Seq
	for epoch := uint32(1); epoch <= 3; epoch++ {
		var r client.Receipt
		eventually(t, "a purge in the new epoch", func() (err error) {
			r, err = d.client.Purge(t.Context(), purgeDemo())
			return err
		})
		head, err := w.bus.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if head.Last.Epoch() != epoch || head.Last <= last || r.Sequence != head.Last.String() {
			t.Errorf("epoch %d: head %+v after %s, receipt at %s", epoch, head, last, r.Sequence)
		}
		last = head.Last
		w.bus.Lose()
	}
	eventually(t, "status says that the log was replaced", func() error {
		s, err := d.client.Status(t.Context())
		if err != nil || s.State != client.Degraded || s.Log.Epoch != 4 {
			return fmt.Errorf("status %+v, %v", s, err)
		}
		return nil
	})
}

// A log that was lost while no distributor ran goes on above what was given out, too.
func TestLostLogWhileNobodyLed(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	if _, err := d.client.Purge(t.Context(), purgeDemo()); err != nil {
		t.Fatal(err)
	}
	d.stop()
	w.bus.Lose()
	d = w.start("d2")
	var r client.Receipt
	eventually(t, "a purge", func() (err error) { r, err = d.client.Purge(t.Context(), purgeDemo()); return err })
	if r.Sequence != "2.1" {
		t.Errorf("first sequence of the new log is %s", r.Sequence)
	}
}

// A log that has been put back to an earlier state is not written, since sequences would
// be given out twice: it is sealed, and a new epoch begins.
func TestRewoundLogIsReplaced(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			w := newWorld(t)
			d := w.start("d1")
			d.apply(t, demoSite)
			for range 3 {
				if _, err := d.client.Purge(t.Context(), purgeDemo()); err != nil {
					t.Fatal(err)
				}
			}
			head, err := w.bus.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if restart { // what the next leader knows of the old sequences, it has from the record
				eventually(t, "the sequence is in the record", func() error {
					if rec := w.epochRecord(t); rec.Last != head.Last {
						return fmt.Errorf("it has %s", rec.Last)
					}
					return nil
				})
				d.stop()
			}
			w.bus.Rewind(head.Last - 2)
			if restart {
				d = w.start("d2")
			}
			eventually(t, "a purge in a new epoch", func() error {
				r, err := d.client.Purge(t.Context(), purgeDemo())
				if err == nil && r.Sequence != "2.1" {
					t.Errorf("sequence %s", r.Sequence)
				}
				return err
			})
			eventually(t, "status says so", func() error {
				s, err := d.client.Status(t.Context())
				if err != nil || s.State != client.Degraded || !strings.Contains(strings.Join(s.Alarms, " "), "went back from 1.3 to 1.1") {
					return fmt.Errorf("status %+v, %v", s, err)
				}
				return nil
			})
			if rec := w.epochRecord(t); rec.Epoch != 2 || rec.Replaced.Old != head.Log || rec.Log == head.Log {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// A log that is short for a moment, as a server that is behind may say, stays.
func TestShortLogForAMoment(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	given, err := d.client.Purge(t.Context(), purgeDemo())
	if err != nil {
		t.Fatal(err)
	}
	writer := d.writer.Load()
	if err := writer.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	head := reportOf(t, w)
	records := w.records(t)
	w.bus.Rewind(head.Seq - 1)
	if err := writer.lookLocked(t.Context()); !errors.Is(err, errRewound) {
		t.Errorf("look at the short log: %v", err)
	}
	w.put(records[0])
	writer.give()
	r, err := d.client.Purge(t.Context(), purgeDemo())
	if err != nil || r.Log != given.Log || r.Sequence != "1.2" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestNodesHaveAForkedLogReplaced: a node that reports that the log contradicts what it has
// applied has the leader seal it and begin a new epoch; another report of the same log, or
// soon after, does not.
func TestNodesHaveAForkedLogReplaced(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	head := reportOf(t, w)
	report := func(log command.LogID) {
		data, err := json.Marshal(command.Progress{Node: "e1", Role: "edge", Log: log, Applied: command.FirstOf(1) + 6, At: time.Now(), Forked: log})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.bus.Publish(bus.SubjectProgress+".e1", data); err != nil {
			t.Fatal(err)
		}
	}
	report(head.Log + 1) // some other log: no matter
	report(head.Log)
	eventually(t, "a new epoch", func() error {
		report(head.Log)
		r, err := d.client.Purge(t.Context(), purgeDemo())
		if err == nil && r.Log == head.Log.String() {
			err = errors.New("the old log")
		}
		return err
	})
	eventually(t, "status says so", func() error {
		s, err := d.client.Status(t.Context())
		if err != nil || !strings.Contains(strings.Join(s.Alarms, " "), "edge e1 has applied commands up to 1.7 that the log does not have") {
			return fmt.Errorf("status %+v, %v", s, err)
		}
		return nil
	})
	now := reportOf(t, w)
	for range 3 {
		report(now.Log)
		report(head.Log)
		time.Sleep(lookEvery / 2) // for the leader's next looks
	}
	if again := reportOf(t, w); again.Log != now.Log || again.Seq.Epoch() != 2 {
		t.Errorf("the log is %s, it was %s", again, now)
	}
}

// A leader that finds a later term's token in the epoch record stops writing.
func TestDeposedLeaderStops(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	rec := w.epochRecord(t)
	old := d.writer.Load()
	rec.Token += 10
	value, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.cluster.Put(t.Context(), epochKey, value, cluster.Any); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the term is over", func() error {
		if d.writer.Load() == old {
			return errors.New("still writing")
		}
		return nil
	})
	if _, err := old.append(command.Command{Version: command.Version, ID: "x", Kind: command.Purge, Scopes: []command.Scope{{Kind: command.ScopeAll}}, At: time.Now()}); !errors.Is(err, errDeposed) {
		t.Errorf("append of a deposed leader: %v", err)
	}
}
