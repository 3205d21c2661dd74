package edge

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/edge/exchange"
	"freshet/internal/header"
)

// removed is a command of the log that removes, as the checker sees it.
type removed struct {
	at     time.Duration // of its appending
	pos    position
	text   string
	soft   bool
	covers func(*simContent) bool // by what the content is itself
	all    bool                   // whatever the content is
}

// simRequest is a client's request.
type simRequest struct {
	id         int
	site, path string
	method     string
	kind       string // X-Kind
	fields     [][2]string
}

func (r *simRequest) String() string {
	return fmt.Sprintf("#%d %s %s%s %s %v", r.id, r.method, r.site, r.path, r.kind, r.fields)
}

// exchange is the request as a listener has it.
func (r *simRequest) exchange() *exchange.Request {
	ex := &exchange.Request{
		Method: r.method, Scheme: "http", Host: r.site + ".test", Target: r.path, Header: new(header.Block), Proto: "HTTP/1.1", Received: time.Now(),
	}
	if r.kind != "" {
		_ = ex.Header.Add("X-Kind", r.kind)
	}
	for _, f := range r.fields {
		_ = ex.Header.Add(f[0], f[1])
	}
	return ex
}

// contentOf is what an answer holds.
func contentOf(r *simRequest, a *clientAnswer) (*simContent, error) {
	c := &simContent{site: r.site, path: r.path}
	header := func(name string) (int64, error) { return strconv.ParseInt(a.header.Get(name), 10, 64) }
	read, err := header("X-Read")
	if err != nil {
		return nil, err
	}
	version, err := header("X-Version")
	if err != nil {
		return nil, err
	}
	c.read, c.version = time.Duration(read), int(version)
	switch {
	case r.method == "HEAD":
		return c, nil
	case a.status == http.StatusPartialContent:
		if want := fmt.Sprintf("v%d", c.version)[:2]; string(a.body) != want {
			err = fmt.Errorf("the part %q in place of %q", a.body, want)
		}
		return c, err
	}
	first, second, _ := strings.Cut(string(a.body), "\n")
	if first+"\n" != second {
		return nil, fmt.Errorf("not one content whole: %q", a.body)
	}
	var v int
	var at int64
	var kind string
	if _, err := fmt.Sscanf(first+".", "v%d r%d k%s", &v, &at, &kind); err != nil {
		return nil, err
	}
	if want := map[bool]string{true: r.kind}[c.kind() == 'x'] + "."; kind != want {
		return nil, fmt.Errorf("variant %q in place of %q", kind, want)
	}
	if a.header.Get("ETag") == "" {
		c.version, c.read = v, time.Duration(at) // whatever was made of it by a date
	} else if c.version != v {
		return nil, fmt.Errorf("the head of version %d over the body of %d", c.version, v)
	}
	return c, nil
}

// judge holds an answer against what its node had acknowledged when the request arrived.
func (w *sim) judge(n *simNode, r *simRequest, a *clientAnswer, arrived time.Duration, acked position, some bool) {
	c, err := contentOf(r, a)
	if err != nil {
		w.violate("%s %s: %v", n.name, r, err)
		return
	}
	w.note("%s %s gets %s (%s)", n.name, r, c, a.header.Get("Cache-Status"))
	if !some {
		return
	}
	w.mu.Lock()
	removals := w.mu.removals
	w.mu.Unlock()
	for _, m := range removals {
		if acked.before(m.pos) || c.read >= m.at || !m.covers(c) {
			continue
		}
		if stale, ifError := c.window(); m.soft {
			if w.params.quiet {
				ifError = 0
			}
			if arrived <= m.at+max(stale, ifError)+time.Millisecond {
				continue
			}
		}
		w.violate("%s %s: got %s, though it had acknowledged %s of %.3fms (%s)", n.name, r, c, m.text, float64(m.at)/1e6, a.header.Get("Cache-Status"))
		return
	}
}

// patienceOf is how long a request may take if nothing is wrong.
const simPatience = 2500 * time.Millisecond

// judgeTime finds requests that have waited for what was asked before a removal that their
// node had acknowledged: that cannot be for them.
func (w *sim) judgeTime(n *simNode, r *simRequest, arrived time.Duration, acked position, some bool) {
	now := w.now()
	if !w.params.quiet || !some || now-arrived < simPatience {
		return
	}
	slow := w.origin.slowIn(r.site, r.path, arrived, now)
	w.mu.Lock()
	removals := w.mu.removals
	w.mu.Unlock()
	var last *removed
	for i, m := range removals {
		if !acked.before(m.pos) && m.all && !m.soft && m.covers(&simContent{site: r.site, path: r.path}) {
			last = &removals[i]
		}
	}
	switch {
	case len(slow) == 0:
		w.violate("%s %s took %s, though nothing was slow", n.name, r, now-arrived)
	case last == nil || len(slow) > 2:
	case !slices.ContainsFunc(slow, func(s slowRead) bool { return s.from >= last.at }):
		w.violate("%s %s took %s: it has waited for a fetch from before %s, which it had acknowledged", n.name, r, now-arrived, last.text)
	}
}
