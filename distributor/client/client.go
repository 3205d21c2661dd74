package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits of the client.
const (
	maxResponse = 32 << 20         // bytes of one response: a list of 10,000 sites is a few MB
	callTimeout = 30 * time.Second // of a call, beside what it asked the API to wait

	// While the distributors elect a leader a call is made again and again, so that
	// the loss of one costs the caller time but no error.
	electionPatience = 10 * time.Second
	electionPause    = 500 * time.Millisecond
)

// ByHeader carries who asks, for the audit trail.
const ByHeader = "Freshet-By"

// Client calls one distributor. It is safe for use from several goroutines.
type Client struct {
	// By says who asks, for the audit trail; set it before the first call.
	By string

	base, token string
	http        *http.Client
}

// New makes a client of the API at baseURL (http://host:port) with a bearer token.
// It connects on the first call.
func New(baseURL, token string) *Client {
	return &Client{
		base:  strings.TrimRight(baseURL, "/"),
		token: token,
		http: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute},
			// A redirect would carry the token to where nobody meant it to go.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// URL is the base URL that the client was made with.
func (c *Client) URL() string { return c.base }

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Nodes lists the members of the cluster.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var out Nodes
	err := c.get(ctx, "/v1/nodes", &out)
	return out.Nodes, err
}

// Status sums the cluster up.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.get(ctx, "/v1/status", &out)
}

// Sites lists the sites at their newest version, without text.
func (c *Client) Sites(ctx context.Context) ([]Site, error) {
	var out Sites
	err := c.get(ctx, "/v1/sites", &out)
	return out.Sites, err
}

// Site reads one site; version 0 is the newest.
func (c *Client) Site(ctx context.Context, name string, version int) (Site, error) {
	var out Site
	path := sitePath(name)
	if version != 0 {
		path += "?version=" + strconv.Itoa(version)
	}
	return out, c.get(ctx, path, &out)
}

// SiteHistory lists the versions of one site, newest first, without text.
func (c *Client) SiteHistory(ctx context.Context, name string) ([]Site, error) {
	var out Sites
	err := c.get(ctx, sitePath(name)+"/history", &out)
	return out.Sites, err
}

// Apply stores a site document. An *Error with status 422 lists every mistake in
// it, one with 409 says that another site has one of its hosts, and one with 412
// that req.Expect is not what is there.
func (c *Client) Apply(ctx context.Context, req ApplyRequest) (Site, error) {
	var out Site
	q := url.Values{}
	if req.File != "" {
		q.Set("file", req.File)
	}
	if req.Message != "" {
		q.Set("message", req.Message)
	}
	return out, c.do(ctx, call{http.MethodPost, "/v1/sites?" + q.Encode(), "application/yaml", req.Text, req.Expect}, &out)
}

// DeleteSite takes a site out of service; expect is as in ApplyRequest.
func (c *Client) DeleteSite(ctx context.Context, name string, expect int) error {
	return c.do(ctx, call{http.MethodDelete, sitePath(name), "", nil, expect}, nil)
}

// RestoreSites puts back the site documents, and their secrets, that the cluster's store has
// lost and the leader still knows. What is there is left alone.
func (c *Client) RestoreSites(ctx context.Context) (Restored, error) {
	var out Restored
	return out, c.do(ctx, call{http.MethodPost, "/v1/sites/restore", "", nil, AnyVersion}, &out)
}

func sitePath(name string) string { return "/v1/sites/" + url.PathEscape(name) }

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, expect: AnyVersion}, into)
}

// call is one request.
type call struct {
	method, path string
	contentType  string
	body         []byte
	expect       int // version for If-Match
}

// do makes one call, again while no distributor leads, and decodes its answer into
// into, unless that is nil.
func (c *Client) do(ctx context.Context, call call, into any) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	began := time.Now()
	for {
		err := c.once(ctx, call, into)
		var answer *Error
		if !errors.As(err, &answer) || !answer.later || time.Since(began) > electionPatience {
			return err
		}
		select {
		case <-time.After(electionPause):
		case <-ctx.Done():
			return err
		}
	}
}

// once makes one call.
func (c *Client) once(ctx context.Context, call call, into any) error {
	req, err := http.NewRequestWithContext(ctx, call.method, c.base+call.path, bytes.NewReader(call.body))
	if err != nil {
		return fmt.Errorf("address of the management API: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if call.contentType != "" {
		req.Header.Set("Content-Type", call.contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.By != "" {
		req.Header.Set(ByHeader, c.By)
	}
	switch call.expect {
	case AnyVersion:
	case Absent:
		req.Header.Set("If-None-Match", "*")
	default:
		req.Header.Set("If-Match", `"`+strconv.Itoa(call.expect)+`"`)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err // a *url.Error: it names the method and the address
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	case len(body) > maxResponse:
		return fmt.Errorf("read the answer of %s: it is longer than %d bytes", c.base, maxResponse)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		e := problem(resp.StatusCode, body)
		e.later = resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
		return e
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil
}
