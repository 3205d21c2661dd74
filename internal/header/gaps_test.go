package header

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestABlockIsWhatAListWouldBe holds every look-up, and what is sent, to a plain list of
// fields through random changes.
func TestABlockIsWhatAListWouldBe(t *testing.T) {
	names := []string{"Host", "hOST", "Range", "If-Range", "Connection", "Keep-Alive", "TE", "X-A", "x-a", "X-B", "Cookie", "sec-ch-ua", "Via"}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		b, list := new(Block), [][2]string{}
		for step := range 30 {
			name, value := names[rnd.IntN(len(names))], fmt.Sprint(step)
			switch rnd.IntN(12) {
			case 0:
				b.Del(name)
				list = slices.DeleteFunc(list, func(f [2]string) bool { return strings.EqualFold(f[0], name) })
			case 1:
				_ = b.Add("Connection", "close, X-B, nothing")
				list = append(list, [2]string{"Connection", "close, X-B, nothing"})
				b.RemoveHopByHop()
				list = slices.DeleteFunc(list, func(f [2]string) bool {
					return slices.Contains([]string{"connection", "keep-alive", "te", "x-b"}, strings.ToLower(f[0]))
				})
			case 2:
				b = b.Clone()
			case 3:
				to := new(Block)
				_ = to.Add("Old", "1")
				b.Copy(to, func(n, _ string) bool { return !EqualName(n, name) })
				b.Del(name)
				list = slices.DeleteFunc(list, func(f [2]string) bool { return strings.EqualFold(f[0], name) })
				if string(to.Wire()) != string(b.Wire()) || to.Has("Old") {
					t.Fatalf("seed %d: the copy is %q, want %q", seed, to.Wire(), b.Wire())
				}
			default:
				_ = b.Add(name, value)
				list = append(list, [2]string{name, value})
			}
			var wire strings.Builder
			for _, f := range list {
				wire.WriteString(f[0] + ": " + f[1] + "\r\n")
			}
			if string(b.Wire()) != wire.String() || b.Len() != len(list) {
				t.Fatalf("seed %d: %q, want %q", seed, b.Wire(), wire.String())
			}
			for _, name := range names {
				var want []string
				for _, f := range list {
					if strings.EqualFold(f[0], name) {
						want = append(want, f[1])
					}
				}
				got := slices.Collect(b.Values(name))
				if !slices.Equal(got, want) || b.Has(name) != (want != nil) || b.HasAny(NamesOf("Nope", name)) != (want != nil) ||
					want != nil && b.Get(name) != want[0] {
					t.Fatalf("seed %d: %s is %q, want %q", seed, name, got, want)
				}
			}
		}
	}
}

func TestWhatABrowserSendsIsLookedThroughWithoutAllocating(t *testing.T) {
	full := new(Block)
	for _, name := range []string{"Host", "Connection", "User-Agent", "Accept", "Accept-Encoding", "Cookie", "Keep-Alive"} {
		if err := full.Add(name, "keep-alive, x"); err != nil {
			t.Fatal(err)
		}
	}
	b := new(Block)
	absent := NamesOf("If-Match", "If-None-Match", "Range")
	if n := testing.AllocsPerRun(100, func() {
		full.Copy(b, nil)
		b.RemoveHopByHop()
		if b.Has("Connection") || b.HasAny(absent) || b.Get("Cookie") == "" {
			t.Error("wrong fields")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
