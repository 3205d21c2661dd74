package listener

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/run"
)

// waiting is a handler that is told when its client is gone.
type waiting func(ctx context.Context)

func (h waiting) Serve(ctx context.Context, _ *exchange.Request, _ exchange.Responder) { h(ctx) }

// TestTheEndOfADrainCutsAllAtOnce proves that a request which takes its time to end keeps
// no other from being told: each ends only when all have been told.
func TestTheEndOfADrainCutsAllAtOnce(t *testing.T) {
	const clients = 4
	var under, told sync.WaitGroup
	under.Add(clients)
	told.Add(clients)
	all := make(chan struct{})
	go func() {
		told.Wait()
		close(all)
	}()
	h := waiting(func(ctx context.Context) {
		gone := ctx.Done()
		under.Done()
		<-gone
		told.Done()
		select {
		case <-all:
		case <-time.After(5 * time.Second):
			t.Error("a request was not told that its connection is cut before another had ended")
		}
	})
	s := startServer(t, nil, func(c *Config) { c.Handler, c.Drain = h, 10*time.Millisecond })
	for range clients {
		if _, err := io.WriteString(s.dial(s.plain), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	under.Wait()
	if err := s.stop(); !errors.Is(err, run.ErrDrainTimeout) {
		t.Errorf("Run: %v", err)
	}
	<-all
}

// TestARequestWithoutAnswerGetsNone proves that the full lane makes up no answer of its own.
func TestARequestWithoutAnswerGetsNone(t *testing.T) {
	s := startServer(t, nil, func(c *Config) { c.Handler = waiting(func(context.Context) {}) })
	for name, request := range map[string]string{"fast lane": get, "full lane": post} {
		if answer := talk(t, s.dial(s.plain), request); answer != "" {
			t.Errorf("%s: %q", name, answer)
		}
	}
}
