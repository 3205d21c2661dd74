package distributor

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"freshet/distributor/client"
	"freshet/internal/access"
	"freshet/internal/cluster"
	"freshet/internal/document"
	"freshet/internal/run"
)

func TestWhatCannotStart(t *testing.T) {
	w := newWorld(t)
	env := w.env("d1")
	env.File.Token = document.NewSecret("short")
	if _, err := New(env); !errors.Is(err, access.ErrToken) {
		t.Errorf("a short token: %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	tests := []struct {
		name      string
		listen    []string
		advertise []string
		is        error
		says      string
	}{
		{"port in use", []string{"127.0.0.1:0", ln.Addr().String()}, nil, run.ErrAddressInUse, ln.Addr().String()},
		{"any address", []string{":0"}, nil, nil, "advertise"},
		{"advertised name", []string{":0"}, []string{"localhost:1"}, nil, "ip:port"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env := w.env("d1")
			env.File.Listen, env.File.Advertise = test.listen, test.advertise
			d, err := New(env)
			if err != nil {
				t.Fatal(err)
			}
			err = d.Run(t.Context())
			if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A caller that waits for receipts while the distributor drains gets its answer, and
// the log its command.
func TestDrainFinishesWaits(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	edge, _ := w.join(cluster.Edge, "e1")
	d.knows(t, "e1")
	got := make(chan error, 1)
	go func() {
		r, err := d.client.Purge(context.Background(), client.CommandRequest{Sites: []string{"demo"}, Timeout: patience})
		if err == nil && !r.Complete {
			err = errors.New("not complete")
		}
		got <- err
	}()
	eventually(t, "the purge waits", func() error {
		d.progress.mu.Lock()
		defer d.progress.mu.Unlock()
		if len(d.progress.mu.waits) == 0 {
			return errors.New("nobody waits")
		}
		return nil
	})
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.stop() }()
	eventually(t, "it is not ready", func() error {
		if d.env.Health.Err() == nil {
			return errors.New("still ready")
		}
		return nil
	})
	head, err := w.bus.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	edge.report(head.Clock(), "")
	if err := <-got; err != nil {
		t.Error(err)
	}
	<-stopped
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	d.apply(t, demoSite)
	for range 3 {
		if _, err := d.client.Purge(t.Context(), purgeDemo()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.client.Purge(t.Context(), client.CommandRequest{Sites: []string{"demo"}}); err != nil {
		t.Fatal(err)
	}
	families, err := d.env.Metrics.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"freshet_distributor_commands_total": 4, "freshet_distributor_append_duration_seconds": 4,
		"freshet_distributor_wait_duration_seconds": 1, "freshet_distributor_leader": 1, "freshet_distributor_reports_refused_total": 0,
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		got := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		if expect, ok := want[f.GetName()]; !ok || got != expect {
			t.Errorf("%s is %v, want %v", f.GetName(), got, expect)
		}
		delete(want, f.GetName())
	}
	if len(want) != 0 {
		t.Errorf("not registered: %v", want)
	}
}
