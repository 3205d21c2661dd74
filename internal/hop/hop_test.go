package hop

import (
	"errors"
	"strings"
	"testing"

	"freshet/internal/command"
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
	for _, value := range []string{"log=xyz", "hard", "log=1, born=-1", "log=1, born=5, asof=4", "log=1, born=1, asof=4, tested=5", "log=1, born=1, asof=4, tested=6, soft=4", "log=1, born=1, asof=4, tested=6, soft=7", "born=99999999999999999999"} {
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
	if m != (Fence{Log: 1, Hard: 5, Floor: 2, Born: 4}) || !m.Covers(a) || !m.Covers(b) || a.Covers(b) {
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

// TestASoftMarkLimitsWhatIsAttested: it travels beside what was tested, and a node that
// reads no more than asof takes the response for no truer than before the mark.
func TestASoftMarkLimitsWhatIsAttested(t *testing.T) {
	h := new(header.Block)
	want := Truth{Log: 1, Born: 4, AsOf: 9, Soft: Soft{Seq: 7, Since: 1_700_000_000_123}, IfError: true}
	if err := want.AppendTo(h); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := ReadTruth(h); got != want || !ok || err != nil {
		t.Errorf("read %+v, %t, %v", got, ok, err)
	}
	if !strings.Contains(h.Get(TrueField), "asof=6,") {
		t.Errorf("field %q", h.Get(TrueField))
	}
	for _, tc := range []struct {
		truth Truth
		soft  command.Seq
		open  bool
	}{
		{want, 6, false}, {want, 7, true}, {want, 9, true},
		{Truth{Born: 4, AsOf: 9}, 9, false}, {Truth{Born: 4, AsOf: 9}, 10, true},
	} {
		if got := tc.truth.Open(Fence{Soft: tc.soft}); got != tc.open {
			t.Errorf("%+v open under a fence of %d: %t", tc.truth, tc.soft, got)
		}
	}
	if !want.Satisfies(Fence{Log: 1, Hard: 9, Soft: 9, Floor: 9}) {
		t.Error("a soft mark must not keep a response from being used as stale")
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
	f.Add("log=1, born=2, asof=3, tested=9, soft=4, since=1000, iferror=1")
	f.Fuzz(func(t *testing.T, s string) {
		h := new(header.Block)
		if h.Add(TrueField, s) != nil || h.Add(FenceField, s) != nil {
			return
		}
		_, _ = ReadFence(h)
		tr, ok, err := ReadTruth(h)
		if !ok {
			return
		}
		if err != nil || tr.AsOf < tr.Born || tr.Attested() > tr.AsOf || tr.Attested() < tr.Born {
			t.Fatalf("inconsistent: %+v %v", tr, err)
		}
		out := new(header.Block)
		if err := tr.AppendTo(out); err != nil {
			t.Fatal(err)
		}
		if again, ok, err := ReadTruth(out); !ok || err != nil || again.Attested() != tr.Attested() || again.Born != tr.Born {
			t.Fatalf("%+v became %+v, %v", tr, again, err)
		}
	})
}

// A mid answers edges from RAM as an edge answers clients: what the tiers say to each
// other must not cost allocations.
func TestWhatATierIsAskedAndAnswersIsReadAndWrittenWithoutAllocating(t *testing.T) {
	k, h, out := NewKey("secret"), new(header.Block), new(header.Block)
	f := Fence{Log: 1, Hard: 2, Soft: 5, Floor: 3, Born: 4}
	soft := Truth{Log: 1, Born: 4, AsOf: 9, Soft: Soft{Seq: 7, Since: 1_700_000_000_000}, IfError: true}
	if err := errors.Join(k.Prove(h), f.AppendTo(h)); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		out.Reset()
		got, err := ReadFence(h)
		if !k.Trusts(h) || got != f || err != nil || soft.AppendTo(out) != nil {
			t.Fatal("misread")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
