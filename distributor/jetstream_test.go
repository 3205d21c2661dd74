package distributor

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"freshet/distributor/client"
	"freshet/internal/bus"
	"freshet/internal/bus/jetstream"
)

// TestRestoredServer puts a real server back to an older copy of its disk: the log that has
// lost commands, which nodes may have acknowledged, is sealed, and goes on in a new epoch.
func TestRestoredServer(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg := jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: t.TempDir(), User: "freshet", Password: "a-password-for-tests"}
	server, err := jetstream.Start(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Shutdown() }()
	cfg.Listen = server.Addr()
	b, err := jetstream.Connect(t.Context(), jetstream.Config{Address: server.URL(), User: cfg.User, Password: cfg.Password}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	w := newWorld(t)
	w.other = b
	d := w.start("d1")
	d.apply(t, demoSite)
	purge := func() (r client.Receipt) {
		eventually(t, "a purge", func() (err error) {
			r, err = d.client.Purge(t.Context(), purgeDemo())
			return err
		})
		return r
	}
	for range 3 {
		purge()
	}
	restart := func(dir string) {
		cfg.Dir = dir
		if server, err = jetstream.Start(cfg, log); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the bus is back", b.Connected)
	}
	server.Shutdown()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	restart(cfg.Dir)
	last := purge()
	if last.Sequence != "1.4" {
		t.Fatalf("sequence %s", last.Sequence)
	}
	server.Shutdown()
	restart(copied)

	after := purge()
	if after.Log == last.Log || after.Sequence != "2.1" {
		t.Fatalf("a purge of the restored log: %s of log %s, before that %s of %s", after.Sequence, after.Log, last.Sequence, last.Log)
	}
	eventually(t, "status says so", func() error {
		s, err := d.client.Status(t.Context())
		if err != nil || !strings.Contains(strings.Join(s.Alarms, " "), "went back from 1.4 to 1.3") {
			return fmt.Errorf("status %+v, %v", s, err)
		}
		return nil
	})
	if _, err := b.Append(t.Context(), []byte("late"), 3+1<<40); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("append to the restored log: %v", err)
	}
	page, err := d.client.Commands(t.Context(), client.CommandFilter{})
	if err != nil || len(page.Commands) != 1 || page.Commands[0].ID != after.ID {
		t.Errorf("%+v, %v", page, err)
	}
}
