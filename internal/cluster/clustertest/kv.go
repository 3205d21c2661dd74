package clustertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"freshet/internal/cluster"
)

func kv(t *testing.T, h Harness) {
	parts(t, h, map[string]func(*testing.T, fixture){
		"put and get":                  putAndGet,
		"put compares and sets":        putCompares,
		"delete compares":              deleteCompares,
		"same value":                   sameValue,
		"list what stands under":       listUnder,
		"watch wakes":                  listWatch,
		"watch ignores other prefixes": watchIgnoresOthers,
		"watch loses nothing":          watchLosesNothing,
		"odd keys":                     oddKeys,
		"invalid keys":                 invalidKeys,
		"size":                         sizes,
		"prefixes are apart":           pairsApart,
		"concurrent increments":        increments,
		"ended ctx":                    endedCtx,
	})
}

func put(t *testing.T, kv cluster.KV, key, value string, expect uint64) uint64 {
	t.Helper()
	version, err := kv.Put(within(t), key, []byte(value), expect)
	must(t, err)
	return version
}

func putAndGet(t *testing.T, f fixture) {
	c := f.open(t)
	_, err := c.Get(within(t), "a/b")
	mustBe(t, err, cluster.ErrNotFound)
	values := map[string][]byte{"text": []byte("text"), "binary": {0, 1, 255, '\n'}, "empty": {}, "nil": nil}
	for name, value := range values {
		version, err := c.Put(within(t), "a/"+name, value, cluster.Any)
		must(t, err)
		pair, err := f.open(t).Get(within(t), "a/"+name)
		must(t, err)
		if pair.Key != "a/"+name || !bytes.Equal(pair.Value, value) || pair.Version != version || version == 0 {
			t.Errorf("%s: got %+v, put version %d", name, pair, version)
		}
	}
}

func putCompares(t *testing.T, f fixture) {
	c := f.open(t)
	ctx := within(t)
	_, err := c.Put(ctx, "k", []byte("x"), 7)
	mustBe(t, err, cluster.ErrConflict)
	v1 := put(t, c, "k", "1", cluster.Absent)
	_, err = c.Put(ctx, "k", []byte("2"), cluster.Absent)
	mustBe(t, err, cluster.ErrConflict)
	v2 := put(t, c, "k", "2", v1)
	_, err = c.Put(ctx, "k", []byte("3"), v1)
	mustBe(t, err, cluster.ErrConflict)
	v3 := put(t, c, "k", "3", cluster.Any)
	must(t, c.Delete(ctx, "k", cluster.Any))
	_, err = c.Put(ctx, "k", []byte("4"), v3)
	mustBe(t, err, cluster.ErrConflict)
	v4 := put(t, c, "k", "4", cluster.Absent)
	if v1 >= v2 || v2 >= v3 || v3 >= v4 {
		t.Errorf("versions %d, %d, %d, %d do not grow", v1, v2, v3, v4)
	}
}

func deleteCompares(t *testing.T, f fixture) {
	c := f.open(t)
	ctx := within(t)
	must(t, c.Delete(ctx, "k", cluster.Any))
	must(t, c.Delete(ctx, "k", cluster.Absent))
	mustBe(t, c.Delete(ctx, "k", 7), cluster.ErrConflict)
	v1 := put(t, c, "k", "1", cluster.Absent)
	v2 := put(t, c, "k", "2", cluster.Any)
	mustBe(t, c.Delete(ctx, "k", v1), cluster.ErrConflict)
	mustBe(t, c.Delete(ctx, "k", cluster.Absent), cluster.ErrConflict)
	must(t, c.Delete(ctx, "k", v2))
	_, err := c.Get(ctx, "k")
	mustBe(t, err, cluster.ErrNotFound)
}

func sameValue(t *testing.T, f fixture) {
	c := f.open(t)
	v1 := put(t, c, "k", "1", cluster.Absent)
	if v2 := put(t, c, "k", "1", v1); v2 != v1 {
		t.Errorf("the same value again has version %d, had %d", v2, v1)
	}
	before, err := c.List(within(t), "", 0)
	must(t, err)
	put(t, c, "k", "1", cluster.Any)
	after, err := c.List(within(t), "", 0)
	must(t, err)
	if before.Version != after.Version {
		t.Error("the same value again is another version of the list")
	}
}

