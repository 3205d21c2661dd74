package authority_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/internal/authority"
)

// TestWhoIsAtTheOtherEnd proves that two nodes of a cluster know each other by name, and
// that nobody else is taken for one: no certificate, another CA's, one that has ended, one
// for another role or another name.
func TestWhoIsAtTheOtherEnd(t *testing.T) {
	ca, foreign := newCA(t), newCA(t)
	mid := open(t, issue(t, ca, "mid", "mid-1"))
	edge := open(t, issue(t, ca, "edge", "edge-1"))
	serves := mid.ServerConfig("edge", "mid")
	toMid := authority.Name{Role: "mid", Node: "mid-1"}

	state, serverErr, clientErr := shake(t, serves, edge.ClientConfig(toMid))
	if peer, ok := authority.PeerOf(&state); serverErr != nil || clientErr != nil || !ok || peer.String() != "edge/edge-1" {
		t.Fatalf("edge to mid: %v, %v, %v: peer %q", serverErr, clientErr, ok, peer)
	}
	if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
		t.Errorf("version %x, protocol %q", state.Version, state.NegotiatedProtocol)
	}

	ended := open(t, issue(t, ca, "edge", "edge-2"))
	endedTLS := ended.ClientConfig(toMid)
	endedFiles := issueAt(t, ca, t.TempDir(), "edge", "edge-2", time.Now().Add(-48*time.Hour), 24*time.Hour)
	pair, err := tls.LoadX509KeyPair(endedFiles.Cert, endedFiles.Key)
	if err != nil {
		t.Fatal(err)
	}
	endedTLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	nobody := edge.ClientConfig(toMid)
	nobody.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
	old := edge.ClientConfig(toMid)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12

	is := func(err error) bool { return errors.Is(err, authority.ErrPeer) }
	unknown := func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }
	expired := func(err error) bool {
		var invalid x509.CertificateInvalidError
		return errors.As(err, &invalid) && invalid.Reason == x509.Expired
	}
	refused := func(err error) bool { return errors.As(err, new(*net.OpError)) }
	other := open(t, issue(t, foreign, "edge", "edge-1"))
	trusting := other.ClientConfig(toMid) // of another CA, and takes any server
	trusting.VerifyConnection = nil
	for name, tt := range map[string]struct {
		server, client *tls.Config
		why            func(error) bool // whether one side says so
	}{
		"client without a certificate": {serves, nobody, refused},
		"client of another CA":         {serves, trusting, unknown},
		"client whose time is over":    {serves, endedTLS, expired},
		"client of another role":       {serves, open(t, issue(t, ca, "router", "router-1")).ClientConfig(toMid), is},
		"TLS 1.2":                      {serves, old, refused},
		"server of another CA":         {open(t, issue(t, foreign, "mid", "mid-1")).ServerConfig("edge"), edge.ClientConfig(toMid), unknown},
		"server is an edge":            {open(t, issue(t, ca, "edge", "mid-1")).ServerConfig("edge"), edge.ClientConfig(toMid), is},
		"server is another mid":        {open(t, issue(t, ca, "mid", "mid-2")).ServerConfig("edge"), edge.ClientConfig(toMid), is},
	} {
		t.Run(name, func(t *testing.T) {
			_, serverErr, clientErr := shake(t, tt.server, tt.client)
			if serverErr == nil || clientErr == nil {
				t.Fatalf("server %v, client %v: both must fail", serverErr, clientErr)
			}
			if !tt.why(serverErr) && !tt.why(clientErr) {
				t.Errorf("server %v, client %v", serverErr, clientErr)
			}
		})
	}
}

// TestARoleIsEnough proves that the bus's clients take any distributor for one, and nobody
// else.
func TestARoleIsEnough(t *testing.T) {
	ca := newCA(t)
	edge := open(t, issue(t, ca, "edge", "edge-1"))
	distributor := open(t, issue(t, ca, "distributor", "d-1"))
	if _, serverErr, clientErr := shake(t, distributor.ServerConfig("edge"), edge.ClientConfigRole("distributor")); serverErr != nil || clientErr != nil {
		t.Error(serverErr, clientErr)
	}
	poser := open(t, issue(t, ca, "mid", "d-1"))
	if _, _, err := shake(t, poser.ServerConfig("edge"), edge.ClientConfigRole("distributor")); !errors.Is(err, authority.ErrPeer) {
		t.Errorf("a mid is taken for a distributor: %v", err)
	}
}

