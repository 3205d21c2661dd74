package catalog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"freshet/origin/blob"
	"freshet/origin/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t *testing.T) *Catalog {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func info(path, content string) object.Info {
	return object.Info{
		Path: path, Size: int64(len(content)), Digest: sha256.Sum256([]byte(content)),
		ContentType: "text/plain", Modified: epoch, Headers: map[string]string{"Cache-Control": "no-cache"},
	}
}

func always(*object.Info) error { return nil }

func put(t *testing.T, c *Catalog, site string, i object.Info) *object.Info {
	t.Helper()
	old, err := c.Put(site, i, always)
	if err != nil {
		t.Fatal(err)
	}
	return old
}

func TestPutGetDelete(t *testing.T) {
	c := open(t)
	one, two := info("/a", "one"), info("/a", "two!")
	if old := put(t, c, "s", one); old != nil {
		t.Fatalf("something stood there: %+v", old)
	}
	got, err := c.Get("s", "/a")
	if err != nil || !got.Same(one) || !got.Modified.Equal(epoch) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := c.Get("other", "/a"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("another site has it too: %v", err)
	}
	same := one
	same.Modified = epoch.Add(time.Hour)
	if old := put(t, c, "s", same); old == nil || !old.Same(same) {
		t.Fatalf("old is %+v", old)
	}
	if got, _ := c.Get("s", "/a"); !got.Modified.Equal(epoch) {
		t.Fatal("putting the same moved its time")
	}
	if old := put(t, c, "s", two); old == nil || !old.Same(one) {
		t.Fatalf("old is %+v", old)
	}
	if n, size, err := c.Totals(); n != 1 || size != 4 || err != nil {
		t.Fatalf("totals %d, %d, %v", n, size, err)
	}
	if err := c.Delete("s", "/a", epoch, always); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete("s", "/a", epoch, always); !errors.Is(err, ErrNotFound) {
		t.Fatalf("deleted twice: %v", err)
	}
	if n, size, err := c.Totals(); n != 0 || size != 0 || err != nil {
		t.Fatalf("totals %d, %d, %v", n, size, err)
	}
}

func TestCheckRefuses(t *testing.T) {
	c := open(t)
	put(t, c, "s", info("/a", "one"))
	refusal := errors.New("refused")
	var seen *object.Info
	check := func(old *object.Info) error { seen = old; return refusal }
	if _, err := c.Put("s", info("/a", "two"), check); !errors.Is(err, refusal) || seen == nil || seen.Size != 3 {
		t.Fatalf("error %v, check saw %+v", err, seen)
	}
	if _, err := c.Put("s", info("/b", "two"), check); !errors.Is(err, refusal) || seen != nil {
		t.Fatalf("error %v, check saw %+v", err, seen)
	}
	if err := c.Delete("s", "/a", epoch, check); !errors.Is(err, refusal) {
		t.Fatal(err)
	}
	list, _, err := c.List("s", "", "", 10)
	if err != nil || len(list) != 1 || !list[0].Same(info("/a", "one")) {
		t.Fatalf("the catalog has changed: %+v, %v", list, err)
	}
}

func TestList(t *testing.T) {
	c := open(t)
	paths := []string{"/", "/a", "/a-b", "/a.txt", "/a/b", "/a/c", "/b", "/ü"}
	for _, p := range paths {
		put(t, c, "s", info(p, p))
		put(t, c, "s2", info(p+"x", p))
	}
	all := func(prefix string, limit int) (got []string) {
		for after := ""; ; {
			page, more, err := c.List("s", prefix, after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("%d objects, %v", len(page), err)
			}
			for _, i := range page {
				got = append(got, i.Path)
			}
			if !more {
				return got
			}
			after = page[len(page)-1].Path
		}
	}
	for _, prefix := range []string{"", "/", "/a", "/a/", "/a/b", "/nothing", "/zzz", "a"} {
		var want []string
		for _, p := range paths {
			if strings.HasPrefix(p, prefix) {
				want = append(want, p)
			}
		}
		for limit := 1; limit <= len(paths)+1; limit++ {
			if got := all(prefix, limit); !slices.Equal(got, want) {
				t.Fatalf("prefix %q by %d: %q, want %q", prefix, limit, got, want)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "catalog.db")
	c, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); !errors.Is(err, ErrInUse) {
		t.Fatalf("error %v, want ErrInUse", err)
	}
	err = c.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketTotals).Put(keyFormat, number(format+1)) })
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); !errors.Is(err, ErrForeign) {
		t.Fatalf("error %v, want ErrForeign", err)
	}
}

