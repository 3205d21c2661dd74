package distributor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet/internal/cluster"
)

// election is the name under which the distributors choose their leader.
const election = "distributor"

// Times of leadership.
const (
	lookEvery = time.Second      // how often the leader looks after the log
	giveUp    = 10 * time.Second // a leader that cannot reach the log for so long lets another try
	standDown = 3 * time.Second  // before it stands for election again
)

// lead stands for election until ctx ends, and writes the log during each term.
func (d *Distributor) lead(ctx context.Context) error {
	for {
		err := d.env.Cluster.Lead(ctx, election, d.env.File.Name, d.serveTerm)
		if ctx.Err() != nil {
			return nil
		}
		d.log.Warn("gave leadership up", "err", err)
		if sleep(ctx, standDown) != nil {
			return nil
		}
	}
}

// serveTerm is one term of leadership: it makes this distributor the writer until
// ctx ends, and sees to it that there is a log. It returns an error when the term is
// over in truth (errDeposed) or another distributor may have more luck.
func (d *Distributor) serveTerm(ctx context.Context, term cluster.Term) error {
	w := &writer{
		term:   ctx,
		epochs: epochs{kv: d.env.Cluster, bus: d.env.Bus, token: term.Token, now: time.Now},
		bus:    d.env.Bus,
		log:    d.log,
		seen:   d.view.noteHead,
		turn:   make(chan struct{}, 1),
	}
	d.log.Info("leading", "token", term.Token)
	d.writer.Store(w)
	d.metrics.leader.Set(1)
	defer func() {
		d.writer.Store(nil)
		d.view.noteTrouble(nil)
		d.metrics.leader.Set(0)
		d.log.Info("standing by")
	}()
	return d.tend(ctx, w)
}

// tend looks after the log until ctx ends, or the term is better given up.
func (d *Distributor) tend(ctx context.Context, w *writer) error {
	var trouble string
	lost := time.Time{} // since when the log cannot be used
	for {
		look, cancel := context.WithTimeout(ctx, appendTimeout)
		err := w.look(look)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errDeposed):
			return err
		case err == nil:
			lost, trouble = time.Time{}, ""
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > giveUp && !errors.Is(err, errRewound): // no other could mend that
			return fmt.Errorf("command log out of reach for %s: %w", giveUp, err)
		}
		d.view.noteTrouble(err)
		if err != nil && err.Error() != trouble {
			trouble = err.Error()
			d.log.Error("command log cannot be written", "err", err)
		}
		if sleep(ctx, lookEvery) != nil {
			return nil
		}
	}
}
