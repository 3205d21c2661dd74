package h3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"freshet/edge/exchange"
	"freshet/edge/listener/limits"
	"freshet/internal/header"
)

func TestRequestsAreReadAsSent(t *testing.T) {
	got := make(chan string, 1)
	serve := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Received.IsZero() || !req.Remote.IsValid() || req.Scheme != "https" || req.Proto != "HTTP/3.0" || req.Early || req.Body != nil {
			t.Errorf("%+v", req)
		}
		got <- fmt.Sprintf("%s %s|%s|%s %s%s", req.Method, req.Host, req.Port, req.Target, req.Header.Joined("x-a"), req.Header.Joined("cookie"))
		_ = to.Respond(&exchange.Answer{Status: 204, Length: 0})
	})
	for name, h := range map[string]exchange.Handler{
		"on a goroutine": serve,
		"at once": ram{serve, func(req *exchange.Request, to exchange.Responder) bool {
			serve(context.Background(), req, to)
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &Server{Handler: h}).dial()
			for _, tc := range []struct {
				request []byte
				want    string
			}{
				{get("/a%2fb?c=%zz", "x-a: 1", "x-a: 2"), "GET a.example||/a%2fb?c=%zz 1, 2"},
				{headers(":method: GET", ":scheme: https", ":path: /", "host: A.Example.:8443"), "GET a.example|8443|/ "},
				{headers(":method: HEAD", ":scheme: https", ":path: /", ":authority: [2001:DB8::1]:1", "host: [2001:db8::1]:1"), "HEAD 2001:db8::1|1|/ "},
				{get("/", "cookie: a=1", "cookie: b=2"), "GET a.example||/ a=1; b=2"},
				{append(frame(0x21, []byte("an extension")), get("/x")...), "GET a.example||/x "},
				{append(get("/y"), frame(0x40, nil)...), "GET a.example||/y "},
				{get("/" + strings.Repeat("z", 3000)), "GET a.example||/" + strings.Repeat("z", 3000) + " "},
			} {
				status, _, err := answer(c.request(tc.request, true))
				if status != "204" || err != nil {
					t.Fatalf("want %s: got status %q, %v", tc.want, status, err)
				}
				if have := <-got; have != tc.want {
					t.Errorf("read as %q, want %q", have, tc.want)
				}
			}
		})
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	s := start(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		t.Errorf("%s %s has reached the handler", req.Method, req.Target)
	})})
	pseudo := []string{":method: GET", ":scheme: https", ":authority: a.example", ":path: /"}
	without := func(i int) []byte { return headers(append(append([]string(nil), pseudo[:i]...), pseudo[i+1:]...)...) }
	many := append([]string(nil), pseudo...)
	for range limits.DefaultHeaderFields {
		many = append(many, "x: y")
	}
	for name, tc := range map[string]struct {
		request []byte
		status  string // or the stream is reset with H3_MESSAGE_ERROR
	}{
		"no method":              {without(0), ""},
		"no scheme":              {without(1), ""},
		"no host":                {without(2), ""},
		"no path":                {without(3), ""},
		"path twice":             {get("/", ":path: /"), ""},
		"pseudo-field after":     {headers(append([]string{"x: y"}, pseudo...)...), ""},
		"unknown pseudo-field":   {get("/", ":protocol: x"), ""},
		"upper case":             {get("/", "X-A: b"), ""},
		"connection":             {get("/", "connection: close"), ""},
		"te":                     {get("/", "te: gzip"), ""},
		"two lengths":            {get("/", "content-length: 1", "content-length: 2"), ""},
		"length without content": {get("/", "content-length: 1"), ""},
		"other host":             {get("/", "host: b.example"), ""},
		"bad value":              {get("/", "x: a\r\nb: c"), ""},
		"no absolute path":       {get("x"), "400"},
		"asterisk":               {headers(":method: OPTIONS", ":scheme: https", ":authority: a.example", ":path: *"), "400"},
		"bad escape":             {get("/%zz"), "400"},
		"host with user":         {headers(":method: GET", ":scheme: https", ":authority: u@a.example", ":path: /"), "400"},
		"bad method":             {headers(":method: G T", ":scheme: https", ":authority: a.example", ":path: /"), "400"},
		"connect":                {headers(":method: CONNECT", ":authority: a.example:443"), "405"},
		"many fields":            {headers(many...), "431"},
		"large head":             {get("/", "x: "+strings.Repeat("y", limits.DefaultHeaderBytes)), "431"},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			status, _, err := answer(c.request(tc.request, true))
			if tc.status != "" {
				if status != tc.status || err != nil {
					t.Errorf("got status %q, %v, want %s", status, err, tc.status)
				}
				return
			}
			if e, ok := errors.AsType[*quic.StreamError](err); !ok || e.ErrorCode != codeMessage || status != "" {
				t.Errorf("got status %q, %v, want the stream reset as malformed", status, err)
			}
		})
	}
	if !s.limitedBy(limits.HeaderFields) || !s.limitedBy(limits.HeaderBytes) {
		t.Error("the limits are not counted")
	}
}

