package cluster

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// How long Follow waits before it asks a cluster again that has just failed it: the
// wait doubles from the first to MaxRetry, and is drawn from its upper half so that
// the nodes of a cluster do not come back in step.
const (
	firstRetry = 100 * time.Millisecond
	MaxRetry   = 5 * time.Second
)

// Follow is the loop around every watch: it calls read with the version that was
// seen last (0 at first) until ctx ends; read blocks until there is another,
// takes it over and returns it. While the cluster cannot be read, what is known
// stands, and Follow says so once; what names the subject in the log.
func Follow(ctx context.Context, log *slog.Logger, what string, read func(ctx context.Context, after uint64) (uint64, error)) {
	var after uint64
	retry, failing := firstRetry, false
	for {
		version, err := read(ctx, after)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failing {
				log.Info("cluster can be read again", "subject", what)
			}
			after, retry, failing = version, firstRetry, false
			continue
		}
		if !failing {
			log.Warn("cluster cannot be read, keeping what is known", "subject", what, "err", err)
			failing = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retry/2 + rand.N(retry/2)):
		}
		retry = min(2*retry, MaxRetry)
	}
}

// WatchNodes publishes membership, at once and after each change, until ctx ends;
// then it returns nil. publish is called from one goroutine, and WatchNodes waits
// for it.
func WatchNodes(ctx context.Context, members Members, log *slog.Logger, publish func(Nodes)) error {
	Follow(ctx, log, "members", func(ctx context.Context, after uint64) (uint64, error) {
		nodes, err := members.Nodes(ctx, after)
		if err == nil {
			publish(nodes)
		}
		return nodes.Version, err
	})
	return nil
}
