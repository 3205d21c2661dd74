package h1_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/h1"
)

// TestCutsAllAtOnce proves that a handler which takes its time to end keeps no other from
// being told that its client is cut off: each ends only when all have been told.
func TestCutsAllAtOnce(t *testing.T) {
	const clients = 4
	var under, told sync.WaitGroup
	under.Add(clients)
	told.Add(clients)
	all := make(chan struct{})
	go func() {
		told.Wait()
		close(all)
	}()
	s := &h1.Server{Handler: handler(func(ctx context.Context, _ *exchange.Request, _ exchange.Responder) {
		gone := ctx.Done()
		under.Done()
		<-gone
		told.Done()
		select {
		case <-all:
		case <-time.After(5 * time.Second):
			t.Error("a request was not told that its connection is cut before another had ended")
		}
	})}
	addr := serve(t, s, false)
	for range clients {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, get); err != nil {
			t.Fatal(err)
		}
	}
	under.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	<-all
}
