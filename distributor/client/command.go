package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Purge gives a purge. See Command.
func (c *Client) Purge(ctx context.Context, req CommandRequest) (Receipt, error) {
	req.Kind = "purge"
	return c.Command(ctx, req)
}

// Command appends a command to the log and, unless req.NoWait, waits until every
// live cache node has applied it or the timeout has passed; the receipt says which.
// A command may be given again after any error: it only has its effect twice.
func (c *Client) Command(ctx context.Context, req CommandRequest) (Receipt, error) {
	var r Receipt
	body, err := json.Marshal(req)
	if err != nil {
		return r, err
	}
	if req.Timeout == 0 {
		req.Timeout = DefaultWait
	}
	q := url.Values{"wait": {strconv.FormatBool(!req.NoWait)}, "timeout": {req.Timeout.String()}}
	ctx, cancel := context.WithTimeout(ctx, callTimeout+req.Timeout)
	defer cancel()
	err = c.do(ctx, call{http.MethodPost, "/v1/commands?" + q.Encode(), "application/json", body, AnyVersion}, &r)
	return r, err
}

// Commands lists commands of the log, newest first. Commands.Next goes on.
func (c *Client) Commands(ctx context.Context, f CommandFilter) (Commands, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("kind", f.Kind)
	set("site", f.Site)
	set("by", f.By)
	set("before", f.Before)
	if !f.Since.IsZero() {
		set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit != 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	path := "/v1/commands"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	var out Commands
	return out, c.get(ctx, path, &out)
}

// FindCommand looks one command up, by its id or its sequence, with its receipts as of now.
// An *Error with status 404 says that the log does not hold it.
func (c *Client) FindCommand(ctx context.Context, id string) (Receipt, error) {
	var out Receipt
	return out, c.get(ctx, "/v1/commands/"+url.PathEscape(id), &out)
}
