package document

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want time.Duration
		back string // as written; "" for text itself
	}{
		{"0s", 0, ""},
		{"10s", 10 * time.Second, ""},
		{"5m", 5 * time.Minute, ""},
		{"1h", time.Hour, ""},
		{"1h30m", 90 * time.Minute, ""},
		{"1m0s", time.Minute, "1m"},
		{"7d", 7 * day, ""},
		{"24h", day, "1d"},
		{"1d12h", 36 * time.Hour, "36h"},
		{"1.5d", 36 * time.Hour, "36h"},
		{"1.5s", 1500 * time.Millisecond, ""},
		{"20ms", 20 * time.Millisecond, ""},
		{"3us", 3 * time.Microsecond, "3µs"},
		{"10m10s", 610 * time.Second, ""},
		{"106751d", 106751 * day, ""},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.text)
		if err != nil || time.Duration(got) != tt.want {
			t.Errorf("ParseDuration(%q) = %v, %v", tt.text, time.Duration(got), err)
		}
		if tt.back == "" {
			tt.back = tt.text
		}
		if got.String() != tt.back {
			t.Errorf("%q is written as %q, want %q", tt.text, got, tt.back)
		}
		if again, err := ParseDuration(got.String()); again != got || err != nil {
			t.Errorf("%q does not read back: %v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "10", "s", "-1s", "+1s", "1 s", ".5s", "1.s", "1w", "1S", "1e3s", "1s ", "106752d", "99999999999999999999s", "106751d24h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, time.Duration(got))
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want int64
		back string
	}{
		{"0", 0, ""},
		{"512", 512, ""},
		{"512B", 512, "512"},
		{"64KiB", 64 << 10, ""},
		{"256MiB", 256 << 20, ""},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"2TiB", 2 << 40, ""},
		{"1kB", 1000, "1000"},
		{"1.5MB", 1_500_000, "1500000"},
		{"3GB", 3e9, "3000000000"},
		{"1TB", 1e12, "976562500KiB"},
		{"0.1KiB", 102, "102"},
		{"9223372036854775807", math.MaxInt64, ""},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.text)
		if err != nil || int64(got) != tt.want {
			t.Errorf("ParseSize(%q) = %d, %v", tt.text, int64(got), err)
		}
		if tt.back == "" {
			tt.back = tt.text
		}
		if got.String() != tt.back {
			t.Errorf("%q is written as %q, want %q", tt.text, got, tt.back)
		}
		if again, err := ParseSize(got.String()); again != got || err != nil {
			t.Errorf("%q does not read back: %v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1 MiB", "1mb", "1M", "1e3", "0x10", ".5GiB", "9223372036854775808", "8388608TiB", "99999999.5TiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", text, int64(got))
		}
	}
}

func TestValuesInJSON(t *testing.T) {
	t.Parallel()
	type values struct {
		D Duration
		S Size
	}
	in := values{Duration(90 * time.Minute), 1 << 20}
	text, err := json.Marshal(in)
	if want := `{"D":"1h30m","S":"1MiB"}`; err != nil || string(text) != want {
		t.Fatalf("got %s, %v, want %s", text, err, want)
	}
	var out values
	if err := json.Unmarshal(text, &out); err != nil || out != in {
		t.Errorf("reads back as %+v, %v", out, err)
	}
}

func TestSecretStaysHidden(t *testing.T) {
	t.Parallel()
	type holder struct{ Token Secret }
	held := &holder{NewSecret("hunter2")}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "token", held.Token, "holder", held)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "token", held.Token, "holder", held)
	asJSON, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := Encode(map[string]any{"token": held.Token})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{logged.String(), string(asJSON), string(asYAML)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, held.Token), fmt.Sprintf(verb, held), fmt.Sprintf(verb, *held))
	}
	for _, s := range shown {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e74657232") {
			t.Errorf("the secret shows in %s", s)
		}
		if !strings.Contains(s, hidden) && !strings.HasPrefix(s, "&") && !strings.HasPrefix(s, "(*") {
			t.Errorf("nothing stands for the secret in %s", s)
		}
	}
	if held.Token.Value() != "hunter2" || held.Token.IsZero() || !(Secret{}).IsZero() || (Secret{}).String() != "" {
		t.Error("Value, IsZero or String is wrong")
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	label63 := strings.Repeat("a", 63)
	anyHost := func(s string) error { return CheckHostPort(s, true) }
	oneHost := func(s string) error { return CheckHostPort(s, false) }
	tests := []struct {
		name      string
		check     func(string) error
		good, bad []string
	}{
		{"CheckName", CheckName,
			[]string{"a", "edge-1", "7", label63},
			[]string{"", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", label63 + "a", "a\n"}},
		{"CheckHost", CheckHost,
			[]string{"localhost", "www.example.com", "xn--bcher-kva.example", "127.0.0.1", label63 + ".a"},
			[]string{"", "WWW.example.com", "a..b", ".a", "a.", "a:80", "a/b", "*.a", "bücher.example", "-a.b", label63 + "a.b", "a b", strings.Repeat("a.", 127) + "a"}},
		{"CheckHostPort, any host", anyHost,
			[]string{":80", ":0", "127.0.0.1:0", "[::]:53", "0.0.0.0:80", "localhost:65535"},
			[]string{"", "80", "a", "a:", "a:x", "a:65536", "a:-1", "::1:80", "a b:80", "a:http"}},
		{"CheckHostPort, one host", oneHost,
			[]string{"10.0.0.1:80", "[::1]:80", "consul.internal:8500"},
			[]string{":80", "10.0.0.1:0", "A:80"}},
		{"CheckBaseURL", CheckBaseURL,
			[]string{"http://a", "https://www.example.com:8443", "http://10.0.0.1", "http://[::1]:80", "http://[::1]", "HTTP://a"},
			[]string{"", "a", "a:80", "ftp://a", "http://", "http://a/", "http://a/b", "http://a?", "http://a?b", "http://a#", "http://a#b", "http://A", "http://a:0", "http://a:", "http://:80", "http://u:p@a", "http://u@a", "http://a b", "http:a", "//a", "http://*.a", "http://a:99999", "http://%zz"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range tt.good {
				if err := tt.check(s); err != nil {
					t.Errorf("%q: %v", s, err)
				}
			}
			for _, s := range tt.bad {
				if tt.check(s) == nil {
					t.Errorf("%q passes", s)
				}
			}
		})
	}
	for _, text := range []string{"http://u:hunter2@a", "ftp://u:hunter2@a", "http://u:hunter2@a b", "nats:u:hunter2@a"} {
		if err := CheckBaseURL(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