// TestRenewal proves that a new certificate is shown by the next handshake while an open
// connection goes on, that sessions resume, and that a certificate for somebody else, or a
// bad one, changes nothing.
func TestRenewal(t *testing.T) {
	ca, dir := newCA(t), t.TempDir()
	files := issueAt(t, ca, dir, "mid", "mid-1", time.Now(), authority.LeafLife)
	mid := open(t, files)
	edge := open(t, issue(t, ca, "edge", "edge-1"))
	server := mid.ServerConfig("edge")
	client := edge.ClientConfig(mid.Name())
	var shown string
	verify := client.VerifyConnection
	resumed := false
	client.VerifyConnection = func(state tls.ConnectionState) error {
		shown, resumed = serials(state.PeerCertificates), state.DidResume
		return verify(state)
	}
	try := func() {
		t.Helper()
		if _, serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
	}
	try()
	first := shown
	if try(); !resumed {
		t.Error("the second connection does not resume the first one's session")
	}

	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		if conn, err := ln.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	kept, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err != nil {
		t.Fatal(err)
	}

	issueAt(t, ca, dir, "mid", "mid-1", time.Now(), authority.LeafLife)
	if !mid.Look() {
		t.Fatal("the new certificate was not read")
	}
	client.ClientSessionCache = nil
	if try(); shown == first {
		t.Error("the old certificate is still shown")
	}
	second := shown
	if _, err := io.WriteString(kept, "still here"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(kept, make([]byte, 10)); err != nil {
		t.Error("the connection that was open did not last:", err)
	}
	kept.Close()
	<-echoed

	other := issue(t, ca, "mid", "mid-2")
	copyFile(t, other.Key, files.Key)
	copyFile(t, other.Cert, files.Cert)
	for range 3 {
		if mid.Look() {
			t.Error("a certificate for another node was taken")
		}
	}
	if try(); shown != second {
		t.Error("another certificate is shown")
	}
}

// TestRollOver proves that one CA follows another without a moment in which nodes do not
// know each other: first every node trusts both, then they get new certificates, then they
// forget the old one; whom it has signed is then refused, be it by resuming a session.
func TestRollOver(t *testing.T) {
	old, new := newCA(t), newCA(t)
	dirs := map[string]string{"edge": t.TempDir(), "mid": t.TempDir()}
	files, ids := map[string]authority.Files{}, map[string]*authority.Identity{}
	for role, dir := range dirs {
		files[role] = issueAt(t, old, dir, role, role+"-1", time.Now(), authority.LeafLife)
		ids[role] = open(t, files[role])
	}
	server, client := ids["mid"].ServerConfig("edge"), ids["edge"].ClientConfig(ids["mid"].Name())
	works := func(step string) {
		t.Helper()
		if _, serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
			t.Fatalf("%s: %v, %v", step, serverErr, clientErr)
		}
	}
	works("at first")
	ca := func(dir string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, authority.CAFile))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, role := range []string{"edge", "mid"} {
		write(t, files[role].CA, append(ca(old), ca(new)...))
		ids[role].Look()
		works(role + " trusts both")
	}
	for _, role := range []string{"edge", "mid"} {
		issueAt(t, new, dirs[role], role, role+"-1", time.Now(), authority.LeafLife)
		ids[role].Look()
		works(role + " has a new certificate")
	}
	stranger := open(t, issue(t, old, "edge", "edge-9")) // knows the old one alone
	late := stranger.ClientConfig(ids["mid"].Name())
	late.VerifyConnection = nil
	if _, serverErr, clientErr := shake(t, server, late); serverErr != nil || clientErr != nil {
		t.Fatalf("the old CA is forgotten too early: %v, %v", serverErr, clientErr)
	}
	for _, role := range []string{"edge", "mid"} {
		write(t, files[role].CA, ca(new))
		ids[role].Look()
		works(role + " trusts the new one alone")
	}
	if _, serverErr, _ := shake(t, server, late); serverErr == nil {
		t.Error("a certificate of the old CA is still taken, with its session")
	}
}