// TestModel compares the catalog with plain maps over random histories, closing and
// opening it in between: objects, totals, references and garbage.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir := rapidDir(t)
		file := filepath.Join(dir, "catalog.db")
		c, err := Open(file)
		if err != nil {
			t.Fatal(err)
		}
		c.db.NoSync = true // no crash comes: only what is written counts here
		defer func() { c.Close() }()
		objects := map[string]object.Info{}    // by site NUL path
		garbage := map[blob.Digest]time.Time{} // as the catalog should list it
		now := epoch
		where := func() (string, string) {
			return rapid.SampledFrom([]string{"s", "s2"}).Draw(t, "site"), rapid.SampledFrom([]string{"/a", "/a/b", "/b"}).Draw(t, "path")
		}
		used := func(d blob.Digest) bool {
			for _, i := range objects {
				if i.Digest == d {
					return true
				}
			}
			return false
		}
		unlink := func(key string) {
			old, ok := objects[key]
			delete(objects, key)
			if ok && !used(old.Digest) {
				garbage[old.Digest] = now
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				site, path := where()
				i := info(path, rapid.SampledFrom([]string{"x", "yy", "zzz"}).Draw(t, "content"))
				i.Modified = now
				old, err := c.Put(site, i, always)
				if err != nil {
					t.Fatal(err)
				}
				key := site + "\x00" + path
				was, ok := objects[key]
				if ok != (old != nil) || ok && !was.Same(*old) {
					t.Fatalf("old is %+v, want %+v", old, was)
				}
				if !ok || !was.Same(i) {
					unlink(key)
					objects[key] = i
					delete(garbage, i.Digest)
				}
			},
			"delete": func(t *rapid.T) {
				site, path := where()
				key := site + "\x00" + path
				_, ok := objects[key]
				if err := c.Delete(site, path, now, always); ok != (err == nil) {
					t.Fatalf("there: %v, error %v", ok, err)
				}
				unlink(key)
			},
			"orphan": func(t *rapid.T) {
				d := blob.Digest(sha256.Sum256([]byte(rapid.SampledFrom([]string{"x", "yy", "o"}).Draw(t, "content"))))
				if err := c.AddGarbage(now, d); err != nil {
					t.Fatal(err)
				}
				if _, listed := garbage[d]; !listed && !used(d) {
					garbage[d] = now
				}
			},
			"sweep": func(t *rapid.T) {
				list, err := c.Garbage(now, blob.Digest{}, 2)
				if err == nil {
					err = c.ForgetGarbage(list)
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range list {
					if since, ok := garbage[g.Digest]; !ok || !since.Equal(g.Since) || used(g.Digest) {
						t.Fatalf("%s is no garbage since %s", g.Digest, g.Since)
					}
					delete(garbage, g.Digest)
				}
			},
			"reopen": func(t *rapid.T) {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				if c, err = Open(file); err != nil {
					t.Fatal(err)
				}
				c.db.NoSync = true
			},
			"time": func(*rapid.T) { now = now.Add(time.Second) },
			"": func(t *rapid.T) {
				var size int64
				for key, want := range objects {
					site, path, _ := strings.Cut(key, "\x00")
					got, err := c.Get(site, path)
					if err != nil || !got.Same(want) || !got.Modified.Equal(want.Modified) {
						t.Fatalf("%q is %+v, %v; want %+v", key, got, err, want)
					}
					if yes, err := c.Referenced(want.Digest); !yes || err != nil {
						t.Fatalf("%s is not referenced, %v", want.Digest, err)
					}
					size += want.Size
				}
				if n, s, err := c.Totals(); int(n) != len(objects) || s != size || err != nil {
					t.Fatalf("totals %d, %d, %v; want %d, %d", n, s, err, len(objects), size)
				}
				list, err := c.Garbage(now.Add(time.Hour), blob.Digest{}, 100)
				if err != nil {
					t.Fatal(err)
				}
				got := map[blob.Digest]time.Time{}
				for _, g := range list {
					got[g.Digest] = g.Since.UTC()
				}
				if !maps.Equal(got, garbage) {
					t.Fatalf("garbage %v, want %v", got, garbage)
				}
			},
		})
	})
}

// rapidDir is a directory that lives as long as one history.
func rapidDir(t *rapid.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "catalog")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestConcurrentPuts(t *testing.T) {
	c := open(t)
	const writers, each = 8, 25
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := range each {
				_, e := c.Put("s", info(fmt.Sprintf("/%d/%d", w, i), "x"), always)
				err = errors.Join(err, e)
			}
			errs <- err
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n, size, err := c.Totals(); n != writers*each || size != writers*each || err != nil {
		t.Fatalf("totals %d, %d, %v", n, size, err)
	}
}
