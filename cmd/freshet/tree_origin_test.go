package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// originFault is what is wrong with a treeOrigin.
type originFault string

const (
	originWell     originFault = "well"
	originRefuses  originFault = "refuses"  // nobody listens
	originHangs    originFault = "hangs"    // requests are read, and never answered
	originCloses   originFault = "closes"   // connections end once a request has been read
	originFails    originFault = "fails"    // answers 503
	originTrickles originFault = "trickles" // bodies come a few bytes at a time
)

// treeOrigin is an origin outside of the cluster that counts, and that can fail. /s/N lives
// for short, every other path for an hour. Each body says its path and when it was made.
type treeOrigin struct {
	t     *testing.T
	addr  string
	short time.Duration // lifetime of /s/
	work  time.Duration // that each answer takes
	body  int           // bytes, at least 64; of paths that end in 7 fifty times that

	mu      sync.Mutex
	server  *http.Server
	fault   originFault
	changed chan struct{} // closed when the fault is another
	begun   time.Time
	tenths  []int // requests by tenth of a second since begun
	asked   map[string]int
	atOnce  int
	most    int // at once, since it was last asked for
}

// newTreeOrigin starts an origin at an IP address, 127.0.0.1 if it is "".
func newTreeOrigin(t *testing.T, ip string) *treeOrigin {
	addr := freeAddr(t)
	if _, port, err := net.SplitHostPort(addr); ip != "" && err == nil {
		addr = net.JoinHostPort(ip, port)
	}
	o := &treeOrigin{
		t: t, addr: addr, short: 2 * time.Second, work: 5 * time.Millisecond, body: 2000,
		fault: originWell, changed: make(chan struct{}), begun: time.Now(), asked: make(map[string]int),
	}
	o.listen()
	t.Cleanup(func() { o.set(originRefuses) })
	return o
}

func (o *treeOrigin) url() string { return "http://" + o.addr }

func (o *treeOrigin) listen() {
	var ln net.Listener
	within(o.t, 5*time.Second, func() (err error) {
		ln, err = net.Listen("tcp", o.addr)
		return err
	})
	server := &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	o.mu.Lock()
	o.server = server
	o.mu.Unlock()
	go func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			o.t.Error(err)
		}
	}()
}

// set makes the origin fail in another way, or well again.
func (o *treeOrigin) set(fault originFault) {
	o.mu.Lock()
	before, server := o.fault, o.server
	o.fault = fault
	close(o.changed)
	o.changed = make(chan struct{})
	if fault == originRefuses {
		o.server = nil
	}
	o.mu.Unlock()
	switch {
	case fault == originRefuses && server != nil:
		_ = server.Close()
	case before == originRefuses && fault != originRefuses:
		o.listen()
	}
}

func (o *treeOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	fault, changed := o.fault, o.changed
	tenth := int(time.Since(o.begun) / (time.Second / 10))
	for len(o.tenths) <= tenth {
		o.tenths = append(o.tenths, 0)
	}
	o.tenths[tenth]++
	o.asked[r.URL.Path]++
	o.atOnce++
	o.most = max(o.most, o.atOnce)
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.atOnce--
	}()
	switch fault {
	case originHangs:
		select {
		case <-r.Context().Done():
		case <-changed:
		}
		panic(http.ErrAbortHandler)
	case originCloses:
		panic(http.ErrAbortHandler)
	case originFails:
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	select {
	case <-r.Context().Done():
		return
	case <-time.After(o.work):
	}
	made := time.Now()
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, made.UnixMicro()))
	w.Header().Set("Cache-Control", "max-age=3600")
	if strings.HasPrefix(r.URL.Path, "/s/") {
		w.Header().Set("Cache-Control", fmt.Sprint("max-age=", int(o.short/time.Second)))
	}
	size := o.body
	if strings.HasSuffix(r.URL.Path, "7") {
		size *= 50
	}
	body := treeBody(r.URL.Path, made, size)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if fault != originTrickles {
		_, _ = w.Write(body)
		return
	}
	for len(body) > 0 {
		n := min(len(body), 10)
		_, _ = w.Write(body[:n])
		_ = http.NewResponseController(w).Flush()
		body = body[n:]
		select {
		case <-r.Context().Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// treeBody is the body of a path that was made then: a line with both, and what follows
// from these.
func treeBody(path string, made time.Time, size int) []byte {
	head := fmt.Appendf(nil, "%s %d\n", path, made.UnixMicro())
	b := append(make([]byte, 0, size+8), head...)
	x := uint64(made.UnixMicro())
	for len(b) < size {
		x = x*6364136223846793005 + 1442695040888963407
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b[:max(size, len(head))]
}

// readTreeBody checks each byte of a body and says when it was made.
func readTreeBody(path string, body []byte) (made time.Time, err error) {
	line, _, _ := bytes.Cut(body, []byte("\n"))
	got, stamp, _ := strings.Cut(string(line), " ")
	micros, err := strconv.ParseInt(stamp, 10, 64)
	made = time.UnixMicro(micros)
	if err != nil || got != path || !bytes.Equal(body, treeBody(path, made, len(body))) {
		return made, fmt.Errorf("%s: a foreign body of %d bytes, %q", path, len(body), body[:min(len(body), 60)])
	}
	return made, nil
}

// reset forgets what was counted, and begins the tenths of seconds anew.
func (o *treeOrigin) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.begun, o.tenths, o.most = time.Now(), nil, o.atOnce
	clear(o.asked)
}

// mostAtOnce is how many requests were under way at once at most since it was last asked.
func (o *treeOrigin) mostAtOnce() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	most := o.most
	o.most = o.atOnce
	return most
}

func (o *treeOrigin) requests(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[path]
}

// perTenth is the number of requests in each tenth of a second between two moments.
func (o *treeOrigin) perTenth(from, to time.Time) []int {
	o.mu.Lock()
	defer o.mu.Unlock()
	counts := make([]int, max(0, int(to.Sub(from)/(time.Second/10))))
	first := int(from.Sub(o.begun) / (time.Second / 10))
	for i := range counts {
		if at := first + i; at >= 0 && at < len(o.tenths) {
			counts[i] = o.tenths[at]
		}
	}
	return counts
}

// perSecond is that by whole seconds.
func (o *treeOrigin) perSecond(from, to time.Time) []int {
	tenths := o.perTenth(from, to)
	counts := make([]int, len(tenths)/10)
	for i := range counts {
		for _, n := range tenths[10*i : 10*i+10] {
			counts[i] += n
		}
	}
	return counts
}