func TestErrorsOfConnections(t *testing.T) {
	s := start(t, &Server{Handler: handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Body != nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})})
	stream := func(b ...byte) func(raw) { return func(c raw) { c.request(b, true) } }
	uni := func(b ...byte) func(raw) { return func(c raw) { c.uni(b) } }
	again := func(b []byte) func(raw) { // on the control stream that is there
		return func(c raw) { c.uni(append([]byte{streamControl}, b...)) }
	}
	post := func(b ...[]byte) func(raw) {
		all := headers(":method: POST", ":scheme: https", ":authority: a.example", ":path: /")
		return func(c raw) { c.request(append(all, bytes.Join(b, nil)...), true) }
	}
	for name, tc := range map[string]struct {
		act  func(raw)
		code uint64
	}{
		"DATA first":                      {stream(frame(frameData, []byte("x"))...), codeFrameUnexpected},
		"SETTINGS on a request":           {stream(frame(frameSettings, nil)...), codeFrameUnexpected},
		"a frame of HTTP/2":               {stream(frame(0x8, nil)...), codeFrameUnexpected},
		"half a frame":                    {stream(frameHeaders, 10, 0), codeFrame},
		"dynamic table":                   {stream(frame(frameHeaders, []byte{0, 0, 0x80})...), codeQPACKDecompression},
		"insert count":                    {stream(frame(frameHeaders, []byte{1, 0})...), codeQPACKDecompression},
		"half a string":                   {stream(frame(frameHeaders, []byte{0, 0, 0x51, 5, 'a'})...), codeQPACKDecompression},
		"bad index":                       {stream(frame(frameHeaders, []byte{0, 0, 0xff, 99 - 63})...), codeQPACKDecompression},
		"half of DATA":                    {post([]byte{frameData, 9, 'x'}), codeFrame},
		"content after a trailer":         {post(frame(frameData, []byte("x")), headers("x: y"), frame(frameData, []byte("x"))), codeFrameUnexpected},
		"GOAWAY in a body":                {post(frame(frameGoAway, []byte{0})), codeFrameUnexpected},
		"a second control stream":         {again(frame(frameSettings, nil)), codeStreamCreation},
		"push":                            {uni(streamPush), codeStreamCreation},
		"instructions for a table":        {uni(streamEncoder, 0x3f, 0x10), codeQPACKEncoderStream},
		"acknowledgement":                 {uni(streamDecoder, 0x81), codeQPACKDecoderStream},
		"insert count increment":          {uni(streamDecoder, 0x01), codeQPACKDecoderStream},
		"end of a critical stream":        {func(c raw) { _ = c.uni([]byte{streamEncoder}).Close() }, codeClosedCritical},
		"flood of extensions":             {stream(bytes.Repeat(frame(0x21, nil), limits.DefaultControls+1)...), codeExcessiveLoad},
		"flood of empty DATA":             {post(bytes.Repeat(frame(frameData, nil), limits.DefaultControls+1)), codeExcessiveLoad},
		"flood of extensions in trailers": {post(headers("x: y"), bytes.Repeat(frame(0x21, nil), limits.DefaultControls+1)), codeExcessiveLoad},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial()
			c.t = t
			tc.act(c)
			if code := c.closedBy(); code != tc.code {
				t.Errorf("closed with %#x, want %#x", code, tc.code)
			}
		})
	}
	for name, tc := range map[string]struct {
		control []byte
		code    uint64
	}{
		"no settings":         {frame(frameGoAway, []byte{0}), codeMissingSettings},
		"settings twice":      {append(frame(frameSettings, nil), frame(frameSettings, nil)...), codeFrameUnexpected},
		"a setting twice":     {frame(frameSettings, varints(0x21, 1, 0x21, 1)), codeSettings},
		"a setting of old":    {frame(frameSettings, varints(0x3, 1)), codeSettings},
		"half a setting":      {frame(frameSettings, varints(0x6)), codeFrame},
		"large settings":      {appendHead(nil, frameSettings, 1<<30), codeExcessiveLoad},
		"HEADERS":             {append(frame(frameSettings, nil), get("/")...), codeFrameUnexpected},
		"smaller MAX_PUSH":    {append(frame(frameSettings, nil), append(frame(frameMaxPushID, varints(5)), frame(frameMaxPushID, varints(4))...)...), codeID},
		"CANCEL_PUSH":         {append(frame(frameSettings, nil), frame(frameCancelPush, varints(0))...), codeID},
		"larger GOAWAY":       {append(frame(frameSettings, nil), append(frame(frameGoAway, varints(4)), frame(frameGoAway, varints(8))...)...), codeID},
		"priority of a push":  {append(frame(frameSettings, nil), frame(priorityOfPush, varints(0))...), codeID},
		"priority of nothing": {append(frame(frameSettings, nil), frame(priorityOfRequest, varints(1))...), codeID},
		"priority of nobody":  {append(frame(frameSettings, nil), frame(priorityOfRequest, nil)...), codeFrame},
		"large priority":      {append(frame(frameSettings, nil), appendHead(nil, priorityOfRequest, 1<<30)...), codeExcessiveLoad},
		"flood of controls":   {append(frame(frameSettings, nil), bytes.Repeat(frame(priorityOfRequest, []byte{0}), limits.DefaultControls+1)...), codeExcessiveLoad},
	} {
		t.Run("control stream/"+name, func(t *testing.T) {
			q, err := quic.DialAddr(t.Context(), s.addr, s.tls(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = q.CloseWithError(0, "") }()
			c := raw{t, q}
			c.uni(append([]byte{streamControl}, tc.control...))
			if code := c.closedBy(); code != tc.code {
				t.Errorf("closed with %#x, want %#x", code, tc.code)
			}
		})
	}
}

