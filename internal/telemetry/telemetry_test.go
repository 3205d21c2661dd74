package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNewLogger(t *testing.T) {
	tests := []struct {
		name, level, format string
		err                 string // in the error; none if empty
		infos               bool   // an info event is written
	}{
		{"text", "info", "text", "", true},
		{"json", "debug", "json", "", true},
		{"warn leaves info out", "warn", "text", "", false},
		{"error leaves info out", "error", "json", "", false},
		{"unknown level", "loud", "text", `log level "loud": want debug, info, warn or error`, false},
		{"unknown format", "info", "xml", `log format "xml": want text or json`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			log, err := NewLogger(&b, test.level, test.format)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("error = %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			log.Info("node is ready", "node", "e1")
			if !test.infos {
				if b.Len() != 0 {
					t.Errorf("wrote %s, want nothing", &b)
				}
				return
			}
			line := b.String()
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, "node is ready") || !strings.Contains(line, "e1") {
				t.Errorf("wrote %q, want one line with message and node", line)
			}
			if isJSON := json.Valid(b.Bytes()); isJSON != (test.format == "json") {
				t.Errorf("wrote %q for format %s", line, test.format)
			}
		})
	}
}

func TestNewRegistry(t *testing.T) {
	families, err := NewRegistry("edge", "e1", "v1.2.3").Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range families {
		found[f.GetName()] = f.GetMetric()[0].String()
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if found[name] == "" {
			t.Errorf("registry lacks %s", name)
		}
	}
	info := found["freshet_build_info"]
	for _, label := range []string{"edge", "e1", "v1.2.3"} {
		if !strings.Contains(info, `"`+label+`"`) {
			t.Errorf("freshet_build_info is %s, want label %s", info, label)
		}
	}
}

func TestHealth(t *testing.T) {
	h := NewHealth()
	if err := h.Err(); err != nil {
		t.Errorf("without probes: %v", err)
	}
	down := fmt.Errorf("replaying the log: %w", ErrNotReady)
	h.Check("cluster", func() error { return nil })
	h.Check("log", func() error { return down })
	if err := h.Err(); !errors.Is(err, ErrNotReady) || err.Error() != "log: replaying the log: not ready" {
		t.Errorf("Err = %v, want the log's with its name", err)
	}
	h.Check("log", func() error { return nil })
	if err := h.Err(); err != nil {
		t.Errorf("after the probe was replaced: %v", err)
	}
	if n := len(h.Results()); n != 2 {
		t.Errorf("%d results, want 2", n)
	}
}
