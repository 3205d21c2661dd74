package distributor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"freshet/internal/access"
	"freshet/internal/cluster"
	"freshet/internal/command"
	"freshet/internal/document"
)

// Bounds of a request to the management API.
const (
	maxHead     = 64 << 10         // bytes of its head
	maxBody     = 1 << 20          // bytes of its body
	headTimeout = 5 * time.Second  // to send the head
	bodyTimeout = 10 * time.Second // to send the body
	workTimeout = 15 * time.Second // of an operation, beside a wait for receipts
	idleTimeout = 2 * time.Minute  // of a connection between requests
)

// newHandler builds the management API.
func (d *Distributor) newHandler(v *access.Verifier) http.Handler {
	mux := http.NewServeMux()
	d.register(newAPI(mux, d.env.Version))
	api := problems(mux)
	secured := v.Require(bounded(api, bodyTimeout))
	outer := http.NewServeMux()
	outer.Handle("GET /openapi.json", api)
	outer.Handle("GET /v1/live", api)
	outer.Handle("/", secured)
	return outer
}

// newAPI sets the library up: JSON only, its description at /openapi.json, no pages
// that load scripts from elsewhere.
func newAPI(mux *http.ServeMux, version string) huma.API {
	config := huma.DefaultConfig("Freshet management API", version)
	config.Info.Description = "The control plane of a Freshet CDN: sites, commands with receipts, nodes and status. " +
		"Errors are problem documents (RFC 9457). Writes go to the distributor that leads; the others answer 503 and name it."
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "The token of the distributor's node file."},
	}
	config.Security = []map[string][]string{{"token": {}}}
	return humago.New(mux, config)
}

// register declares every operation.
func (d *Distributor) register(api huma.API) {
	live := operation(http.MethodGet, "/v1/live", "live", "Whether the process answers")
	live.Security = []map[string][]string{}
	huma.Register(api, live, d.live)
	huma.Register(api, operation(http.MethodGet, "/v1/status", "get-status", "The cluster in one page"), d.getStatus)
	huma.Register(api, operation(http.MethodGet, "/v1/nodes", "list-nodes", "Members of the cluster, and how far they follow the command log"), d.listNodes)
	give := operation(http.MethodPost, "/v1/commands", "give-command", "Append a command to the log, and wait for receipts")
	give.Middlewares = nil // it bounds its own time
	huma.Register(api, give, d.giveCommand)
	huma.Register(api, operation(http.MethodGet, "/v1/commands", "list-commands", "The commands that the log still holds, newest first"), d.listCommands)
	huma.Register(api, operation(http.MethodGet, "/v1/commands/{id}", "get-command", "One command of the log, and who has applied it by now"), d.findCommand)
	huma.Register(api, operation(http.MethodGet, "/v1/sites", "list-sites", "All sites"), d.listSites)
	huma.Register(api, operation(http.MethodPost, "/v1/sites", "apply-site", "Store a site document"), d.applySite)
	huma.Register(api, operation(http.MethodGet, "/v1/sites/{name}", "get-site", "One site, at its newest or any kept version"), d.getSite)
	huma.Register(api, operation(http.MethodGet, "/v1/sites/{name}/history", "list-site-versions", "The kept versions of one site, newest first"), d.siteHistory)
	remove := operation(http.MethodDelete, "/v1/sites/{name}", "delete-site", "Take a site out of service")
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(api, remove, d.deleteSite)
	restore := operation(http.MethodPost, "/v1/sites/restore", "restore-sites", "Put back the site documents and their secrets that the cluster's store has lost and the leader still knows")
	restore.Middlewares = nil // it bounds its own time
	huma.Register(api, restore, d.restoreSites)
	huma.Register(api, operation(http.MethodGet, "/v1/secrets", "list-secrets", "The secrets that site documents can name, without their values"), d.listSecrets)
	set := operation(http.MethodPut, "/v1/secrets/{name}", "set-secret", "Store a secret, encrypted; its value never comes back")
	set.DefaultStatus = http.StatusNoContent
	huma.Register(api, set, d.setSecret)
	forget := operation(http.MethodDelete, "/v1/secrets/{name}", "delete-secret", "Remove a secret")
	forget.DefaultStatus = http.StatusNoContent
	huma.Register(api, forget, d.deleteSecret)
}

// operation describes an operation. Its body is read and bounded by bounded before.
func operation(method, path, id, summary string) huma.Operation {
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		MaxBodyBytes: maxBody + 1, BodyReadTimeout: -1,
		Middlewares: huma.Middlewares{timed},
	}
}

