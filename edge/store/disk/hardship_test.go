package disk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"freshet/edge/response"
	"freshet/edge/store/disk"
	"freshet/internal/command"
	"freshet/internal/files/filestest"
	"freshet/internal/header"
)

// hardship is the load that the tests of power cuts and of faults put on a store, with
// the memory of what was put, to judge any answer by.
type hardship struct {
	r       *rand.Rand
	fs      *filestest.FS
	config  disk.Config
	largest int // body, in bytes
	keys    []*history
	buffer  []byte
}

// history is what happened to one key.
type history struct {
	key    response.Key
	sums   []uint64 // of the bodies of version 1, 2, ...
	events []event
}

// event is a put that the store took, or a delete.
type event struct {
	version  int // that was put, or the last one before a delete
	deleted  bool
	from, to int // points of the journal
	at       time.Time
}

// newHardship makes a load on a store of that size on a disk of its own.
func newHardship(seed uint64, keys, largest int, size, segment int64) *hardship {
	h := &hardship{
		r: rand.New(rand.NewPCG(seed, 0)), fs: filestest.New(), largest: largest, buffer: make([]byte, largest),
		config: disk.Config{Dir: "/cache", Size: size, SegmentSize: segment, Log: slog.New(slog.DiscardHandler)},
	}
	h.config.FS = h.fs
	for i := range keys {
		h.keys = append(h.keys, &history{key: response.NewKey(fmt.Sprint("https://site.example/", i, "/", seed))})
	}
	return h
}

// fill makes the body of a version of a key.
func fill(p []byte, key response.Key, version int) {
	x := key.Sum.Lo + uint64(version)*0x9e3779b97f4a7c15
	var word [8]byte
	for i := 0; i < len(p); i += 8 {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(word[:], x^x>>29)
		copy(p[i:], word[:])
	}
}

// bodySize is short mostly, and anything up to the largest now and then.
func (h *hardship) bodySize() int {
	return int(100 * math.Exp(h.r.Float64()*math.Log(float64(h.largest)/100)))
}

// put puts the next version of a key.
func (h *hardship) put(s *disk.Store, k *history) {
	version := len(k.sums) + 1
	body := make([]byte, h.bodySize())
	fill(body, k.key, version)
	k.sums = append(k.sums, xxh3.Hash(body))
	block := new(header.Block)
	if err := errors.Join(block.Add("X-Key", k.key.Text), block.Add("X-Version", strconv.Itoa(version))); err != nil {
		panic(err)
	}
	e := event{version: version, from: h.fs.Points(), at: time.Now()}
	kept := s.Offer(&response.Response{
		Key: k.key, Status: 200, Header: block, Body: response.Memory(body), Log: 1, Born: command.Seq(version),
		Complete: int64(len(body)),
	})
	e.to = h.fs.Points()
	if kept {
		k.events = append(k.events, e)
	}
}

func (h *hardship) delete(s *disk.Store, k *history) {
	e := event{version: len(k.sums), deleted: true, from: h.fs.Points(), at: time.Now()}
	s.Delete(k.key)
	e.to = h.fs.Points()
	k.events = append(k.events, e)
}

// pick is some key, the first ones much more often than the last.
func (h *hardship) pick() *history {
	return h.keys[int(float64(len(h.keys))*math.Pow(h.r.Float64(), 2))]
}

// step does one thing to the store and lets time pass. What it reads must be right.
func (h *hardship) step(s *disk.Store) error {
	k := h.pick()
	switch n := h.r.IntN(100); {
	case n < 50:
		h.put(s, k)
	case n < 57:
		h.delete(s, k)
	default:
		version, err := look(s, k, h.buffer)
		if err == nil {
			err = k.last().judge(k, version)
		}
		if err != nil {
			return err
		}
	}
	// Pauses show whether the store makes durable what is left unsealed.
	pause := time.Duration(h.r.IntN(80)) * time.Millisecond
	if h.r.IntN(25) == 0 {
		pause *= 100
	}
	time.Sleep(pause) // virtual
	return nil
}

