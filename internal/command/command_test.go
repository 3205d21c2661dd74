package command_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"freshet/internal/command"
)

// valid is a command with every kind of scope.
func valid() command.Command {
	return command.Command{
		Version: 1, ID: "0123456789abcdef", Kind: command.Purge,
		Scopes: []command.Scope{
			{Kind: command.ScopeURL, Site: "demo", Value: "/a/<b>?x=1&y=\"2\"\u2028é"},
			{Kind: command.ScopeSite, Site: "other-1"},
			{Kind: command.ScopeAll},
		},
		At: time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC), By: "an operator <o@example.org>",
	}
}

func with(change func(c *command.Command)) command.Command {
	c := valid()
	change(&c)
	return c
}

func scope(kind command.ScopeKind, site, value string) command.Command {
	return with(func(c *command.Command) { c.Scopes = []command.Scope{{Kind: kind, Site: site, Value: value}} })
}

func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]command.Command{
		"every scope": valid(),
		"no author":   with(func(c *command.Command) { c.By = "" }),
		"most scopes": with(func(c *command.Command) {
			c.Scopes = nil
			for i := range command.MaxScopes {
				c.Scopes = append(c.Scopes, command.Scope{Kind: command.ScopeURL, Site: "demo", Value: fmt.Sprintf("/%d?&&&&", i)})
			}
		}),
		"longest value": scope(command.ScopeURL, strings.Repeat("s", 63), "/"+strings.Repeat("&", command.MaxScopeBytes-1)),
		"new id":        with(func(c *command.Command) { c.ID = command.NewID() }),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := command.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := command.Decode(data)
			if err != nil || !reflect.DeepEqual(got, c) {
				t.Errorf("got %+v, %v, want %+v", got, err, c)
			}
		})
	}
}

