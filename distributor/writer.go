package distributor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// Bounds of an append.
const (
	appendTimeout  = 5 * time.Second // with waiting for its turn and retries
	appendAttempts = 5
	appendPause    = 50 * time.Millisecond // before a retry, doubled each time
)

// writer appends to the command log during one term of leadership.
type writer struct {
	term   context.Context // ends with the leadership
	epochs epochs
	bus    bus.Log
	log    *slog.Logger
	seen   func(bus.Head)                    // told of every head
	linked func(command.Clock, command.Link) // and of its link

	doubts chan command.Progress // of nodes that find the log to be another than they applied

	turn  chan struct{} // whoever has put a token in may use what follows
	head  bus.Head
	known bool // head is what the bus said last, with every append since
}

// take waits for the writer's turn.
func (w *writer) take(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) give() { <-w.turn }

// look reads the head anew, and makes a log if there is none.
func (w *writer) look(ctx context.Context) error {
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.give()
	return w.lookLocked(ctx)
}

func (w *writer) lookLocked(ctx context.Context) error {
	w.known = false
	head, err := w.epochs.open(ctx, w.head)
	if err != nil {
		return err
	}
	if w.head.Log != head.Log {
		w.log.Info("writing the command log", "log", head.Log, "epoch", head.Last.Epoch(), "last", head.Last)
	}
	w.head, w.known = head, true
	w.link(ctx)
	w.seen(head)
	return nil
}

// link tells the link of the head.
func (w *writer) link(ctx context.Context) {
	link, err := w.bus.Link(ctx, w.head.Last) // which the bus remembers, as a rule
	if err != nil {
		w.log.Debug("link of a command not known", "seq", w.head.Last, "err", err)
	}
	w.linked(w.head.Clock(), link)
}

// replace seals the log, if it is still that one, and begins a new epoch.
func (w *writer) replace(ctx context.Context, log command.LogID, why string) (done bool, err error) {
	if err := w.take(ctx); err != nil {
		return false, err
	}
	defer w.give()
	w.known = false
	if done, err = w.epochs.replace(ctx, log, why); err != nil {
		return done, fmt.Errorf("replace command log %s: %w", log, err)
	}
	return done, w.lookLocked(ctx)
}

// append adds a command and returns its place in the log when it is durable there.
// After an error the command may or may not be in the log; giving it again only
// repeats its effect. errDeposed when the term is over.
//
// It does not end with the request that asked for it: a write that is half done when
// the caller goes away would leave the head unknown.
func (w *writer) append(c command.Command) (command.Clock, error) {
	data, err := command.Encode(c)
	if err != nil {
		return command.Clock{}, err
	}
	ctx, cancel := context.WithTimeout(w.term, appendTimeout)
	defer cancel()
	if err := w.take(ctx); err != nil {
		return command.Clock{}, w.why(err)
	}
	defer w.give()
	pause := appendPause
	for attempt := 1; ; attempt++ {
		err := w.try(ctx, data)
		if err == nil {
			return w.head.Clock(), nil
		}
		if errors.Is(err, errRewound) {
			// A new epoch begins soon, while w.turn is held or before the next attempt.
			pause, attempt = believeRewound/4, 1
		}
		if errors.Is(err, errDeposed) || ctx.Err() != nil || attempt == appendAttempts {
			return command.Clock{}, w.why(err)
		}
		if !errors.Is(err, bus.ErrConflict) && !errors.Is(err, bus.ErrNoLog) {
			if err := sleep(ctx, pause); err != nil {
				return command.Clock{}, w.why(err)
			}
			pause *= 2
		}
	}
}

// try appends once at the head, which it looks up if it is not known.
func (w *writer) try(ctx context.Context, data []byte) error {
	if w.term.Err() != nil {
		return errDeposed
	}
	if !w.known {
		if err := w.lookLocked(ctx); err != nil {
			return err
		}
	}
	seq, err := w.bus.Append(ctx, data, w.head.Last)
	if err != nil {
		w.known = false
		return err
	}
	w.head.Last = seq
	w.link(ctx)
	w.seen(w.head)
	return nil
}

// why names the end of the term where that is behind an error.
func (w *writer) why(err error) error {
	if w.term.Err() != nil {
		return errDeposed
	}
	return fmt.Errorf("append to the command log: %w", err)
}

// sleep waits for d, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
