package h2

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// TestAnswersMayTakeLongerThanAConnectionMayBeIdle: the deadline of reading, which passes
// meanwhile, does no harm to the connection, TLS included, nor to the next request.
func TestAnswersMayTakeLongerThanAConnectionMayBeIdle(t *testing.T) {
	idle := 100 * time.Millisecond
	secure, trust := certificate(t)
	served := make(chan exchange.Request, 2)
	addr := listen(t, &Server{
		Limits: limits.Config{IdleTimeout: idle},
		Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
			served <- *req
			time.Sleep(3 * idle) // the handler's own time
			_ = to.Respond(&exchange.Answer{Status: 200, Bytes: []byte("late"), Length: 4})
		}),
	}, secure)
	tr := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	for range 2 {
		res, err := (&http.Client{Transport: tr}).Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(b) != "late" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if first, second := <-served, <-served; first.Remote != second.Remote || first.Conn != second.Conn {
		t.Error("the requests came over two connections")
	}
}
