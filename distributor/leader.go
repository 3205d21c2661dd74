package distributor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freshet/internal/cluster"
	"freshet/internal/command"
)

// election is the name under which the distributors choose their leader.
const election = "distributor"

// Times of leadership.
const (
	lookEvery = time.Second      // how often the leader looks after the log
	giveUp    = 10 * time.Second // a leader that cannot reach the log for so long lets another try
	standDown = 3 * time.Second  // before it stands for election again

	replaceEvery = time.Minute // nodes may have the log replaced: it costs the cluster all that is stored
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
		linked: d.progress.note,
		turn:   make(chan struct{}, 1),
		doubts: make(chan command.Progress, 1),
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
	var replaced time.Time // when nodes have last had the log replaced
	lost := time.Time{}    // since when the log cannot be used
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
		select {
		case <-time.After(lookEvery):
		case p := <-w.doubts:
			if time.Since(replaced) < replaceEvery {
				break
			}
			switch done, err := d.replaceLog(ctx, w, p); {
			case errors.Is(err, errDeposed):
				return err
			case done:
				replaced = time.Now()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// doubt takes a report of a node that the log contradicts what it has applied.
func (d *Distributor) doubt(p command.Progress) {
	if w := d.writer.Load(); w != nil {
		select {
		case w.doubts <- p:
		default: // it reports again
		}
	}
}

// replaceLog begins a new epoch because a node has found the log to be another than it has
// applied: some of the commands that nodes have acknowledged are not in it.
func (d *Distributor) replaceLog(ctx context.Context, w *writer, p command.Progress) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	why := fmt.Sprintf("%s %s has applied commands up to %s that the log does not have", p.Role, p.Node, p.Applied)
	done, err = w.replace(ctx, p.Forked, why)
	switch {
	case err != nil:
		d.log.Error("command log not replaced", "log", p.Forked, "node", p.Node, "err", err)
	case done:
		d.log.Error("command log replaced", "log", p.Forked, "node", p.Node, "why", why)
	}
	return done, err
}
