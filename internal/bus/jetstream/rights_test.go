package jetstream_test

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"freshet/internal/bus/jetstream"
	"freshet/internal/command"
)

// TestTheServerIsNoDeputy proves that a reader cannot have the server say what the reader may
// not say itself: by consumers that deliver to a subject of its choice, by snapshots that are
// sent to one, or by answers.
func TestTheServerIsNoDeputy(t *testing.T) {
	w := newWorld(t, false)
	own, err := w.server.Connect(t.Context(), jetstream.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	head, err := own.Create(t.Context(), command.FirstOf(1))
	if err != nil {
		t.Fatal(err)
	}
	// A record that would be a call to seal the log.
	if _, err := own.Append(t.Context(), []byte(head.Log.String()), head.Last); err != nil {
		t.Fatal(err)
	}
	if head, err = own.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := w.attacker("edge", "e-1")
	stream := "FRESHET-" + head.Log.String()
	for _, to := range []string{"$JS.API.STREAM.DELETE." + stream, "freshet.seal", "freshet.telemetry.progress.another"} {
		for _, headersOnly := range []bool{true, false} {
			config := map[string]any{
				"deliver_subject": to, "headers_only": headersOnly, "ack_policy": "none", "deliver_policy": "all", "name": "x", "durable_name": "x",
			}
			request, err := json.Marshal(map[string]any{"stream_name": stream, "config": config, "deliver_subject": to})
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range []string{"CONSUMER.CREATE." + stream, "CONSUMER.CREATE." + stream + ".x", "CONSUMER.DURABLE.CREATE." + stream + ".x", "STREAM.SNAPSHOT." + stream} {
				if msg, err := conn.Request("$JS.API."+call, request, 100*time.Millisecond); err == nil {
					t.Errorf("%s is answered: %s", call, msg.Data)
				}
			}
		}
	}
	for _, call := range []string{"$JS.API.STREAM.INFO." + stream, "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.INFO." + stream + ".x", "freshet.read"} {
		for _, to := range []string{"freshet.seal", "$JS.API.STREAM.DELETE." + stream} {
			if err := conn.PublishRequest(call, to, nil); err != nil {
				t.Error(err)
			}
		}
	}
	other, err := w.connect("edge/e-2", w.node(w.ca, "edge", "e-2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"freshet.read", "freshet.seal", "freshet.log", "$JS.API.>", "_INBOX.>", "_INBOX.edge.>", "_INBOX.edge.e-2.>", ">"} {
		sub, err := conn.SubscribeSync(subject)
		if err != nil {
			continue
		}
		if _, err := other.Head(t.Context()); err != nil {
			t.Error(err)
		}
		if msg, err := sub.NextMsg(50 * time.Millisecond); err == nil {
			t.Errorf("%s is heard: %q", subject, msg.Data)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Error(err)
	}
	if now, err := own.Head(t.Context()); err != nil || now != head {
		t.Errorf("head %v, %v, want %v as before", now, err, head)
	}
}
