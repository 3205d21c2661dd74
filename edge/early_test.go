package edge

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// answerTo takes an answer's status.
type answerTo struct{ status int }

func (*answerTo) Inform(int, *header.Block) {}

func (a *answerTo) Respond(answer *exchange.Answer) error {
	a.status = answer.Status
	return nil
}

// RFC 8470: an origin is told of requests that came as early data, and its 425 is for
// the one who asked, not for the cache.
func TestEarlyDataIsToldToTheOrigin(t *testing.T) {
	got := make(chan string, 1)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		early := r.Header.Get("Early-Data")
		got <- early
		if r.URL.Path == "/refused" && early != "" {
			w.WriteHeader(http.StatusTooEarly)
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
	})
	_, e := startLone(t, o.URL)
	for _, tc := range []struct {
		name, method, target, field string
		early                       bool
		told                        string
		status                      int
	}{
		{"a fill", "GET", "/a", "", true, "1", 200},
		{"a fill, not early", "GET", "/b", "", false, "", 200},
		{"a fill that was early before", "GET", "/c", "yes", false, "1", 200},
		{"passed on", "OPTIONS", "/d", "", true, "1", 200},
		{"passed on, early before", "POST", "/d", "1", false, "1", 200},
		{"passed on, not early", "POST", "/d", "", false, "", 200},
		{"refused", "GET", "/refused", "", true, "1", 425},
		{"and not afterwards", "GET", "/refused", "", false, "", 200},
	} {
		req := &exchange.Request{
			Method: tc.method, Scheme: "https", Host: "h.example", Target: tc.target, Header: new(header.Block), Proto: "HTTP/3.0",
			Remote: netip.MustParseAddrPort("192.0.2.1:1"), Received: time.Now(), Early: tc.early,
		}
		if tc.field != "" {
			_ = req.Header.Add("early-data", tc.field)
		}
		to := new(answerTo)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		e.Serve(ctx, req, to)
		cancel()
		if told := <-got; told != tc.told || to.status != tc.status {
			t.Errorf("%s: the origin is told %q, want %q; status %d, want %d", tc.name, told, tc.told, to.status, tc.status)
		}
	}
}
