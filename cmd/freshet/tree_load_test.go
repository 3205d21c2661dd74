package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// treeLoad is a load of many clients at a rate, over keys by Zipf's law. A third of the keys
// lives for short.
type treeLoad struct {
	addrs   []string // of the edges: client i speaks to one of them
	host    string
	clients int
	rate    float64 // requests a second of all clients
	keys    int
	seed    uint64
	path    func(key int) string // treePath if nil
	timeout time.Duration        // of a request; 30 s
	others  bool                 // whom an edge refuses tries the others, as with several addresses in DNS

	t     *testing.T
	sums  []float64
	begun time.Time
	stop  chan struct{}
	done  sync.WaitGroup
	mu    sync.Mutex
	all   []sample
}

// treePath is the path of a key: each third one lives for short.
func treePath(key int) string {
	if key%3 == 0 {
		return fmt.Sprint("/s/", key)
	}
	return fmt.Sprint("/l/", key)
}

// shortPath is a path that lives for short.
func shortPath(key int) string { return fmt.Sprint("/s/", key) }

// sample is one request and its answer.
type sample struct {
	edge   int
	key    int
	at     time.Time
	took   time.Duration
	first  time.Duration // to the head of the answer; 0 for none
	status int
	age    time.Duration // since the content was made
	after  time.Duration // of Retry-After; -1 for none
	hit    bool          // at the edge
	stale  bool          // by stale-if-error at the edge or above
	chain  string        // Cache-Status, and of failures what they say
	err    error         // also a body that breaks off, or is another
}

// bad says that a client got no right answer, and not because a body broke off of which it
// had the head.
func (s *sample) bad() bool { return s.err != nil && s.first == 0 || s.status >= 500 }

// cut says that the body broke off.
func (s *sample) cut() bool { return s.err != nil && s.first != 0 }

func (l *treeLoad) start(t *testing.T) *treeLoad {
	l.t, l.begun, l.stop = t, time.Now(), make(chan struct{})
	if l.path == nil {
		l.path = treePath
	}
	if l.timeout == 0 {
		l.timeout = 30 * time.Second
	}
	l.sums = make([]float64, l.keys)
	sum := 0.0
	for i := range l.sums {
		sum += 1 / float64(i+1)
		l.sums[i] = sum
	}
	for c := range l.clients {
		l.done.Go(func() { l.client(c) })
	}
	t.Cleanup(func() { l.end() })
	return l
}

// client asks at its part of the rate, over a connection of its own.
func (l *treeLoad) client(c int) {
	r := rand.New(rand.NewPCG(l.seed, uint64(c)))
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: l.timeout}
	interval := float64(l.clients) / l.rate * float64(time.Second)
	next := time.Duration(r.Float64() * interval)
	for {
		timer := time.NewTimer(time.Until(l.begun.Add(next)))
		select {
		case <-timer.C:
		case <-l.stop:
			timer.Stop()
			return
		}
		s := l.ask(client, c%len(l.addrs), sort.SearchFloat64s(l.sums, r.Float64()*l.sums[l.keys-1]))
		l.mu.Lock()
		l.all = append(l.all, s)
		l.mu.Unlock()
		// A client that had to wait does not make up for it.
		next = max(next, time.Since(l.begun)-time.Duration(interval)) + time.Duration((0.5+r.Float64())*interval)
	}
}

