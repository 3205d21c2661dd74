package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// trusting is a client that trusts the certificates in a PEM file.
func trusting(t *testing.T, file string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s", file)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestALoneEdgeSpeaksHTTPSByFlags(t *testing.T) {
	t.Parallel()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, r.RequestURI)
	}))
	defer origin.Close()
	tmp, addr := t.TempDir(), freeAddr(t)
	flags := []string{"edge", "--listen", freeAddr(t), "--https", addr, "--upstream", origin.URL, "--admin", freeAddr(t)}
	ask := func(ca string) {
		t.Helper()
		within(t, 20*time.Second, func() error {
			_, err := os.Stat(ca)
			return err
		})
		client := trusting(t, ca)
		for _, want := range []string{"fwd=uri-miss", "hit"} {
			res, err := client.Get("https://" + addr + "/x")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if got := res.Header.Get("Cache-Status"); string(body) != "/x" || res.ProtoMajor != 2 || !strings.Contains(got, want) {
				t.Errorf("%s: %q, Cache-Status %q, want %q in it", res.Proto, body, got, want)
			}
		}
	}
	p := start(t, []string{"XDG_CACHE_HOME=" + tmp}, append(flags, "--self-signed")...)
	own := filepath.Join(tmp, "freshet", "edge", "certs")
	ask(filepath.Join(own, "ca.crt"))
	if !strings.Contains(p.out.String(), filepath.Join(own, "ca.crt")) {
		t.Error("the log does not name the CA")
	}
	if code := p.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	server.Close()
	cert, key := filepath.Join(tmp, "site.crt"), filepath.Join(tmp, "site.key")
	writePair(t, server.TLS.Certificates[0], cert, key)
	p = start(t, nil, append(flags, "--cert", cert, "--key", key)...)
	within(t, 20*time.Second, func() error {
		if !strings.Contains(p.out.String(), "tls=true") {
			return fmt.Errorf("not listening yet")
		}
		return nil
	})
	ask(cert)
	if code := p.terminate(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// writePair writes a certificate and its key as PEM files.
func writePair(t *testing.T, pair tls.Certificate, cert, key string) {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFlagsOfHTTPSGoTogether(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--cert", "c"}, "--cert c goes with --https"},
		{[]string{"--key", "k"}, "--key k goes with --https"},
		{[]string{"--self-signed"}, "--self-signed goes with --https"},
		{[]string{"--https", ":8443"}, "--https needs a certificate"},
		{[]string{"--https", ":8443", "--cert", "c"}, "each certificate needs its key"},
		{[]string{"--https", "8443", "--self-signed"}, "https.listen[0]"},
	} {
		code, out := runFreshet(t, nil, append([]string{"edge", "--upstream", "http://127.0.0.1:1"}, tc.flags...)...)
		if code != exitUsage || !strings.Contains(out, tc.want) {
			t.Errorf("%v: exit code %d, %s", tc.flags, code, out)
		}
	}
	if code, out := runFreshet(t, nil, "edge", "-c", "f", "--https", ":1"); code != exitUsage || !strings.Contains(out, "--https goes with --upstream") {
		t.Errorf("exit code %d, %s", code, out)
	}
}
