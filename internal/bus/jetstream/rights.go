package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// Whoever can append can purge everything, but nobody can unwrite the log.
var notToUnwrite = []string{
	"$JS.API.STREAM.DELETE.>",
	"$JS.API.STREAM.PURGE.>",
	"$JS.API.STREAM.MSG.DELETE.>",
	"$JS.API.STREAM.RESTORE.>",
	"$JS.API.STREAM.UPDATE.>",
}

// inboxes are where answers come.
const inboxes = "_INBOX."

// Readers may say this and nothing else, and hear telemetry and what is said to them. It is a list of what is allowed, since much
// of the API has the server say something in its own name, to a subject that who asks may
// choose: a consumer that delivers to $JS.API.STREAM.DELETE takes the log away. So consumers
// are made for readers, by readCall, and nobody but the server hears that.
//
// What no list bounds is the subject that a request names for its answer: one of the API that
// goes to the log's own stands there as a record, which is no command.
var toSay = []string{
	"$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*",
	"$JS.API.CONSUMER.INFO.*.*", "$JS.API.CONSUMER.MSG.NEXT.*.*",
	readCall, telemetryPrefix + ">",
}

// Peer is who is at the other end of a connection to the server.
type Peer struct {
	Name   string // role and name; its answers come to it alone
	Rights Rights
}

// inboxOf is where answers to a node come, for an inbox of its own: those of others name
// consumers, and where their records are delivered.
func inboxOf(name string) string {
	return inboxes + strings.ReplaceAll(name, "/", ".")
}

// permissions are what its rights come to; nil for nobody.
func (p Peer) permissions() *natsserver.Permissions {
	switch p.Rights {
	case MayAppend:
		return &natsserver.Permissions{Publish: &natsserver.SubjectPermission{Deny: notToUnwrite}}
	case MayRead:
		return &natsserver.Permissions{
			Publish: &natsserver.SubjectPermission{Allow: toSay}, Subscribe: &natsserver.SubjectPermission{Allow: []string{inboxOf(p.Name) + ".>", telemetryPrefix + ">"}},
		}
	}
	return nil
}

// readCall is the subject on which an embedded server is asked for a consumer:
//
//	<log> <sequence to begin with>
//
// The answer is readFrom with the consumer's name, noLog, or an error's text.
const (
	readCall = "freshet.read"
	readFrom = "read "
)

// consumer makes a consumer of a log. bus.ErrReplaced when its stream is not there.
func (b *Bus) consumer(ctx context.Context, id command.LogID, from command.Seq) (jetstream.Consumer, error) {
	answer, err := b.conn.RequestWithContext(ctx, readCall, fmt.Appendf(nil, "%s %d", id, uint64(from)))
	switch {
	case errors.Is(err, nats.ErrNoResponders): // a server of the operator's own, or of the release before
		return b.createConsumer(ctx, id, from)
	case err != nil:
		return nil, b.explain(ctx, err)
	}
	text := string(answer.Data)
	if text == noLog {
		return nil, bus.ErrReplaced
	}
	name, made := strings.CutPrefix(text, readFrom)
	if !made {
		return nil, fmt.Errorf("the bus server says: %.500s", text)
	}
	consumer, err := b.js.Consumer(ctx, streamName(id), name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, bus.ErrReplaced
	}
	return consumer, b.explain(ctx, err)
}

func (b *Bus) createConsumer(ctx context.Context, id command.LogID, from command.Seq) (jetstream.Consumer, error) {
	consumer, err := b.js.CreateConsumer(ctx, streamName(id), jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(from),
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: consumerTTL,
		Replicas:          1,
		MemoryStorage:     true,
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, bus.ErrReplaced
	}
	return consumer, b.explain(ctx, err)
}

// serveReads answers on readCall.
func (b *Bus) serveReads() error {
	return b.serve(readCall, func(ctx context.Context, data string) string {
		log, seq, _ := strings.Cut(data, " ")
		id, err := logID(streamPrefix + log)
		if err != nil {
			return err.Error()
		}
		from, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			return err.Error()
		}
		consumer, err := b.createConsumer(ctx, id, command.Seq(from))
		switch {
		case errors.Is(err, bus.ErrReplaced):
			return noLog
		case err != nil:
			return err.Error()
		}
		return readFrom + consumer.CachedInfo().Name
	})
}

// serve answers calls on a subject, in their order.
func (b *Bus) serve(subject string, answer func(ctx context.Context, data string) string) error {
	_, err := b.conn.Subscribe(subject, func(msg *nats.Msg) {
		if !strings.HasPrefix(msg.Reply, inboxes) {
			return // it would be said in our name to who knows whom
		}
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := msg.Respond([]byte(answer(ctx, string(msg.Data)))); err != nil {
			b.log.Debug("call over the bus not answered", "subject", subject, "err", err)
		}
	})
	return err
}