func (l *treeLoad) ask(client *http.Client, edge, key int) (s sample) {
	s = sample{edge: edge, key: key, at: time.Now(), after: -1}
	defer func() { s.took = time.Since(s.at) }()
	path := l.path(key)
	var res *http.Response
	var err error
	for range len(l.addrs) {
		var req *http.Request
		if req, err = http.NewRequest(http.MethodGet, "http://"+l.addrs[s.edge]+path, nil); err != nil {
			break
		}
		req.Host = l.host
		if res, err = client.Do(req); !l.others || !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		s.edge = (s.edge + 1) % len(l.addrs)
	}
	if err != nil {
		s.err = err
		return s
	}
	s.first, s.status = time.Since(s.at), res.StatusCode
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	own := res.Header.Values("Cache-Status")
	s.chain = strings.Join(own, ", ")
	if len(own) > 0 {
		member := own[len(own)-1]
		member = member[strings.LastIndex(member, ", ")+1:]
		s.hit, s.stale = strings.Contains(member, "; hit"), strings.Contains(strings.Join(own, ", "), "stale-if-error")
	}
	if text := res.Header.Get("Retry-After"); text != "" {
		if n, err := strconv.Atoi(text); err == nil {
			s.after = time.Duration(n) * time.Second
		}
	}
	if s.err = err; err != nil {
		return s
	}
	if s.status != http.StatusOK {
		s.chain = fmt.Sprint(res.Header.Values("Cache-Status"), res.Header.Values("Proxy-Status"), " ", strings.TrimSpace(string(body)))
		return s
	}
	made, err := readTreeBody(path, body)
	if err != nil {
		l.t.Error(err)
		s.err = err
	}
	s.age = time.Since(made)
	return s
}

// end ends the load and returns all samples in the order of their beginnings.
func (l *treeLoad) end() []sample {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.done.Wait()
	slices.SortFunc(l.all, func(a, b sample) int { return a.at.Compare(b.at) })
	return l.all
}

// among are the samples that began between two moments, and that are wanted.
func among(all []sample, from, to time.Time, want func(*sample) bool) []sample {
	var some []sample
	for _, s := range all {
		if !s.at.Before(from) && s.at.Before(to) && (want == nil || want(&s)) {
			some = append(some, s)
		}
	}
	return some
}

// tookAt is the time that a part q of the samples has not exceeded.
func tookAt(all []sample, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	took := make([]time.Duration, len(all))
	for i, s := range all {
		took[i] = s.took
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}

// hitRatio is the part of hits at the edges, stale ones not counted.
func hitRatio(all []sample) float64 {
	hits := 0
	for _, s := range all {
		if s.hit && !s.stale {
			hits++
		}
	}
	return float64(hits) / float64(max(1, len(all)))
}

// figures sums samples up for the log.
func figures(all []sample) string {
	statuses := make(map[int]int)
	var errs, cuts, stale int
	var worst time.Duration
	for _, s := range all {
		switch {
		case s.cut():
			cuts++
		case s.err != nil:
			errs++
		default:
			statuses[s.status]++
		}
		if s.stale {
			stale++
		}
		worst = max(worst, s.took)
	}
	text := fmt.Sprintf("%d requests:", len(all))
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		text += fmt.Sprintf(" %d of %d,", statuses[status], status)
	}
	return text + fmt.Sprintf(" %d without an answer, %d cut off, %d stale by error; fresh hits %.1f %%; p50 %s, p99 %s, longest %s",
		errs, cuts, stale, 100*hitRatio(all), tookAt(all, 0.5).Round(10*time.Microsecond), tookAt(all, 0.99).Round(100*time.Microsecond), worst.Round(time.Millisecond))
}

// complain fails the test by what is bad among the samples, with the first ones.
func complain(t *testing.T, what string, all []sample) {
	t.Helper()
	bad := among(all, time.Time{}, time.Now().Add(time.Hour), (*sample).bad)
	for i, s := range bad {
		if i == 5 {
			break
		}
		t.Logf("%s: at %s, edge %d, key %d, after %s: %d %v %s", what, s.at.Format("15:04:05.000"), s.edge, s.key, s.took, s.status, s.err, s.chain)
	}
	if len(bad) > 0 {
		t.Errorf("%s: %d of %d requests failed", what, len(bad), len(all))
	}
}

// slowest are the n samples that took longest.
func slowest(all []sample, n int) []sample {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b sample) int { return cmp.Compare(b.took, a.took) })
	return sorted[:min(n, len(sorted))]
}