// look gets a key and reads the whole body. It is the version that is there, 0 for
// none, and an error only if what is there was never put.
func look(s *disk.Store, k *history, buffer []byte) (version int, err error) {
	r := s.Get(k.key)
	if r == nil {
		return 0, nil
	}
	var body []byte
	if r.Body == nil {
		return 0, fmt.Errorf("%s has no body", k.key.Text)
	}
	if body = r.Body.Bytes(); body == nil {
		length := r.Body.Len()
		if length > int64(len(buffer)) {
			return 0, fmt.Errorf("%s has a body of %d bytes", k.key.Text, length)
		}
		reader, err := r.Body.Open(0, length)
		if err != nil {
			return 0, nil // counts as not stored
		}
		_, err = io.ReadFull(reader, buffer[:length])
		_ = reader.Close()
		if err != nil {
			return 0, nil // a broken transfer, not a wrong one
		}
		body = buffer[:length]
	}
	version = int(r.Born)
	switch {
	case version < 1 || version > len(k.sums):
		return 0, fmt.Errorf("%s has a version %d that was never put", k.key.Text, version)
	case r.Key != k.key || r.Status != 200 || r.Log != 1 || r.Complete != int64(len(body)) || r.Kind != response.Content:
		return 0, fmt.Errorf("%s version %d has a wrong head: %+v", k.key.Text, version, r)
	case r.Header.Get("X-Key") != k.key.Text || r.Header.Get("X-Version") != strconv.Itoa(version):
		return 0, fmt.Errorf("%s version %d has a wrong header: %q", k.key.Text, version, r.Header.Wire())
	case xxh3.Hash(body) != k.sums[version-1]:
		return 0, fmt.Errorf("%s version %d has a wrong body of %d bytes", k.key.Text, version, len(body))
	}
	return version, nil
}

// floor is the event that must hold at that point of the journal: the last that was
// over before it and no later than that time. Nil if there is none.
func (k *history) floor(point int, at time.Time) *event {
	for i := len(k.events) - 1; i >= 0; i-- {
		if e := &k.events[i]; e.to <= point && !e.at.After(at) {
			return e
		}
	}
	return nil
}

// last is the last event, nil if there is none.
func (k *history) last() *event {
	if len(k.events) == 0 {
		return nil
	}
	return &k.events[len(k.events)-1]
}

// judge says what is wrong with a version that is there in spite of floor: nothing if
// it is that one, or one that came later.
func (e *event) judge(k *history, version int) error {
	if e == nil || version == 0 || version > e.version || version == e.version && !e.deleted {
		return nil
	}
	if e.deleted {
		return fmt.Errorf("%s version %d came back, deleted as of version %d", k.key.Text, version, e.version)
	}
	return fmt.Errorf("%s version %d came back, superseded by %d", k.key.Text, version, e.version)
}

// works proves that a store takes and gives responses.
func works(s *disk.Store) error {
	k := &history{key: response.NewKey("https://site.example/works")}
	body := bytes.Repeat([]byte("works"), 100)
	k.sums = []uint64{xxh3.Hash(body)}
	block := new(header.Block)
	if err := errors.Join(block.Add("X-Key", k.key.Text), block.Add("X-Version", "1")); err != nil {
		return err
	}
	r := &response.Response{
		Key: k.key, Status: 200, Header: block, Body: response.Memory(body), Log: 1, Born: 1, Complete: int64(len(body)),
	}
	// More than once: for admission, and while a store that was just opened makes room.
	kept := false
	for n := 0; !kept && n < 100 && s.Stats().Up; n++ {
		if kept = s.Offer(r); !kept {
			time.Sleep(20 * time.Millisecond)
		}
	}
	version, err := look(s, k, nil)
	if err == nil && (!kept || version != 1) {
		err = fmt.Errorf("it keeps nothing: offered: %v, got version %d, %+v", kept, version, s.Stats())
	}
	s.Delete(k.key)
	return err
}

// mustOpen opens a store where there has to be one.
func mustOpen(t *testing.T, c disk.Config) *disk.Store {
	t.Helper()
	s, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