func TestEncodeSetsVersionAndUTC(t *testing.T) {
	c := with(func(c *command.Command) {
		c.Version = 0
		c.At = c.At.In(time.FixedZone("", 3600))
	})
	data, err := command.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := command.Decode(data); err != nil || !reflect.DeepEqual(got, valid()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRecordStaysReadable holds the format: a log outlives the binary that wrote it.
func TestRecordStaysReadable(t *testing.T) {
	const record = `{"v":1,"id":"c1","kind":"purge","scopes":[{"kind":"url","site":"demo","value":"/a?b&c"},{"kind":"site","site":"demo"},{"kind":"all"}],"at":"2026-11-21T12:00:00.5Z","by":"ops"}`
	want := command.Command{
		Version: 1, ID: "c1", Kind: command.Purge,
		Scopes: []command.Scope{
			{Kind: command.ScopeURL, Site: "demo", Value: "/a?b&c"},
			{Kind: command.ScopeSite, Site: "demo"},
			{Kind: command.ScopeAll},
		},
		At: time.Date(2026, 11, 21, 12, 0, 0, 5e8, time.UTC), By: "ops",
	}
	if got, err := command.Decode([]byte(record)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if data, err := command.Encode(want); err != nil || string(data) != record {
		t.Errorf("encoded %s, %v", data, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, c := range map[string]command.Command{
		"no id":           with(func(c *command.Command) { c.ID = "" }),
		"long id":         with(func(c *command.Command) { c.ID = strings.Repeat("x", 65) }),
		"id not UTF-8":    with(func(c *command.Command) { c.ID = "\xff" }),
		"unknown kind":    with(func(c *command.Command) { c.Kind = "bless" }),
		"no kind":         with(func(c *command.Command) { c.Kind = "" }),
		"no time":         with(func(c *command.Command) { c.At = time.Time{} }),
		"time too far":    with(func(c *command.Command) { c.At = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"long author":     with(func(c *command.Command) { c.By = strings.Repeat("x", 257) }),
		"control in by":   with(func(c *command.Command) { c.By = "a\nb" }),
		"no scopes":       with(func(c *command.Command) { c.Scopes = nil }),
		"too many scopes": with(func(c *command.Command) { c.Scopes = make([]command.Scope, command.MaxScopes+1) }),
		"unknown scope":   scope("region", "demo", "x"),
		"url, no site":    scope(command.ScopeURL, "", "/a"),
		"url, bad site":   scope(command.ScopeURL, "De mo", "/a"),
		"url, long site":  scope(command.ScopeURL, strings.Repeat("s", 64), "/a"),
		"url, no slash":   scope(command.ScopeURL, "demo", "http://x/a"),
		"url, empty":      scope(command.ScopeURL, "demo", ""),
		"url, space":      scope(command.ScopeURL, "demo", "/a b"),
		"url, control":    scope(command.ScopeURL, "demo", "/a\x00"),
		"url, not UTF-8":  scope(command.ScopeURL, "demo", "/\xff"),
		"url, too long":   scope(command.ScopeURL, "demo", "/"+strings.Repeat("x", command.MaxScopeBytes)),
		"site, no site":   scope(command.ScopeSite, "", ""),
		"site with value": scope(command.ScopeSite, "demo", "/a"),
		"all with site":   scope(command.ScopeAll, "demo", ""),
		"all with value":  scope(command.ScopeAll, "", "/a"),
		"record too large": with(func(c *command.Command) {
			c.Scopes = nil
			for range command.MaxRecord/command.MaxScopeBytes + 1 {
				c.Scopes = append(c.Scopes, command.Scope{Kind: command.ScopeURL, Site: "demo", Value: "/" + strings.Repeat("x", command.MaxScopeBytes-1)})
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := command.Encode(c)
			if !errors.Is(err, command.ErrInvalid) {
				t.Errorf("encoded as %.100s, %v", data, err)
			}
		})
	}
}

func TestDecodeUnknown(t *testing.T) {
	const rest = `"id":"c1","at":"2026-11-21T12:00:00Z"`
	all := []command.Scope{{Kind: command.ScopeAll}}
	sites := func(names ...string) (scopes []command.Scope) {
		for _, name := range names {
			scopes = append(scopes, command.Scope{Kind: command.ScopeSite, Site: name})
		}
		return scopes
	}
	var manySites []string
	for i := range command.MaxScopes + 1 {
		manySites = append(manySites, fmt.Sprintf(`{"kind":"x","site":"s%d"}`, i))
	}
	for name, test := range map[string]struct {
		record string
		want   []command.Scope
	}{
		"nothing":                  {"", all},
		"not JSON":                 {"\x00\x01", all},
		"not an object":            {`[1]`, all},
		"null":                     {`null`, all},
		"truncated":                {`{"v":1,"kind":"purge","scopes":[{"kind":"site","site":"demo"}]`, all},
		"not UTF-8":                {`{"v":1,` + rest + `,"kind":"purge","scopes":[{"kind":"url","site":"demo","value":"/` + "\xff" + `"}]}`, all},
		"newer version":            {`{"v":3,` + rest + `,"kind":"purge","scopes":[{"kind":"site","site":"demo"}]}`, sites("demo")},
		"no version":               {`{` + rest + `,"kind":"purge","scopes":[{"kind":"site","site":"demo"}]}`, sites("demo")},
		"unknown kind":             {`{"v":1,` + rest + `,"kind":"bless","scopes":[{"kind":"url","site":"demo","value":"/a"}]}`, sites("demo")},
		"unknown scope":            {`{"v":1,` + rest + `,"kind":"purge","scopes":[{"kind":"region","site":"demo","value":"t"}]}`, sites("demo")},
		"scope of a later version": {`{"v":1,` + rest + `,"kind":"purge","scopes":[{"kind":"tag","site":"demo","value":"t"}]}`, sites("demo")},
		"kind of a later version":  {`{"v":1,` + rest + `,"kind":"invalidate","scopes":[{"kind":"url","site":"demo","value":"/t"}]}`, sites("demo")},
		"several sites":            {`{"v":3,` + rest + `,"scopes":[{"site":"b"},{"site":"a"},{"site":"b","new":[1]}]}`, sites("b", "a")},
		"a scope of no site":       {`{"v":3,` + rest + `,"scopes":[{"site":"a"},{"kind":"region","value":"eu"}]}`, all},
		"a scope of all":           {`{"v":3,` + rest + `,"scopes":[{"site":"a"},{"kind":"all","site":"a"}]}`, all},
		"a site of no name":        {`{"v":3,` + rest + `,"scopes":[{"site":"not a site"}]}`, all},
		"scopes of no shape":       {`{"v":3,` + rest + `,"scopes":{"site":"a"}}`, all},
		"no scopes":                {`{"v":3,` + rest + `,"kind":"purge"}`, all},
		"empty scopes":             {`{"v":3,` + rest + `,"scopes":[]}`, all},
		"unknown field":            {`{"v":1,` + rest + `,"kind":"purge","only_if":"moon","scopes":[{"kind":"site","site":"demo"}]}`, sites("demo")},
		"id of no shape":           {`{"v":3,"id":7,"at":[],"by":{},"scopes":[{"site":"a"}]}`, sites("a")},
		"something follows":        {`{"v":1,` + rest + `,"kind":"purge","scopes":[{"kind":"site","site":"demo"}]} {}`, all},
		"breaks a limit":           {`{"v":1,` + rest + `,"kind":"purge","scopes":[{"kind":"url","site":"demo","value":"a"}]}`, sites("demo")},
		"too many sites":           {`{"v":3,` + rest + `,"scopes":[` + strings.Join(manySites, ",") + `]}`, all},
		"too large":                {`{"v":3,"x":"` + strings.Repeat("x", command.MaxRecord) + `",` + rest + `,"scopes":[{"site":"a"}]}`, all},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := command.Decode([]byte(test.record))
			if !errors.Is(err, command.ErrUnknown) {
				t.Fatalf("%v, want %v", err, command.ErrUnknown)
			}
			if c.Kind != command.Purge || !reflect.DeepEqual(c.Scopes, test.want) {
				t.Errorf("%s of %v, want a purge of %v", c.Kind, c.Scopes, test.want)
			}
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			if strings.Contains(test.record, rest) && c.Scopes[0].Kind != command.ScopeAll && c.ID != "c1" {
				t.Errorf("id %q", c.ID)
			}
		})
	}
}

func TestClock(t *testing.T) {
	for _, test := range []struct {
		name   string
		c, d   command.Clock
		before bool
	}{
		{"the same", command.Clock{Log: 1, Seq: 5}, command.Clock{Log: 1, Seq: 5}, false},
		{"lower", command.Clock{Log: 1, Seq: 4}, command.Clock{Log: 1, Seq: 5}, true},
		{"higher", command.Clock{Log: 1, Seq: 6}, command.Clock{Log: 1, Seq: 5}, false},
		{"another log, higher", command.Clock{Log: 2, Seq: 6}, command.Clock{Log: 1, Seq: 5}, true},
		{"no log", command.Clock{}, command.Clock{Log: 1}, true},
	} {
		if got := test.c.Before(test.d); got != test.before {
			t.Errorf("%s: %s before %s: %t", test.name, test.c, test.d, got)
		}
	}
	if s := command.FirstOf(3); s.Epoch() != 3 || s.String() != "3.1" || s-1 <= command.FirstOf(2) {
		t.Errorf("first of epoch 3 is %s in epoch %d", s, s.Epoch())
	}
	if got := (command.Clock{Log: 0xab, Seq: command.FirstOf(1) + 6}).String(); got != "00000000000000ab/1.7" {
		t.Errorf("prints %s", got)
	}
}

// FuzzDecode: whatever stands in the log, Decode returns a valid command, beside
// ErrUnknown or as it would be written again.
func FuzzDecode(f *testing.F) {
	data, err := command.Encode(valid())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"v":9,"id":"x","kind":"bless","scopes":[{"kind":"tag","site":"demo"},{"site":"b"}],"at":"2026-11-21T12:00:00+14:00"}`))
	f.Add([]byte(`{"v":1,"scopes":[{"site":"a"}],"scopes":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := command.Decode(data)
		switch {
		case err == nil:
		case !errors.Is(err, command.ErrUnknown):
			t.Fatal(err)
		case c.Kind != command.Purge:
			t.Fatalf("unknown, and a %s", c.Kind)
		default:
			for _, s := range c.Scopes {
				if s.Kind != command.ScopeSite && s.Kind != command.ScopeAll {
					t.Fatalf("unknown, and narrowed to %v", s)
				}
			}
		}
		again, err := command.Encode(c)
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if d, err := command.Decode(again); err != nil || !d.At.Equal(c.At) || !reflect.DeepEqual(d.Scopes, c.Scopes) || d.ID != c.ID {
			t.Fatalf("%+v came back as %+v, %v", c, d, err)
		}
	})
}

func TestParseSeq(t *testing.T) {
	for _, seq := range []command.Seq{0, 1, command.FirstOf(1) + 126, command.FirstOf(1<<24-1) - 2, 1<<64 - 1} {
		if got, err := command.ParseSeq(seq.String()); err != nil || got != seq {
			t.Errorf("%s: %s, %v", seq, got, err)
		}
	}
	for _, text := range []string{"", ".", "1", "1.", ".1", "1.2.3", "-1.2", "+1.2", "01.2", "1. 2", "16777216.1", "1.1099511627776", "a.b"} {
		if got, err := command.ParseSeq(text); err == nil {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}
