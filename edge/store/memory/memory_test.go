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
