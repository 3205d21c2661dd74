package run

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns a context that SIGTERM or SIGINT ends, with a cause that names
// the signal. A second signal ends the process at once with exit code 1, for the
// operator who does not want to wait for the drain. stop gives the signals back to
// their default and waits; it may be called more than once.
func Signals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	quit, done := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case s := <-signals:
			cancel(fmt.Errorf("received %s", name(s)))
		case <-quit.Done():
			return
		}
		select {
		case <-signals:
			os.Exit(1)
		case <-quit.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		done()
		<-ended
		cancel(nil)
	}
}

// name is the signal's name in the manual.
func name(s os.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case os.Interrupt:
		return "SIGINT"
	}
	return s.String()
}
