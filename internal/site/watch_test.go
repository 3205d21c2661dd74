package site

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"freshet/internal/cluster"
	"freshet/internal/cluster/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faultyKV fails lists while it has an error.
type faultyKV struct {
	cluster.KV
	mu    sync.Mutex
	err   error
	lists int
}

func (kv *faultyKV) List(ctx context.Context, prefix string, after uint64) (cluster.Pairs, error) {
	kv.mu.Lock()
	kv.lists++
	err := kv.err
	kv.mu.Unlock()
	if err != nil {
		return cluster.Pairs{}, err
	}
	return kv.KV.List(ctx, prefix, after)
}

func (kv *faultyKV) fail(err error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.err = err
}

func (kv *faultyKV) asked() int {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	return kv.lists
}

// watched is a Watch under way on a cluster of its own, within a bubble.
type watched struct {
	t    *testing.T
	kv   *faultyKV
	docs *cluster.Documents
	log  *strings.Builder
	last *Snapshot
	seen int
}

func watch(t *testing.T, err error) *watched {
	c, newErr := local.New(local.Config{})
	if newErr != nil {
		t.Fatal(newErr)
	}
	kv := &faultyKV{KV: c, err: err}
	w := &watched{t: t, kv: kv, docs: cluster.NewDocuments(kv, cluster.SitesPrefix), log: new(strings.Builder)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Watch(ctx, w.docs, slog.New(slog.NewTextHandler(w.log, nil)), func(s *Snapshot) {
			w.last = s
			w.seen++
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return w
}

func (w *watched) put(name, text string) {
	w.t.Helper()
	if _, err := w.docs.Put(w.t.Context(), name, []byte(text), "", "", cluster.AnyVersion); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// expect checks how many snapshots there were and which site serves which host.
func (w *watched) expect(seen int, hosts map[string]string) {
	w.t.Helper()
	if w.seen != seen {
		w.t.Errorf("%d snapshots, want %d", w.seen, seen)
	}
	for host, want := range hosts {
		got := ""
		if d := w.last.ByHost(host); d != nil {
			got = d.Site
		}
		if got != want {
			w.t.Errorf("host %s is of site %q, want %q", host, got, want)
		}
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		w.expect(1, map[string]string{"a": ""})
		empty := w.last
		w.put("a", "site: a\nhosts: [a]\n")
		w.expect(2, map[string]string{"a": "a"})
		w.put("b", "site: b\nhosts: [b]\n")
		a := w.last.ByName("a")
		w.put("b", "site: b\nhosts: [c]\n")
		w.expect(4, map[string]string{"a": "a", "b": "", "c": "b"})
		if w.last.ByName("a") != a {
			t.Error("a document that has not changed was parsed again")
		}
		if w.last.Version() == empty.Version() {
			t.Error("the version has not changed")
		}
		if err := w.docs.Delete(t.Context(), "a", cluster.AnyVersion); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.expect(5, map[string]string{"a": "", "c": "b"})
		if empty.ByHost("a") != nil || w.log.Len() > 0 {
			t.Errorf("the first snapshot has changed, or something was logged: %s", w.log)
		}
	})
}

func TestWatchKeepsTheLastGoodVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		w.put("a", "site: a\nhosts: [a]\n")
		w.put("a", "site: a\nhosts: [A]\n")
		w.put("bad", "hosts: [bad]\n")
		w.put("liar", "site: other\nhosts: [other]\n")
		w.expect(5, map[string]string{"a": "a", "bad": "", "other": ""})
		if got := strings.Count(w.log.String(), "level=ERROR"); got != 3 {
			t.Errorf("%d errors logged, want one for each text:\n%s", got, w.log)
		}
		for _, want := range []string{"site=a version=2 kept=true", "must be in lower case", "site=bad version=1 kept=false", "the text is of site other"} {
			if !strings.Contains(w.log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, w.log)
			}
		}
		w.put("a", "site: a\nhosts: [a2]\n")
		w.put("bad", "site: bad\nhosts: [bad]\n")
		w.expect(7, map[string]string{"a": "", "a2": "a", "bad": "bad"})
	})
}

func TestWatchKeepsWhatIsDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		w.put("a", "site: a\nhosts: [a]\n")
		record, err := w.kv.Get(t.Context(), cluster.SitesPrefix+"/current/a")
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"{", "["} {
			if _, err := w.kv.Put(t.Context(), record.Key, []byte(value), cluster.Any); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.expect(4, map[string]string{"a": "a"})
		if got := strings.Count(w.log.String(), "stored site document is damaged"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, w.log)
		}
		if _, err := w.kv.Put(t.Context(), record.Key, record.Value, cluster.Any); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.expect(5, map[string]string{"a": "a"})
	})
}

func TestWatchReportsConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, nil)
		w.put("b", "site: b\nhosts: [x]\n")
		w.put("a", "site: a\nhosts: [x]\n")
		w.expect(3, map[string]string{"x": "a"})
		if !strings.Contains(w.log.String(), "host x of site b belongs to site a already") {
			t.Errorf("the log lacks the conflict:\n%s", w.log)
		}
	})
}

func TestWatchRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, errors.New("out of reach"))
		w.expect(0, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		// 0.1 s doubling up to 5 s, each at least half of it: 6 to reach the last, then
		// every 2.5 to 5 s.
		if n := w.kv.asked(); n < 16 || n > 30 {
			t.Errorf("asked %d times within a minute", n)
		}
		if got := strings.Count(w.log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d warnings, want one:\n%s", got, w.log)
		}
		w.kv.fail(nil)
		time.Sleep(cluster.MaxRetry)
		synctest.Wait()
		w.expect(1, nil)
		w.put("a", "site: a\nhosts: [a]\n")
		w.expect(2, map[string]string{"a": "a"})
		if !strings.Contains(w.log.String(), "level=INFO") {
			t.Errorf("that it works again is not logged:\n%s", w.log)
		}

		// The last snapshot stands while the cluster is away; what came meanwhile is seen
		// soon after.
		w.kv.fail(errors.New("out of reach again"))
		w.put("b", "site: b\nhosts: [b]\n") // wakes the list under way, which still works
		before := w.seen
		time.Sleep(time.Minute)
		synctest.Wait()
		w.expect(before, map[string]string{"a": "a"})
		w.put("c", "site: c\nhosts: [c]\n")
		w.kv.fail(nil)
		time.Sleep(cluster.MaxRetry)
		synctest.Wait()
		w.expect(before+1, map[string]string{"a": "a", "b": "b", "c": "c"})
	})
}

func TestWatchEndsWhileItWaitsToRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, errors.New("out of reach"))
		time.Sleep(20 * time.Second)
		w.expect(0, nil) // the cleanup ends it
	})
}
