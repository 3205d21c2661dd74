package storetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/internal/command"
)

// Pattern is a body of n bytes that is like no other key's, at no place.
func Pattern(key string, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(key))).Read(b) // never fails
	return b
}

// everything: each field of a response comes back as it was put.
func everything(t *testing.T, s store.Store) {
	at := time.Unix(1_700_000_000, 123).UTC()
	put := Response(t, "a", 3, 9, []byte("hello"))
	if err := put.Header.Add("ETag", `"x"`); err != nil {
		t.Fatal(err)
	}
	put.Kind, put.Status, put.Complete, put.Set = response.Slice, 206, 1<<40, 77
	put.Vary = []string{"Accept-Encoding", "Accept-Language"}
	put.Generation = 4
	put.Scopes = []response.ScopeHash{
		response.HashScope(command.Scope{Site: "s", Value: "v"}), response.HashScope(command.Scope{Site: "s", Value: "w"}),
	}
	put.ETag, put.NoTransform, put.Immutable = `"x"`, true, true
	put.LastModified, put.Date, put.Received = at.Add(-time.Hour).Truncate(time.Second), at.Truncate(time.Second), at
	put.RaiseAsOf(12)
	put.RaiseTouches(5)
	s.Put(put)
	got := s.Get(put.Key)
	if got == nil {
		t.Fatal("not there")
	}
	if got.Key != put.Key || got.Kind != put.Kind || got.Status != put.Status || got.Complete != put.Complete || got.Set != put.Set ||
		got.Log != put.Log || got.Born != put.Born || got.AsOf() != 12 || got.Touches() != 5 || got.Generation != put.Generation {
		t.Errorf("got %+v, want %+v", got, put)
	}
	if !reflect.DeepEqual(got.Vary, put.Vary) || !reflect.DeepEqual(got.Scopes, put.Scopes) ||
		!bytes.Equal(got.Header.Wire(), put.Header.Wire()) {
		t.Errorf("got %+v, want %+v", got, put)
	}
	if got.ETag != put.ETag || !got.LastModified.Equal(put.LastModified) || !got.Date.Equal(put.Date) ||
		!got.Received.Equal(put.Received) || !got.NoTransform || !got.Immutable {
		t.Errorf("got %+v, want %+v", got.Facts, put.Facts)
	}
}

// openAnywhere: a body of any size gives the same bytes from any offset, by Read and by
// WriteTo.
func openAnywhere(t *testing.T, s store.Store) {
	for _, n := range []int{1, 63, 64, 4000, 64 << 10, 64<<10 + 1, 100_001, 1 << 20, 2<<20 + 5} {
		key, put := fmt.Sprint("body of ", n), Pattern(fmt.Sprint(n), n)
		r := Response(t, key, 1, 1, put)
		if r.Size() > s.MaxSize()*3/4 { // what holds it needs some room, too
			continue
		}
		s.Put(r)
		got := s.Get(r.Key)
		if got == nil && n > 64<<10 {
			continue // it may have decided so
		}
		if got == nil || got.Body.Len() != int64(n) {
			t.Fatalf("%d bytes: got %+v", n, got)
		}
		if b, err := Content(got); err != nil || !bytes.Equal(b, put) {
			t.Fatalf("%d bytes: %d bytes that are not what was put, %v", n, len(b), err)
		}
		for _, part := range [][2]int{{0, 0}, {0, 1}, {n - 1, 1}, {n, 0}, {n / 3, n / 2}, {n / 2, n - n/2}} {
			for _, by := range []func(io.Writer, io.Reader) (int64, error){byRead, byWriteTo} {
				from, err := got.Body.Open(int64(part[0]), int64(part[1]))
				if err != nil {
					t.Fatalf("%d bytes: open %v: %v", n, part, err)
				}
				var b bytes.Buffer
				if _, err := by(&b, from); err != nil || !bytes.Equal(b.Bytes(), put[part[0]:part[0]+part[1]]) {
					t.Errorf("%d bytes: %v gives %d bytes that are not right, %v", n, part, b.Len(), err)
				}
				if err := from.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func byRead(w io.Writer, r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{r})
}

func byWriteTo(w io.Writer, r io.Reader) (int64, error) {
	if from, ok := r.(io.WriterTo); ok {
		return from.WriteTo(w)
	}
	return byRead(w, r)
}

// readWhileEvicted: readers of bodies that are evicted under their hands get the right
// bytes or an error.
func readWhileEvicted(t *testing.T, s store.Store) {
	size := int(min(s.MaxSize()/2, 150<<10))
	const keys = 20
	bodies := map[string][]byte{}
	for i := range keys {
		bodies[fmt.Sprint(i)] = Pattern(fmt.Sprint(i), size)
	}
	stop := make(chan struct{})
	var readers, writer sync.WaitGroup
	for g := range 4 {
		readers.Go(func() {
			for i := g; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprint(i % keys)
				r := s.Get(response.NewKey(key))
				if r == nil {
					continue
				}
				if b, err := Content(r); err == nil && !bytes.Equal(b, bodies[key]) {
					t.Errorf("key %s gives %d bytes that are not right", key, len(b))
				}
			}
		})
	}
	writer.Go(func() {
		for i := range 80 {
			key := fmt.Sprint(i % keys)
			s.Put(Response(t, key, 1, command.Seq(i), bodies[key]))
			filler := fmt.Sprint("filler ", i/2)
			s.Put(Response(t, filler, 1, command.Seq(i), Pattern(filler, size)))
		}
	})
	writer.Wait()
	close(stop)
	readers.Wait()
}
