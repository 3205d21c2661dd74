package h1_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/edge/listener/h1"
	"freshet/internal/header"
)

// lanes are the addresses of a server that begins in this lane, and of one that is the full
// lane's from the beginning. Both answer with all that they have read.
func lanes(t testing.TB) (fast, slow string) {
	echo := handler(func(_ context.Context, req *exchange.Request, to exchange.Responder) {
		var body []byte
		if req.Body != nil {
			body, _ = io.ReadAll(req.Body)
		}
		all := make([]string, 0, req.Header.Len())
		for name, values := range fields(req.Header) {
			all = append(all, fmt.Sprintf("%s=%q", name, values))
		}
		slices.Sort(all)
		h := new(header.Block)
		if err := h.Add("X-Request", fmt.Sprintf("%s %s %s %s %q %x", req.Method, req.Host, req.Port, req.Target, body, sha256.Sum256([]byte(strings.Join(all, "\n"))))); err != nil {
			h.Reset() // a long target
			_ = h.Add("X-Request", req.Method+" ")
		}
		_ = to.Respond(&exchange.Answer{Status: 200, Header: h, Bytes: []byte("x"), Length: 1})
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	full := &http.Server{Handler: &listener.Full{Handler: echo, Now: time.Now, Limits: large}, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = full.Serve(l) }()
	t.Cleanup(func() { full.Close() })
	s := &h1.Server{Handler: echo, Limits: large}
	s.Spoil()
	return serve(t, s, false), l.Addr().String()
}

// TestBothLanesAnswerAlike: a client sees no difference between a connection that begins
// in this lane and one that is the full lane's from the beginning, whatever it sends.
func TestBothLanesAnswerAlike(t *testing.T) {
	fast, slow := lanes(t)
	var running sync.WaitGroup
	room := make(chan struct{}, 16)
	for _, all := range heads {
		if strings.HasSuffix(all, "\r\n\r\nX") {
			continue // net/http has no answer to a single byte, or has one, as it comes
		}
		running.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			for _, all := range []string{all, get + all, get + all + get} {
				got, want := talk(t, fast, all, len(all)), talk(t, slow, all, len(all))
				if got != want {
					t.Errorf("%.300q:\ngot  %s\nwant %s", all, got, want)
				}
			}
		})
	}
	running.Wait()
}

// FuzzBothLanes: whatever a client sends, and in whatever two pieces, it has the same
// answers from both lanes.
func FuzzBothLanes(f *testing.F) {
	for i, s := range heads {
		f.Add([]byte(s), uint16(i))
		f.Add([]byte(get+s+get), uint16(3*i))
	}
	fast, slow := lanes(f)
	f.Fuzz(func(t *testing.T, all []byte, cut uint16) {
		if len(all) > 8<<10 {
			return
		}
		got, want := talk(t, fast, string(all), int(cut)), talk(t, slow, string(all), int(cut))
		// The end of a head may be missing: the full lane says so, if it has come far enough.
		const missing = "400  close=true; "
		if got = strings.TrimSuffix(got, missing); got != strings.TrimSuffix(want, missing) {
			t.Errorf("%.300q, cut at %d:\ngot  %s\nwant %s", all, cut, got, want)
		}
	})
}

// talk sends everything, in two pieces where cut is within it, and says what is answered.
func talk(t testing.TB, addr, all string, cut int) string {
	c, err := net.Dial("tcp", addr)
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skip("all ports are those of connections that have ended")
	}
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	cut = min(cut, len(all))
	_, _ = io.WriteString(c, all[:cut])
	_, _ = io.WriteString(c, all[cut:])
	_ = c.(*net.TCPConn).CloseWrite()
	in := bufio.NewReader(c)
	var said strings.Builder
	for {
		method := "GET"
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		if request := res.Header.Get("X-Request"); strings.HasPrefix(request, "HEAD ") {
			method = "HEAD"
		}
		if res.StatusCode == 431 {
			said.WriteString("431") // always the last in this lane
			break
		}
		fmt.Fprintf(&said, "%d %s close=%v; ", res.StatusCode, res.Header.Get("X-Request"), res.Close)
		if method != "HEAD" {
			_, _ = io.Copy(io.Discard, res.Body)
		}
	}
	return said.String()
}
