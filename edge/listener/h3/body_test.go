package h3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
)

// post is the head of a POST.
func post(more ...string) []byte {
	return headers(append([]string{":method: POST", ":scheme: https", ":authority: a.example", ":path: /"}, more...)...)
}

// echo sends back what comes, as it comes.
var echo = handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
	a := &exchange.Answer{Status: 200, Length: req.Length, Stream: req.Body}
	if req.Body == nil {
		a.Stream = strings.NewReader("")
	}
	_ = to.Respond(a)
})

func TestBodiesOfRequests(t *testing.T) {
	s := start(t, &Server{Handler: echo})
	client := s.client()
	for name, body := range map[string]io.Reader{
		"large":                     bytes.NewReader(large),
		"large, length not known":   io.LimitReader(bytes.NewReader(large), 1<<30),
		"small":                     strings.NewReader("small"),
		"empty":                     strings.NewReader(""),
		"empty, length not known":   io.LimitReader(strings.NewReader(""), 1<<30),
		"in pieces, not much known": io.MultiReader(strings.NewReader("a"), bytes.NewReader(large), strings.NewReader("z")),
	} {
		var sent bytes.Buffer
		_, got, err := do(client, "POST", "https://a.example/", io.TeeReader(body, &sent))
		if err != nil || got != sent.String() {
			t.Errorf("%s: %d bytes of %d came back, %v", name, len(got), sent.Len(), err)
		}
	}
	c := s.dial()
	for name, tc := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"one frame":            {[][]byte{post(), frame(frameData, []byte("abc"))}, "abc"},
		"frames":               {[][]byte{post("content-length: 3"), frame(frameData, []byte("a")), frame(frameData, nil), frame(0x21, []byte("xx")), frame(frameData, []byte("bc"))}, "abc"},
		"trailer":              {[][]byte{post(), frame(frameData, []byte("abc")), headers("x-sum: 1"), frame(0x21, []byte("xx"))}, "abc"},
		"trailer alone":        {[][]byte{post(), headers("x-sum: 1")}, ""},
		"a GET with a body":    {[][]byte{get("/"), frame(frameData, []byte("abc"))}, "abc"},
		"no content announced": {[][]byte{post("content-length: 0")}, ""},
	} {
		for _, slowly := range []bool{false, true} {
			first := bytes.Join(tc.frames, nil)
			rest := []byte(nil)
			if slowly { // byte by byte after the head
				first, rest = tc.frames[0], bytes.Join(tc.frames[1:], nil)
			}
			q := c.request(first, !slowly)
			for i := range rest {
				if _, err := q.Write(rest[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
			_ = q.Close()
			if status, got, err := answer(q); status != "200" || got != tc.want || err != nil {
				t.Errorf("%s, slowly %v: %s %q, want %q, %v", name, slowly, status, got, tc.want, err)
			}
		}
	}
	for name, frames := range map[string][][]byte{
		"less than announced": {post("content-length: 4"), frame(frameData, []byte("abc"))},
		"more than announced": {post("content-length: 2"), frame(frameData, []byte("abc"))},
		"pseudo-field last":   {post(), frame(frameData, []byte("abc")), headers(":path: /")},
	} {
		_, got, err := answer(c.request(bytes.Join(frames, nil), true))
		if e, ok := errors.AsType[*quic.StreamError](err); !ok || e.ErrorCode != codeMessage && e.ErrorCode != codeInternal {
			t.Errorf("%s: %q, %v, want the stream reset", name, got, err)
		}
	}
}

func TestLimitsOfBodies(t *testing.T) {
	errs := make(chan error, 1)
	s := start(t, &Server{Limits: limits.Config{BodyBytes: 1000, BodyTimeout: 50 * time.Millisecond}, Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		_, err := io.Copy(io.Discard, req.Body)
		errs <- err
		_ = to.Respond(&exchange.Answer{Status: 299})
	})})
	c := s.dial()
	if status, _, err := answer(c.request(append(post("content-length: 1001"), frame(frameData, large[:1001])...), true)); status != "413" || err != nil {
		t.Errorf("announced: %s %v", status, err)
	}
	if status, _, err := answer(c.request(append(post(), frame(frameData, large[:1001])...), true)); status != "299" || err != nil {
		t.Errorf("%s %v", status, err)
	}
	if err := <-errs; !errors.Is(err, exchange.ErrBodyTooLarge) {
		t.Errorf("not announced: %v", err)
	}
	if status, _, err := answer(c.request(append(post(), frame(frameData, large[:10])...), false)); status != "299" || err != nil {
		t.Errorf("%s %v", status, err)
	}
	if err := <-errs; !errors.Is(err, exchange.ErrBodyStalled) {
		t.Errorf("stalled: %v", err)
	}
	if !s.limitedBy(limits.BodyBytes) || !s.limitedBy(limits.BodyTimeout) {
		t.Error("the limits are not counted")
	}
}

