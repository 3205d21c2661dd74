package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/internal/bus"
	"freshet/internal/command"
)

func testNoLog(t *testing.T, f Form) {
	if err := f.Bus.Connected(); err != nil {
		t.Fatal(err)
	}
	_, headErr := f.Bus.Head(within(t))
	_, appendErr := f.Bus.Append(within(t), []byte("x"), 0)
	_, readErr := f.Bus.Read(within(t), 1, 1)
	for call, err := range map[string]error{"Head": headErr, "Append": appendErr, "Read": readErr} {
		if !errors.Is(err, bus.ErrNoLog) {
			t.Errorf("%s: %v, want %v", call, err, bus.ErrNoLog)
		}
	}
}

func testCreate(t *testing.T, f Form) {
	made := create(t, f.Bus, 1)
	if made.Log == 0 || made.First != 1 || made.Last != 0 {
		t.Errorf("made %+v", made)
	}
	for range 2 {
		if _, err := f.Peer.Create(within(t), 1); !errors.Is(err, bus.ErrExists) {
			t.Errorf("second Create: %v, want %v", err, bus.ErrExists)
		}
	}
	head, err := f.Peer.Head(within(t))
	if err != nil || head != made {
		t.Errorf("head %+v, %v, want %+v", head, err, made)
	}
}

func testFirstSequence(t *testing.T, f Form) {
	first := command.FirstOf(3)
	if head := create(t, f.Bus, first); head.First != first || head.Last != first-1 {
		t.Errorf("made %+v, want First %s and Last one below", head, first)
	}
	if seq := appendTo(t, f.Peer, "a"); seq != first {
		t.Errorf("first record at %s, want %s", seq, first)
	}
	head, err := f.Bus.Head(within(t))
	if err != nil || head.First != first || head.Last != first {
		t.Errorf("head %+v, %v", head, err)
	}
}

func testAppend(t *testing.T, f Form) {
	head := create(t, f.Bus, command.FirstOf(1))
	before := time.Now()
	data := []byte(strings.Repeat("x", command.MaxRecord))
	seq, err := f.Bus.Append(within(t), data, head.Last)
	if err != nil {
		t.Fatal(err)
	}
	data[0] = 'y' // the caller's own again
	e := next(t, read(t, f.Peer, head.Log, seq))
	if e.Seq != seq || string(e.Data) != strings.Repeat("x", command.MaxRecord) {
		t.Errorf("read %d bytes at %s that differ from what was appended at %s", len(e.Data), e.Seq, seq)
	}
	if e.At.Before(before.Add(-time.Second)) || e.At.After(time.Now().Add(time.Second)) {
		t.Errorf("appended at %s, now it is %s", e.At, time.Now())
	}
}

func testConflict(t *testing.T, f Form) {
	create(t, f.Bus, command.FirstOf(1))
	last := appendTo(t, f.Bus, "a")
	for _, after := range []command.Seq{0, last - 1, last + 1, command.FirstOf(2)} {
		if _, err := f.Bus.Append(within(t), []byte("b"), after); !errors.Is(err, bus.ErrConflict) {
			t.Errorf("append after %s to a log that ends at %s: %v, want %v", after, last, err, bus.ErrConflict)
		}
	}
	if head, err := f.Bus.Head(within(t)); err != nil || head.Last != last {
		t.Errorf("head %+v, %v: a refused append has moved it", head, err)
	}
}

func testTooLarge(t *testing.T, f Form) {
	head := create(t, f.Bus, 1)
	_, err := f.Bus.Append(within(t), make([]byte, command.MaxRecord+1), head.Last)
	if err == nil || errors.Is(err, bus.ErrConflict) {
		t.Errorf("append of %d bytes: %v", command.MaxRecord+1, err)
	}
}

