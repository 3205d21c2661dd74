package tiered

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/edge/store/memory"
)

// fakeDisk is a disk that counts, refuses and fails as it is told. As the real one it
// gives bodies that do not lie in RAM.
type fakeDisk struct {
	gets, offers, opens atomic.Int64
	refuses             atomic.Bool   // every Offer
	fails               atomic.Bool   // does nothing any more
	rotten              atomic.Bool   // bodies cannot be read
	offerGate           chan struct{} // when not nil, Offer waits for it
	gate                chan struct{} // when not nil, Get, which has found what it found, waits for it

	maxSize int64 // 0: 8 MiB

	mu   sync.Mutex
	held map[string]*response.Response
}

func newFakeDisk() *fakeDisk { return &fakeDisk{held: map[string]*response.Response{}} }

func (d *fakeDisk) Get(key response.Key) *response.Response {
	d.gets.Add(1)
	d.mu.Lock()
	r := d.held[key.Text]
	d.mu.Unlock()
	if d.gate != nil {
		<-d.gate
	}
	if r == nil || d.fails.Load() || r.Key != key {
		return nil
	}
	if r.Body != nil && r.Body.Len() > 64<<10 {
		return r.WithBody(fakeBody{d, r.Body.Bytes()})
	}
	return r.WithBody(r.Body)
}

func (d *fakeDisk) Has(key response.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held[key.Text] != nil && !d.fails.Load()
}

func (d *fakeDisk) Put(r *response.Response) { d.Offer(r) }

func (d *fakeDisk) Offer(r *response.Response) bool {
	d.offers.Add(1)
	if d.offerGate != nil {
		<-d.offerGate
	}
	if d.fails.Load() || d.refuses.Load() || r.Kind == response.Pass || r.Pieces != nil {
		return false
	}
	if r.Body != nil && r.Body.Bytes() == nil && r.Body.Len() > 0 {
		content, err := readAll(r.Body)
		if err != nil {
			return false
		}
		r = r.WithBody(response.Memory(content))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if held := d.held[r.Key.Text]; held != nil && r.OlderThan(held) {
		return false
	}
	d.held[r.Key.Text] = r
	return true
}

func (d *fakeDisk) Delete(key response.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, key.Text)
}

func (d *fakeDisk) MaxSize() int64    { return cmp.Or(d.maxSize, 8<<20) }
func (d *fakeDisk) Capacity() int64   { return 1 << 30 }
func (d *fakeDisk) Close()            {}
func (d *fakeDisk) Stats() disk.Stats { return disk.Stats{Up: !d.fails.Load()} }

// fakeBody is a body on a fakeDisk.
type fakeBody struct {
	disk    *fakeDisk
	content []byte
}

func (b fakeBody) Len() int64    { return int64(len(b.content)) }
func (b fakeBody) Bytes() []byte { return nil }

func (b fakeBody) Open(off, n int64) (io.ReadCloser, error) {
	b.disk.opens.Add(1)
	if b.disk.rotten.Load() {
		return nil, errors.New("rotten")
	}
	return io.NopCloser(bytes.NewReader(b.content[off : off+n])), nil
}

func readAll(b response.Body) ([]byte, error) {
	reader, err := b.Open(0, b.Len())
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	return io.ReadAll(reader)
}

// newStore joins RAM of a size with fakes.
func newStore(t testing.TB, size int64, disks ...*fakeDisk) *Store {
	t.Helper()
	ram, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	volumes := make([]*volume, len(disks))
	for i, d := range disks {
		volumes[i] = newVolume(string(rune('a'+i)), d.Capacity(), d)
	}
	s := join(ram, volumes)
	t.Cleanup(s.Close)
	return s
}
