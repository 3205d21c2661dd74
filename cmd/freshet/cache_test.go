package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	stored "freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/internal/header"
	"freshet/internal/httpcache"
)

// cacheDir is a directory with a disk cache of 51 stored responses, and its store, open.
func cacheDir(t *testing.T) (string, *disk.Store) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cache")
	s, err := disk.Open(disk.Config{Dir: dir, Size: 4 << 20, SegmentSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for i := range 51 {
		r := &stored.Response{
			Key: stored.NewKey(fmt.Sprintf("shop\nwww.example.org/img/%d.png", i)), Status: 200, Header: new(header.Block),
			Body: stored.Memory(bytes.Repeat([]byte{byte(i)}, 1000+i)), Born: 3<<40 + 7,
			Facts: httpcache.Facts{Freshness: httpcache.Freshness{Received: time.Now().Add(-time.Minute), Lifetime: time.Hour}},
		}
		if i%10 == 0 {
			r.Key = stored.NewKey(fmt.Sprintf("shop\nwww.example.org/%d.html\n+header accept:text", i))
		}
		if !s.Offer(r) {
			t.Fatalf("%s is not kept", r.Key.Text)
		}
	}
	return dir, s
}

func TestCacheOfARunningNode(t *testing.T) {
	dir, s := cacheDir(t)
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			s.Close()
		}
		code, out, errOut := runVerb(t, "cache", "stats", dir)
		if code != exitOK || !strings.Contains(out, "version 1") || !strings.Contains(out, "51, 0 of them tombstones") || errOut != "" {
			t.Errorf("%s: stats: exit %d\n%s%s", state, code, out, errOut)
		}
		code, out, _ = runVerb(t, "cache", "stats", "--json", dir)
		var sum disk.Summary
		if err := json.Unmarshal([]byte(out), &sum); code != exitOK || err != nil || sum.Live.Records != 51 || sum.Kinds["content"] != sum.Live {
			t.Errorf("%s: stats --json: exit %d, %v\n%s", state, code, err, out)
		}
		code, out, _ = runVerb(t, "cache", "ls", dir)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if code != exitOK || len(lines) != 52 || !strings.Contains(lines[1], "3.7  shop www.example.org/0.html +header accept:text") {
			t.Errorf("%s: ls: exit %d\n%s", state, code, out)
		}
		code, out, errOut = runVerb(t, "cache", "verify", dir)
		if code != exitOK || !strings.HasPrefix(out, "51 of 51 records good, ") || errOut != "" {
			t.Errorf("%s: verify: exit %d\n%s%s", state, code, out, errOut)
		}
	}
}

func TestCacheListAsJSON(t *testing.T) {
	dir, _ := cacheDir(t)
	code, out, errOut := runVerb(t, "cache", "ls", "--json", "--match", "shop *.html*", dir)
	if code != exitOK || errOut != "" {
		t.Fatalf("exit %d\n%s", code, errOut)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 6 {
		t.Fatalf("%d lines:\n%s", len(lines), out)
	}
	var l listed
	if err := json.Unmarshal([]byte(lines[1]), &l); err != nil {
		t.Fatal(err)
	}
	if l.Key != "shop www.example.org/10.html +header accept:text" || l.Kind != "content" || l.Status != 200 || l.Bytes != 1010 ||
		l.Born != "3.7" || l.Age < 60 || l.Age > 120 || l.TTL+l.Age != 3600 {
		t.Errorf("%+v", l)
	}
}

func TestCacheMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"", "shop www.example.org/a", true},
		{"/a", "shop www.example.org/a", true},
		{"/b", "shop www.example.org/a", false},
		{"*", "", true},
		{"*/a", "shop www.example.org/a", true},
		{"*/a", "shop www.example.org/ab", false},
		{"shop */a*", "shop www.example.org/ab", true},
		{"shop*shop", "shop", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*b*b*c", "a-b-b-c", false},
		{"a?b", "axb", false}, // a question mark begins a query, nothing else
	} {
		if got := like(c.pattern, c.key); got != c.want {
			t.Errorf("like(%q, %q) = %v", c.pattern, c.key, got)
		}
	}
}

