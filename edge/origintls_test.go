package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate of a CA, or of itself, and its key, as PEM.
func issue(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (cert *x509.Certificate, key *ecdsa.PrivateKey, certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// TestAnOriginOverTLS: its certificate is held against the site's CA and name, and it sees the
// site's certificate and Host; what does not fit is not talked to.
func TestAnOriginOverTLS(t *testing.T) {
	ca, caKey, caPEM, _ := issue(t, "the CA of a test", nil, nil)
	_, _, serverPEM, serverKeyPEM := issue(t, "own.example", ca, caKey)
	_, _, clientPEM, clientKeyPEM := issue(t, "edge.example", ca, caKey)
	pair, err := tls.X509KeyPair([]byte(serverPEM), []byte(serverKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca)
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.TLS.ServerName, r.Host, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	o.Config.ErrorLog = log.New(io.Discard, "", 0)
	o.StartTLS()
	defer o.Close()
	t.Setenv("FRESHET_SECRET_MY_CERT", clientPEM)
	t.Setenv("FRESHET_SECRET_MY_KEY", clientKeyPEM)
	const own, mine = "  server_name: own.example\n", "  client_cert: my-cert\n  client_key: my-key\n"
	authorities := "  ca: |\n    " + strings.ReplaceAll(strings.TrimSpace(caPEM), "\n", "\n    ") + "\n"
	for name, tc := range map[string]struct {
		section string
		status  int
	}{
		"all":                     {own + mine + authorities, 200},
		"another name":            {"  server_name: other.example\n" + mine + authorities, 502},
		"the system's CAs":        {own + mine, 502},
		"no certificate":          {own + authorities, 502},
		"a secret that is no PEM": {own + "  client_cert: my-key\n  client_key: my-cert\n" + authorities, 500},
	} {
		url, _ := startLoneSite(t, o.URL, fmt.Sprintf("origin:\n  url: %s\n  host: shop.example\n%s", o.URL, tc.section))
		a := get(t, url+"/a")
		if a.status != tc.status || a.status == 200 && a.body != "own.example shop.example edge.example" {
			t.Errorf("%s: %d %q", name, a.status, a.body)
		}
	}
}

// TestAnOriginOfHTTP2WithoutTLS is asked by nothing else.
func TestAnOriginOfHTTP2WithoutTLS(t *testing.T) {
	t.Parallel()
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.RequestURI) }))
	o.Config.Protocols = new(http.Protocols)
	o.Config.Protocols.SetUnencryptedHTTP2(true)
	o.Start()
	defer o.Close()
	url, _ := startLoneSite(t, o.URL, fmt.Sprintf("origin: {url: '%s', path_prefix: /p}\n", strings.Replace(o.URL, "http://", "h2c://", 1)))
	for _, path := range []string{"/a%2Fb?c", "//x"} {
		if a := get(t, url+path); a.status != 200 || a.body != "HTTP/2.0 /p"+path {
			t.Errorf("%d %q", a.status, a.body)
		}
	}
}