func listUnder(t *testing.T, f fixture) {
	c := f.open(t)
	for _, key := range []string{"a/c", "a/b", "a/b/d", "ab", "a", "b/a/b"} {
		put(t, c, key, "value of "+key, cluster.Absent)
	}
	tests := []struct {
		prefix string
		keys   []string
	}{
		{"a", []string{"a/b", "a/b/d", "a/c"}},
		{"a/", []string{"a/b", "a/b/d", "a/c"}},
		{"a/b", []string{"a/b/d"}},
		{"b", []string{"b/a/b"}},
		{"c", nil},
		{"", []string{"a", "a/b", "a/b/d", "a/c", "ab", "b/a/b"}},
	}
	for _, test := range tests {
		pairs, err := c.List(within(t), test.prefix, 0)
		must(t, err)
		var keys []string
		for _, pair := range pairs.List {
			keys = append(keys, pair.Key)
			if string(pair.Value) != "value of "+pair.Key || pair.Version == 0 {
				t.Errorf("under %q: %q has %q, version %d", test.prefix, pair.Key, pair.Value, pair.Version)
			}
		}
		if !slices.Equal(keys, test.keys) || pairs.Version == 0 {
			t.Errorf("under %q: %q, version %d, want %q", test.prefix, keys, pairs.Version, test.keys)
		}
	}
}

