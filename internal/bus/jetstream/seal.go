package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// keepSealed is how many logs are kept that were sealed, for whoever has to find out what
// was in them.
const keepSealed = 2

// sealedSubject is the subject of a sealed log, which leaves the log's own to the next.
func sealedSubject(id command.LogID) string { return logSubject + ".sealed." + id.String() }

// sealCall is the subject on which an embedded server is asked to seal a log. Its other
// users may not change streams, since who may do that can unwrite them (see credentials).
const sealCall = "freshet.seal"

// What a server answers on sealCall, beside an error's text.
const (
	sealDone = "sealed"
	noLog    = "no log"
)

// Seal ends the log for good; see bus.Log.
func (b *Bus) Seal(ctx context.Context, id command.LogID) error {
	if err := b.Connected(); err != nil {
		return fmt.Errorf("seal command log %s: %w", id, err)
	}
	ctx, end := b.call(ctx)
	defer end()
	answer, err := b.conn.RequestWithContext(ctx, sealCall, []byte(id.String()))
	switch {
	case errors.Is(err, nats.ErrNoResponders): // servers of the operator's own
		return b.seal(ctx, id)
	case err != nil:
		return fmt.Errorf("seal command log %s: %w", id, b.explain(ctx, err))
	}
	b.forgetStream()
	switch text := string(answer.Data); text {
	case sealDone:
		return nil
	case noLog:
		return fmt.Errorf("seal command log %s: %w", id, bus.ErrNoLog)
	default:
		return fmt.Errorf("seal command log %s: the bus server says: %.500s", id, text)
	}
}

// serveSeals answers on sealCall; b may change streams.
func (b *Bus) serveSeals() error {
	return b.serve(sealCall, func(ctx context.Context, data string) string {
		id, err := logID(streamPrefix + data)
		if err == nil {
			err = b.seal(ctx, id)
		}
		switch {
		case errors.Is(err, bus.ErrNoLog):
			return noLog
		case err != nil:
			return err.Error()
		}
		b.log.Warn("command log sealed", "log", id)
		return sealDone
	})
}

// seal takes the subject away and seals the stream, in one update that the server never
// undoes: whoever still means this log cannot append.
func (b *Bus) seal(ctx context.Context, id command.LogID) error {
	stream, err := b.lookUp(ctx)
	if err != nil {
		return fmt.Errorf("seal command log %s: %w", id, err)
	}
	cfg := stream.CachedInfo().Config
	if cfg.Name != streamName(id) {
		return fmt.Errorf("seal command log %s: it is %s: %w", id, strings.TrimPrefix(cfg.Name, streamPrefix), bus.ErrNoLog)
	}
	cfg.Subjects = []string{sealedSubject(id)}
	cfg.Sealed = true
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("seal command log %s: %w", id, b.explain(ctx, err))
	}
	b.forgetStream()
	if err := b.dropSealed(ctx); err != nil {
		b.log.Warn("old command logs not removed", "err", err)
	}
	return nil
}

// keepFor sets how long the log keeps its records; no log is no error.
func (b *Bus) keepFor(ctx context.Context, keep time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := b.lookUp(ctx)
	if errors.Is(err, bus.ErrNoLog) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set how long the command log is kept: %w", err)
	}
	cfg := stream.CachedInfo().Config
	if cfg.MaxAge == keep {
		return nil
	}
	was := cfg.MaxAge
	cfg.MaxAge = keep
	if cfg.Duplicates > keep {
		cfg.Duplicates = keep // the server's condition
	}
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return fmt.Errorf("set how long the command log is kept: %w", err)
	}
	b.log.Info("command log is kept for another time now", "keep", keep, "before", was)
	return nil
}

// dropSealed removes the sealed logs but the newest.
func (b *Bus) dropSealed(ctx context.Context) error {
	var sealed []*jetstream.StreamInfo
	list := b.js.ListStreams(ctx, jetstream.WithStreamListSubject(logSubject+".sealed.>"))
	for info := range list.Info() {
		if info.Config.Sealed && strings.HasPrefix(info.Config.Name, streamPrefix) {
			sealed = append(sealed, info)
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	slices.SortFunc(sealed, func(a, b *jetstream.StreamInfo) int { return b.Created.Compare(a.Created) })
	var errs []error
	for _, info := range sealed[min(keepSealed, len(sealed)):] {
		errs = append(errs, b.js.DeleteStream(ctx, info.Config.Name))
	}
	return errors.Join(errs...)
}
