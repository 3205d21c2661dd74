package edge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/internal/header"
)

// explainUsage is what the page says to those who do not say what to explain.
const explainUsage = "say which request to explain: /explain?url=http://host/path&method=GET&header=Name:value&fetch=true (all but url may be left out)"

// explainPage answers GET /explain on the admin listener with an Explanation as
// JSON:
//
//	url     absolute, as a client asks for it
//	method  GET if left out
//	header  "Name: value", as often as wanted; Host replaces the one of url
//	fetch   true to ask a parent, whose answer is not stored
//
// The request is read by the listener's own code, as if a client had sent it. Errors
// are plain text with 400, or 431 for too much header.
func (e *Edge) explainPage(w http.ResponseWriter, r *http.Request) {
	asked, fetch, err := explained(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	full := listener.Full{Handler: explainer{e, fetch}, Now: e.now}
	full.ServeHTTP(w, asked)
}

// explainer answers requests with their explanations.
type explainer struct {
	edge  *Edge
	fetch bool
}

// Serve answers with the explanation of req.
func (x explainer) Serve(ctx context.Context, req *exchange.Request, to exchange.Responder) {
	text, err := json.MarshalIndent(x.edge.explain(ctx, req, x.fetch), "", "  ")
	h := new(header.Block)
	status := http.StatusOK
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(err.Error())
		_ = h.Add("Content-Type", "text/plain; charset=utf-8")
	} else {
		_ = h.Add("Content-Type", "application/json")
	}
	text = append(text, '\n')
	_ = to.Respond(&exchange.Answer{Status: status, Header: h, Bytes: text, Length: int64(len(text))})
}

// explained reads the query of the page: the request that it is about.
func explained(r *http.Request) (asked *http.Request, fetch bool, err error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, false, fmt.Errorf("the query cannot be read: %w", err)
	}
	for name := range q {
		switch name {
		case "url", "method", "header", "fetch":
		default:
			return nil, false, fmt.Errorf("unknown parameter %q: %s", name, explainUsage)
		}
	}
	raw, _, _ := strings.Cut(q.Get("url"), "#") // no client sends a fragment
	if raw == "" {
		return nil, false, errors.New(explainUsage)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("the url cannot be read: %w", err)
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
		return nil, false, fmt.Errorf("the url %q is not of the form http(s)://host[:port]/path", raw)
	}
	asked = (&http.Request{Method: "GET", RequestURI: raw, Host: u.Host, Header: make(http.Header), Proto: "HTTP/1.1"}).WithContext(r.Context())
	if u.Scheme == "https" {
		asked.TLS = new(tls.ConnectionState)
	}
	if m := q.Get("method"); m != "" {
		asked.Method = m
	}
	for _, line := range q["header"] {
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, false, fmt.Errorf("the header %q is not of the form Name: value", line)
		}
		if value = strings.Trim(value, " \t"); strings.EqualFold(name, "Host") {
			asked.Host = value
			continue
		}
		asked.Header.Add(name, value)
	}
	if v := q.Get("fetch"); v != "" {
		if fetch, err = strconv.ParseBool(v); err != nil {
			return nil, false, fmt.Errorf("fetch is true or false, not %q", v)
		}
	}
	if fetch && asked.Method != http.MethodGet && asked.Method != http.MethodHead {
		return nil, false, fmt.Errorf("fetch asks a parent by GET, which says nothing of the method %s", asked.Method)
	}
	return asked, fetch, nil
}