func TestAClientWaitsForContinue(t *testing.T) {
	s := start(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		all, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		_ = to.Respond(&exchange.Answer{Status: 200, Bytes: all, Length: -1})
	})})
	c := s.dial()
	q := c.request(post("expect: 100-continue"), false)
	interim := make([]byte, len(appendFields(nil, 100, nil, nil, -1)))
	if _, err := io.ReadFull(q, interim); err != nil || !bytes.Equal(interim, appendFields(nil, 100, nil, nil, -1)) {
		t.Fatalf("%x, %v", interim, err)
	}
	if _, err := q.Write(frame(frameData, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	_ = q.Close()
	all, err := io.ReadAll(q)
	if err != nil || !bytes.HasSuffix(all, []byte("x")) {
		t.Errorf("%q, %v", all, err)
	}
}

// Somebody may read the body on when the request was answered without it.
func TestABodyThatIsReadAfterItsRequest(t *testing.T) {
	late := make(chan io.Reader, 1)
	ended := make(chan error)
	s := start(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Body == nil {
			_ = to.Respond(&exchange.Answer{Status: 299})
			return
		}
		body := req.Body
		late <- body
		go func() { // as net/http's transport does
			_, err := io.Copy(io.Discard, body)
			ended <- err
		}()
		_ = to.Respond(&exchange.Answer{Status: 204})
	})})
	c := s.dial()
	status, _, err := answer(c.request(append(post(), frame(frameData, large[:10])...), false))
	if status != "204" || err != nil {
		t.Errorf("%s %v", status, err)
	}
	if <-ended == nil {
		t.Error("half a body looks whole")
	}
	if _, err := (<-late).Read(make([]byte, 1)); err == nil {
		t.Error("it can still be read")
	}
	if status, _, err := answer(c.request(get("/"), true)); status != "299" || err != nil {
		t.Errorf("then %s, %v", status, err)
	}
}

func TestAHeadThatDoesNotComeToItsEnd(t *testing.T) {
	s := start(t, &Server{Limits: limits.Config{HeadTimeout: 50 * time.Millisecond}, Handler: hello})
	c := s.dial()
	whole := get("/")
	for _, part := range []int{1, 2, len(whole) - 1} {
		if _, _, err := answer(c.request(whole[:part], false)); err == nil {
			t.Errorf("%d bytes were answered", part)
		}
	}
	if !s.limitedBy(limits.HeadTimeout) {
		t.Error("the limit is not counted")
	}
	for i := range 10 { // in parts, but in time
		q := c.request(whole[:1+i], false)
		if _, err := q.Write(whole[1+i:]); err != nil {
			t.Fatal(err)
		}
		_ = q.Close()
		if status, _, err := answer(q); status != "200" || err != nil {
			t.Errorf("%s %v", status, err)
		}
	}
	q := c.request(whole, false) // a head, and no end for a while
	if status, _, err := answer(q); status != "200" || err != nil {
		t.Errorf("without an end: %s %v", status, err)
	}
	if _, _, err := answer(c.request(nil, true)); err == nil {
		t.Error("nothing is answered")
	}
}

func TestStreamsThatAreResetAreCounted(t *testing.T) {
	began := make(chan struct{}, 1000)
	s := start(t, &Server{Handler: handler(func(ctx context.Context, _ *exchange.Request, to exchange.Responder) {
		began <- struct{}{}
		<-ctx.Done()
		_ = to.Respond(&exchange.Answer{Status: http.StatusServiceUnavailable})
	})})
	c := s.dial()
	for range limits.DefaultResets + 1 {
		q, err := c.OpenStreamSync(t.Context())
		if err != nil {
			break
		}
		_, _ = q.Write(get("/"))
		_ = q.Close()
		select {
		case <-began:
		case <-c.Context().Done():
		}
		q.CancelRead(codeRequestCancelled)
	}
	if code := c.closedBy(); code != codeExcessiveLoad {
		t.Errorf("closed with %#x", code)
	}
	if !s.limitedBy(limits.Resets) {
		t.Error("the limit is not counted")
	}
}

// A client that resets as fast as it can has no more handlers at work than streams.
func TestResetStreamsStillCountUntilTheirHandlersReturn(t *testing.T) {
	const streams = 5
	release := make(chan struct{})
	began := make(chan struct{}, 1000)
	s := start(t, &Server{Limits: limits.Config{Streams: streams}, Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		began <- struct{}{}
		<-release
		_ = to.Respond(&exchange.Answer{Status: 204})
	})})
	c := s.dial()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	opened := 0
	for ; opened < 50; opened++ {
		q, err := c.OpenStreamSync(ctx)
		if err != nil {
			break
		}
		_, _ = q.Write(get("/"))
		_ = q.Close()
		<-began
		q.CancelRead(codeRequestCancelled)
	}
	if opened != streams {
		t.Errorf("%d streams were opened while %d handlers may work", opened, streams)
	}
	close(release)
}
