package jetstream_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/bus/jetstream"
	"freshet/internal/command"
)

// swallower stands before a server and can keep what that says from its clients.
type swallower struct {
	ln    net.Listener
	to    string
	conns sync.WaitGroup
	mu    struct {
		sync.Mutex
		open    []net.Conn
		silent  bool
		swallow chan struct{} // closed when an answer was kept back
	}
}

func startSwallower(t *testing.T, to string) *swallower {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &swallower{ln: ln, to: to}
	s.conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns.Go(func() { s.carry(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.cut()
		s.conns.Wait()
	})
	return s
}

func (s *swallower) carry(client net.Conn) {
	server, err := net.Dial("tcp", s.to)
	if err != nil {
		client.Close()
		return
	}
	s.mu.Lock()
	s.mu.open = append(s.mu.open, client, server)
	s.mu.Unlock()
	s.conns.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	defer client.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		silent := s.mu.silent
		if silent && strings.Contains(string(buf[:n]), "_INBOX.") && s.mu.swallow != nil {
			close(s.mu.swallow)
			s.mu.swallow = nil
		}
		s.mu.Unlock()
		if !silent {
			_, _ = client.Write(buf[:n])
		}
	}
}

// silence keeps answers back from now on; what is returned is closed when it has one.
func (s *swallower) silence() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	swallowed := make(chan struct{})
	s.mu.silent, s.mu.swallow = true, swallowed
	return swallowed
}

// cut ends the connections that there are; later ones hear everything.
func (s *swallower) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.silent = false
	for _, conn := range s.mu.open {
		conn.Close()
	}
	s.mu.open = nil
}

// TestALostConnectionEndsItsCalls proves that a call whose answer was lost with the
// connection ends then, and not with the time that its caller would have given it: its answer
// comes on no other connection.
func TestALostConnectionEndsItsCalls(t *testing.T) {
	m := startMachine(t)
	s := startSwallower(t, m.cfg.Listen)
	b, err := jetstream.Connect(t.Context(), jetstream.Config{Address: "nats://" + s.ln.Addr().String(), User: user, Password: password}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	made, err := b.Create(t.Context(), command.FirstOf(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, call := range map[string]func() error{
		"Head":   func() error { _, err := b.Head(ctx); return err },
		"Append": func() error { _, err := b.Append(ctx, []byte("x"), made.Last); return err },
		"Read":   func() error { _, err := b.Read(ctx, made.Log, made.First); return err },
		"Seal":   func() error { return b.Seal(ctx, command.NewLogID()) },
	} {
		for b.Connected() != nil {
			select {
			case <-ctx.Done():
				t.Fatalf("before %s: %v", name, b.Connected())
			case <-time.After(10 * time.Millisecond):
			}
		}
		swallowed := s.silence()
		ended := make(chan error, 1)
		go func() { ended <- call() }()
		<-swallowed
		s.cut()
		if err := <-ended; err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ctx.Err() != nil {
		t.Error("a call took all of its time")
	}
}
