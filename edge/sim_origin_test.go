package edge

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

var simSiteNames = []string{"one", "two"}

// simPaths are what there is on each site. What the last letter says is how it may be
// cached; see answer.
var simPaths = []string{"/p/a", "/p/q/b", "/p/q/v", "/c", "/d", "/e", "/p/s", "/w", "/x"}

// simIfError is the sites' stale_if_error.
const simIfError = 3 * time.Second

var simTags = []string{"red", "green"}

// simContent is one version of one resource, as it was read at one moment.
type simContent struct {
	site, path string
	version    int
	read       time.Duration // since the history began, of the read or a strong validation
}

func (c *simContent) kind() byte { return c.path[len(c.path)-1] }

func (c *simContent) String() string {
	return fmt.Sprintf("%s%s v%d read %.3fms", c.site, c.path, c.version, float64(c.read)/1e6)
}

// sum decides what a version is like: nothing else does, so that one entity-tag stands for
// one content with one set of surrogate keys.
func (c *simContent) sum() uint64 { return simSum([]string{c.site, c.path}, uint64(c.version)) }

// tags are the version's surrogate keys.
func (c *simContent) tags() (tags []string) {
	for i, tag := range simTags {
		if c.sum()>>i&1 == 1 {
			tags = append(tags, tag)
		}
	}
	return tags
}

// shade is the value of a field that bans look at.
func (c *simContent) shade() string { return []string{"light", "dark"}[c.sum()>>8&1] }

// window is how long it may be served stale; how long if no parent has an answer.
func (c *simContent) window() (stale, ifError time.Duration) {
	switch c.kind() {
	case 'w':
		return 2 * time.Second, 2 * time.Second
	case 's':
		return 2 * time.Second, simIfError
	case 'e':
		return 0, 4 * time.Second
	case 'b':
		return 0, 0
	}
	return 0, simIfError
}

// simOrigin is a linearizable register for each resource.
type simOrigin struct {
	w  *sim
	mu struct {
		sync.Mutex
		of    map[string]int // version, by site and path
		reads int
		slow  []slowRead
		holds int // so many of the next reads are slow
		down  bool
	}
}

// slowRead is one whose answer takes seconds.
type slowRead struct {
	of       string
	from, to time.Duration
}

func newSimOrigin(w *sim) *simOrigin {
	o := &simOrigin{w: w}
	o.mu.of = make(map[string]int)
	return o
}

func (o *simOrigin) reads() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.reads
}

// publish gives a resource its next version.
func (o *simOrigin) publish(site, path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.of[site+path]++
	o.w.note("publish %s%s v%d", site, path, o.mu.of[site+path])
}

// read is the content at this moment, and how long the answer takes to leave; false if the
// origin is down.
func (o *simOrigin) read(site, path string, rnd *rand.Rand) (c *simContent, takes time.Duration, up bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.down {
		return nil, 0, false
	}
	o.mu.reads++
	c = &simContent{site, path, o.mu.of[site+path], o.w.now()}
	if o.mu.holds > 0 {
		o.mu.holds--
		takes = 3*time.Second + simExp(rnd, time.Second)
		o.mu.slow = append(o.mu.slow, slowRead{site + path, c.read, c.read + takes})
		o.w.note("origin answers %s in %s", c, takes)
	}
	return c, takes, true
}

// slowIn are the slow reads of a resource under way between two moments.
func (o *simOrigin) slowIn(site, path string, from, to time.Duration) (reads []slowRead) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.mu.slow {
		if s.of == site+path && s.from < to && s.to > from {
			reads = append(reads, s)
		}
	}
	return reads
}

// answer is the origin as a transport has it, after the request has arrived.
func (o *simOrigin) answer(ctx context.Context, from string, req *http.Request, rnd *rand.Rand) (*http.Response, error) {
	name, _, _ := strings.Cut(req.Host, ".")
	path := strings.TrimPrefix(req.URL.Opaque, "//"+req.Host)
	c, takes, up := o.read(name, path, rnd)
	if !up {
		return simAnswer(req, 503, make(http.Header), nil, 0), nil
	}
	h := http.Header{"X-Read": {strconv.FormatInt(int64(c.read), 10)}, "X-Version": {strconv.Itoa(c.version)}, "Shade": {c.shade()}}
	for i, tag := range c.tags() {
		h.Add([]string{"Cache-Tag", "Cache-Tag", "xkey"}[(c.sum()>>4+uint64(i))%3], tag)
		if tag == simTags[0] && c.sum()>>10&1 == 1 {
			h.Set("Surrogate-Key", tag)
		}
	}
	etag := `"` + strconv.Itoa(c.version) + `"`
	modified := o.w.began.Add(-time.Hour).Add(time.Duration(c.version) * time.Second).UTC().Format(http.TimeFormat)
	kind := ""
	unchanged := false
	switch c.kind() {
	case 'v': // validated each time
		h.Set("Cache-Control", "max-age=0")
	case 'w': // stale while it is revalidated
		h.Set("Cache-Control", "max-age=1, stale-while-revalidate=2, stale-if-error=2")
	case 's':
		h.Set("Cache-Control", "max-age=600, stale-while-revalidate=2")
	case 'e': // validated after a second
		h.Set("Cache-Control", "max-age=1, stale-if-error=4")
	case 'd': // has nothing but a date
		h.Set("Cache-Control", "max-age=1")
		h.Set("Last-Modified", modified)
		etag, unchanged = "", req.Header.Get("If-Modified-Since") == modified
	case 'b': // validated each second, and never stale
		h.Set("Cache-Control", "max-age=1, must-revalidate")
	case 'x': // in variants
		h.Set("Cache-Control", "max-age=600")
		h.Set("Vary", "X-Kind")
		kind = req.Header.Get("X-Kind")
		etag = `"` + strconv.Itoa(c.version) + kind + `"`
	case 'c': // without a validator
		h.Set("Cache-Control", "max-age=600")
		etag = ""
	default:
		h.Set("Cache-Control", "max-age=600")
	}
	if etag != "" {
		h.Set("ETag", etag)
		unchanged = req.Header.Get("If-None-Match") == etag
	}
	o.w.note("origin reads %s for %s: unchanged %t", c, from, unchanged)
	if takes > 0 {
		if err := simSleep(ctx, takes); err != nil {
			return nil, err
		}
	}
	if unchanged {
		return simAnswer(req, 304, h, nil, 0), nil
	}
	body := fmt.Sprintf("v%d r%d k%s\n", c.version, int64(c.read), kind)
	halves := &halvesBody{ctx: ctx, rest: body + body, pause: simExp(rnd, o.w.params.latency)}
	return simAnswer(req, 200, h, halves, int64(2*len(body))), nil
}

// halvesBody is a body that comes in two parts.
type halvesBody struct {
	ctx   context.Context
	rest  string
	pause time.Duration
	begun bool
}

func (b *halvesBody) Read(p []byte) (int, error) {
	if b.rest == "" {
		return 0, io.EOF
	}
	if b.begun {
		if err := simSleep(b.ctx, b.pause); err != nil {
			return 0, err
		}
	}
	n := len(b.rest)
	if !b.begun {
		n /= 2
	}
	b.begun = true
	n = copy(p[:min(n, len(p))], b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *halvesBody) Close() error { return nil }

// simAnswer is an answer as net/http gives it.
func simAnswer(req *http.Request, status int, h http.Header, body io.ReadCloser, length int64) *http.Response {
	if body == nil || req.Method == "HEAD" || status == 304 {
		body = http.NoBody
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: body, ContentLength: length, Request: req,
	}
}