func listWatch(t *testing.T, f fixture) {
	c := f.open(t)
	writer := f.open(t)
	steps := []struct {
		name string
		do   func()
		want string
	}{
		{"first key", func() { put(t, writer, "s/a", "1", cluster.Absent) }, "s/a=1"},
		{"second key", func() { put(t, writer, "s/b", "1", cluster.Absent) }, "s/a=1 s/b=1"},
		{"new value", func() { put(t, writer, "s/a", "2", cluster.Any) }, "s/a=2 s/b=1"},
		{"deleted", func() { must(t, writer.Delete(within(t), "s/a", cluster.Any)) }, "s/b=1"},
		{"last deleted", func() { must(t, writer.Delete(within(t), "s/b", cluster.Any)) }, ""},
		{"made again", func() { put(t, writer, "s/b", "1", cluster.Absent) }, "s/b=1"},
	}
	pairs, err := c.List(within(t), "s", 0)
	must(t, err)
	seen := map[uint64]bool{pairs.Version: true}
	for _, step := range steps {
		short, cancel := context.WithTimeout(within(t), quiet/3)
		_, err := c.List(short, "s", pairs.Version)
		cancel()
		mustBe(t, err, context.DeadlineExceeded)
		woken := make(chan cluster.Pairs, 1)
		watch := start(t, func(ctx context.Context) error {
			next, err := c.List(ctx, "s", pairs.Version)
			woken <- next
			return err
		})
		step.do()
		must(t, watch.wait(t))
		pairs = <-woken
		var got []string
		for _, pair := range pairs.List {
			got = append(got, pair.Key+"="+string(pair.Value))
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		if want := step.want == ""; seen[pairs.Version] && !want {
			t.Errorf("%s: version %d was another list", step.name, pairs.Version)
		}
		seen[pairs.Version] = true
	}
}

func watchIgnoresOthers(t *testing.T, f fixture) {
	c := f.open(t)
	for _, prefix := range []string{"s", "empty"} {
		t.Run(prefix, func(t *testing.T) {
			put(t, c, "s/a", "1", cluster.Any)
			pairs, err := c.List(within(t), prefix, 0)
			must(t, err)
			short, cancel := context.WithTimeout(within(t), quiet)
			defer cancel()
			watch := start(t, func(context.Context) error {
				_, err := c.List(short, prefix, pairs.Version)
				return err
			})
			for i := range 5 {
				put(t, c, "sa", strconv.Itoa(i), cluster.Any)
				put(t, c, "other/a", strconv.Itoa(i), cluster.Any)
			}
			mustBe(t, watch.wait(t), context.DeadlineExceeded)
		})
	}
}

// watchLosesNothing follows a writer to its last value: versions may be passed over,
// but never backwards, and the last one is seen.
func watchLosesNothing(t *testing.T, f fixture) {
	const last = 200
	c, writer := f.open(t), f.open(t)
	writing := start(t, func(ctx context.Context) error {
		for i := 1; i <= last; i++ {
			if _, err := writer.Put(ctx, "s/count", []byte(strconv.Itoa(i)), cluster.Any); err != nil {
				return err
			}
		}
		return nil
	})
	ctx := within(t)
	var version, pairVersion uint64
	for count := 0; count < last; {
		pairs, err := c.List(ctx, "s", version)
		must(t, err)
		version = pairs.Version
		if len(pairs.List) == 0 {
			continue
		}
		next, err := strconv.Atoi(string(pairs.List[0].Value))
		must(t, err)
		if next <= count || pairs.List[0].Version <= pairVersion {
			t.Fatalf("count %d, version %d after %d, %d", next, pairs.List[0].Version, count, pairVersion)
		}
		count, pairVersion = next, pairs.List[0].Version
	}
	must(t, writing.wait(t))
}

func oddKeys(t *testing.T, f fixture) {
	c := f.open(t)
	keys := []string{
		"a b", "a%2Fb", "a?b=c&d", "a#b", "a+b", "ü/日本語/🌊", "a\\b", `"quoted"`, "a:b@c", "...", "a/..b", "~", "%", "index is stale",
		"*", "[x]", "a;b", "a,b", "<a>", strings.Repeat("k", 512),
	}
	for _, key := range keys {
		version, err := c.Put(within(t), "odd/"+key[:min(len(key), 508)], []byte(key), cluster.Absent)
		if err != nil {
			t.Errorf("put %q: %v", key, err)
			continue
		}
		pair, err := c.Get(within(t), "odd/"+key[:min(len(key), 508)])
		if err != nil || string(pair.Value) != key || pair.Version != version {
			t.Errorf("get %q: %+v, %v", key, pair, err)
		}
		_, err = c.Put(within(t), "odd/"+key[:min(len(key), 508)], []byte("x"), cluster.Absent)
		if !errors.Is(err, cluster.ErrConflict) {
			t.Errorf("put %q anew: %v", key, err)
		}
	}
	pairs, err := c.List(within(t), "odd", 0)
	must(t, err)
	if len(pairs.List) != len(keys) {
		t.Errorf("%d keys listed, want %d", len(pairs.List), len(keys))
	}
	below, err := c.List(within(t), "odd/ü/日本語", 0)
	must(t, err)
	if len(below.List) != 1 || below.List[0].Key != "odd/ü/日本語/🌊" {
		t.Errorf("under an odd prefix: %+v", below.List)
	}
}

func invalidKeys(t *testing.T, f fixture) {
	c := f.open(t)
	ctx := within(t)
	for _, key := range []string{"", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a\x00b", "a\nb", "\xff", "a\u00a0b", strings.Repeat("k", 513)} {
		_, err := c.Get(ctx, key)
		_, err2 := c.Put(ctx, key, nil, cluster.Any)
		err3 := c.Delete(ctx, key, cluster.Any)
		for _, err := range []error{err, err2, err3} {
			if !errors.Is(err, cluster.ErrInvalid) {
				t.Errorf("key %q: error %v, want %v", key, err, cluster.ErrInvalid)
			}
		}
	}
	_, err := c.List(ctx, "a//b", 0)
	mustBe(t, err, cluster.ErrInvalid)
}

func sizes(t *testing.T, f fixture) {
	c := f.open(t)
	key := "size/" + strings.Repeat("ü", 250)
	largest := bytes.Repeat([]byte{0xff}, cluster.MaxValue)
	_, err := c.Put(within(t), key, largest, cluster.Absent)
	must(t, err)
	pair, err := c.Get(within(t), key)
	must(t, err)
	if !bytes.Equal(pair.Value, largest) {
		t.Error("the largest value came back changed")
	}
	_, err = c.Put(within(t), key, append(largest, 0), cluster.Any)
	mustBe(t, err, cluster.ErrTooLarge)
}

func pairsApart(t *testing.T, f fixture) {
	c, other := f.open(t), f.Open(t, f.prefix+"-x")
	put(t, c, "k", "1", cluster.Absent)
	put(t, other, "k", "2", cluster.Absent)
	pair, err := c.Get(within(t), "k")
	must(t, err)
	pairs, err := c.List(within(t), "", 0)
	must(t, err)
	if string(pair.Value) != "1" || len(pairs.List) != 1 {
		t.Errorf("value %q, list %+v", pair.Value, pairs.List)
	}
}

// increments has many writers count one key up by compare-and-set: none is lost.
func increments(t *testing.T, f fixture) {
	const writers, each = 6, 10
	var group sync.WaitGroup
	errs := make(chan error, writers)
	for range writers {
		c := f.open(t)
		group.Go(func() {
			for range each {
				if err := increment(within(t), c); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	pair, err := f.open(t).Get(within(t), "count")
	must(t, err)
	if want := strconv.Itoa(writers * each); string(pair.Value) != want {
		t.Errorf("counted to %s, want %s", pair.Value, want)
	}
}

func increment(ctx context.Context, kv cluster.KV) error {
	for {
		pair, err := kv.Get(ctx, "count")
		if err != nil && !errors.Is(err, cluster.ErrNotFound) {
			return err
		}
		count, _ := strconv.Atoi(string(pair.Value))
		_, err = kv.Put(ctx, "count", fmt.Append(nil, count+1), pair.Version)
		if !errors.Is(err, cluster.ErrConflict) {
			return err
		}
	}
}

func endedCtx(t *testing.T, f fixture) {
	c := f.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Get(ctx, "k")
	mustBe(t, err, context.Canceled)
	_, err = c.Put(ctx, "k", nil, cluster.Any)
	mustBe(t, err, context.Canceled)
	mustBe(t, c.Delete(ctx, "k", cluster.Any), context.Canceled)
	_, err = c.List(ctx, "", 0)
	mustBe(t, err, context.Canceled)
	_, err = c.Nodes(ctx, 0)
	mustBe(t, err, context.Canceled)
	_, err = c.Leader(ctx, "e")
	mustBe(t, err, context.Canceled)
}