func TestWhatIsUnknownIsPassedOver(t *testing.T) {
	s := start(t, &Server{Handler: hello})
	c := s.dial()
	c.uni(varints(0x21, 1, 2, 3))
	c.uni([]byte{streamEncoder, 0x20})
	c.uni([]byte{streamDecoder, 0x44, 0x7f, 0x80, 0x01})
	if status, content, err := answer(c.request(get("/"), true)); status != "200" || content != "hello" || err != nil {
		t.Errorf("%s %q %v", status, content, err)
	}
}

func TestAnswers(t *testing.T) {
	stored, extra := block("Content-Type: text/html; charset=utf-8", "X-Twice: 1", "X-Twice: 2", "Connection: close"), block("Age: 7", "Cache-Control: max-age=604800")
	for _, tc := range []struct {
		name, method string
		answer       exchange.Answer
		status       int
		length, body string
	}{
		{"bytes", "GET", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5}, 200, "5", "hello"},
		{"more bytes", "GET", exchange.Answer{Status: 200, Bytes: large[:quickMost+1], Length: quickMost + 1}, 200, "16385", string(large[:quickMost+1])},
		{"many bytes", "GET", exchange.Answer{Status: 200, Bytes: large, Length: int64(len(large))}, 200, "1048576", string(large)},
		{"bytes of length not known", "GET", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: -1}, 200, "5", "hello"},
		{"no bytes", "GET", exchange.Answer{Status: 200, Bytes: []byte{}, Length: 0}, 200, "0", ""},
		{"head", "HEAD", exchange.Answer{Status: 200, Bytes: []byte("hello"), Length: 5}, 200, "5", ""},
		{"head of a stream", "HEAD", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: 4}, 200, "4", ""},
		{"head of length not known", "HEAD", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: -1}, 200, "", ""},
		{"stream of known length", "GET", exchange.Answer{Status: 206, Stream: strings.NewReader("part"), Length: 4}, 206, "4", "part"},
		{"stream of unknown length", "GET", exchange.Answer{Status: 200, Stream: strings.NewReader("part"), Length: -1}, 200, "", "part"},
		{"large stream", "GET", exchange.Answer{Status: 200, Stream: io.LimitReader(bytes.NewReader(large), 1<<30), Length: int64(len(large))}, 200, "1048576", string(large)},
		{"large stream of unknown length", "GET", exchange.Answer{Status: 200, Stream: io.LimitReader(bytes.NewReader(large), 1<<30), Length: -1}, 200, "", string(large)},
		{"a stream that writes itself", "GET", exchange.Answer{Status: 200, Stream: bytes.NewReader(large), Length: int64(len(large))}, 200, "1048576", string(large)},
		{"empty stream", "GET", exchange.Answer{Status: 200, Stream: strings.NewReader(""), Length: -1}, 200, "", ""},
		{"no content", "GET", exchange.Answer{Status: 204}, 204, "", ""},
		{"not modified", "GET", exchange.Answer{Status: 304, Length: 5}, 304, "", ""},
		{"empty", "GET", exchange.Answer{Status: 404, Length: 0}, 404, "0", ""},
		{"status that is in no table", "GET", exchange.Answer{Status: 299, Length: 0}, 299, "0", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			respond := handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
				a := tc.answer
				a.Header, a.Extra = stored, extra
				if err := to.Respond(&a); err != nil {
					t.Error(err)
				}
				if err := to.Respond(&a); err == nil {
					t.Error("two answers are taken")
				}
			})
			var tried atomic.Bool
			h := exchange.Handler(respond)
			if tc.answer.Stream == nil || tc.method == "HEAD" {
				h = ram{respond, func(req *exchange.Request, to exchange.Responder) bool {
					tried.Store(true)
					a := tc.answer
					a.Header, a.Extra = stored, extra
					err := to.Respond(&a)
					if errors.Is(err, exchange.ErrNotAtOnce) {
						return false
					}
					if err != nil {
						t.Error(err)
					}
					return true
				}}
			}
			client := start(t, &Server{Handler: h}).client()
			res, body, err := do(client, tc.method, "https://a.example/", nil)
			if err != nil {
				t.Fatal(err)
			}
			// The end of a request that comes in a packet of its own keeps it from being
			// answered at once.
			for _, quick := h.(ram); quick && !tried.Load(); {
				if res, body, err = do(client, tc.method, "https://a.example/", nil); err != nil {
					t.Fatal(err)
				}
			}
			if res.StatusCode != tc.status || body != tc.body || res.Header.Get("Content-Length") != tc.length {
				t.Errorf("status %d, length %q, %d bytes: %.40q", res.StatusCode, res.Header.Get("Content-Length"), len(body), body)
			}
			for name, want := range map[string]string{"Age": "7", "X-Twice": "1, 2", "Cache-Control": "max-age=604800", "Content-Type": "text/html; charset=utf-8", "Connection": ""} {
				if got := strings.Join(res.Header.Values(name), ", "); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestInterimAnswersAndTrailers(t *testing.T) {
	s := start(t, &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		to.Inform(103, block("Link: </a.css>; rel=preload"))
		_ = to.Respond(&exchange.Answer{
			Status: 200, Stream: strings.NewReader("body"), Length: -1,
			Trailer: func() *header.Block { return block("X-Sum: 42") },
		})
	})})
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}}
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", "https://a.example/", nil)
	res, err := s.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "body" || res.Trailer.Get("X-Sum") != "42" || res.Header.Get("Link") != "" {
		t.Errorf("%q, %v, trailer %v, header %v", body, err, res.Trailer, res.Header)
	}
	if fmt.Sprint(hints) != "[103</a.css>; rel=preload]" && fmt.Sprint(hints) != "[103 </a.css>; rel=preload]" {
		t.Errorf("interim answers %q", hints)
	}
}

