package jetstream_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"freshet/internal/bus"
	"freshet/internal/bus/bustest"
	"freshet/internal/bus/jetstream"
	"freshet/internal/command"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(appenderDir); dir != "" {
		appender(dir) // a child of TestAppendedSurvivesKill
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	user     = "freshet"
	password = "a-password-for-tests"
)

// smallLog makes a log of few large records drop the oldest.
const smallLog = 4 << 20

// machine is an embedded server whose disk can be lost and that can be restarted
// under the same address.
type machine struct {
	t      *testing.T
	cfg    jetstream.ServerConfig
	server *jetstream.Server
	buses  []*jetstream.Bus // of connect
}

func startMachine(t *testing.T) *machine {
	m := &machine{t: t, cfg: jetstream.ServerConfig{Listen: "127.0.0.1:0", Dir: t.TempDir(), User: user, Password: password}}
	m.start()
	m.cfg.Listen = m.server.Addr()
	t.Cleanup(func() { m.server.Shutdown() })
	return m
}

func (m *machine) start() {
	m.t.Helper()
	server, err := jetstream.Start(m.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	m.server = server
}

func (m *machine) restart() {
	m.t.Helper()
	m.stop()
	m.start()
}

// stop ends the server, and returns when those who were connected know it: until then they
// take the connection for a good one.
func (m *machine) stop() {
	m.t.Helper()
	m.server.Shutdown()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		if !slices.ContainsFunc(m.buses, func(b *jetstream.Bus) bool { return b.Connected() == nil }) {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatal("the end of the server is not noticed")
		}
	}
}

// lose replaces the machine's disk by an empty one.
func (m *machine) lose() {
	m.t.Helper()
	m.stop()
	m.cfg.Dir = m.t.TempDir()
	m.start()
}

