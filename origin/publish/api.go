package publish

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"freshet/origin/blob"
	"freshet/origin/object"
)

// Errors of an origin's answers and of the way there.
var (
	ErrDenied  = errors.New("not authorised")              // the token is missing or wrong
	ErrNoSite  = errors.New("the origin has no such site") // nobody has applied its document
	ErrRefused = errors.New("the site takes no pushes")    // its content comes from elsewhere

	errChanged = errors.New("the file has changed while it was pushed; push it again")
	errStalled = errors.New("the origin takes nothing and says nothing")
)

// Limits towards an origin.
const (
	dialTimeout   = 10 * time.Second
	stallTimeout  = 90 * time.Second // without a byte moved or an answer; above the origin's own
	expectAbove   = 1 << 20          // bytes of a file above which the origin is asked before it is sent
	expectTimeout = 3 * time.Second
	maxAnswer     = 64 << 20 // bytes of a list page, with room to spare
	maxProblem    = 64 << 10
)

// Error is an origin's answer that something is wrong.
type Error struct {
	Status int
	Detail string        // what is wrong, in the origin's words
	After  time.Duration // when to try again, if the origin says so
}

// Error is the detail, or the status where there is none.
func (e *Error) Error() string {
	if e.Detail != "" {
		return e.Detail
	}
	return fmt.Sprintf("the origin answered %d %s", e.Status, http.StatusText(e.Status))
}

// Is makes an Error match what it means.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrDenied:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	case ErrNoSite:
		return e.Status == http.StatusNotFound
	case ErrRefused:
		return e.Status == http.StatusConflict
	}
	return false
}

// api makes the calls of the push API, each of them once.
type api struct {
	base  *url.URL
	token string
	http  *http.Client
}

func newAPI(origin, token string, parallel int) (*api, error) {
	base, err := url.Parse(origin)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("origin %q: it should be a URL such as http://127.0.0.1:7080", origin)
	}
	return &api{
		base:  &url.URL{Scheme: base.Scheme, Host: base.Host},
		token: token,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
				TLSHandshakeTimeout:   dialTimeout,
				ExpectContinueTimeout: expectTimeout,
				MaxIdleConnsPerHost:   parallel,
				IdleConnTimeout:       time.Minute,
				DisableCompression:    true,
			},
			// The token is for this origin only.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// list reads one page of a site's objects.
func (a *api) list(ctx context.Context, site, prefix, after string, limit int) (object.List, error) {
	u := a.objects(site, "")
	u.RawQuery = url.Values{"prefix": {prefix}, "after": {after}, "limit": {strconv.Itoa(limit)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return object.List{}, err
	}
	var page object.List
	_, err = a.do(req, &page)
	return page, err
}

// put sends one object. created is false if something stood there.
func (a *api) put(ctx context.Context, site, path string, body io.Reader, size int64, digest blob.Digest, cacheControl string) (answer object.Put, created bool, err error) {
	if size == 0 {
		body = http.NoBody // else its length would count as unknown
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, a.objects(site, path).String(), body)
	if err != nil {
		return object.Put{}, false, err
	}
	req.ContentLength = size
	req.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest[:])+":")
	if cacheControl != "" {
		req.Header.Set("Cache-Control", cacheControl)
	}
	if size > expectAbove {
		req.Header.Set("Expect", "100-continue")
	}
	status, err := a.do(req, &answer)
	return answer, status == http.StatusCreated, err
}

func (a *api) objects(site, path string) *url.URL {
	u := *a.base
	u.Path = "/v1/sites/" + site + "/objects" + path
	u.RawPath = "/v1/sites/" + url.PathEscape(site) + "/objects" + object.EscapePath(path)
	return &u
}

// do makes one call that must be moving all the time.
func (a *api) do(req *http.Request, into any) (status int, err error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	alarm := time.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer alarm.Stop()
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &movingBody{req.Body, alarm}
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, readProblem(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		return resp.StatusCode, fmt.Errorf("read the answer of %s: %w", a.base.Host, err)
	}
	return resp.StatusCode, nil
}

func readProblem(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode}
	var problem struct {
		Detail string `json:"detail"`
	}
	// Whatever is no problem document, from a proxy say, leaves the status alone.
	if body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem)); err == nil && json.Unmarshal(body, &problem) == nil {
		e.Detail = problem.Detail
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.After = time.Duration(min(seconds, 3600)) * time.Second
	}
	return e
}

// movingBody puts off the alarm with every read.
type movingBody struct {
	io.ReadCloser
	alarm *time.Timer
}

func (b *movingBody) Read(p []byte) (int, error) {
	b.alarm.Reset(stallTimeout)
	return b.ReadCloser.Read(p)
}
