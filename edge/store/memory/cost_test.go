package memory

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"freshet/edge/response"
	"freshet/internal/header"
	"freshet/internal/httpcache"
)

// realistic makes a response as a fill does, with nothing that it shares with others. A
// body below zero is so much in three parts.
func realistic(t testing.TB, i, fields, body int) *response.Response {
	t.Helper()
	h := new(header.Block)
	for f := range fields {
		if err := h.Add(fmt.Sprint("X-Field-", f), strings.Repeat("v", 5+(i*7+f*13)%60)); err != nil {
			t.Fatal(err)
		}
	}
	r := &response.Response{
		Key:    response.NewKey(strings.Clone(fmt.Sprintf("GET http://www.example.com/some/path/of/usual/length/%d?x=y", i))),
		Status: 200, Header: h, Body: response.Memory(make([]byte, max(body, 0))),
		Facts: httpcache.Facts{Freshness: httpcache.Freshness{Received: time.Now()}, ETag: fmt.Sprintf("\"%032x\"", i)},
		Log:   1, Born: 1, Scopes: make([]response.ScopeHash, 4+i%4),
	}
	if body < 0 {
		r.Kind, r.Body = response.Slice, nil
		for part := range 3 {
			r.Pieces = append(r.Pieces, response.Piece{Start: int64(part * -body), Data: make([]byte, -body/3)})
		}
	}
	if i%3 == 0 {
		r.Vary = append(r.Vary, "Accept-Encoding", strings.Clone("X-Device"))
	}
	return r
}

// heap is what lives on the heap, in bytes, each object with what is set aside for it;
// and what the heap takes of the machine for that, with the room that garbage has left
// between.
func heap() (live, inUse int64) {
	runtime.GC()
	runtime.GC() // the second one frees what pools held over the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.HeapInuse)
}

// TestWhatIsChargedIsWhatTheHeapTakes: with a store that is full, of bodies of one size
// or of many, the heap has grown by what is charged, give or take a tenth, and not above
// the size of the store by more than a twentieth.
func TestWhatIsChargedIsWhatTheHeapTakes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int64
		fields int
		body   func(*rand.Rand) int
		churn  int // how many times its size is put
	}{
		{"no body", 8 << 20, 8, func(*rand.Rand) int { return 0 }, 1},
		{"100 bytes", 8 << 20, 8, func(*rand.Rand) int { return 100 }, 1},
		{"1 KiB", 8 << 20, 10, func(*rand.Rand) int { return 1 << 10 }, 1},
		{"up to 16 KiB", 32 << 20, 12, func(r *rand.Rand) int { return r.IntN(16 << 10) }, 1},
		{"33 KiB", 32 << 20, 12, func(r *rand.Rand) int { return 33 << 10 }, 1},
		{"256 KiB", 32 << 20, 20, func(*rand.Rand) int { return 256 << 10 }, 1},
		{"10 bytes to 1 MiB, by their logarithm", 64 << 20, 10, func(r *rand.Rand) int { return 10 << r.IntN(18) }, 1},
		{"parts", 32 << 20, 8, func(r *rand.Rand) int { return -1 - r.IntN(256<<10) }, 1},
		{"no body, one in, one out", 8 << 20, 8, func(*rand.Rand) int { return 0 }, 3},
		{"up to 16 KiB, one in, one out", 32 << 20, 12, func(r *rand.Rand) int { return r.IntN(16 << 10) }, 4},
		{"by their logarithm, one in, one out", 64 << 20, 10, func(r *rand.Rand) int { return 10 << r.IntN(18) }, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			before, beforeInUse := heap()
			s, err := New(tc.size)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			fixed, _ := heap()
			fixed -= before
			count := 0
			for put := int64(0); put < int64(tc.churn)*tc.size; count++ {
				r := realistic(t, count, tc.fields, tc.body(rng))
				put += r.Size()
				s.Put(r)
			}
			live, inUse := heap()
			charged := s.Stats().Bytes
			ofCharge := float64(live-before-fixed) / float64(charged)
			ofSize := float64(live-before) / float64(tc.size)
			t.Logf("%d put: %d KiB charged, %d KiB live beside the %d KiB from the start: %.3f of the charge, in all %.3f of the size; with fragments %.3f",
				count, charged>>10, (live-before-fixed)>>10, fixed>>10, ofCharge, ofSize, float64(inUse-beforeInUse)/float64(tc.size))
			if ofCharge < 0.9 || ofCharge > 1.1 {
				t.Errorf("the heap has grown by %.3f of what is charged, want 0.9 to 1.1", ofCharge)
			}
			if ofSize < 0.85 || ofSize > 1.05 {
				t.Errorf("the heap has grown by %.3f of the store's size, want 0.85 to 1.05", ofSize)
			}
			runtime.KeepAlive(s)
		})
	}
}