func TestOpenRefuses(t *testing.T) {
	ca, foreign := newCA(t), newCA(t)
	good := issue(t, ca, "edge", "edge-1")
	for name, tt := range map[string]struct {
		files authority.Files
		says  string
	}{
		"no such file":   {authority.Files{CA: good.CA, Cert: good.Cert + ".none", Key: good.Key}, "no such file"},
		"another's key":  {authority.Files{CA: good.CA, Cert: good.Cert, Key: issue(t, ca, "edge", "edge-2").Key}, "does not match"},
		"another CA":     {authority.Files{CA: filepath.Join(foreign, authority.CAFile), Cert: good.Cert, Key: good.Key}, "unknown authority"},
		"it has ended":   {issueAt(t, ca, t.TempDir(), "edge", "edge-1", time.Now().Add(-48*time.Hour), time.Hour), "expired"},
		"it is the CA's": {authority.Files{CA: filepath.Join(ca, authority.CAFile), Cert: filepath.Join(ca, authority.CAFile), Key: filepath.Join(ca, authority.CAKeyFile)}, "names no node"},
		"no certificate": {authority.Files{CA: good.Key, Cert: good.Cert, Key: good.Key}, "no certificate"},
	} {
		if _, err := authority.Open(tt.files, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, tt.says)
		}
	}
}

// TestTheEndIsForetold proves that a month before a certificate ends the node says so.
func TestTheEndIsForetold(t *testing.T) {
	ca := newCA(t)
	now := time.Now()
	files := issueAt(t, ca, t.TempDir(), "edge", "edge-1", now, 100*24*time.Hour)
	id, err := authority.Open(files, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for days, says := range map[int]string{0: "", 69: "", 71: "ends on", 101: "has ended"} {
		now = time.Now().AddDate(0, 0, days)
		if err := id.Check(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("after %d days: %v, want %q", days, err, says)
		}
	}
}

// TestALongListenerSeesNoStranger proves that who cannot shake hands reads nothing.
func TestALongListenerSeesNoStranger(t *testing.T) {
	id := open(t, issue(t, newCA(t), "mid", "mid-1"))
	_, serverErr, clientErr := shake(t, id.ServerConfig("edge"), &tls.Config{InsecureSkipVerify: true})
	if serverErr == nil || clientErr == nil {
		t.Fatalf("server %v, client %v", serverErr, clientErr)
	}
	var alert *net.OpError
	if !errors.As(clientErr, &alert) {
		t.Errorf("the client is told %v, want an alert", clientErr)
	}
}

// TestASessionEndsWithItsCertificate proves that a session is not resumed after the end of
// the certificate that it began with, when the other end has a new one.
func TestASessionEndsWithItsCertificate(t *testing.T) {
	ca, dir, start := newCA(t), t.TempDir(), time.Now()
	now := start
	clock := func() time.Time { return now }
	openAt := func(files authority.Files) *authority.Identity {
		id, err := authority.Open(files, clock, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	mid := openAt(issueAt(t, ca, dir, "mid", "mid-1", start, time.Hour))
	edge := openAt(issue(t, ca, "edge", "edge-1"))
	server, client := mid.ServerConfig("edge"), edge.ClientConfig(mid.Name())
	resumed := false
	verify := client.VerifyConnection
	client.VerifyConnection = func(state tls.ConnectionState) error {
		resumed = state.DidResume
		return verify(state)
	}
	try := func(want bool) {
		t.Helper()
		if _, serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil || resumed != want {
			t.Errorf("server %v, client %v, resumed %v, want %v", serverErr, clientErr, resumed, want)
		}
	}
	try(false)
	try(true)
	issueAt(t, ca, dir, "mid", "mid-1", start, authority.LeafLife)
	mid.Look()
	now = start.Add(2 * time.Hour)
	try(false)
	try(true)
}
