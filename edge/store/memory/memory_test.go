package memory

import (
	"testing"

	"go.uber.org/goleak"

	"freshet/edge/response"
	"freshet/edge/store"
	"freshet/edge/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := New(8 << 20)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestBytesHeldStayWithinTheSize(t *testing.T) {
	const size = 4 << 20
	s, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 2000 {
		s.Put(storetest.Response(t, string(rune('a'+i%26))+string(rune(i)), 1, 1, make([]byte, 16<<10)))
		if got := s.Stats().Bytes; got > size {
			t.Fatalf("%d bytes held, %d allowed", got, size)
		}
	}
	if got := s.Stats(); got.Bytes < size/2 || got.Evicted+got.Rejected == 0 {
		t.Errorf("stats %+v: the room is not used, or nothing was evicted or rejected", got)
	}
}

// TestGrowingInPlaceStaysWithinTheSize: responses that are replaced by larger ones, as
// slices are of which more and more parts are known, take no more than others.
func TestGrowingInPlaceStaysWithinTheSize(t *testing.T) {
	const size = 4 << 20
	s, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for round := range 10 {
		for i := range 40 {
			r := storetest.Response(t, string(rune('a'+i)), 1, 1, nil)
			r.Body, r.Pieces = nil, []response.Piece{{Data: make([]byte, (round+1)<<15)}}
			s.Put(r)
			if got := s.Stats().Bytes; got > size {
				t.Fatalf("round %d: %d bytes held, %d allowed", round, got, size)
			}
		}
	}
	if got := s.Stats().Bytes; got < size/2 {
		t.Errorf("%d bytes held: the room is not used", got)
	}
}

// TestABodyThatLiesElsewhereIsRefused: a hit in RAM must not have to wait for a disk.
func TestABodyThatLiesElsewhereIsRefused(t *testing.T) {
	s, err := New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := storetest.Response(t, "k", 1, 1, nil).WithBody(elsewhere{make(response.Memory, 10)})
	if s.Put(r); s.Get(r.Key) != nil {
		t.Error("kept")
	}
}

// elsewhere is a body that is not in RAM.
type elsewhere struct{ response.Memory }

func (elsewhere) Bytes() []byte { return nil }

// TestHasIsNoUse: what is only asked whether it is there does not count as used, or the
// disk's eviction, which asks that, would keep everything.
func TestHasIsNoUse(t *testing.T) {
	s, err := New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := storetest.Response(t, "k", 1, 1, []byte("x"))
	s.Put(r)
	if !s.Has(r.Key) || !s.HasSum(r.Key.Sum.Lo) || s.Has(response.NewKey("other")) {
		t.Error("Has does not say what is there")
	}
	if _, first := s.Hit(r.Key); !first {
		t.Error("Has was a hit")
	}
	if _, first := s.Hit(r.Key); first {
		t.Error("a second hit is a first one")
	}
	s.Unhit(r.Key)
	if got, first := s.Hit(r.Key); got != r || !first {
		t.Error("no first hit after Unhit")
	}
	s.Put(storetest.Response(t, "k", 1, 2, []byte("y")))
	if _, first := s.Hit(r.Key); !first {
		t.Error("no first hit of what has taken the place")
	}
	if got, _ := s.Hit(response.Key{Sum: r.Key.Sum, Text: "another"}); got != nil {
		t.Error("a hit of a key that only shares its hash")
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	s, err := New(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Put(storetest.Response(t, "k", 1, 1, []byte("x")))
	key := response.NewKey("k")
	if n := testing.AllocsPerRun(1000, func() {
		if s.Get(key) == nil {
			t.Fatal("gone")
		}
	}); n >= 1 { // ristretto's own buffers come from a pool that the collector may empty
		t.Errorf("%v allocations a Get", n)
	}
}

// TestRestartFreesTheKey: what was stored before a restart of the log is dead, and must
// not keep out what is fetched after it under lower sequences.
func TestRestartFreesTheKey(t *testing.T) {
	s, err := New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := response.NewKey("k")
	s.Put(&response.Response{Key: key, Log: 1, Born: 10, Generation: 1})
	after := &response.Response{Key: key, Log: 1, Born: 5, Generation: 2}
	s.Put(after)
	if s.Get(key) != after {
		t.Error("the response of before the restart keeps its place")
	}
}
