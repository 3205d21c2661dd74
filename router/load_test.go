package router

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"freshet/internal/bus"
	"freshet/internal/bus/jetstream"
	"freshet/internal/load"
)

// TestLoadReachesTheRouterWithinThreeSeconds over a real NATS server: how old what the
// router knows of an edge ever is, and that an edge which falls silent counts as unknown.
func TestLoadReachesTheRouterWithinThreeSeconds(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	server, err := jetstream.Start(jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: t.TempDir(), User: "freshet", Password: "a password of a test"}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	connect := func() bus.Bus {
		b, err := jetstream.Connect(t.Context(), jetstream.Config{Address: server.URL(), User: "freshet", Password: "a password of a test"}, log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	w := startOn(t, newCluster(t), connect())
	w.edge("e1", "127.0.0.11:8080")

	ctx, silence := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		var answered uint64
		m := load.NewMeter("e1", "edge", func() load.Counts { answered += 50; return load.Counts{Requests: answered, InFlight: 3} })
		done <- m.Publish(ctx, connect(), log, nil)
	}()
	current := func() bool { _, ok := w.router.Load("e1"); return ok }
	w.eventually(load.Unknown, "the load of the edge is known", current)

	var lag time.Duration // of the report behind its making, on one clock
	for begun := time.Now(); time.Since(begun) < 3*load.Every; time.Sleep(10 * time.Millisecond) {
		last, ok := w.router.Load("e1")
		if !ok {
			t.Fatal("the load of an edge that tells of it is unknown")
		}
		lag = max(lag, time.Since(last.At))
	}
	if lag > load.Unknown {
		t.Errorf("what the router knows is up to %s old", lag)
	}
	t.Logf("what the router knows was at most %s old", lag)
	last, _ := w.router.Load("e1")
	if last.InFlight != 3 || last.Requests < 1 || last.Hits != 0 || last.Process < 0 {
		t.Errorf("it knows %+v", last)
	}
	w.eventually(load.Unknown, "the metric", func() bool { return gauge(w, "freshet_router_load_known_edges") == 1 })

	silence()
	if err := <-done; err != nil {
		t.Error(err)
	}
	last, _ = w.router.Load("e1")
	w.eventually(load.Unknown+time.Second, "the load of a silent edge is unknown", func() bool { return !current() })
	if silent := time.Since(last.Received); silent < load.Unknown {
		t.Errorf("unknown after %s already", silent)
	}
	w.eventually(time.Second, "the metric", func() bool { return gauge(w, "freshet_router_load_known_edges") == 0 })
}

// gauge reads a metric of the router; NaN is one that is not there.
func gauge(w *world, name string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return math.NaN()
}
