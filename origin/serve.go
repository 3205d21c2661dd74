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
	// cacheShort is for what is not there: it may be pushed in a moment.
	cacheShort = "public, max-age=10"
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
	escaped := escapedPath(r)
	index := ""
	if strings.HasSuffix(escaped, "/") {
		index = indexName
	}
	path, err := object.ParsePath(escaped + index)
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
	if spelling := strings.TrimSuffix(object.EscapePath(path), index); spelling != escaped {
		respell(a, r, spelling)
		return
	}
	h.send(a, r, info, info.CacheControl(), content)
}

// escapedPath is the path of a request as the client has spelled it. net/http takes
// spellings that no URL should have, and shows them mended.
func escapedPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// respell sends clients from another spelling of a URL ("/%61") to the one under
// which the object is served ("/a"). Caches take each spelling for another URL, so
// that a purge of the one would leave copies under the others.
func respell(a *answer, r *http.Request, spelling string) {
	if r.URL.RawQuery != "" {
		spelling += "?" + r.URL.RawQuery
	}
	h := a.Header()
	h.Set("Location", spelling)
	h.Set("Cache-Control", cacheShort)
	h.Set("Content-Length", "0")
	a.WriteHeader(http.StatusMovedPermanently)
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
	h.Set("Cache-Control", cacheShort)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", formatInt(int64(len(body))))
	a.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(a, body) // of a HEAD, net/http leaves it out
}
