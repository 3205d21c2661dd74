package main

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/edge/store/disk/record"
	"freshet/edge/store/tiered"
	"freshet/internal/header"
)

// split is how a size is shared out between RAM and disk.
type split struct {
	memory, disk, segment int64
}

// leastMemory is the smallest store in RAM.
const leastMemory = 1 << 20

// splitOf gives RAM one part in memoryShare, and cuts the disk into 64 segments, as a
// disk of ordinary size is, or fewer if the largest object would not fit into one.
func splitOf(size, memoryShare, largest int64) (split, error) {
	s := split{memory: max(size/memoryShare, leastMemory)}
	s.disk = size - s.memory
	s.segment = max(s.disk/64, largest+largest/16+4<<10) &^ (1<<12 - 1)
	if s.disk < 12*s.segment {
		return s, fmt.Errorf("%d bytes are too few for objects of %d bytes: choose a larger trace", size, largest)
	}
	return s, nil
}

// edge is the store of the edge, driven as the edge does it.
type edge struct {
	store  *tiered.Store
	header *header.Block
	body   []byte // of which every response's is a part
	err    error  // what a response that was not the right one had
	splits split
}

func newEdge(dir string, s split, largest int64) (*edge, error) {
	store, err := tiered.Open(tiered.Config{
		Memory: s.memory,
		Disks:  []disk.Config{{Dir: dir, Size: s.disk, SegmentSize: s.segment}},
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	h, err := usualHeader()
	if err != nil {
		return nil, err
	}
	return &edge{store: store, header: h, body: make([]byte, largest), splits: s}, nil
}

func usualHeader() (*header.Block, error) {
	h := new(header.Block)
	for _, f := range [][2]string{
		{"Content-Type", "text/html; charset=utf-8"},
		{"Cache-Control", "public, max-age=86400"},
		{"ETag", `"5f3c-61a8c0de"`},
	} {
		if err := h.Add(f[0], f[1]); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// keyOf is the cache key of an object: all are of the same length.
func keyOf(id uint64) response.Key {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	text := append(make([]byte, 0, 48), "https://www.example.com/"...)
	for _, c := range b {
		text = strconv.AppendUint(text, uint64(c)+256, 16)
	}
	return response.NewKey(string(text))
}

// headCost is what the record of a response takes beside the body.
func headCost() (int, error) {
	h, err := usualHeader()
	if err != nil {
		return 0, err
	}
	b, err := record.Append(nil, record.Place{}, 1, (&edge{header: h}).response(keyOf(1), nil), 0, xxh3.Hash(nil))
	return len(b) - record.PrefixSize, err
}

func (e *edge) response(key response.Key, body []byte) *response.Response {
	return &response.Response{Key: key, Status: 200, Header: e.header, Body: response.Memory(body), Born: 1}
}

// request asks for an object of that size and stores it if it is not there.
func (e *edge) request(id uint64, size int64) (hit bool) {
	key := keyOf(id)
	if r := e.store.Get(key); r != nil {
		if r.Body.Len() != size && e.err == nil {
			e.err = fmt.Errorf("%s has %d bytes instead of %d", key.Text, r.Body.Len(), size)
		}
		return true
	}
	e.store.Put(e.response(key, e.body[:size:size]))
	return false
}

// writes are the bytes that were put on disk so far, and all that were written there.
func (e *edge) writes() (put, written int64) {
	s := e.store.Stats().Disks[0]
	return s.AdmittedBytes, s.WrittenBytes
}

// check reports what went wrong unseen: a disk out of service would look like misses.
func (e *edge) check() error {
	s := e.store.Stats().Disks[0]
	switch {
	case e.err != nil:
		return e.err
	case !s.Up:
		return fmt.Errorf("the disk went out of service")
	case s.Damaged > 0:
		return fmt.Errorf("%d damaged records", s.Damaged)
	case s.Used > s.Capacity:
		return fmt.Errorf("the disk holds %d bytes of %d", s.Used, s.Capacity)
	}
	return nil
}