// TestCacheDamage: a bit flipped in a body, a file cut off.
func TestCacheDamage(t *testing.T) {
	dir, s := cacheDir(t)
	s.Close()
	path := filepath.Join(dir, "00000001.segment")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, bytes.Repeat([]byte{5}, 1005))
	if at < 0 {
		t.Fatal("the body of 5.png is not in the first segment")
	}
	flipped := bytes.Clone(whole)
	flipped[at+500] ^= 0x40
	rewriteFile(t, path, flipped)
	code, out, errOut := runVerb(t, "cache", "verify", dir)
	if code != exitPartial || !strings.Contains(out, "00000001.segment: body at ") || !strings.Contains(out, ", a stored response: shop www.example.org/img/5.png\n") ||
		!strings.Contains(out, "\n50 of 51 records good") || !strings.Contains(errOut, "1 part damaged") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	code, out, _ = runVerb(t, "cache", "verify", "--json", dir)
	var result verified
	if err := json.Unmarshal([]byte(out), &result); code != exitPartial || err != nil || result.Good != 50 || len(result.Damage) != 1 || result.Damage[0].Part != "body" || !result.Damage[0].Live {
		t.Errorf("exit %d, %v\n%s", code, err, out)
	}

	rewriteFile(t, path, whole[:len(whole)/8])
	code, out, _ = runVerb(t, "cache", "verify", dir)
	if code != exitPartial || !strings.Contains(out, "00000001.segment: size at 16384, 114688 bytes\n") {
		t.Errorf("cut off: exit %d\n%s", code, out)
	}
	var sum disk.Summary
	code, out, _ = runVerb(t, "cache", "stats", "--json", dir)
	if err := json.Unmarshal([]byte(out), &sum); code != exitOK || err != nil || sum.Live.Records < 5 || sum.Live.Records > 16 {
		t.Errorf("of a segment cut off after 16 KiB a part is left: exit %d, %v\n%s", code, err, out)
	}
	code, out, _ = runVerb(t, "cache", "ls", "--json", dir)
	if n := strings.Count(out, "\n"); code != exitOK || int64(n) != sum.Live.Records {
		t.Errorf("%d listed, %d live: exit %d", n, sum.Live.Records, code)
	}
}

func rewriteFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCacheRefuses what is no cache, or none that this version reads.
func TestCacheRefuses(t *testing.T) {
	dir, s := cacheDir(t)
	s.Close()
	super := filepath.Join(dir, "freshet-cache")
	b, err := os.ReadFile(super)
	if err != nil {
		t.Fatal(err)
	}
	newer, damaged := bytes.Clone(b), bytes.Clone(b)
	newer[24]++
	binary.LittleEndian.PutUint64(newer[16:], xxh3.Hash(newer[24:]))
	damaged[40] ^= 1
	foreign := t.TempDir()
	rewriteFile(t, filepath.Join(foreign, "notes.txt"), []byte("x"))
	for _, verb := range []string{"stats", "ls", "verify"} {
		for _, c := range []struct {
			super []byte
			args  []string
			code  int
			want  string
		}{
			{b, []string{filepath.Join(dir, "nowhere")}, exitNotFound, "holds no disk cache"},
			{b, []string{t.TempDir()}, exitNotFound, "holds no disk cache"},
			{b, []string{foreign}, exitError, "notes.txt"},
			{newer, []string{dir}, exitError, "newer version of Freshet"},
			{damaged, []string{dir}, exitError, "superblock is damaged"},
			{b, nil, exitUsage, "takes one DIR"},
			{b, []string{dir, dir}, exitUsage, "takes one DIR"},
			{b, []string{dir, "--none"}, exitUsage, "--none"},
		} {
			rewriteFile(t, super, c.super)
			code, out, errOut := runVerb(t, append([]string{"cache", verb}, c.args...)...)
			if code != c.code || !strings.Contains(errOut, c.want) || out != "" {
				t.Errorf("cache %s %v: exit %d, want %d: %q\n%s", verb, c.args, code, c.code, errOut, out)
			}
		}
	}
	if code, _, _ := runVerb(t, "cache", "drop"); code != exitUsage {
		t.Errorf("cache drop: exit %d", code)
	}
}