// broken is a body that ends with an error.
type broken struct{ n int }

func (b *broken) Read(p []byte) (int, error) {
	if b.n++; b.n > 3 {
		return 0, errors.New("gone")
	}
	return copy(p, "chunk"), nil
}

func TestABodyThatBreaksOffIsNeverWhole(t *testing.T) {
	for name, a := range map[string]func() *exchange.Answer{
		"error, length not known": func() *exchange.Answer { return &exchange.Answer{Status: 200, Stream: &broken{}, Length: -1} },
		"error":                   func() *exchange.Answer { return &exchange.Answer{Status: 200, Stream: &broken{}, Length: 1000} },
		"too short": func() *exchange.Answer {
			return &exchange.Answer{Status: 200, Stream: strings.NewReader("a"), Length: 2}
		},
		"too long": func() *exchange.Answer {
			return &exchange.Answer{Status: 200, Stream: strings.NewReader("abc"), Length: 2}
		},
		"bytes too long": func() *exchange.Answer { return &exchange.Answer{Status: 200, Bytes: []byte("abc"), Length: 2} },
		"nothing":        func() *exchange.Answer { return &exchange.Answer{Status: 200, Length: 2} },
	} {
		for _, quick := range []bool{false, true} {
			t.Run(fmt.Sprint(name, quick), func(t *testing.T) {
				responded := make(chan error, 2)
				serve := handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) { responded <- to.Respond(a()) })
				var h exchange.Handler = serve
				if quick {
					h = ram{serve, func(_ *exchange.Request, to exchange.Responder) bool {
						err := to.Respond(a())
						if errors.Is(err, exchange.ErrNotAtOnce) {
							return false
						}
						responded <- err
						return true
					}}
				}
				c := start(t, &Server{Handler: h}).dial()
				_, content, err := answer(c.request(get("/"), true))
				if e, ok := errors.AsType[*quic.StreamError](err); !ok || e.ErrorCode != codeInternal {
					t.Errorf("a broken body looks whole: %q, %v", content, err)
				}
				if <-responded == nil {
					t.Error("Respond says that all is well")
				}
				if c.Context().Err() != nil {
					t.Error("the connection has ended with it")
				}
			})
		}
	}
}

