package authority_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"freshet/internal/authority"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newCA makes a CA and names its directory.
func newCA(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := authority.Create(dir, "test", time.Now()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// issue makes a node's certificate in a directory of its own.
func issue(t *testing.T, ca, role, node string) authority.Files {
	t.Helper()
	return issueAt(t, ca, t.TempDir(), role, node, time.Now(), authority.LeafLife)
}

func issueAt(t *testing.T, ca, dir, role, node string, now time.Time, life time.Duration) authority.Files {
	t.Helper()
	files, _, err := authority.Issue(ca, dir, authority.Order{Name: authority.Name{Role: role, Node: node}, Life: life}, true, now)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func open(t *testing.T, files authority.Files) *authority.Identity {
	t.Helper()
	id, err := authority.Open(files, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// shake is what both sides of a connection between two configurations see; the client has
// read the server's tickets and verdict.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := ln.Accept()
		if err != nil {
			serverErr = err
			return
		}
		defer conn.Close()
		secure := tls.Server(conn, server)
		if serverErr = secure.Handshake(); serverErr == nil {
			state = secure.ConnectionState()
			_, _ = io.WriteString(secure, "hello")
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, clientErr := (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", ln.Addr().String())
	if clientErr == nil {
		_, clientErr = io.ReadFull(conn, make([]byte, 5))
		conn.Close()
	}
	<-ended
	return state, serverErr, clientErr
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, text)
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func serials(certs []*x509.Certificate) string {
	if len(certs) == 0 {
		return "none"
	}
	return certs[0].SerialNumber.String()
}
