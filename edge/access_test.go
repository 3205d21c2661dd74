package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freshet/internal/node"
)

// logged is a line of the access log.
type logged struct {
	Time                                             time.Time
	Client, Site, Method, Scheme, Host, Port, Target string
	Proto, Cache, Detail, Referer, Agent             string
	ID                                               string `json:"request_id"`
	Status, TTL                                      int
	FwdStatus                                        int `json:"fwd_status"`
	Bytes                                            int64
	Dur                                              float64
	Aborted, Stored, Collapsed                       bool
}

// linesOf waits until the access log has that many lines.
func linesOf(t *testing.T, file string, n int) []logged {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		text, _ := os.ReadFile(file)
		if bytes.Count(text, []byte{'\n'}) < n && time.Now().Before(deadline) {
			<-time.After(10 * time.Millisecond)
			continue
		}
		var lines []logged
		for line := range strings.Lines(string(text)) {
			var l logged
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			lines = append(lines, l)
		}
		if len(lines) != n {
			t.Fatalf("%d lines, want %d: %+v", len(lines), n, lines)
		}
		return lines
	}
}

func TestTheAccessLogSaysWhatBecameOfEachRequest(t *testing.T) {
	large := someBytes(3*mib + 17)
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		switch r.URL.Path {
		case "/large":
			w.Header().Set("Cache-Control", "max-age=60")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(large))
		case "/streamed":
			w.Header().Set("Cache-Control", "no-store")
			for range 10 {
				fmt.Fprint(w, strings.Repeat("x", 1000))
				_ = http.NewResponseController(w).Flush()
			}
		case "/broken":
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Length", "5000")
			fmt.Fprint(w, strings.Repeat("x", 1234))
			_ = http.NewResponseController(w).Flush()
			conn, _, _ := http.NewResponseController(w).Hijack()
			conn.Close()
		default:
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, "hello")
		}
	})
	file := filepath.Join(t.TempDir(), "access.log")
	url, e := startLoneFile(t, node.Cache{Memory: 64 << 20, Upstream: o.URL}, func(f *node.File) { f.Log.Access = file })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	agent := []string{"User-Agent: tester \"1\"", "Referer: http://r.example/", "X-Request-Id: id-7"}
	steps := []struct {
		do   func()
		want logged
	}{
		{func() { get(t, url+"/a?b=c", agent...) }, logged{Status: 200, Bytes: 5, Target: "/a?b=c", Cache: "uri-miss", FwdStatus: 200, Stored: true}},
		{func() { get(t, url+"/a?b=c", agent...) }, logged{Status: 200, Bytes: 5, Target: "/a?b=c", Cache: "hit", TTL: 59}},
		{func() { do(t, "HEAD", url+"/a?b=c", nil, agent...) }, logged{Status: 200, Method: "HEAD", Target: "/a?b=c", Cache: "hit", TTL: 59}},
		{func() { get(t, url+"/a?b=c", append(agent, `If-None-Match: "1"`)...) }, logged{Status: 304, Target: "/a?b=c", Cache: "hit", TTL: 59}},
		{func() { get(t, url+"/a?b=c", append(agent, "Range: bytes=1-2")...) }, logged{Status: 206, Bytes: 2, Target: "/a?b=c", Cache: "hit", TTL: 59}},
		{func() { do(t, "POST", url+"/p", strings.NewReader("x"), agent...) }, logged{Status: 200, Method: "POST", Bytes: 5, Target: "/p", Cache: "method", FwdStatus: 200}},
		{func() { get(t, url+"/large", agent...) }, logged{Status: 200, Bytes: int64(len(large)), Target: "/large", Cache: "uri-miss", FwdStatus: 200, Stored: true}},
		{func() { get(t, url+"/large", append(agent, "Range: bytes=10-2000009")...) }, logged{Status: 206, Bytes: 2000000, Target: "/large", Cache: "hit", TTL: 59}},
		{func() { get(t, url+"/streamed", agent...) }, logged{Status: 200, Bytes: 10000, Target: "/streamed", Cache: "uri-miss", FwdStatus: 200}},
		{func() { broken(t, url+"/broken", agent...) }, logged{Status: 200, Bytes: 1234, Target: "/broken", Cache: "uri-miss", FwdStatus: 200, Aborted: true}},
		{func() { get(t, url+"/a", append(agent, "CDN-Loop: "+e.pseudonym)...) }, logged{Status: 508, Bytes: 58, Target: "/a"}},
		{func() { get(t, url+"/b", append(agent, "Cache-Control: only-if-cached")...) }, logged{Status: 504, Bytes: 64, Target: "/b", Cache: "request", Detail: "only-if-cached"}},
	}
	began := time.Now()
	for i, step := range steps {
		step.do()
		lines := linesOf(t, file, i+1)
		got, want := lines[i], step.want
		if got.Time.Before(began.Add(-time.Millisecond)) || got.Time.After(time.Now()) || got.Dur < 0 || got.Dur > 10 {
			t.Errorf("%s: began %v, took %v s", want.Target, got.Time, got.Dur)
		}
		want.Time, want.Dur = got.Time, got.Dur
		if want.Method == "" {
			want.Method = "GET"
		}
		if want.TTL > 0 && got.TTL > 50 && got.TTL <= 60 {
			want.TTL = got.TTL
		}
		if want.Status > 500 && got.Bytes > 20 {
			want.Bytes = got.Bytes // of a text for people
		}
		want.Site, want.Client, want.Scheme, want.Host, want.Port, want.Proto = "upstream", "127.0.0.1", "http", "127.0.0.1", port, "HTTP/1.1"
		want.Referer, want.Agent, want.ID = "http://r.example/", `tester "1"`, "id-7"
		if got != want {
			t.Errorf("%d: got  %+v\nwant %+v", i, got, want)
		}
	}
}

// broken gets what breaks off.
func broken(t *testing.T, url string, header ...string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := new(bytes.Buffer).ReadFrom(res.Body); err == nil {
		t.Error("the transfer did not break off")
	}
}

func TestAnAccessLogThatCannotBeOpenedIsAnErrorAtTheStart(t *testing.T) {
	e := served(t, "http://127.0.0.1:1", "")
	e.env.File.Log.Access = filepath.Join(t.TempDir(), "no", "such", "directory")
	if err := e.openAccessLog(); err == nil {
		t.Error("no error")
	}
}