func TestAHandlerThatPanicsEndsItsRequestAlone(t *testing.T) {
	serve := func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		switch req.Target {
		case "/panic":
			panic("test")
		case "/silence":
			return
		}
		_ = to.Respond(&exchange.Answer{Status: 204})
	}
	for name, h := range map[string]exchange.Handler{
		"on a goroutine": handler(serve),
		"at once": ram{serve, func(req *exchange.Request, to exchange.Responder) bool {
			serve(context.Background(), req, to)
			return true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &Server{Handler: h}).dial()
			for _, path := range []string{"/panic", "/silence"} {
				if _, _, err := answer(c.request(get(path), true)); err == nil {
					t.Errorf("%s: an answer", path)
				}
				if status, _, err := answer(c.request(get("/"), true)); status != "204" || err != nil {
					t.Errorf("after %s: %s %v", path, status, err)
				}
			}
		})
	}
}

func TestTheContextEndsWithTheClientsInterest(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	s := start(t, &Server{Handler: handler(func(ctx context.Context, req *exchange.Request, to exchange.Responder) {
		if req.Target == "/after" {
			_ = to.Respond(&exchange.Answer{Status: 200, Length: 0})
			if ctx.Err() != nil {
				t.Error("the context has ended with the answer")
			}
			ended <- struct{}{}
			return
		}
		began <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		_ = to.Respond(&exchange.Answer{Status: 204})
	})})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.example/", nil)
	if _, err := s.client().Do(req); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
	c := s.dial() // and with the connection
	c.request(get("/"), true)
	<-began
	_ = c.CloseWithError(0, "")
	<-ended
	if status, _, err := answer(s.dial().request(get("/after"), true)); status != "200" || err != nil {
		t.Errorf("%s %v", status, err)
	}
	<-ended
}

