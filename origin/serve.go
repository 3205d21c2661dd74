package origin

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"freshet/internal/site"
	"freshet/origin/catalog"
	"freshet/origin/object"
)

const (
	// cacheMissing is short: what is missing now may be pushed in a moment.
	cacheMissing = "public, max-age=10"
	// maxRanges is how many ranges one request may ask for; with more it gets the whole.
	maxRanges = 16
	indexName = "index.html"
)

// serveSite answers an edge or a mid with an object of a site.
func (h *handler) serveSite(a *answer, r *http.Request, doc *site.Document) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.notAllowed(a, r, "GET, HEAD")
		return
	}
	escaped := r.URL.EscapedPath()
	if strings.HasSuffix(escaped, "/") {
		escaped += indexName
	}
	path, err := object.ParsePath(escaped)
	if err != nil {
		missing(a) // nothing can ever stand there
		return
	}
	info, content, err := h.store.Open(doc.Site, path)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		missing(a)
		return
	case err != nil:
		h.fail(a, r, err)
		return
	}
	defer content.Close()
	h.send(a, r, info, info.CacheControl(), content)
}

// send answers with an object, or the part of it that is asked for, or with 304.
func (h *handler) send(a *answer, r *http.Request, info object.Info, cacheControl string, content io.ReadSeeker) {
	out := a.Header()
	for name, value := range info.Headers {
		out.Set(name, value)
	}
	out.Set("Cache-Control", cacheControl)
	out.Set("Content-Type", info.ContentType)
	out.Set("Etag", info.ETag())
	a.size = info.Size
	// Ranges are defined for GET and for bytes only (RFC 9110 §14.2).
	ranges := r.Header.Get("Range")
	if r.Method != http.MethodGet || !strings.HasPrefix(ranges, "bytes=") || strings.Count(ranges, ",") >= maxRanges {
		r.Header.Del("Range")
	}
	http.ServeContent(a, r, "", info.Modified, content)
}

func missing(a *answer) {
	const body = "not found\n"
	h := a.Header()
	h.Set("Cache-Control", cacheMissing)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", formatInt(int64(len(body))))
	a.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(a, body) // of a HEAD, net/http leaves it out
}