func (m *machine) connect() *jetstream.Bus {
	m.t.Helper()
	b, err := jetstream.Connect(m.t.Context(), jetstream.Config{
		Address: "nats://" + m.cfg.Listen, User: user, Password: password, MaxBytes: smallLog,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(b.Close)
	m.buses = append(m.buses, b)
	return b
}

// byAddress is two connections over TCP.
func byAddress(t *testing.T) bustest.Form {
	m := startMachine(t)
	return bustest.Form{Bus: m.connect(), Peer: m.connect(), Lose: m.lose, Restart: m.restart}
}

func TestByAddress(t *testing.T) {
	bustest.Run(t, byAddress)
	bustest.RunLoss(t, byAddress)
	bustest.RunRestart(t, byAddress)
}

// TestEmbedded is the distributor's form: no socket between it and its server, which
// restarts only together with it (TestEmbeddedRestart).
func TestEmbedded(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Form {
		m := startMachine(t)
		return bustest.Form{Bus: m.embedded(), Peer: m.connect()}
	})
}

func (m *machine) embedded() *jetstream.Bus {
	m.t.Helper()
	b, err := m.server.Connect(m.t.Context(), jetstream.Config{MaxBytes: smallLog}, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(b.Close)
	return b
}

func TestEmbeddedRestart(t *testing.T) {
	m := startMachine(t)
	b := m.embedded()
	made, err := b.Create(t.Context(), command.FirstOf(9))
	if err != nil {
		t.Fatal(err)
	}
	for i := range command.Seq(3) {
		if _, err := b.Append(t.Context(), []byte{byte(i)}, made.Last+i); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	m.restart()
	b = m.embedded()
	head, err := b.Head(t.Context())
	if want := (bus.Head{Log: made.Log, First: made.First, Last: made.Last + 3}); err != nil || head != want {
		t.Fatalf("head %+v, %v after a restart, want %+v", head, err, want)
	}
	r, err := b.Read(t.Context(), made.Log, made.First+1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if e, err := r.Next(t.Context()); err != nil || e.Seq != made.First+1 || e.Data[0] != 1 {
		t.Errorf("read %v, %v", e, err)
	}
}

// TestForgottenLogKeepsItsPlace: when every record has become too old and the server
// restarts, the next one still gets a sequence of its own.
func TestForgottenLogKeepsItsPlace(t *testing.T) {
	m := startMachine(t)
	b, err := m.server.Connect(t.Context(), jetstream.Config{MaxAge: 200 * time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	head, err := b.Create(t.Context(), command.FirstOf(4))
	if err != nil {
		t.Fatal(err)
	}
	log, last := head.Log, head.Last
	for range 3 {
		if last, err = b.Append(t.Context(), []byte("x"), last); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); head.First <= last; {
		if head, err = b.Head(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("head %+v still holds records that are too old", head)
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Close()
	m.restart()
	b = m.embedded()
	head, err = b.Head(t.Context())
	if want := (bus.Head{Log: log, First: last + 1, Last: last}); err != nil || head != want {
		t.Fatalf("head %+v, %v after a restart, want %+v", head, err, want)
	}
	if seq, err := b.Append(t.Context(), []byte("y"), last); err != nil || seq != last+1 {
		t.Errorf("appended at %s, %v, want %s", seq, err, last+1)
	}
}

func TestConnectErrors(t *testing.T) {
	m := startMachine(t)
	address := "nats://" + m.cfg.Listen
	for name, test := range map[string]struct {
		cfg  jetstream.Config
		want string // in the error
	}{
		"wrong password": {jetstream.Config{Address: address, User: user, Password: "wrong"}, "refuses user and password"},
		"wrong user":     {jetstream.Config{Address: address, User: "x", Password: password}, "refuses user and password"},
		"no credentials": {jetstream.Config{Address: address}, "refuses user and password"},
		"no address":     {jetstream.Config{}, "nats://host:port"},
		"two replicas":   {jetstream.Config{Address: address, Replicas: 2}, "2 replicas: 1 or 3"},
		"no authorities": {jetstream.Config{Address: address, TLS: jetstream.TLS{CA: "/nonexistent"}}, "read authorities"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := jetstream.Connect(t.Context(), test.cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				b.Close()
				t.Fatal("connected")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), password) {
				t.Errorf("%v, want it to say %q", err, test.want)
			}
		})
	}
}

// TestServerComesLater: a node that starts before the bus finds it in the end.
func TestServerComesLater(t *testing.T) {
	m := startMachine(t)
	m.server.Shutdown()
	b := m.connect()
	if err := b.Connected(); err == nil {
		t.Fatal("connected to no server")
	}
	if _, err := b.Head(t.Context()); err == nil {
		t.Fatal("a head without a server")
	}
	if err := b.Publish("a", nil); err == nil {
		t.Fatal("published without a server")
	}
	m.start()
	for deadline := time.Now().Add(30 * time.Second); b.Connected() != nil; {
		if time.Now().After(deadline) {
			t.Fatal(b.Connected())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := b.Create(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// TestLogCannotBeUnwritten: whoever has the bus's password cannot take records away.
func TestLogCannotBeUnwritten(t *testing.T) {
	m := startMachine(t)
	b := m.connect()
	head, err := b.Create(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(t.Context(), []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect("nats://"+m.cfg.Listen, nats.UserInfo(user, password), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream := "FRESHET-" + head.Log.String()
	for _, api := range []string{"DELETE." + stream, "PURGE." + stream, "MSG.DELETE." + stream, "UPDATE." + stream, "RESTORE." + stream} {
		if _, err := conn.Request("$JS.API.STREAM."+api, []byte(`{"seq":1}`), 100*time.Millisecond); err == nil {
			t.Errorf("%s was answered", api)
		}
	}
	if after, err := b.Head(t.Context()); err != nil || after.Log != head.Log || after.First != 1 || after.Last != 1 {
		t.Errorf("head %+v, %v", after, err)
	}
}

// TestSealedLogsAreFew: those that were sealed longest ago are removed.
func TestSealedLogsAreFew(t *testing.T) {
	m := startMachine(t)
	b, peer := m.connect(), m.connect()
	var sealed []bus.Head
	for epoch := uint32(1); epoch <= 5; epoch++ {
		head, err := b.Create(t.Context(), command.FirstOf(epoch))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Append(t.Context(), []byte("x"), head.Last); err != nil {
			t.Fatal(err)
		}
		if err := b.Seal(t.Context(), head.Log); err != nil {
			t.Fatal(err)
		}
		sealed = append(sealed, head)
	}
	for i, head := range sealed {
		r, err := b.Read(t.Context(), head.Log, head.First)
		if kept := i >= len(sealed)-2; (err == nil) != kept {
			t.Errorf("log %d of %d: read %v, want it kept %t", i+1, len(sealed), err, kept)
		}
		if err == nil {
			if e, err := r.Next(t.Context()); err != nil || string(e.Data) != "x" {
				t.Errorf("log %d: %q, %v", i+1, e.Data, err)
			}
			r.Close()
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// TestKeep: a log that is there keeps its records for as long as its server is told, and
// all else stays as it was.
func TestKeep(t *testing.T) {
	m := startMachine(t)
	b := m.connect()
	made, err := b.Create(t.Context(), command.FirstOf(1))
	if err != nil {
		t.Fatal(err)
	}
	last := made.Last
	for range 3 {
		if last, err = b.Append(t.Context(), []byte("x"), last); err != nil {
			t.Fatal(err)
		}
	}
	m.cfg.Keep = 100 * time.Millisecond
	m.restart()
	eventually(t, "the log has forgotten its records", func() bool {
		head, err := b.Head(t.Context())
		return err == nil && head == bus.Head{Log: made.Log, First: last + 1, Last: last}
	})
	m.cfg.Keep = time.Hour
	m.restart()
	eventually(t, "a record is appended", func() bool {
		_, err := b.Append(t.Context(), []byte("y"), last)
		return err == nil
	})
	m.restart()
	eventually(t, "the record is there", func() bool {
		head, err := b.Head(t.Context())
		return err == nil && head == bus.Head{Log: made.Log, First: last + 1, Last: last + 1}
	})
}

func TestStartErrors(t *testing.T) {
	m := startMachine(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]jetstream.ServerConfig{
		"port in use":    {Listen: m.cfg.Listen, Dir: t.TempDir(), User: user, Password: password},
		"no port":        {Listen: "127.0.0.1", Dir: t.TempDir(), User: user, Password: password},
		"no password":    {Listen: "127.0.0.1:0", Dir: t.TempDir(), User: user},
		"no directory":   {Listen: "127.0.0.1:0", User: user, Password: password},
		"dir is a file":  {Listen: "127.0.0.1:0", Dir: file, User: user, Password: password},
		"not an address": {Listen: "192.0.2.1:0", Dir: t.TempDir(), User: user, Password: password},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := jetstream.Start(cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				s.Shutdown()
				t.Fatal("started")
			}
			t.Log(err)
		})
	}
}
