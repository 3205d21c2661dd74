package jetstream_test

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"freshet/internal/authority"
	"freshet/internal/bus"
	"freshet/internal/bus/jetstream"
	"freshet/internal/command"
)

// world is a CA with a bus that knows its nodes.
type world struct {
	t      *testing.T
	ca     string
	server *jetstream.Server
}

func newCA(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := authority.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func issue(t *testing.T, ca, role, node string, from time.Time, life time.Duration) authority.Files {
	t.Helper()
	files, _, err := authority.Issue(ca, t.TempDir(), authority.Order{Name: authority.Name{Role: role, Node: node}, Life: life}, false, from)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func identity(t *testing.T, ca, role, node string) *authority.Identity {
	t.Helper()
	id, err := authority.Open(issue(t, ca, role, node, time.Now(), time.Hour), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newWorld(t *testing.T, passwordToo bool) *world {
	w := &world{t: t, ca: newCA(t)}
	cfg := jetstream.ServerConfig{
		Listen: "127.0.0.1:0", Dir: t.TempDir(), PasswordToo: passwordToo,
		TLS: identity(t, w.ca, "distributor", "d-1").ServerConfig(authority.Roles...),
		PeerOf: func(state *tls.ConnectionState) jetstream.Peer {
			peer, _ := authority.PeerOf(state)
			p := jetstream.Peer{Name: peer.String(), Rights: jetstream.MayRead}
			switch peer.Role {
			case "":
				p.Rights = jetstream.NoRights
			case "distributor":
				p.Rights = jetstream.MayAppend
			}
			return p
		},
	}
	if passwordToo {
		cfg.User, cfg.Password = user, password
	}
	server, err := jetstream.Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	w.server = server
	return w
}

// connect is a bus as a node of that name has it, with that TLS.
func (w *world) connect(name string, config *tls.Config) (*jetstream.Bus, error) {
	b, err := jetstream.Connect(w.t.Context(), jetstream.Config{Address: w.server.URL(), User: "freshet", Identity: config, Node: name}, slog.New(slog.DiscardHandler))
	if err == nil {
		w.t.Cleanup(b.Close)
	}
	return b, err
}

// refuses expects that nobody is let in by that TLS. The server's alert says so, unless the
// end of the connection overtakes it.
func (w *world) refuses(what string, config *tls.Config) {
	w.t.Helper()
	b, err := w.connect("", config)
	switch {
	case err != nil && !strings.Contains(err.Error(), "refuses the certificate"):
		w.t.Errorf("%s: %v", what, err)
	case err == nil && b.Connected() == nil:
		w.t.Errorf("%s is enough", what)
	}
}

func (w *world) node(ca, role, node string) *tls.Config {
	return identity(w.t, ca, role, node).ClientConfigRole("distributor")
}

// attacker is a connection that may say whatever it likes, as far as that node is let.
func (w *world) attacker(role, node string) *nats.Conn {
	w.t.Helper()
	conn, err := nats.Connect(w.server.URL(), nats.Secure(w.node(w.ca, role, node)), nats.CustomInboxPrefix("_INBOX."+role+"."+node),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	if _, err := conn.Request("$JS.API.STREAM.NAMES", nil, 5*time.Second); err != nil {
		w.t.Fatalf("it hears no answer: %v", err)
	}
	return conn
}

// TestNodesByCertificate proves that certificates of the cluster's CA let nodes on the bus,
// each to what its role may do, and nothing else does.
func TestNodesByCertificate(t *testing.T) {
	w := newWorld(t, false)
	distributor, err := w.connect("distributor/d-2", w.node(w.ca, "distributor", "d-2"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := distributor.Create(t.Context(), command.FirstOf(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := distributor.Append(t.Context(), []byte("x"), head.Last); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"edge", "mid", "origin", "router"} {
		b, err := w.connect(role+"/n-1", w.node(w.ca, role, "n-1"))
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		now, err := b.Head(t.Context())
		if err != nil || now.Last != head.Last+1 {
			t.Errorf("%s: head %v, %v", role, now, err)
		}
		r, err := b.Read(t.Context(), now.Log, now.First)
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		if e, err := r.Next(t.Context()); err != nil || string(e.Data) != "x" {
			t.Errorf("%s reads %q, %v", role, e.Data, err)
		}
		r.Close()
		heard := make(chan string, 1)
		stop, err := distributor.Subscribe(bus.SubjectProgress+".>", func(subject string, _ []byte) { heard <- subject })
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(bus.SubjectProgress+".n-1", []byte("y")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-heard:
		case <-time.After(10 * time.Second):
			t.Errorf("%s is not heard", role)
		}
		stop()
	}
	foreign := w.node(newCA(t), "edge", "e-1")
	foreign.VerifyConnection = nil // that of the server is another matter
	w.refuses("a certificate of another CA", foreign)
	nobody := w.node(w.ca, "edge", "e-2")
	nobody.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
	w.refuses("no certificate", nobody)
	ended := w.node(w.ca, "edge", "e-3")
	files := issue(t, w.ca, "edge", "e-3", time.Now().Add(-48*time.Hour), time.Hour)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	ended.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	w.refuses("a certificate that has ended", ended)
	for what, options := range map[string][]nats.Option{
		"without TLS": nil, "with a password": {nats.UserInfo(user, password)},
		"with the password of the process": {nats.UserInfo("freshet-here", "")},
	} {
		if conn, err := nats.Connect(w.server.URL(), options...); err == nil {
			conn.Close()
			t.Errorf("%s somebody is let in", what)
		}
	}
	own, err := w.server.Connect(t.Context(), jetstream.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if now, err := own.Head(t.Context()); err != nil {
		t.Error(err)
	} else if _, err := own.Append(t.Context(), []byte("z"), now.Last); err != nil {
		t.Errorf("the distributor of the process: %v", err)
	}
}

// TestReadersDoNotWrite proves that an edge can neither append to the log nor make or seal
// one, by whatever means.
func TestReadersDoNotWrite(t *testing.T) {
	w := newWorld(t, false)
	own, err := w.server.Connect(t.Context(), jetstream.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	head, err := own.Create(t.Context(), command.FirstOf(1))
	if err != nil {
		t.Fatal(err)
	}
	conn := w.attacker("edge", "e-1")
	for _, subject := range []string{"freshet.log", "freshet.log.x", "freshet.seal", "$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.X", "$JS.API.STREAM.DELETE.X"} {
		if msg, err := conn.Request(subject, []byte(head.Log.String()), 300*time.Millisecond); err == nil {
			t.Errorf("%s is answered: %s", subject, msg.Data)
		}
	}
	if now, err := own.Head(t.Context()); err != nil || now != head {
		t.Errorf("head %v, %v, want %v as before", now, err, head)
	}
}

// TestPasswordToo proves that while a cluster gets identities nodes of both kinds are let in,
// and still nobody else.
func TestPasswordToo(t *testing.T) {
	w := newWorld(t, true)
	if _, err := w.connect("edge/e-1", w.node(w.ca, "edge", "e-1")); err != nil {
		t.Error(err)
	}
	b, err := jetstream.Connect(t.Context(), jetstream.Config{Address: w.server.URL(), User: user, Password: password}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Connected(); err != nil {
		t.Error(err)
	}
	if _, err := nats.Connect(w.server.URL(), nats.UserInfo(user, "another")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("another password: %v", err)
	}
}
