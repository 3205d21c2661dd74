package load

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"freshet/internal/bus/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestReportSaysWhatWasCounted over seconds of virtual time, of a machine by hand.
func TestReportSaysWhatWasCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := Counts{Requests: 1000, Hits: 900, Bytes: 1 << 40}
		g := gauge{process: time.Hour, cpus: 4, busy: 100, total: 1000, nics: map[string]nic{"a": {sent: 5, speed: 1000}, "b": {speed: 10}, "c": {}}}
		m := newMeter("e1", "edge", func() Counts { return counts }, func() gauge { return g })
		time.Sleep(2 * time.Second)
		counts = Counts{Requests: 1200, Hits: 950, Bytes: 1<<40 + 5000, InFlight: 7}
		g = gauge{process: time.Hour + 2*time.Second, cpus: 4, busy: 150, total: 1100, nics: map[string]nic{"a": {sent: 1505, speed: 1000}, "b": {speed: 10}, "c": {sent: 1e9}}}
		got := m.Report()
		want := Report{
			Node: "e1", Role: "edge", At: time.Now().UTC(), Requests: 100, InFlight: 7, Bytes: 2500, Hits: 0.25,
			Process: 0.25, Machine: 0.5, NIC: 0.75, Utilisation: 0.75, Capacity: 100 / 0.75,
		}
		if got != want {
			t.Errorf("have %+v\nwant %+v", got, want)
		}
		time.Sleep(time.Second) // nothing happens
		got = m.Report()
		if got.Requests != 0 || got.Hits != NotKnown || got.Utilisation != 0 || got.Capacity != want.Capacity {
			t.Errorf("idle: %+v", got)
		}
		counts.Requests += 200
		g.process += time.Second
		time.Sleep(time.Second)
		if got = m.Report(); math.Abs(got.Capacity-(want.Capacity+smooth*(800-want.Capacity))) > 1e-6 {
			t.Errorf("capacity %v", got.Capacity)
		}
		counts, g = Counts{}, gauge{cpus: 4} // set back
		time.Sleep(time.Second)
		if got = m.Report(); got.Requests != 0 || got.Process != 0 || got.Machine != NotKnown {
			t.Errorf("set back: %+v", got)
		}
	})
}

func TestLoadIsHeardForThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		defer b.Close()
		table, log := NewTable(time.Now), slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- table.Run(ctx, b, log) }()
		var requests uint64
		m := NewMeter("e1", "edge", func() Counts { requests += 10; return Counts{Requests: requests} })
		kept := time.Now()
		go func() { done <- m.Publish(ctx, b, log, func(r *Report) { r.Kept = &kept; r.Lost = 3 }) }()
		if _, current := table.Of("e1"); current {
			t.Error("load is known before it was told")
		}
		time.Sleep(Every + time.Millisecond)
		synctest.Wait()
		last, current := table.Of("e1")
		if !current || last.Requests != 10 || last.Lost != 3 || !last.Kept.Equal(kept) || last.Machine < NotKnown {
			t.Errorf("heard %+v, %t", last, current)
		}
		for range 100 { // it never lags more than a report
			time.Sleep(Every)
			synctest.Wait()
			if last, current = table.Of("e1"); !current || time.Since(last.At) > Every {
				t.Fatalf("lags: %+v", last)
			}
		}
		b.Disconnect(true)
		time.Sleep(Unknown - Every/2)
		if _, current = table.Of("e1"); !current {
			t.Error("unknown too soon")
		}
		time.Sleep(Every)
		if last, current = table.Of("e1"); current || last.Node != "e1" {
			t.Errorf("still current after %s: %+v", time.Since(last.Received), last)
		}
		b.Disconnect(false)
		time.Sleep(Every)
		synctest.Wait()
		if _, current = table.Of("e1"); !current {
			t.Error("not heard again")
		}
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedReports(t *testing.T) {
	good := Report{Node: "e1", Role: "edge", Version: version}
	for name, change := range map[string]func(*Report){
		"version": func(r *Report) { r.Version = 2 }, "none": func(r *Report) { r.Version = 0 },
		"other node": func(r *Report) { r.Node = "e2" }, "no node": func(r *Report) { r.Node = "" },
		"rate": func(r *Report) { r.Requests = -1 }, "huge": func(r *Report) { r.Capacity = 1e300 },
		"in flight": func(r *Report) { r.InFlight = -1 }, "role": func(r *Report) { r.Role = "<b>" },
	} {
		r := good
		change(&r)
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode("load.e1", data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	r := good
	r.Process, r.Machine, r.Utilisation = 7, -3, -1 // as no node would say
	data, _ := r.encode()
	got, err := Decode("load.e1", data)
	if err != nil || got.Process != 1 || got.Machine != NotKnown || got.Utilisation != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := Decode("load.e1", []byte("{")); err == nil {
		t.Error("half a report is taken")
	}
}

func TestATableIsBounded(t *testing.T) {
	now := time.Unix(1, 0)
	table := NewTable(func() time.Time { return now })
	receive := func(name string) error {
		data, err := Report{Node: name, Role: "edge"}.encode()
		if err != nil {
			t.Fatal(err)
		}
		return table.Receive(Subject(name), data)
	}
	for i := range maxNodes {
		if err := receive("n" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + strings.Repeat("y", i/50%200) + "z"); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; len(table.All()) < maxNodes; i++ {
		if err := receive("m" + strings.Repeat("w", i%100) + strings.Repeat("v", i/100)); err != nil {
			t.Fatal(err)
		}
	}
	if receive("new") == nil {
		t.Error("one more is taken")
	}
	now = now.Add(forget + time.Second)
	if err := receive("new"); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	data, _ := Report{Node: "e1", Role: "edge"}.encode()
	f.Add("load.e1", data)
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		r, err := Decode(subject, data)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(subject, again); err != nil {
			t.Errorf("%s becomes %s: %v", data, again, err)
		}
	})
}
