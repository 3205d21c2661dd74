package accesslog

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// decoded is what a reader of the log gets.
type decoded struct {
	Time                                         time.Time
	Client, Site, Method, Scheme, Host, Port     string
	Target, Proto, Cache, Detail, Referer, Agent string
	ID                                           string `json:"request_id"`
	Status                                       int
	FwdStatus                                    int `json:"fwd_status"`
	Bytes, TTL                                   int64
	Dur                                          float64
	Aborted, Stored, Collapsed                   bool
}

func decode(t *testing.T, line []byte) (d decoded) {
	t.Helper()
	if n := strings.Count(string(line), "\n"); n != 1 || line[len(line)-1] != '\n' {
		t.Fatalf("%d line ends in %q", n, line)
	}
	if err := json.Unmarshal(line, &d); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	return d
}

func TestALineSaysWhatBecameOfARequest(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_999_999, time.FixedZone("", 3600))
	e := new(Encoder)
	hit := &Entry{
		Time: at, Duration: 1234567 * time.Microsecond, Client: netip.MustParseAddr("2001:db8::1"), Site: "shop", Method: "GET", Scheme: "https",
		Host: "shop.example", Port: "8443", Target: "/a?b=\"c\"", Proto: "HTTP/2.0", Status: 200, Bytes: 1024,
		Cache: "hit", TTL: 57 * time.Second, Referer: "https://shop.example/", Agent: "curl/8", ID: "r-1",
	}
	const want = `{"time":"2026-03-04T04:06:07.089Z","client":"2001:db8::1","site":"shop","method":"GET","scheme":"https","host":"shop.example","port":"8443",` +
		`"target":"/a?b=\"c\"","proto":"HTTP/2.0","status":200,"bytes":1024,"dur":1.234567,"cache":"hit","ttl":57,` +
		`"referer":"https://shop.example/","agent":"curl/8","request_id":"r-1"}` + "\n"
	for range 2 { // the second time with the second that is remembered
		if got := string(e.Line(hit)); got != want {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	miss := &Entry{
		Time: at.Add(time.Second), Client: netip.MustParseAddr("192.0.2.7"), Method: "GET", Scheme: "http", Host: "a", Target: "/", Proto: "HTTP/1.1", Status: 502,
		Aborted: true, Cache: "uri-miss", FwdStatus: 200, Stored: true, Collapsed: true, Detail: "stale-if-error",
	}
	got := decode(t, e.Line(miss))
	if !got.Time.Equal(at.Add(time.Second).Truncate(time.Millisecond)) || !got.Aborted || !got.Stored || !got.Collapsed || got.FwdStatus != 200 ||
		got.Cache != "uri-miss" || got.Detail != "stale-if-error" || got.Dur != 0 {
		t.Errorf("%+v", got)
	}
	// Times before 1970, and the very first second, are no stamp that was never made.
	if got := decode(t, new(Encoder).Line(&Entry{Time: time.Unix(0, 0)})); !got.Time.Equal(time.Unix(0, 0)) || got.Client != "" {
		t.Errorf("%+v", got)
	}
}

func TestALineIsMadeAndAddedWithoutAllocating(t *testing.T) {
	l, e := newLog(t), new(Encoder)
	x := &Entry{Time: time.Now(), Client: netip.MustParseAddr("192.0.2.7"), Target: "/" + strings.Repeat("a\"", 100), Agent: strings.Repeat("x", 100), Cache: "hit"}
	if n := testing.AllocsPerRun(500, func() {
		x.Time = x.Time.Add(time.Millisecond)
		l.Add(e.Line(x))
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTheLongestLineHasRoom: no client can have its request left out by what it says. Fields
// may hold tabs and bytes above ASCII, targets and hosts at most the latter.
func TestTheLongestLineHasRoom(t *testing.T) {
	tabs, high := strings.Repeat("\t", maxText), strings.Repeat("\xff", maxText)
	l := newLog(t)
	line := new(Encoder).Line(&Entry{
		Time: time.Now(), Client: netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666"), Site: strings.Repeat("s", 255), Method: strings.Repeat("M", maxText),
		Scheme: "https", Host: high, Port: "65535", Target: high, Proto: "HTTP/1.1", Cache: "partial", Detail: "stale-if-error", Referer: tabs, Agent: tabs, ID: tabs,
	})
	l.Add([]byte("before\n"))
	l.Add(line)
	l.Add([]byte("after\n"))
	if n := testutil.ToFloat64(l.metrics.dropped); n != 0 {
		t.Errorf("a line of %d bytes was left out", len(line))
	}
	running(l)()
	if got := read(t, l.cfg.File); len(got) != 3 || got[1] != string(line) {
		t.Errorf("%d lines", len(got))
	}
}

// FuzzLine: whatever stands in a request, the line is one line, and reads as encoding/json
// would have written it.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "/a", "\"\\\b\f\n\r\t\x00\x1f\x7f", "ä\u2028\u2029\u0080\u009f\U0001f600", "\xff\xc3(\xe2\x80", strings.Repeat("ü", maxText), "a" + strings.Repeat("ü", maxText)} {
		f.Add(s, s, int64(len(s)))
	}
	e := new(Encoder)
	f.Fuzz(func(t *testing.T, target, agent string, n int64) {
		x := &Entry{
			Time: time.Unix(n%(1<<36), n&0xfffff), Duration: time.Duration(n), Target: target, Agent: agent, Method: target, Host: agent,
			Port: target, Site: agent, Scheme: target, Proto: agent, Referer: target, ID: agent, Cache: target, Detail: agent, Bytes: n, Status: int(n),
		}
		line := e.Line(x)
		if len(line) > 6*11*maxText+512 {
			t.Fatalf("a line of %d bytes", len(line))
		}
		if y := x.Time.UTC().Year(); y < 0 || y > 9999 {
			return
		}
		got := decode(t, line)
		for _, s := range [][2]string{{got.Target, target}, {got.Agent, agent}, {got.Referer, target}, {got.Cache, target}, {got.Detail, agent}} {
			whole, err := json.Marshal(cut(s[1]))
			if err != nil {
				t.Fatal(err)
			}
			var want string
			if err := json.Unmarshal(whole, &want); err != nil {
				t.Fatal(err)
			}
			if s[0] != want {
				t.Fatalf("%q reads as %q, want %q", s[1], s[0], want)
			}
		}
		if got.Bytes != n || !utf8.Valid(line) {
			t.Fatalf("%q", line)
		}
	})
}

func BenchmarkLine(b *testing.B) {
	e := new(Encoder)
	x := &Entry{
		Time: time.Now(), Client: netip.MustParseAddr("192.0.2.7"), Site: "upstream", Method: "GET", Scheme: "http", Host: "h.example", Target: "/shop/item.html?id=17&colour=blue",
		Proto: "HTTP/1.1", Status: 200, Bytes: 1024, Cache: "hit", TTL: time.Hour, Referer: "http://h.example/shop/index.html?from=search",
		Agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Line(x)
	}
}
