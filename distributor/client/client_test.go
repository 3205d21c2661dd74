package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs an API that answers everything with h.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	c := New(srv.URL+"/", "secret")
	t.Cleanup(func() { c.Close(); srv.Close() })
	return c
}

func TestWhatTravels(t *testing.T) {
	var got string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = fmt.Sprintf("%s %s|%s|%s|%s|%s|%s|%s", r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get(ByHeader),
			r.Header.Get("Content-Type"), r.Header.Get("If-Match"), r.Header.Get("If-None-Match"), body)
		fmt.Fprint(w, "{}")
	})
	c.By = "me"
	ctx := t.Context()
	tests := []struct {
		name string
		call func() error
		want string
	}{
		{"purge", func() error { _, err := c.Purge(ctx, CommandRequest{URLs: []string{"http://a/?b=1&c"}}); return err },
			`POST /v1/commands?timeout=10s&wait=true|Bearer secret|me|application/json|||{"kind":"purge","urls":["http://a/?b=1\u0026c"]}`},
		{"purge, no wait", func() error {
			_, err := c.Purge(ctx, CommandRequest{All: true, Confirm: ConfirmAll, NoWait: true, Timeout: time.Second})
			return err
		},
			`POST /v1/commands?timeout=1s&wait=false|Bearer secret|me|application/json|||{"kind":"purge","all":true,"confirm":"everything"}`},
		{"apply", func() error {
			_, err := c.Apply(ctx, ApplyRequest{File: "a b.yaml", Text: []byte("site: a"), Message: "m&n", Expect: 3})
			return err
		},
			`POST /v1/sites?file=a+b.yaml&message=m%26n|Bearer secret|me|application/yaml|"3"||site: a`},
		{"apply, new", func() error { _, err := c.Apply(ctx, ApplyRequest{Expect: Absent}); return err },
			`POST /v1/sites?|Bearer secret|me|application/yaml||*|`},
		{"delete", func() error { return c.DeleteSite(ctx, "a", AnyVersion) }, `DELETE /v1/sites/a|Bearer secret|me||||`},
		{"site", func() error { _, err := c.Site(ctx, "../a?b", 0); return err }, `GET /v1/sites/..%2Fa%3Fb|Bearer secret|me||||`},
		{"site version", func() error { _, err := c.Site(ctx, "a", 2); return err }, `GET /v1/sites/a?version=2|Bearer secret|me||||`},
		{"history", func() error { _, err := c.SiteHistory(ctx, "a"); return err }, `GET /v1/sites/a/history|Bearer secret|me||||`},
		{"sites", func() error { _, err := c.Sites(ctx); return err }, `GET /v1/sites|Bearer secret|me||||`},
		{"nodes", func() error { _, err := c.Nodes(ctx); return err }, `GET /v1/nodes|Bearer secret|me||||`},
		{"status", func() error { _, err := c.Status(ctx); return err }, `GET /v1/status|Bearer secret|me||||`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.call(); err != nil || got != test.want {
				t.Errorf("%v\ngot  %s\nwant %s", err, got, test.want)
			}
		})
	}
}

// While no distributor leads, the API asks to be asked again, and is.
func TestAsksAgainDuringAnElection(t *testing.T) {
	var asked atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) == 0 {
			t.Errorf("call %d: body %q, %v", asked.Load()+1, body, err)
		}
		switch asked.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			fmt.Fprint(w, `{"sequence":"1.7"}`)
		default: // a refusal that is no invitation
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	r, err := c.Purge(t.Context(), CommandRequest{All: true})
	if err != nil || r.Sequence != "1.7" || asked.Load() != 2 {
		t.Errorf("after %d calls: %+v, %v", asked.Load(), r, err)
	}
	if _, err := c.Purge(t.Context(), CommandRequest{All: true}); err == nil || asked.Load() != 3 {
		t.Errorf("after %d calls: %v", asked.Load(), err)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   Error
		text   string
	}{
		{"problem", 422, `{"status":422,"title":"T","detail":"D","errors":[{"location":"f:1:2","message":"m"},{"message":"n"}]}`,
			Error{Status: 422, Title: "T", Detail: "D"}, "D\nf:1:2: m\nn"},
		{"no problem document", 502, `<html>`, Error{Status: 502, Title: "Bad Gateway"}, "502 Bad Gateway"},
		{"wrong shape", 500, `{"title":"x","errors":5}`, Error{Status: 500, Title: "Internal Server Error"}, "500 Internal Server Error"},
		{"the status is that of the response", 404, `{"status":200,"detail":"D"}`, Error{Status: 404, Title: "Not Found", Detail: "D"}, "D"},
		{"redirect", 302, ``, Error{Status: 302, Title: "Found"}, "302 Found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://192.0.2.1/")
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			})
			_, err := c.Status(t.Context())
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("%T %v", err, err)
			}
			if got.Status != test.want.Status || got.Title != test.want.Title || got.Detail != test.want.Detail || got.Error() != test.text {
				t.Errorf("%+v says %q", got, got.Error())
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "{")
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, io.LimitReader(blanks{}, maxResponse+10)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, h)
			if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), c.URL()) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestContextEndsACall(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// blanks is endless white space.
type blanks struct{}

func (blanks) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func FuzzProblem(f *testing.F) {
	f.Add(422, []byte(`{"detail":"D","errors":[{"location":"f:1:2","message":"m"}]}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if e := problem(status, body); e.Status != status || e.Error() == "" {
			t.Errorf("%+v", e)
		}
	})
}
