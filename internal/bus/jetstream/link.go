package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"freshet/internal/command"
)

// linkHeader carries the link of the record before. It stands beside the record and not in
// it, so that the release before, which knows no links, reads the record all the same.
const linkHeader = "Freshet-Prev"

// linked is where the log ends, as far as this Bus has appended to it.
type linked struct {
	stream string
	seq    command.Seq
	link   command.Link
}

// Link is the link of a record; see bus.Log.
func (b *Bus) Link(ctx context.Context, seq command.Seq) (command.Link, error) {
	link, err := b.linkAt(ctx, seq)
	if err != nil {
		return link, fmt.Errorf("link of the command log at %s: %w", seq, err)
	}
	return link, nil
}

// linkAt is the link of the record at after, from what was appended here last or else from
// the log; zero if the log no longer has the record.
func (b *Bus) linkAt(ctx context.Context, after command.Seq) (command.Link, error) {
	b.mu.Lock()
	last, current := b.mu.last, b.mu.stream
	b.mu.Unlock()
	if last.seq == after && last.stream == current && current != "" {
		return last.link, nil
	}
	stream, err := b.lookUp(ctx)
	if err != nil {
		return command.Link{}, err
	}
	info := stream.CachedInfo()
	switch first := max(info.Config.FirstSeq, 1); {
	case uint64(after)+1 == first:
		id, err := logID(info.Config.Name)
		return command.LinkOf(id), err
	case uint64(after) < first:
		return command.Link{}, nil // of no record: the log will refuse the append
	}
	ctx, end := b.call(ctx)
	defer end()
	msg, err := stream.GetMsg(ctx, uint64(after))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return command.Link{}, nil
	}
	if err != nil {
		return command.Link{}, b.explain(ctx, err)
	}
	prev, err := prevOf(msg.Header)
	if err != nil {
		return command.Link{}, fmt.Errorf("record %s: %w", after, err)
	}
	link := prev.Next(after, msg.Data)
	b.appended(info.Config.Name, after, link)
	return link, nil
}

// prevOf is the link that stands beside a record; zero if none does.
func prevOf(h nats.Header) (command.Link, error) {
	text := h.Get(linkHeader)
	if text == "" {
		return command.Link{}, nil
	}
	return command.ParseLink(text)
}

// appended remembers the link of a record, which is the last one as a rule.
func (b *Bus) appended(stream string, seq command.Seq, link command.Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.last = linked{stream, seq, link}
}

// forgetStream makes the next call look for the log anew.
func (b *Bus) forgetStream() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.stream, b.mu.last = "", linked{}
}
