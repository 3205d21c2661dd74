package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/term"

	"freshet/internal/node"
	"freshet/internal/run"
	"freshet/internal/telemetry"
)

// succession is how a process follows another one of the same node file, and is followed
// by the next: with the same listening sockets, so that no client is refused.
type succession struct {
	sockets *run.Sockets
	mu      struct {
		sync.Mutex
		successor *run.Successor // that has said it can begin; nil for none
	}
}

// runReplaceable runs one node. On SIGHUP it starts the binary anew, with the same
// arguments, and drains once the new process has read its node file: what that cannot do
// changes nothing. In a terminal, whose end is a SIGHUP too, that keeps its meaning.
func runReplaceable(ctx context.Context, f *node.File) error {
	sockets, err := run.Inherit()
	if err != nil {
		return err
	}
	if err := sockets.TakeOver(ctx); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(os.Stderr, f.Log.Level, f.Log.Format)
	if err != nil {
		return err
	}
	s := &succession{sockets: sockets}
	ctx, end := context.WithCancelCause(ctx)
	// A listener that is closed is to refuse connections, which a second descriptor would hold.
	defer context.AfterFunc(ctx, sockets.Close)()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer end(nil)
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		hangUps, stop := run.HangUps()
		defer stop()
		watching.Go(func() { s.watch(ctx, hangUps, end, log.With("node", f.Name)) })
	}
	return runNodes(ctx, s, f)
}

// watch hands over when it is told to.
func (s *succession) watch(ctx context.Context, hangUps <-chan os.Signal, end context.CancelCauseFunc, log *slog.Logger) {
	for {
		select {
		case <-hangUps:
		case <-ctx.Done():
			return
		}
		successor, err := s.sockets.HandOver(ctx)
		if err != nil {
			if ctx.Err() == nil {
				log.Error("no new process takes over, this one goes on", "err", err)
			}
			continue
		}
		log.Info("a new process takes over", "pid", successor.PID)
		s.mu.Lock()
		s.mu.successor = successor
		s.mu.Unlock()
		end(run.ErrHandedOver)
	}
}

// release lets the successor begin, if there is one.
func (s *succession) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.successor != nil {
		s.mu.successor.Release()
	}
}

// succeeded waits until the successor, if there is one, has its sockets.
func (s *succession) succeeded(ctx context.Context) bool {
	s.mu.Lock()
	successor := s.mu.successor
	s.mu.Unlock()
	return successor != nil && successor.AwaitSettled(ctx) == nil
}

// handedOver reports whether a successor has taken over from the process of ctx.
func handedOver(ctx context.Context) bool { return errors.Is(context.Cause(ctx), run.ErrHandedOver) }
