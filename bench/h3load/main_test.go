package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs an HTTP/3 server for the test and returns its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http3.Server{Handler: h, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(conn)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
		_ = conn.Close()
	})
	return conn.LocalAddr().String()
}

func TestOnce(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.URL.Path)
		_, _ = w.Write([]byte("hello"))
	})
	var out bytes.Buffer
	if err := askOnce(&out, "https://"+addr+"/a"); err != nil {
		t.Fatal(err)
	}
	var got Answer
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("hello"))
	if got.Status != 200 || got.Proto != "HTTP/3.0" || got.Bytes != 5 || got.SHA256 != hex.EncodeToString(sum[:]) || got.Header.Get("X-Path") != "/a" {
		t.Errorf("the answer is %+v", got)
	}
}

// What is counted is what the server has answered within the time, with its bytes, and
// the marks stand around it.
func TestLoad(t *testing.T) {
	var served atomic.Int64
	body := bytes.Repeat([]byte("x"), 1000)
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = w.Write(body)
	})
	var out strings.Builder
	if err := load(&out, "https://"+addr+"/", 2, 3, 200*time.Millisecond, time.Second); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || lines[0] != "begin" || lines[1] != "end" {
		t.Fatalf("it printed %q", out.String())
	}
	var got Result
	if err := json.Unmarshal([]byte(lines[2]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Failed != 0 || got.Requests < 1 || got.Requests > served.Load() || got.Seconds < 1 || got.P50 <= 0 || got.P99 < got.P50 {
		t.Errorf("%+v of %d that were served", got, served.Load())
	}
	// Up to six bodies are under way at either end.
	if diff := got.Bytes - 1000*got.Requests; diff < -6000 || diff > 6000 {
		t.Errorf("%d bytes in %d answers of 1000", got.Bytes, got.Requests)
	}
}

// A server that refuses is not counted as answering, and not waited for.
func TestLoadOfFailures(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	var out strings.Builder
	if err := load(&out, "https://"+addr+"/", 1, 2, 0, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"requests":0,"failed":2,`) || !strings.Contains(out.String(), "status 503") {
		t.Errorf("it printed %q", out.String())
	}
}

func TestPercentile(t *testing.T) {
	values := make([]float64, 200)
	for i := range values {
		values[i] = float64(i + 1)
	}
	if p50, p99, none := percentile(values, 50), percentile(values, 99), percentile(nil, 50); p50 != 100 || p99 != 198 || none != 0 {
		t.Errorf("of 1 to 200: %v and %v, of nothing %v, want 100, 198 and 0", p50, p99, none)
	}
}
