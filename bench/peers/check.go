//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"time"
)

// fetched is one answer, as far as it is compared.
type fetched struct {
	status int
	proto  string
	sum    string // SHA-256 of the body
}

// asker makes single requests on one protocol, each on the connection of the last.
type asker struct {
	client *http.Client
	h3load string // nil client: this is run for each
}

func newAsker(p proto, h3load string) *asker {
	if p == h3 {
		return &asker{h3load: h3load}
	}
	var protocols http.Protocols
	protocols.SetHTTP1(p != h2)
	protocols.SetHTTP2(p == h2)
	return &asker{client: &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, // our own server, on loopback
			Protocols:          &protocols,
			DisableCompression: true,
		},
	}}
}

func (a *asker) close() {
	if a.client != nil {
		a.client.CloseIdleConnections()
	}
}

func (a *asker) get(ctx context.Context, url string) (f fetched, err error) {
	if a.client == nil {
		return a.getH3(ctx, url)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return f, err
	}
	res, err := a.client.Do(req)
	if err != nil {
		return f, err
	}
	defer res.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, res.Body); err != nil {
		return f, fmt.Errorf("read the body of %s: %w", url, err)
	}
	return fetched{res.StatusCode, res.Proto, hex.EncodeToString(sum.Sum(nil))}, nil
}

func (a *asker) getH3(ctx context.Context, url string) (f fetched, err error) {
	cmd := exec.CommandContext(ctx, a.h3load, "-once", url)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("%w: %s", err, complaints.String())
	}
	var answer struct {
		Status        int
		Proto, SHA256 string
	}
	err = json.Unmarshal(out, &answer)
	return fetched{answer.Status, answer.Proto, answer.SHA256}, err
}

// warmUp asks a server for a row's URL until answers are hits, and holds every answer
// against the origin's body. Hits are known by the origin's silence.
func warmUp(ctx context.Context, s *server, r row, b bodies, h3load string) error {
	a := newAsker(r.proto, h3load)
	defer a.close()
	sum := sha256.Sum256(b[r.size.name])
	want := hex.EncodeToString(sum[:])
	url := s.url(r.proto, r.path())
	silent := 0
	deadline := time.Now().Add(10 * time.Second)
	for silent < 3 {
		before := s.origin.count().Requests
		f, err := a.get(ctx, url)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %s: %w", s.name, r, err)
		case f.status != http.StatusOK:
			return fmt.Errorf("%s: %s: status %d", s.name, r, f.status)
		case f.proto != spoken[r.proto]:
			return fmt.Errorf("%s: %s: it spoke %s", s.name, r, f.proto)
		case f.sum != want:
			return fmt.Errorf("%s: %s: the body is not the origin's", s.name, r)
		}
		if s.origin.count().Requests == before {
			silent++
			continue
		}
		silent = 0
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s: answers do not become hits", s.name, r)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond): // some store after they have answered
		}
	}
	return nil
}

var spoken = map[proto]string{h1: "HTTP/1.1", h1s: "HTTP/1.1", h2: "HTTP/2.0", h3: "HTTP/3.0"}