// timed bounds how long an operation may use the cluster's store.
func timed(c huma.Context, next func(huma.Context)) {
	ctx, cancel := context.WithTimeout(c.Context(), workTimeout)
	defer cancel()
	next(huma.WithContext(c, ctx))
}

type liveOutput struct {
	Body struct {
		Status string `json:"status" enum:"ok"`
	}
}

func (d *Distributor) live(context.Context, *struct{}) (*liveOutput, error) {
	out := &liveOutput{}
	out.Body.Status = "ok"
	return out, nil
}

// bounded reads the whole body, at most maxBody bytes within timeout, before next
// runs. A read deadline that still stood while next waits for receipts would end
// the request.
func bounded(next http.Handler, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deadlines := http.NewResponseController(w)
		if err := deadlines.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			writeProblem(w, http.StatusInternalServerError, "no deadline can be set: "+err.Error())
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes", maxBody))
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.Header().Set("Connection", "close")
			writeProblem(w, http.StatusRequestTimeout, fmt.Sprintf("the body did not come within %s", timeout))
			return
		case err != nil:
			writeProblem(w, http.StatusBadRequest, "read the body: "+err.Error())
			return
		}
		if err := deadlines.SetReadDeadline(time.Time{}); err != nil {
			return // the connection is gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// problems is mux with problem documents in the place of its own plain 404 and 405.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := &statusOnly{header: w.Header()}
		h.ServeHTTP(answer, r)
		detail := fmt.Sprintf("there is no %s; the API is described at /openapi.json", r.URL.Path)
		if answer.status == http.StatusMethodNotAllowed {
			detail = fmt.Sprintf("%s does not take %s, only %s", r.URL.Path, r.Method, w.Header().Get("Allow"))
		}
		writeProblem(w, answer.status, detail)
	})
}

// statusOnly is a http.ResponseWriter that keeps the status and the header.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }

// writeProblem answers with a problem document where the library does not.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	body, err := json.Marshal(huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
	if err != nil { // strings and a number always encode
		body = nil
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone already
}

// answer maps an error to the one that the API answers with.
func answer(err error) error {
	var status huma.StatusError
	var mistakes document.Errors
	switch {
	case err == nil || errors.As(err, &status):
		return err
	case errors.As(err, &mistakes):
		return invalidDocument(mistakes)
	case errors.Is(err, command.ErrInvalid), errors.Is(err, cluster.ErrInvalid), errors.Is(err, cluster.ErrTooLarge):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, cluster.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, cluster.ErrConflict):
		return huma.Error412PreconditionFailed(err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return huma.Error504GatewayTimeout(err.Error())
	}
	return huma.Error503ServiceUnavailable(err.Error())
}

// invalidDocument lists every mistake of a document with its place.
func invalidDocument(mistakes document.Errors) error {
	details := make([]error, len(mistakes))
	for i, m := range mistakes {
		location := m.File
		if m.Line > 0 {
			location += fmt.Sprintf(":%d:%d", m.Line, m.Column)
		}
		m.File, m.Line = "", 0
		details[i] = &huma.ErrorDetail{Location: location, Message: strings.TrimPrefix(m.Error(), ": ")}
	}
	return huma.Error422UnprocessableEntity(fmt.Sprintf("the document has %d mistakes", len(mistakes)), details...)
}

// standby is the answer to a write while another distributor leads.
func (d *Distributor) standby(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	leader, err := d.env.Cluster.Leader(ctx, election)
	switch {
	case err != nil:
		return huma.Error503ServiceUnavailable("this distributor stands by, and who leads is not known: " + err.Error())
	case leader == "" || leader == d.env.File.Name:
		// Nothing of the request was done, and an election is over in a few seconds.
		err := huma.Error503ServiceUnavailable("no distributor leads just now; try again in a few seconds")
		return huma.ErrorWithHeaders(err, http.Header{"Retry-After": {"1"}})
	}
	where := "its address is not known"
	if api := d.apiOf(ctx, leader); api != "" {
		where = "send writes to " + api
	}
	return huma.Error503ServiceUnavailable(fmt.Sprintf("this distributor (%s) stands by and %s leads: %s", d.env.File.Name, leader, where))
}

// apiOf is the URL of a distributor's management API, "" if it is not known.
func (d *Distributor) apiOf(ctx context.Context, name string) string {
	nodes, err := d.nodes(ctx)
	if err != nil {
		return ""
	}
	for _, n := range nodes {
		if n.Name == name && len(n.Addrs) > 0 {
			return "http://" + n.Addrs[0].String()
		}
	}
	return ""
}