// testConcurrentAppenders has many writers that each try until they are through.
func testConcurrentAppenders(t *testing.T, f Form) {
	const writers, each = 8, 20
	head := create(t, f.Bus, command.FirstOf(7))
	var wg sync.WaitGroup
	acks := make([][]command.Seq, writers)
	for w := range writers {
		b := f.Bus
		if w%2 == 1 {
			b = f.Peer
		}
		wg.Go(func() {
			for i := range each {
				seq, err := appendUntilThrough(within(t), b, fmt.Sprintf("%d/%d", w, i))
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				acks[w] = append(acks[w], seq)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	want := make(map[command.Seq]string)
	for w := range acks {
		for i, seq := range acks[w] {
			if other, ok := want[seq]; ok {
				t.Fatalf("%s was given to both %s and %d/%d", seq, other, w, i)
			}
			want[seq] = fmt.Sprintf("%d/%d", w, i)
		}
	}
	r := read(t, f.Peer, head.Log, head.First)
	for i := range command.Seq(writers * each) {
		wantNext(t, r, head.First+i, want[head.First+i])
	}
}

func appendUntilThrough(ctx context.Context, b bus.Bus, data string) (command.Seq, error) {
	for {
		head, err := b.Head(ctx)
		if err != nil {
			return 0, err
		}
		seq, err := b.Append(ctx, []byte(data), head.Last)
		if !errors.Is(err, bus.ErrConflict) {
			return seq, err
		}
	}
}

func testHead(t *testing.T, f Form) {
	head := create(t, f.Bus, 1)
	for range 50 {
		seq, err := f.Bus.Append(within(t), []byte("a"), head.Last)
		if err != nil {
			t.Fatal(err)
		}
		if head, err = f.Peer.Head(within(t)); err != nil || head.Last != seq {
			t.Fatalf("head %+v, %v after an acknowledged append at %s", head, err, seq)
		}
	}
	if head.First != 1 {
		t.Errorf("First is %s, want %s", head.First, command.Seq(1))
	}
}

func testReadMiddle(t *testing.T, f Form) {
	head := create(t, f.Bus, command.FirstOf(2))
	for i := range 10 {
		appendTo(t, f.Bus, fmt.Sprint(i))
	}
	for from := range 10 {
		r := read(t, f.Peer, head.Log, head.First+command.Seq(from))
		for i := from; i < 10; i++ {
			wantNext(t, r, head.First+command.Seq(i), fmt.Sprint(i))
		}
	}
	wantNext(t, read(t, f.Peer, head.Log, 0), head.First, "0")
}

func testReadWaits(t *testing.T, f Form) {
	head := create(t, f.Bus, command.FirstOf(1))
	r := read(t, f.Peer, head.Log, head.First)
	for i := range 5 {
		got := make(chan bus.Entry)
		go func() {
			e, err := r.Next(within(t))
			if err != nil {
				t.Error(err)
			}
			got <- e
		}()
		seq := appendTo(t, f.Bus, fmt.Sprint(i))
		if e := <-got; e.Seq != seq || string(e.Data) != fmt.Sprint(i) {
			t.Fatalf("read %q at %s, want %d at %s", e.Data, e.Seq, i, seq)
		}
	}
}

func testReadEnds(t *testing.T, f Form) {
	head := create(t, f.Bus, 1)
	r := read(t, f.Bus, head.Log, head.First)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next with a deadline: %v", err)
	}
	appendTo(t, f.Bus, "a")
	wantNext(t, r, 1, "a") // it goes on after a deadline
	ended := make(chan error)
	go func() {
		_, err := r.Next(within(t))
		ended <- err
	}()
	r.Close()
	if err := <-ended; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("waiting Next of a closed reader: %v", err)
	}
	if _, err := r.Next(within(t)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Next of a closed reader: %v", err)
	}
	r.Close()
}

// testTruncated fills the log until its oldest records go.
func testTruncated(t *testing.T, f Form) {
	head := create(t, f.Bus, command.FirstOf(1))
	made, large := head, strings.Repeat("x", command.MaxRecord)
	waiting := read(t, f.Peer, head.Log, head.First)
	for n := 0; head.First < made.First+3; n++ {
		if n == 1000 {
			t.Fatalf("a log of %d large records still begins at %s", n, head.First)
		}
		appendTo(t, f.Bus, large)
		var err error
		if head, err = f.Bus.Head(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if e := next(t, read(t, f.Peer, head.Log, made.First)); e.Seq != head.First {
		t.Errorf("a log that begins at %s delivers %s first", head.First, e.Seq)
	}
	// A reader from before may have the dropped records on their way; what it delivers
	// is in order and comes to the end.
	for last := command.Seq(0); last < head.Last; {
		e := next(t, waiting)
		if e.Seq <= last {
			t.Fatalf("%s was delivered after %s", e.Seq, last)
		}
		last = e.Seq
	}
}

// testLinks: each record tells the link of the one before, whoever appended that, and
// wherever reading begins.
func testLinks(t *testing.T, f Form) {
	for _, first := range []command.Seq{1, command.FirstOf(3)} {
		testLinksFrom(t, f, create(t, f.Bus, first))
		head, err := f.Bus.Head(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Bus.Seal(within(t), head.Log); err != nil {
			t.Fatal(err)
		}
	}
}

func testLinksFrom(t *testing.T, f Form, head bus.Head) {
	link := command.LinkOf(head.Log)
	var links []command.Link
	for i, data := range []string{"a", "b", "b", "", "c", "d"} {
		links = append(links, link)
		b := f.Bus
		if i == 2 || i == 3 || i == 5 { // each goes on where the other was
			b = f.Peer
		}
		seq := appendTo(t, b, data)
		link = link.Next(seq, []byte(data))
		for _, b := range []bus.Bus{f.Bus, f.Peer} {
			if got, err := b.Link(within(t), seq); err != nil || got != link {
				t.Errorf("link at %s is %s, %v, want %s", seq, got, err, link)
			}
		}
	}
	for from := range links {
		r := read(t, f.Peer, head.Log, head.First+command.Seq(from))
		for i := from; i < len(links); i++ {
			if e := next(t, r); e.Prev != links[i] {
				t.Errorf("record %d, read from %d: link %s before it, want %s", i, from, e.Prev, links[i])
			}
		}
		r.Close()
	}
}
