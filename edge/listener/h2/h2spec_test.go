package h2

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/edge/exchange"
)

// TestH2spec runs https://github.com/summerwind/h2spec, which has 145 questions about
// RFC 9113 (strict mode has one more). It needs h2spec in FRESHET_H2SPEC, or the module
// proxy.
func TestH2spec(t *testing.T) {
	bin := os.Getenv("FRESHET_H2SPEC")
	if bin == "" {
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		install := exec.CommandContext(ctx, "go", "install", "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
		install.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("h2spec cannot be had: %v\n%s", err, out)
		}
		bin = filepath.Join(dir, "h2spec")
	}
	answer := exchange.Answer{Status: 200, Header: block("Content-Type: text/plain"), Bytes: []byte(strings.Repeat("x", 1024)), Length: 1024}
	slow := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Body != nil {
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
		a := answer
		_ = to.Respond(&a)
	})
	secure, _ := certificate(t)
	for _, tc := range []struct {
		name    string
		handler exchange.Handler
		tls     *tls.Config
	}{
		{"handler on goroutines", slow, nil},
		{"handler that answers at once", everything{&quick{slow, answer}}, nil},
		{"TLS", everything{&quick{slow, answer}}, secure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := listen(t, &Server{Handler: tc.handler}, tc.tls)
			host, port, _ := net.SplitHostPort(addr)
			args := []string{"-h", host, "-p", port, "-o", "1", "--strict"}
			if tc.tls != nil {
				args = append(args, "-t", "-k")
			}
			out, err := exec.Command(bin, args...).CombinedOutput()
			report := string(out)
			if i := strings.LastIndex(report, "Failures:"); i >= 0 {
				report = report[i:]
			} else if i := strings.LastIndex(report, "\n\n"); i >= 0 {
				report = report[i:]
			}
			t.Log(report)
			if err != nil || !strings.Contains(report, " 0 skipped, 0 failed") {
				t.Errorf("h2spec: %v", err)
			}
		})
	}
}

// everything is a quick that has all at hand.
type everything struct{ *quick }

func (e everything) ServeQuick(_ *exchange.Request, to exchange.Responder) bool {
	return to.Respond(&e.answer) != exchange.ErrNotAtOnce
}
