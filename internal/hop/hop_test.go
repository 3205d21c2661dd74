package hop

import (
	"errors"
	"testing"

	"freshet/internal/header"
)

func TestFieldsRoundTrip(t *testing.T) {
	h := new(header.Block)
	f := Fence{Log: 0xabc, Hard: 1<<40 + 7, Floor: 1<<40 + 2, Born: 9}
	tr := Truth{Log: 0xfedcba9876543210, Born: 5, AsOf: 1<<63 + 1}
	if err := errors.Join(f.AppendTo(h), tr.AppendTo(h)); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFence(h); err != nil || got != f {
		t.Errorf("fence = %+v, %v", got, err)
	}
	if got, ok, err := ReadTruth(h); err != nil || !ok || got != tr {
		t.Errorf("truth = %+v, %v, %v", got, ok, err)
	}
	Strip(h)
	if h.Len() != 0 {
		t.Errorf("left after Strip: %q", h.Wire())
	}
}

func TestReadRefusesWhatItCannotBelieve(t *testing.T) {
	for _, value := range []string{"log=xyz", "hard", "log=1, born=-1", "log=1, born=5, asof=4", "born=99999999999999999999"} {
		h := new(header.Block)
		if err := h.Add(TrueField, value); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := ReadTruth(h); ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: ok=%v err=%v, want ErrMalformed", value, ok, err)
		}
	}
	if _, ok, err := ReadTruth(new(header.Block)); ok || err != nil {
		t.Error("an absent field must be no truth and no error")
	}
}

func TestFenceOrder(t *testing.T) {
	a, b := Fence{Log: 1, Hard: 5, Floor: 1}, Fence{Log: 1, Hard: 3, Floor: 2, Born: 4}
	m := a.Max(b)
	if m != (Fence{1, 5, 2, 4}) || !m.Covers(a) || !m.Covers(b) || a.Covers(b) {
		t.Errorf("max = %+v", m)
	}
	if (Truth{Log: 1, Born: 3, AsOf: 9}).Satisfies(m) {
		t.Error("born below the fence must not satisfy it")
	}
	if !(Truth{Log: 1, Born: 4, AsOf: 5}).Satisfies(m) {
		t.Error("exactly the fence must satisfy it")
	}
	if (Truth{Log: 2, Born: 99, AsOf: 99}).Satisfies(m) {
		t.Error("another log must never satisfy")
	}
}

func TestOnlyTheSameSecretIsTrusted(t *testing.T) {
	h := new(header.Block)
	if err := NewKey("secret one").Prove(h); err != nil {
		t.Fatal(err)
	}
	if !NewKey("secret one").Trusts(h) {
		t.Error("own proof is not trusted")
	}
	if NewKey("secret two").Trusts(h) || (Key{}).Trusts(h) || (Key{}).Trusts(new(header.Block)) {
		t.Error("a stranger is trusted")
	}
}

// FuzzRead: foreign field values never panic, and what is read is consistent.
func FuzzRead(f *testing.F) {
	f.Add("log=1, born=2, asof=3")
	f.Add("log=,=,born==")
	f.Fuzz(func(t *testing.T, s string) {
		h := new(header.Block)
		if h.Add(TrueField, s) != nil || h.Add(FenceField, s) != nil {
			return
		}
		_, _ = ReadFence(h)
		if tr, ok, err := ReadTruth(h); ok && (err != nil || tr.AsOf < tr.Born) {
			t.Fatalf("inconsistent: %+v %v", tr, err)
		}
	})
}

// A mid answers edges from RAM as an edge answers clients: what the tiers say to each
// other must not cost allocations.
func TestWhatATierIsAskedAndAnswersIsReadAndWrittenWithoutAllocating(t *testing.T) {
	k, h, out := NewKey("secret"), new(header.Block), new(header.Block)
	f := Fence{Log: 1, Hard: 2, Floor: 3, Born: 4}
	if err := errors.Join(k.Prove(h), f.AppendTo(h)); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		out.Reset()
		got, err := ReadFence(h)
		if !k.Trusts(h) || got != f || err != nil || (Truth{Log: 1, Born: 4, AsOf: 5}).AppendTo(out) != nil {
			t.Fatal("misread")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
