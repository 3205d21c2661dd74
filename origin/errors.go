package origin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"freshet/origin/blob"
	"freshet/origin/catalog"
	"freshet/origin/object"
)

// What can be wrong with a request, beside the errors of the store.
var (
	errNoSite       = errors.New("unknown site")
	errNoHost       = errors.New("no site has the host")
	errNoPage       = errors.New("there is nothing here")
	errOutside      = errors.New("the site's content comes from an outside origin")
	errSitesUnknown = errors.New("the sites are not known yet; try again")
	errMethod       = errors.New("method not allowed")
	errHeader       = errors.New("bad header field")
	errQuery        = errors.New("bad query")
	errMismatch     = errors.New("the content is not what its digest says")
	errCondition    = errors.New("the condition does not hold")
	errBusy         = errors.New("too many uploads at the same time; try again")
	errStalled      = errors.New("the upload has stalled")
	errBroken       = errors.New("the upload was broken off")
)

// status is the HTTP status for an error. It is the only place that knows.
func status(err error) int {
	for _, s := range []struct {
		err    error
		status int
	}{
		{errNoSite, http.StatusNotFound},
		{errNoPage, http.StatusNotFound},
		{errNoHost, http.StatusMisdirectedRequest},
		{catalog.ErrNotFound, http.StatusNotFound},
		{object.ErrPath, http.StatusBadRequest},
		{errHeader, http.StatusBadRequest},
		{errQuery, http.StatusBadRequest},
		{errMismatch, http.StatusBadRequest},
		{errBroken, http.StatusBadRequest},
		{errMethod, http.StatusMethodNotAllowed},
		{errOutside, http.StatusConflict},
		{errCondition, http.StatusPreconditionFailed},
		{errStalled, http.StatusRequestTimeout},
		{blob.ErrTooLarge, http.StatusRequestEntityTooLarge},
		{blob.ErrFull, http.StatusInsufficientStorage},
		{errBusy, http.StatusServiceUnavailable},
		{errSitesUnknown, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}

// problem is a problem document (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// fail answers with a problem document. Errors of our own are logged, and their
// text, which may name files, is not shown.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{Type: "about:blank", Status: status(err), Detail: err.Error()}
	p.Title = http.StatusText(p.Status)
	if p.Status == http.StatusInternalServerError {
		h.log.Error("request failed", "method", r.Method, "host", r.Host, "path", r.URL.Path, "err", err)
		p.Detail = "the origin could not do it; its log says why"
	}
	if p.Status == http.StatusInsufficientStorage {
		h.log.Error("no space is left", "err", err)
		p.Detail = blob.ErrFull.Error()
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with v. That a client does not take its answer is its own affair.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil { // our own structs of strings and numbers always encode
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", formatInt(int64(len(body)+1)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
