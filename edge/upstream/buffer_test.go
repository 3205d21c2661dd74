package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"freshet/edge/response"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBuffer is a buffer with one client, of a body that may be cut if there is a load.
func testBuffer(length int64, load func(context.Context, int64) (response.Body, error)) *buffer {
	b := newBuffer(new(atomic.Int64), 1)
	b.begin(length, load)
	return b
}

// fill writes body into b in pieces, as a parent would send it.
func fill(ctx context.Context, b *buffer, body []byte, piece int) error {
	for len(body) > 0 {
		room, err := b.room(ctx)
		if err != nil {
			return err
		}
		n := copy(room[:min(len(room), piece)], body)
		if err := b.commit(n); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

func randomBody(n int) []byte {
	body := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(body)
	return body
}

func TestEveryReaderGetsTheWholeBody(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int
		length int64
	}{
		{"length known", 300_000, 300_000},
		{"length not known", 300_000, -1},
		{"empty", 0, 0},
		{"one byte", 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body, b := randomBody(tc.size), testBuffer(tc.length, nil)
				got := make(chan []byte)
				for i := range 5 {
					go func() {
						time.Sleep(time.Duration(i) * 10 * time.Millisecond) // some come late
						r, _ := b.reader(t.Context())
						defer r.Close()
						text, err := io.ReadAll(r)
						if err != nil {
							t.Error(err)
						}
						got <- text
					}()
				}
				for rest := body; len(rest) > 0; rest = rest[min(len(rest), 10_000):] {
					if err := fill(t.Context(), b, rest[:min(len(rest), 10_000)], 3_000); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Millisecond)
				}
				b.finish(nil)
				for range 5 {
					if !bytes.Equal(<-got, body) {
						t.Error("a reader's bytes differ")
					}
				}
				if !bytes.Equal(b.whole(), body) {
					t.Error("the whole differs")
				}
			})
		})
	}
}

func TestNobodyHasTheWholeBeforeItIsFinished(t *testing.T) {
	b := testBuffer(6, nil)
	r, _ := b.reader(t.Context())
	defer r.Close()
	if err := fill(t.Context(), b, []byte("abc"), 3); err != nil {
		t.Fatal(err)
	}
	if err := fill(t.Context(), b, []byte("def"), 3); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := r.Read(p); string(p[:n]) != "abc" || err != nil {
		t.Errorf("before the end: %q, %v", p[:n], err)
	}
	b.finish(nil)
	if n, err := r.Read(p); string(p[:n]) != "def" || err != nil {
		t.Errorf("after the end: %q, %v", p[:n], err)
	}
}

func TestABodyThatIsNotKeptWaitsForItsSlowestReaderInBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20 << 20
		body, b := randomBody(size), testBuffer(-1, nil)
		fast, _ := b.reader(t.Context())
		slow, _ := b.reader(t.Context())
		b.release()
		done := make(chan error)
		go func() {
			err := fill(t.Context(), b, body, 64<<10)
			b.finish(err)
			done <- err
		}()
		read := func(r *bodyReader, pause time.Duration) <-chan bool {
			same := make(chan bool, 1)
			go func() {
				defer r.Close()
				var got []byte
				p := make([]byte, 256<<10)
				for {
					n, err := r.Read(p)
					got = append(got, p[:n]...)
					if err != nil {
						same <- err == io.EOF && bytes.Equal(got, body)
						return
					}
					time.Sleep(pause)
				}
			}()
			return same
		}
		a, z := read(fast, 0), read(slow, time.Millisecond)
		held := int64(0)
		for ended := false; !ended; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				ended = true
			case <-time.After(time.Millisecond):
				held = max(held, b.held.Load())
			}
		}
		if !<-a || !<-z {
			t.Error("a reader's bytes differ")
		}
		synctest.Wait() // the readers close after that
		if n := b.held.Load(); n != 0 {
			t.Errorf("%d bytes are still accounted for", n)
		}
		if limit := int64(window + passChunk); held > limit {
			t.Errorf("held %d bytes, the bound is %d", held, limit)
		}
	})
}

func TestABodyThatNobodyReadsNorKeepsIsAbandoned(t *testing.T) {
	b := testBuffer(-1, nil)
	r, _ := b.reader(t.Context())
	b.release()
	if _, err := b.room(t.Context()); err != nil {
		t.Fatalf("with a reader: %v", err)
	}
	r.Close()
	if _, err := b.room(t.Context()); !errors.Is(err, errAbandoned) {
		t.Errorf("without a reader: %v, want errAbandoned", err)
	}
}

func TestABrokenBodyIsBrokenForItsReaders(t *testing.T) {
	b := testBuffer(10, nil)
	r, _ := b.reader(t.Context())
	defer r.Close()
	if err := fill(t.Context(), b, []byte("part"), 4); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	b.finish(broken)
	if text, err := io.ReadAll(r); string(text) != "part" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", text, err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := testBuffer(-1, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, _ := b.reader(ctx)
		defer r.Close()
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	})
}
