// Package storetest is what every store of responses must do, as a suite of tests.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/internal/command"
	"freshet/internal/header"
)

// Response makes a small stored response for tests.
func Response(t testing.TB, key string, log command.LogID, born command.Seq, body []byte) *response.Response {
	t.Helper()
	h := new(header.Block)
	if err := h.Add("Content-Type", "text/plain"); err != nil {
		t.Fatal(err)
	}
	return &response.Response{
		Key: response.NewKey(key), Status: 200, Header: h, Body: response.Memory(body), Log: log, Born: born,
	}
}

// Content is the whole body of r, read through Open, and held against Bytes if that
// gives any.
func Content(r *response.Response) ([]byte, error) {
	from, err := r.Body.Open(0, r.Body.Len())
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(from)
	if e := from.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != r.Body.Len() {
		return nil, fmt.Errorf("%d bytes of %d", len(b), r.Body.Len())
	}
	if ram := r.Body.Bytes(); ram != nil && !bytes.Equal(ram, b) {
		return nil, errors.New("what Open gives and Bytes differ")
	}
	return b, nil
}

// text is the body of r as a string, "" for a miss.
func text(t testing.TB, r *response.Response) string {
	t.Helper()
	if r == nil {
		return ""
	}
	b, err := Content(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Run holds a store to the contract. open makes an empty store that has room for
// at least 4 MiB; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	test := func(name string, fn func(t *testing.T, s store.Store)) {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			fn(t, s)
		})
	}
	test("what was put is there", func(t *testing.T, s store.Store) {
		r := Response(t, "a", 1, 1, []byte("hello"))
		s.Put(r)
		if got := text(t, s.Get(r.Key)); got != "hello" {
			t.Fatalf("got %q", got)
		}
		if s.Get(response.NewKey("b")) != nil {
			t.Fatal("something stands under a key that nothing was put under")
		}
	})
	test("a newer one replaces an older one at once", func(t *testing.T, s store.Store) {
		for born := command.Seq(1); born <= 50; born++ {
			s.Put(Response(t, "a", 1, born, []byte(born.String())))
			if got := s.Get(response.NewKey("a")); got == nil || got.Born != born {
				t.Fatalf("after born %v: got %v", born, got)
			}
		}
	})
	test("an older one never replaces a newer one", func(t *testing.T, s store.Store) {
		s.Put(Response(t, "a", 1, 7, []byte("new")))
		s.Put(Response(t, "a", 1, 6, []byte("old")))
		if got := s.Get(response.NewKey("a")); got == nil || got.Born != 7 {
			t.Fatalf("got %+v", got)
		}
		restarted := Response(t, "a", 1, 5, []byte("other generation"))
		restarted.Generation = 1
		s.Put(restarted)
		if got := s.Get(response.NewKey("a")); got == nil || got.Born != 5 || got.Generation != 1 {
			t.Fatal("what was asked for after a restart of the log must replace")
		}
		s.Put(Response(t, "a", 2, 1, []byte("other log")))
		if got := s.Get(response.NewKey("a")); got == nil || got.Log != 2 {
			t.Fatal("another log's response must replace, its sequences have no order with the old ones")
		}
	})
	test("delete", func(t *testing.T, s store.Store) {
		s.Put(Response(t, "a", 1, 1, []byte("x")))
		s.Delete(response.NewKey("a"))
		if s.Get(response.NewKey("a")) != nil {
			t.Fatal("still there")
		}
		s.Delete(response.NewKey("never there"))
	})
	test("keys that share a sum are told apart", func(t *testing.T, s store.Store) {
		r := Response(t, "a", 1, 1, []byte("x"))
		s.Put(r)
		forged := response.Key{Sum: r.Key.Sum, Text: "another"}
		if s.Get(forged) != nil {
			t.Fatal("a response was given for a key that only shares its hash")
		}
	})
	test("one that is too large is not kept", func(t *testing.T, s store.Store) {
		s.Put(Response(t, "big", 1, 1, make([]byte, s.MaxSize()+1)))
		if s.Get(response.NewKey("big")) != nil {
			t.Fatal("kept")
		}
	})
	test("more than fits stays within the room", func(t *testing.T, s store.Store) {
		const n, size = 500, 64 << 10
		for i := range n {
			s.Put(Response(t, fmt.Sprint(i), 1, 1, make([]byte, size)))
		}
		held := 0
		for i := range n {
			if s.Get(response.NewKey(fmt.Sprint(i))) != nil {
				held++
			}
		}
		if held == 0 {
			t.Error("nothing is held")
		}
		if held == n {
			t.Errorf("all %d responses of %d bytes are held: is the size not bounded?", n, size)
		}
	})
	test("what may be there and what is not", func(t *testing.T, s store.Store) {
		r := Response(t, "a", 1, 1, []byte("x"))
		if s.Has(r.Key) {
			t.Error("an empty store has something")
		}
		s.Put(r)
		if !s.Has(r.Key) {
			t.Error("what was put is not there")
		}
		s.Delete(r.Key)
		if s.Has(r.Key) {
			t.Error("what was deleted is there")
		}
	})
	test("capacity", func(t *testing.T, s store.Store) {
		if s.Capacity() < 4<<20 || s.MaxSize() <= 0 || s.MaxSize() > s.Capacity() {
			t.Errorf("capacity %d, largest response %d", s.Capacity(), s.MaxSize())
		}
	})
	test("everything that is stored comes back", everything)
	test("no body and an empty one", func(t *testing.T, s store.Store) {
		none := Response(t, "none", 1, 1, nil)
		none.Body = nil
		s.Put(none)
		s.Put(Response(t, "empty", 1, 1, []byte{}))
		if r := s.Get(none.Key); r == nil || r.Body != nil {
			t.Errorf("without a body: %+v", r)
		}
		r := s.Get(response.NewKey("empty"))
		if r == nil || r.Body == nil || r.Body.Len() != 0 {
			t.Fatalf("with an empty body: %+v", r)
		}
		if b, err := Content(r); err != nil || len(b) != 0 {
			t.Errorf("%q, %v", b, err)
		}
	})
	test("bodies of all sizes, opened anywhere", openAnywhere)
	test("what is read while it is evicted is right or an error", readWhileEvicted)
	test("many at once", func(t *testing.T, s store.Store) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 300 {
					key := fmt.Sprint(i % 50)
					switch (i + g) % 4 {
					case 0:
						s.Put(Response(t, key, 1, command.Seq(i), []byte(key)))
					case 3:
						s.Delete(response.NewKey(key))
					default:
						r := s.Get(response.NewKey(key))
						if r == nil {
							continue
						}
						if b, err := Content(r); err == nil && string(b) != key {
							t.Errorf("key %s holds the body of %s", key, b)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}
