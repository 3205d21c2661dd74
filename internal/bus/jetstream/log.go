package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/bus"
	"freshet/internal/command"
)

// Names on the server.
const (
	streamPrefix = "FRESHET-"
	logSubject   = "freshet.log"
	headerRoom   = 1 << 10 // bytes of headers beside a record, within the stream's message size
)

// codeSubjectsOverlap is the server's error for a second stream on a subject; the
// client library has no name for it.
const codeSubjectsOverlap = 10065

func streamName(id command.LogID) string { return streamPrefix + id.String() }

// logID reads a log's id out of its stream's name.
func logID(stream string) (command.LogID, error) {
	hex, ok := strings.CutPrefix(stream, streamPrefix)
	id, err := strconv.ParseUint(hex, 16, 64)
	if !ok || err != nil || id == 0 {
		return 0, fmt.Errorf("stream %q on %s is not a command log", stream, logSubject)
	}
	return command.LogID(id), nil
}

// Create makes an empty log; see bus.Log.
func (b *Bus) Create(ctx context.Context, first command.Seq) (bus.Head, error) {
	if err := b.Connected(); err != nil {
		return bus.Head{}, fmt.Errorf("create command log: %w", err)
	}
	if first == 0 {
		return bus.Head{}, errors.New("create command log: the first sequence cannot be 0")
	}
	ctx, end := b.call(ctx)
	defer end()
	name := streamName(command.NewLogID())
	stream, err := b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:       name,
		Subjects:   []string{logSubject},
		Storage:    jetstream.FileStorage,
		Replicas:   b.cfg.Replicas,
		FirstSeq:   uint64(first),
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardOld, // a full log that refused purges would be worse
		MaxAge:     b.cfg.MaxAge,
		MaxBytes:   b.cfg.MaxBytes,
		MaxMsgSize: command.MaxRecord + headerRoom,
		DenyDelete: true,
		DenyPurge:  true,
		// Replicas must not answer reads: they may be behind the leader.
		AllowDirect: false,
	})
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == codeSubjectsOverlap || api.ErrorCode == jetstream.JSErrCodeStreamNameInUse):
		return bus.Head{}, fmt.Errorf("create command log: %w", bus.ErrExists)
	case err != nil:
		return bus.Head{}, fmt.Errorf("create command log: %w", b.explain(ctx, err))
	}
	b.remember(name)
	return headOf(stream.CachedInfo())
}

// Head describes the log; see bus.Log.
//
// It is linearizable because the stream's leader itself answers for the stream's
// state, and the leader acknowledges an append only after it has become part of that
// state. (Direct gets, which any replica answers, are not allowed on this stream.)
// Where the log is replicated, a leader that has been cut off from the others may
// answer for the seconds until it steps down. It then cannot acknowledge anything
// that is newer, so that it tells no more than that its clients are cut off too: they
// find what they missed, in order, when they are connected again.
func (b *Bus) Head(ctx context.Context) (bus.Head, error) {
	stream, err := b.lookUp(ctx)
	if err != nil {
		return bus.Head{}, fmt.Errorf("head of command log: %w", err)
	}
	return headOf(stream.CachedInfo())
}

// Append adds a record; see bus.Log.
func (b *Bus) Append(ctx context.Context, data []byte, after command.Seq) (command.Seq, error) {
	if err := b.Connected(); err != nil {
		return 0, fmt.Errorf("append to command log: %w", err)
	}
	if len(data) > command.MaxRecord {
		return 0, fmt.Errorf("append to command log: %d bytes, at most %d fit", len(data), command.MaxRecord)
	}
	prev, err := b.linkAt(ctx, after)
	if err != nil {
		return 0, fmt.Errorf("append to command log after %s: %w", after, err)
	}
	msg := &nats.Msg{Subject: logSubject, Data: data}
	if prev != (command.Link{}) {
		msg.Header = nats.Header{linkHeader: {prev.String()}}
	}
	ctx, end := b.call(ctx)
	defer end()
	ack, err := b.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(uint64(after)))
	var api *jetstream.APIError
	switch {
	case err == nil:
		seq := command.Seq(ack.Sequence)
		b.appended(ack.Stream, seq, prev.Next(seq, data))
		return seq, nil
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return 0, fmt.Errorf("append to command log after %s: %s: %w", after, api.Description, bus.ErrConflict)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		// Nobody listens on the subject: there is no log, or its leader is away.
		if _, lookErr := b.lookUp(ctx); lookErr != nil {
			err = lookErr
		}
	}
	return 0, fmt.Errorf("append to command log: %w", b.explain(ctx, err))
}

// lookUp finds the log's stream with its state of now.
func (b *Bus) lookUp(ctx context.Context) (jetstream.Stream, error) {
	if err := b.Connected(); err != nil {
		return nil, err
	}
	ctx, end := b.call(ctx)
	defer end()
	b.mu.Lock()
	name := b.mu.stream
	b.mu.Unlock()
	if name != "" {
		stream, err := b.js.Stream(ctx, name)
		sealed := err == nil && stream.CachedInfo().Config.Sealed
		if !sealed && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return stream, b.explain(ctx, err)
		}
		b.forgetStream()
	}
	name, err := b.js.StreamNameBySubject(ctx, logSubject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, bus.ErrNoLog
	}
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	b.remember(name)
	return stream, nil
}

func (b *Bus) remember(stream string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.stream = stream
}

// explain puts a lost or closed connection in the place of what the library says
// because of it. ctx is of call.
func (b *Bus) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); errors.Is(cause, errLost) || errors.Is(cause, bus.ErrClosed) {
		return cause
	}
	if away := b.Connected(); away != nil {
		return fmt.Errorf("%w: %w", away, err)
	}
	return err
}

func headOf(info *jetstream.StreamInfo) (bus.Head, error) {
	id, err := logID(info.Config.Name)
	if err != nil {
		return bus.Head{}, fmt.Errorf("head of command log: %w", err)
	}
	return bus.Head{
		Log:   id,
		First: command.Seq(info.State.FirstSeq),
		Last:  command.Seq(info.State.LastSeq),
	}, nil
}