func TestManyRequestsAtOnce(t *testing.T) {
	serve := func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		n := len(req.Target) * 999
		if err := to.Respond(&exchange.Answer{Status: 200, Bytes: bytes.Repeat([]byte(req.Target[1:2]), n), Length: int64(n)}); err != nil {
			t.Error(err)
		}
	}
	s := start(t, &Server{Limits: limits.Config{Streams: 10}, Handler: ram{serve, func(req *exchange.Request, to exchange.Responder) bool {
		n := len(req.Target) * 999
		return to.Respond(&exchange.Answer{Status: 200, Bytes: bytes.Repeat([]byte(req.Target[1:2]), n), Length: int64(n)}) == nil
	}}})
	var all sync.WaitGroup
	client := s.client()
	for i := range 20 {
		all.Go(func() {
			for j := range 20 {
				letter := string(rune('a' + i))
				path := "/" + strings.Repeat(letter, j+1)
				_, body, err := do(client, "GET", "https://a.example"+path, nil)
				if want := strings.Repeat(letter, len(path)*999); err != nil || body != want {
					t.Errorf("%s: %d bytes, want %d, %v", path, len(body), len(want), err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestAPieceIsSentAtOnce(t *testing.T) {
	more := make(chan struct{})
	pr, pw := io.Pipe()
	go func() {
		_, _ = pw.Write([]byte("first"))
		<-more
		_, _ = pw.Write([]byte("second"))
		pw.Close()
	}()
	s := start(t, &Server{Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		if err := to.Respond(&exchange.Answer{Status: 200, Stream: pr, Length: 11}); err != nil {
			t.Error(err)
		}
	})})
	res, err := s.client().Get("https://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	p := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, p); err != nil || string(p) != "first" {
		t.Errorf("%q, %v", p, err)
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "second" {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestAClientThatTakesNothingIsCut(t *testing.T) {
	responded := make(chan error, 1)
	s := start(t, &Server{Limits: limits.Config{WriteTimeout: 50 * time.Millisecond}, Handler: handler(func(_ context.Context, _ *exchange.Request, to exchange.Responder) {
		responded <- to.Respond(&exchange.Answer{Status: 200, Bytes: large, Length: int64(len(large))})
	})})
	q, err := quic.DialAddr(t.Context(), s.addr, s.tls(), &quic.Config{InitialStreamReceiveWindow: 1000, MaxStreamReceiveWindow: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.CloseWithError(0, "") }()
	raw{t, q}.request(get("/"), true)
	if err := <-responded; !isTimeout(err) {
		t.Errorf("Respond: %v", err)
	}
	if !s.limitedBy(limits.WriteTimeout) {
		t.Error("the limit is not counted")
	}
}

// One server serves several sockets, and shuts all of them down.
func TestSeveralSockets(t *testing.T) {
	s := start(t, &Server{Handler: hello})
	pc, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Skip("there is no IPv6 here")
	}
	defer pc.Close()
	done := make(chan error, 1)
	go func() { done <- s.Serve(pc) }()
	for _, at := range []*server{s, {Server: s.Server, t: t, addr: pc.LocalAddr().String(), roots: s.roots}} {
		if status, content, err := answer(at.dial().request(get("/"), true)); status != "200" || content != "hello" || err != nil {
			t.Errorf("%s: %s %q %v", at.addr, status, content, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("idle connections were cut: %v", err)
	}
	if err := <-done; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
	if err := s.Serve(pc); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}
